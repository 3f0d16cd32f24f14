// Products as in mma.h of a matrix a of which two of four neighbours in a row are stored, with twice the depth: a is
// 16 x 32 elements of 16 bits (16 x 64 of 8), b is 32 x 8 (64 x 8), d is 16 x 8.
//
// d and the stored half of a lie in registers as those of mma.h; b[0], b[1] as a b of mma.h the first half of the
// depth, b[2], b[3] the second.
//
// The metadata are, for each four neighbours, two times two bits: the places of the stored ones, ascending, the first
// one in the lower bits. With g = lane / 4 and t = lane % 4, the bits of a lane are from the lowest on those of
//   16 bits: row g, then row g + 8, of columns 16 (t % 2)..; only lanes with t / 2 == selector have any
//   8 bits:  row g + 8 (t % 2), of columns 32 (t / 2)..
// Source: PTX ISA, "Matrix fragments for multiply-accumulate operation with sparse matrix A".
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

template <int selector>
GATUN_DEVICE void mma_sp_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t metadata) {
  static_assert(selector == 0 || selector == 1);
  asm volatile(
      "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, %13;"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(metadata),
        "n"(selector));
}
template <int selector>
GATUN_DEVICE void mma_sp_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t metadata) {
  static_assert(selector == 0 || selector == 1);
  asm volatile(
      "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, %13;"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(metadata),
        "n"(selector));
}
// Sums wrap around.
GATUN_DEVICE void mma_sp_i8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t metadata) {
  asm volatile(
      "mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.s32.s8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, 0;"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(metadata));
}

}  // namespace gatun::cuda
