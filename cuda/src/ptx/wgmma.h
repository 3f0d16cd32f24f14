// Products of matrices by a group of four warps, which are asynchronous: d += a b, with d of 64 x n; sm_90a.
//
// The order of things: registers and shared memory are written; wgmma_fence, which is needed again after each wait;
// products, which may follow each other with the same d; wgmma_commit; other work, which leaves d, a and the shared
// memory alone (and d and a where they are); wgmma_wait. What threads wrote to shared memory needs fence_proxy_async
// (tma.h) and a barrier before; what copy_tile brought only its barrier. After the wait, one thread of the group may
// give the memory back.
//
// Registers: warp w of the group has rows 16 w.. of a and d, each as in mma.h: a[0..3] as there, and of every eight
// columns j the four d[4 j..] as there.
//
// Operands in shared memory are given by shared_matrix(): b as n rows of depth elements, one behind the other (so b is
// the transposed matrix, as weights [N, K] are), a as 64 such rows. One product takes 32 bytes of each row. The rows
// lie as copy_tile with a swizzle of 128 bytes brings them: 128 bytes of each (64 elements of 16 bits, or 128 of 8),
// eight rows are an atom of 1024 bytes, aligned to that, in which the 16 bytes number c of row r lie at 128 r + 16 (c ^
// r); atoms of the next eight rows follow. The next 32 bytes of the rows are addressed by `shared` + 32 within the
// atom: the pattern is of addresses, not of the distance from where the matrix begins.
//
// b of 16 bits may also lie with its columns together, as values [key, channel] do (template argument transposed_b):
// 128 bytes of each of the `depth` rows are 64 columns, eight rows are an atom as above, atoms of the next eight rows
// follow `stride_bytes` behind, those of the next 64 columns `leading_bytes` behind. The next 16 rows are two atoms
// further on.
//
// Source: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

enum class Swizzle { none = 0, bytes128 = 1, bytes64 = 2, bytes32 = 3 };  // as the hardware counts them

// `stride_bytes` from eight rows to the next eight; `leading_bytes` from 64 columns to the next of a transposed b, else
// without meaning. Of other swizzles: atoms of eight rows of 64 or 32 bytes; of none, of 16 bytes, with `leading_bytes`
// from the first 16 bytes of a row to its next.
GATUN_DEVICE uint64_t shared_matrix(const void* shared, int stride_bytes = 1024, int leading_bytes = 16,
                                    Swizzle swizzle = Swizzle::bytes128) {
  return uint64_t{(detail::shared_address(shared) & 0x3ffffu) >> 4} |
         static_cast<uint64_t>(static_cast<uint32_t>(leading_bytes) >> 4) << 16 |
         static_cast<uint64_t>(static_cast<uint32_t>(stride_bytes) >> 4) << 32 | static_cast<uint64_t>(swizzle) << 62;
}

namespace detail {
GATUN_DEVICE void pin(float& x) { asm volatile("" : "+f"(x)::"memory"); }
GATUN_DEVICE void pin(int32_t& x) { asm volatile("" : "+r"(x)::"memory"); }
GATUN_DEVICE void pin(uint32_t& x) { asm volatile("" : "+r"(x)::"memory"); }
template <class T, int count>
GATUN_DEVICE void pin(T (&x)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) pin(x[i]);
}
}  // namespace detail

