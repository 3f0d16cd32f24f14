// Threads that repeat a loop, each repetition started together.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace gatun::limits {

// Runs prepare(thread) on each of `threads` threads, the calling one among them, then repeats work(thread) on all of
// them for about `seconds` and at least three times. Returns the seconds of each repetition, from the first thread's
// start to the last one's end. std::system_error if threads cannot be started, std::bad_alloc.
std::vector<double> repeat(int32_t threads, double seconds, const std::function<void(int32_t)>& prepare,
                           const std::function<void(int32_t)>& work);

}  // namespace gatun::limits
