// Matrices of 8 x 8 elements of 16 bits from shared memory into the registers of a warp, all lanes together.
//
// Lane l brings the address of row l % 8 of matrix l / 8: 16 bytes, aligned to 16; of x2, lanes from 16 on bring
// anything. r[i] of a lane gets, of matrix i, the elements (lane / 4, 2 (lane % 4)) and the next one of that row;
// transposed, those of the transposed matrix. Four matrices are so an operand `a` of mma.h, two a `b` whose columns are
// the rows.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

GATUN_DEVICE void load_matrix_x4(uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(shared))
               : "memory");
}
GATUN_DEVICE void load_matrix_x2(uint32_t (&r)[2], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(detail::shared_address(shared))
               : "memory");
}
GATUN_DEVICE void load_matrix_x4_transposed(uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(shared))
               : "memory");
}
GATUN_DEVICE void load_matrix_x2_transposed(uint32_t (&r)[2], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(detail::shared_address(shared))
               : "memory");
}

}  // namespace gatun::cuda
