// The floating-point mode of the calling thread.
#pragma once

#if defined(__SSE__)
#include <immintrin.h>
#else
#include <cfenv>
#endif

namespace gatun {

// The default mode (round to nearest, subnormals kept, no traps) for the life of the object; then the mode as found.
class DefaultFloatMode {
 public:
  DefaultFloatMode(const DefaultFloatMode&) = delete;
  DefaultFloatMode& operator=(const DefaultFloatMode&) = delete;
#if defined(__SSE__)
  DefaultFloatMode() : found_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~DefaultFloatMode() { _mm_setcsr(found_); }

 private:
  const unsigned found_;
#else
  DefaultFloatMode() {
    std::fegetenv(&found_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatMode() { std::fesetenv(&found_); }

 private:
  std::fenv_t found_;
#endif
};

}  // namespace gatun
