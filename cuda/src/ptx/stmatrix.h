// The reverse of ldmatrix.h; sm_90.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

GATUN_DEVICE void store_matrix_x4(void* shared, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(detail::shared_address(shared)),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}
GATUN_DEVICE void store_matrix_x4_transposed(void* shared, const uint32_t (&r)[4]) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(detail::shared_address(shared)),
      "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
      : "memory");
}

}  // namespace gatun::cuda
