#include "base/status.h"

#include <cstdarg>
#include <cstdio>

namespace gatun {
namespace {
thread_local char last_error[512] = "";
}  // namespace

int32_t fail(int32_t status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof(last_error), format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace gatun

const char* gatun_last_error() { return gatun::last_error; }
