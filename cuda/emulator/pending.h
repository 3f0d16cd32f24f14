// Asynchronous operations in the order of their issue, committed in groups, of which all but the youngest are waited
// for.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

namespace gatun::emulator {

using Effect = std::function<void()>;

class Pending {
 public:
  // With Effects::first the effect comes now, else when it is waited for.
  void issue(Effect effect);
  void commit() { ends_.push_back(issued_); }
  // All but the `young` youngest groups take effect. What is not committed is not waited for.
  void wait(int young);
  void clear();

  int64_t issued() const { return issued_; }

 private:
  std::deque<Effect> effects_;
  std::deque<int64_t> ends_;  // of the groups that are not waited for yet, as counts of issued effects
  int64_t issued_ = 0, done_ = 0;
};

}  // namespace gatun::emulator
