// Products as in wgmma.h of a matrix a of which two of four neighbours in a row are stored, with twice the depth: 64 x
// n x 32 of 16 bits, 64 x n x 64 of 8.
//
// d and the stored half of a lie in registers as those of wgmma.h: warp w of the group has rows 16 w.. of both. The
// metadata are those of mma_sp.h, each warp's of its own 16 rows; like a they may not change before the wait, so they
// are named by wgmma_fence and wgmma_wait, too. One product takes 64 bytes of each row of b: the next 64 are addressed
// by `shared` + 64.
// Source: PTX ISA, "Matrix fragments for warpgroup-level multiply-accumulate operation with sparse matrix A", whose
// figures of metadata are those of mma.sp.
#pragma once

#include <cstdint>

#include "ptx/wgmma.h"

namespace gatun::cuda {

#define GATUN_D96(constraint, i) GATUN_D64(constraint, i), GATUN_D32(constraint, i + 64)
#define GATUN_NAMES96 \
  GATUN_NAMES64 ",%64,%65,%66,%67,%68,%69," GATUN_TEN("7") "," GATUN_TEN("8") ",%90,%91,%92,%93,%94,%95"

// After the accumulators: whether to add, b, the metadata, the selector, a.
#define GATUN_WGMMA_SP(n, count, types, constraint, scales, add, matrix, places, select, i, j, k, l)                 \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" #add ", 0;\nwgmma.mma_async.sp.sync.aligned.m64n" #n types   \
               " {" GATUN_NAMES##count "}, " GATUN_A_REGISTERS(i, j, k, l) ", %" #matrix ", %" #places ", %" #select \
                                                                           ", add" scales ";\n}"                     \
               : GATUN_D##count(constraint, 0)                                                                       \
               : "r"(static_cast<int>(accumulate)), "l"(b), "r"(metadata), "n"(selector), GATUN_A_REGISTERS_OPERANDS \
               : "memory")

#define GATUN_WGMMA_SP_ANY(types, constraint, scales)                                                       \
  static_assert(n == 64 || n == 192);                                                                       \
  if constexpr (n == 64) GATUN_WGMMA_SP(64, 32, types, constraint, scales, 32, 33, 34, 35, 36, 37, 38, 39); \
  if constexpr (n == 192) GATUN_WGMMA_SP(192, 96, types, constraint, scales, 96, 97, 98, 99, 100, 101, 102, 103)

// d = a b, plus d if `accumulate`; lanes with t / 2 == selector have the metadata.
template <int n, int selector>
GATUN_DEVICE void wgmma_sp_f16(float (&d)[n / 2], const uint32_t (&a)[4], const uint32_t& metadata, uint64_t b,
                               bool accumulate) {
  static_assert(selector == 0 || selector == 1);
  GATUN_WGMMA_SP_ANY("k32.f32.f16.f16", "+f", ", 1, 1, 0");
}
template <int n, int selector>
GATUN_DEVICE void wgmma_sp_bf16(float (&d)[n / 2], const uint32_t (&a)[4], const uint32_t& metadata, uint64_t b,
                                bool accumulate) {
  static_assert(selector == 0 || selector == 1);
  GATUN_WGMMA_SP_ANY("k32.f32.bf16.bf16", "+f", ", 1, 1, 0");
}
// All lanes have metadata. Sums wrap around.
template <int n>
GATUN_DEVICE void wgmma_sp_i8(int32_t (&d)[n / 2], const uint32_t (&a)[4], const uint32_t& metadata, uint64_t b,
                              bool accumulate) {
  constexpr int selector = 0;
  GATUN_WGMMA_SP_ANY("k64.s32.s8.s8", "+r", "");
}

}  // namespace gatun::cuda