// Before products whose registers (the arguments, arrays of d or a) have been touched, be it by other instructions
// only.
template <class... Registers>
GATUN_DEVICE void wgmma_fence(Registers&... registers) {
  (detail::pin(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// What was issued since the last commit becomes a group.
GATUN_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most the `pending` youngest groups are not done. The registers, which must be all that the others
// touch, are free after it.
template <int pending, class... Registers>
GATUN_DEVICE void wgmma_wait(Registers&... registers) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
  (detail::pin(registers), ...);
}

// ---- lists of n / 2 accumulators, as operands and as the instruction names them -------------------------------------

#define GATUN_D4(constraint, i) constraint(d[i]), constraint(d[i + 1]), constraint(d[i + 2]), constraint(d[i + 3])
#define GATUN_D8(constraint, i) GATUN_D4(constraint, i), GATUN_D4(constraint, i + 4)
#define GATUN_D16(constraint, i) GATUN_D8(constraint, i), GATUN_D8(constraint, i + 8)
#define GATUN_D32(constraint, i) GATUN_D16(constraint, i), GATUN_D16(constraint, i + 16)
#define GATUN_D64(constraint, i) GATUN_D32(constraint, i), GATUN_D32(constraint, i + 32)
#define GATUN_D128(constraint, i) GATUN_D64(constraint, i), GATUN_D64(constraint, i + 64)

#define GATUN_TEN(t) "%" t "0,%" t "1,%" t "2,%" t "3,%" t "4,%" t "5,%" t "6,%" t "7,%" t "8,%" t "9"
#define GATUN_NAMES4 "%0,%1,%2,%3"
#define GATUN_NAMES8 GATUN_NAMES4 ",%4,%5,%6,%7"
#define GATUN_NAMES16 GATUN_TEN("") ",%10,%11,%12,%13,%14,%15"
#define GATUN_NAMES32 GATUN_TEN("") "," GATUN_TEN("1") "," GATUN_TEN("2") ",%30,%31"
#define GATUN_NAMES64 \
  GATUN_TEN("")       \
  "," GATUN_TEN("1") "," GATUN_TEN("2") "," GATUN_TEN("3") "," GATUN_TEN("4") "," GATUN_TEN("5") ",%60,%61,%62,%63"
#define GATUN_NAMES128 \
  GATUN_TEN("") "," GATUN_TEN("1") "," GATUN_TEN("2") "," GATUN_TEN("3") "," GATUN_TEN("4") "," GATUN_TEN("5") "," \
  GATUN_TEN("6") "," GATUN_TEN("7") "," GATUN_TEN("8") "," GATUN_TEN("9") "," GATUN_TEN("10") "," GATUN_TEN("11") \
  ",%120,%121,%122,%123,%124,%125,%126,%127"

// What comes after them is numbered from their count on: whether to add, b, whether b is transposed, a.
#define GATUN_A_REGISTERS(i, j, k, l) "{%" #i ",%" #j ",%" #k ",%" #l "}"
#define GATUN_A_REGISTERS_OPERANDS "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3])
#define GATUN_A_SHARED(i, j, k, l) "%" #i
#define GATUN_A_SHARED_OPERANDS "l"(a)
#define GATUN_FLAGS_REGISTERS(i) ", 1, 1, %" #i
#define GATUN_FLAGS_SHARED(i) ", 1, 1, 0, %" #i
#define GATUN_FLAGS_FP8(i) ", 1, 1"
#define GATUN_FLAGS_INTEGER(i)

#define GATUN_WGMMA(n, count, types, constraint, a_is, flags, add, matrix, trans, i, j, k, l)                          \
  asm volatile(                                                                                                        \
      "{\n.reg .pred add;\nsetp.ne.b32 add, %" #add ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n types                 \
      " {" GATUN_NAMES##count "}, " GATUN_A_##a_is(i, j, k, l) ", %" #matrix ", add" GATUN_FLAGS_##flags(trans) ";\n}" \
      : GATUN_D##count(constraint, 0)                                                                                  \
      : "r"(static_cast<int>(accumulate)), "l"(b), "n"(static_cast<int>(transposed_b)), GATUN_A_##a_is##_OPERANDS      \
      : "memory")

#define GATUN_WGMMA_ANY(types, constraint, a_is, flags)                                                     \
  static_assert(n == 8 || n == 16 || n == 32 || n == 64 || n == 128 || n == 256);                           \
  if constexpr (n == 8) GATUN_WGMMA(8, 4, types, constraint, a_is, flags, 4, 5, 6, 7, 8, 9, 10);            \
  if constexpr (n == 16) GATUN_WGMMA(16, 8, types, constraint, a_is, flags, 8, 9, 10, 11, 12, 13, 14);      \
  if constexpr (n == 32) GATUN_WGMMA(32, 16, types, constraint, a_is, flags, 16, 17, 18, 19, 20, 21, 22);   \
  if constexpr (n == 64) GATUN_WGMMA(64, 32, types, constraint, a_is, flags, 32, 33, 34, 35, 36, 37, 38);   \
  if constexpr (n == 128) GATUN_WGMMA(128, 64, types, constraint, a_is, flags, 64, 65, 66, 67, 68, 69, 70); \
  if constexpr (n == 256) GATUN_WGMMA(256, 128, types, constraint, a_is, flags, 128, 129, 130, 131, 132, 133, 134)

// ---- the products ----

// d = a b, plus d if `accumulate`; the depth is 16.
template <int n, bool transposed_b = false>
GATUN_DEVICE void wgmma_f16(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  GATUN_WGMMA_ANY("k16.f32.f16.f16", "+f", REGISTERS, REGISTERS);
}
template <int n, bool transposed_b = false>
GATUN_DEVICE void wgmma_f16(float (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  GATUN_WGMMA_ANY("k16.f32.f16.f16", "+f", SHARED, SHARED);
}
template <int n, bool transposed_b = false>
GATUN_DEVICE void wgmma_bf16(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  GATUN_WGMMA_ANY("k16.f32.bf16.bf16", "+f", REGISTERS, REGISTERS);
}
template <int n, bool transposed_b = false>
GATUN_DEVICE void wgmma_bf16(float (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  GATUN_WGMMA_ANY("k16.f32.bf16.bf16", "+f", SHARED, SHARED);
}

// The same of 8 bits; the depth is 32. Sums wrap around.
template <int n>
GATUN_DEVICE void wgmma_i8(int32_t (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  constexpr bool transposed_b = false;
  GATUN_WGMMA_ANY("k32.s32.s8.s8", "+r", REGISTERS, INTEGER);
}
template <int n>
GATUN_DEVICE void wgmma_i8(int32_t (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  constexpr bool transposed_b = false;
  GATUN_WGMMA_ANY("k32.s32.s8.s8", "+r", SHARED, INTEGER);
}
template <int n>
GATUN_DEVICE void wgmma_u8_i8(int32_t (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  constexpr bool transposed_b = false;
  GATUN_WGMMA_ANY("k32.s32.u8.s8", "+r", REGISTERS, INTEGER);
}
template <int n>
GATUN_DEVICE void wgmma_u8_i8(int32_t (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  constexpr bool transposed_b = false;
  GATUN_WGMMA_ANY("k32.s32.u8.s8", "+r", SHARED, INTEGER);
}

// Of f8e4m3, likewise of depth 32. Sums are f32 of which the hardware keeps some 14 bits while it adds (DeepSeek-V3,
// 2024; SageAttention2, 2024): long ones need another level.
template <int n>
GATUN_DEVICE void wgmma_e4m3(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  constexpr bool transposed_b = false;
  GATUN_WGMMA_ANY("k32.f32.e4m3.e4m3", "+f", REGISTERS, FP8);
}
template <int n>
GATUN_DEVICE void wgmma_e4m3(float (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  constexpr bool transposed_b = false;
  GATUN_WGMMA_ANY("k32.f32.e4m3.e4m3", "+f", SHARED, FP8);
}

}  // namespace gatun::cuda
