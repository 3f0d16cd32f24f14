// A function with a stack of its own, which can be left and resumed.
#pragma once

#include <cstddef>
#include <functional>

namespace gatun::emulator {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs `body` on the next resume(); what ran before is forgotten.
  void start(const std::function<void()>* body);
  // From outside: runs until the fiber leaves or its body returns.
  void resume();
  // From inside: returns when the fiber is resumed.
  void leave();

  bool done() const { return done_; }

 private:
  static void enter(unsigned high, unsigned low);
  void run();

  static constexpr size_t kStackBytes = size_t{256} << 10;

  unsigned char* stack_;
  const std::function<void()>* body_ = nullptr;
  bool started_ = false, done_ = true;
  void* inside_[5];  // of __builtin_setjmp
  void* outside_[5];
  void* inside_shadow_ = nullptr;  // AddressSanitizer's notes of a stack that is left
  void* outside_shadow_ = nullptr;
  const void* outside_stack_ = nullptr;
  size_t outside_bytes_ = 0;
  unsigned valgrind_id_ = 0;
};

}  // namespace gatun::emulator
