#include "pending.h"

#include <utility>

#include "settings.h"

namespace gatun::emulator {

void Pending::issue(Effect effect) {
  // In its place in any case: a fault leaves it there.
  effects_.push_back(std::move(effect));
  ++issued_;
  if (settings().effects == Effects::last) return;
  effects_.back()();
  effects_.pop_back();
  ++done_;
}

void Pending::wait(int young) {
  while (ends_.size() > static_cast<size_t>(young)) {
    for (; done_ < ends_.front(); ++done_) {
      effects_.front()();
      effects_.pop_front();
    }
    ends_.pop_front();
  }
}

void Pending::clear() {
  effects_.clear();
  ends_.clear();
  issued_ = done_ = 0;
}

}  // namespace gatun::emulator
