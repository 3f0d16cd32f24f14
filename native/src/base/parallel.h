// A loop split over a small pool of threads.
//
// The pool starts with the first loop that wants more than one thread and grows to the largest number asked for. It is
// never joined: idle workers park in the kernel, all signals blocked, until the process ends. One loop has the pool at
// a time; a loop that finds it taken (another caller, or a body that calls again) runs on its own thread at once, so
// nothing waits for the pool and nothing can deadlock. If a thread cannot be started, loops run with fewer.
//
// Every body runs in the default floating-point mode (round to nearest, subnormals kept), whatever the caller's mode
// is; the caller's mode is put back afterwards.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "gatun/gatun.h"

namespace gatun {

inline constexpr int32_t kMaxThreads = 1024;

// The environment variable GATUN_THREADS; 0 if it is not set or not a number in 1..kMaxThreads.
int32_t threads_from_environment();

// The number of threads that a call with threads = `requested` (0 = gatun_threads()) uses for work of `items`
// indivisible parts with `cost` altogether, where a part of the cost below `grain` is not worth waking a thread for.
inline int32_t useful_threads(int32_t requested, int64_t items, int64_t cost, int64_t grain) {
  const int64_t threads = requested == 0 ? gatun_threads() : requested;
  return static_cast<int32_t>(std::max<int64_t>(1, std::min({threads, items, cost / grain + 1})));
}

namespace detail {
using RangeBody = void (*)(void* context, int64_t begin, int64_t end);
void parallel_ranges(int64_t count, int32_t threads, RangeBody body, void* context);
}  // namespace detail

// Calls body(begin, end) for ranges that cover [0, count) exactly once, on up to `threads` threads (0 =
// gatun_threads()), the calling one among them, and returns when all are done. Which thread gets which range depends on
// time, so bodies write to disjoint places and compute each index alike whatever its range. A body does not throw.
template <class Body>
void parallel_for(int64_t count, int32_t threads, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  detail::parallel_ranges(
      count, threads, [](void* context, int64_t begin, int64_t end) { (*static_cast<Plain*>(context))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace gatun
