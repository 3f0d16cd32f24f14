// Status and message of a failing call.
#pragma once

#include <cstdint>

#include "gatun/status.h"

namespace gatun {

// Sets the calling thread's message (printf-like) and returns `status`, so that a check reads `return fail(...)`.
__attribute__((format(printf, 2, 3), cold)) int32_t fail(int32_t status, const char* format, ...);

}  // namespace gatun
