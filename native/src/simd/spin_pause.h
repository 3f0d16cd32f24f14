// What a thread does between two looks at a word that another thread will change.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace gatun {

// Leaves the core to its other hardware thread for a moment, and keeps the loop from reading ahead.
inline void spin_pause() {
#if defined(__SSE2__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");  // yield does nothing on most cores
#endif
}

}  // namespace gatun
