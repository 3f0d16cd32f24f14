// Arguments that another thread changes during a call, as views in Java may: whatever was checked, nothing leaves its
// memory. What comes of such a call is unspecified. Outputs lie between inaccessible pages; what becomes of scratch
// memory, sanitizers see. Calls are repeated until a change is over, so that it takes place during one of them; how
// many did is printed in the end. In which of its moments a call is met, nobody can promise: what must not hang on that
// has tests of its own beside the code (prune/changes_test.cc, NmPacked.PlaceOfWhatIsFiniteAgain,
// NmFormat.MaskThatKeepsTooMuchAfterItsCheck, ArmorFit.WeightsThatAreNoNumbersAnyLonger).
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "gatun/status.h"
#include "guard_buffer.h"

namespace gatun::test {

using Bytes = std::vector<uint8_t>;
using Clock = std::chrono::steady_clock;

template <class T>
Bytes bytes(const std::vector<T>& values) {
  const auto* const first = reinterpret_cast<const uint8_t*>(values.data());
  return Bytes(first, first + values.size() * sizeof(T));
}

// What the other thread changes.
struct Shared {
  Shared(Bytes& bytes, size_t first = 0) : at(bytes.data() + first), size(bytes.size() - first) {}
  Shared(GuardBuffer<uint8_t>& bytes, int64_t first = 0)
      : at(bytes.data() + first), size(static_cast<size_t>(bytes.size() - first)) {}
  uint8_t* at;
  size_t size;
};

// What the bytes of lists of integers become: -1, much too large, another small number, 0.
constexpr uint8_t kOthers[] = {0xff, 0x7f, 1, 0};

// The changes of all tests, and those of them that took place, at least in part, during their call.
inline int changes, met;

class PrintsHowManyMet : public ::testing::Environment {
 public:
  void TearDown() override { std::printf("%d of %d changes took place during a call\n", met, changes); }
};
// Calls until all bytes of `shared` are overwritten, which begins a little later each time. `expected` is the status
// without a change.
inline void change_during(const Shared& shared, uint8_t other, const std::function<int32_t()>& call,
                          int32_t expected = GATUN_OK) {
  constexpr int kTimes = 8;
  const Bytes good(shared.at, shared.at + shared.size);
  ASSERT_EQ(call(), expected) << gatun_last_error();
  const auto begin = Clock::now();
  ASSERT_EQ(call(), expected) << gatun_last_error();
  const auto length = Clock::now() - begin;
  for (int i = 0; i < kTimes; ++i) {
    std::atomic<bool> ready{false}, called{false}, begun{false}, ended{false};
    std::thread changer([&] {
      ready = true;
      while (!called) std::this_thread::yield();
      for (const auto until = Clock::now() + length * i / kTimes; Clock::now() < until;) {
      }
      begun = true;
      for (size_t at = 0; at < shared.size; ++at) __atomic_store_n(shared.at + at, other, __ATOMIC_RELAXED);
      ended = true;
    });
    while (!ready) std::this_thread::yield();
    called = true;
    bool during = false;
    do {
      const bool too_late = ended;
      call();
      during = during || (begun && !too_late);
    } while (!ended);
    changer.join();
    ++changes;
    met += during;
    std::memcpy(shared.at, good.data(), good.size());
  }
}

}  // namespace gatun::test
