// The twin of src/ptx/stmatrix.h on the CPU.
#pragma once

#include <cstdint>

#include "ptx/ldmatrix.h"

namespace gatun::cuda {

namespace detail {
inline void store_matrices(const char* what, bool transposed, void* shared, const uint32_t* registers) {
  move_matrices(what, 4, transposed, true, {static_cast<uint8_t*>(shared), const_cast<uint32_t*>(registers)});
}
}  // namespace detail

inline void store_matrix_x4(void* shared, const uint32_t (&r)[4]) {
  detail::store_matrices("stmatrix.x4", false, shared, r);
}
inline void store_matrix_x4_transposed(void* shared, const uint32_t (&r)[4]) {
  detail::store_matrices("stmatrix.x4.trans", true, shared, r);
}

}  // namespace gatun::cuda
