// Vectors of one ISA unit, and the contract that scalar.h, x86_avx2.h, x86_avx512.h and arm64_neon.h fulfil.
//
// An ISA unit (scalar.cc, <arch>_<tier>.cc) includes this file; its compiler flags pick the implementation. Everything
// lives in gatun::GATUN_ISA, so units of different tiers never share a symbol. Loops written on the contract (tile.h of
// the ops) exist once.
//
//   kLanes        f32 or i32 values in a vector; a Bytes vector holds 4 * kLanes bytes
//   F32 I32 Bytes the vectors (they may be the same C++ type)
//
// Memory: every address may be unaligned. The _n forms touch only the first n elements, 0 <= n <= kLanes; loads fill
// the rest with 0.
//
//   F32 load_f32(const float*), load_bf16(const uint16_t*), load_f16(const uint16_t*)    and _n
//   void store_f32(float*, F32), store_bf16(uint16_t*, F32), store_f16(uint16_t*, F32)   and _n
//   I32 load_i32(const int32_t*), void store_i32(int32_t*, I32)
//   I32 load_u8_i32(const uint8_t*), load_i8_i32(const int8_t*)                          and _n
//   void store_i8(int8_t*, I32): the low byte of each lane                               and _n
//   I32 load_u4_i32(const uint8_t*): two lanes a byte, the even one in the low nibble
//   I32 load_u2_i32(const uint8_t*): four lanes a byte, the first in the lowest bits
//   Bytes load_bytes(const uint8_t*); void store_bytes(uint8_t*, Bytes)                  and store_bytes_n
//   void store_nibbles(uint8_t*, Bytes), store_crumbs(uint8_t*, Bytes): bytes in 0..15 two by two, in 0..3 four by
//                                 four, the first in the lowest bits; bits from byte n on are 0; and _n, n counting
//                                 bytes of the vector: 0 <= n <= 4 * kLanes
//   void stream_f32(float*, F32), stream_bytes(uint8_t*, Bytes), stream_nibbles(uint8_t*, Bytes):
//                                 past the caches, to a multiple of what is stored; other threads see what was streamed
//                                 before the streaming thread's fence_streams()
// store_bf16 and store_f16 round to nearest, ties to even; NaN stays NaN; bf16 and f16 subnormals are kept.
//   float f16_to_float(uint16_t); uint16_t float_to_f16(float): of one value, to nearest, ties to even
//
// f32, lane by lane, IEEE, each operation rounded once:
//   F32 set1(float), zero_f32(), add(F32, F32), sub, mul, div, sqrt, fma(a, b, c) = a * b + c
//   F32 min(a, b) = a < b ? a : b, max(a, b) = a > b ? a : b    (so b if either is NaN)
//   F32 abs(F32), round_even(F32), floor(F32)
//   F32 min_magnitude(F32 a, F32 b) = min(|a|, b), b >= 0
//   F32 select_less(a, b, x, y) = a < b ? x : y
//   F32 keep_n(F32, int n): lanes from n on become 0
//   F32 scale_by_power(F32 x, I32 n) = x * 2^n for n in -126..127
//   F32 times_power(F32 x, F32 n) = x * 2^n for whole n <= 127, 1/2 <= x < 2; may be 0 where that is below 2^-126
//   float reduce_add(F32), reduce_max(F32) in a fixed order: halves are folded onto each other (max ignores order)
//   F32 to_f32(I32); I32 round_to_i32(F32) to nearest, ties to even; any number unless |x| < 2^31
//
// i32: set1_i32(int32_t), zero_i32(), add_i32, sub_i32, mul_i32 (low 32 bits), min_i32, max_i32
//   I32 shift_right<N>(I32): arithmetic; shift_right_logical<N>(I32), shift_left<N>(I32), and_i32, or_i32, xor_i32
//   I32 max_u32(I32, I32): of unsigned numbers
//   I32 and_or_i32(I32 a, I32 b, I32 c) = a & b | c
//   I32 select_bits(I32 mask, I32 a, I32 b): bits of a where those of the mask are 1, the others of b
//   I32 select_n(I32 a, I32 b, int n): lanes below n of a, the others of b
//   int32_t reduce_max_i32(I32)
//   F32 as_f32(I32), I32 as_i32(F32): the same bits
//   I32 truncate_to_i32(F32) toward 0 (|x| < 2^31)
//   F32 copy_sign(F32 magnitude, F32 sign)
//   void store_part<N, I>(uint8_t*, Bytes): the I-th of N equal parts
//   uint32_t equal_mask(I32, I32), greater_mask(I32, I32): bit l says whether it is so in lane l
//   I32 reduce_max_each(const I32 (&x)[kLanes]): lane l is the largest of x[l]
//   Table16 load_table16(const float*); F32 lookup_f32(Table16, I32 index): table[index], index in 0..15
//   Table32 load_table32(const float*); F32 lookup_f32(Table32, I32 index): table[index], index in 0..31
//   F32 gather_f32(const float* table, I32 index): table[index], index >= 0
//
// i32 lanes that move:
//   I32 swap_lanes<X>(I32): lane l is lane l ^ X, X = 1 or 2
//   void store_u16(uint16_t*, I32): the low 16 bits of each lane
//   I32 compress_lanes(I32 x, uint32_t mask): the lanes whose bit of the mask is 1, from lane 0 on in their order; what
//                                 the others hold is unspecified. Bits from kLanes on are 0.
//
// bytes: Bytes pack_i8(I32 a, I32 b, I32 c, I32 d), pack_u8: the lanes of a, then of b, c and d, saturated to i8 or u8;
//   lanes are within i16; Bytes set1_u8(uint8_t), min_u8(Bytes, Bytes), max_i8
//   Bytes keep_bits<E>(Bytes x, uint64_t bits): of elements of E = 1, 2 or 4 bytes those whose bit is 1, the others 0
//
// 8-bit dot products: byte 4 l + j of a Bytes vector belongs to lane l. dot adds to lane l of `sum` the exact
// sum_j w[4 l + j] * a[4 l + j], w unsigned, a signed, and not -128 where kPairedDots is true:
//   Bytes low_nibbles(Bytes), high_nibbles(Bytes)     byte & 15, byte >> 4
//   Bytes broadcast4(const int8_t*)                   four bytes to every lane
//   Bytes broadcast16(const uint8_t*)                 16 bytes, again and again
//   Bytes lookup16(Bytes table, Bytes index)          table from broadcast16; each byte is table[index], index in 0..15
//   I32 dot_u4(I32 sum, Bytes w, Bytes a)             w in 0..15
//   I32 dot_u4(I32 sum, Bytes w0, Bytes a0, Bytes w1, Bytes a1)
//                                                     two dots; kPairedDots says whether a dot is several instructions,
//                                                     and two at once are fewer than one by one
//   U8Weights prepare_u8(Bytes w); I32 dot_u8(I32 sum, U8Weights w, Bytes a)
//                                                     uses w - kU8Bias instead of w: kU8Bias is 0 where an instruction
//                                                     multiplies u8 by i8 exactly, 128 where signed bytes, or magnitude
//                                                     and sign, do it
//   I32 byte_lane<J>(Bytes)                           byte 4 l + J of each lane l, zero-extended
//   I32 nibble_lane<J>(Bytes)                         nibble J of each lane's 32 bits, J = 0 the lowest
//
// bf16 dot products, in units of tier avx512vnni alone: elements 2 l and 2 l + 1 of a Bytes vector belong to lane l
//   F32 dot_bf16(F32 sum, Bytes a, Bytes b)           sum + a[2 l + 1] * b[2 l + 1], then + a[2 l] * b[2 l], one fma
//                                                     each, to nearest even; subnormals in and out are 0
//   Bytes interleave_first(Bytes a, Bytes b), interleave_last: elements of a and b in turns, of their first (last)
//                                                     halves
//   void store_bf16_of_two(uint16_t*, F32 a, F32 b)   the lanes of a, then of b, rounded; subnormals become 0
// as does what searches 256 values by bytes:
//   void split_words(const I32 (&x)[4], Bytes& low, Bytes& high)
//                                                     bytes 0 and 1 of each lane: byte j * kLanes + l is that of x[j]
//   Bytes increase_where_above(Bytes a, Bytes b, Bytes x): each byte of x, plus 1 if a > b, unsigned
//   uint64_t equal_bytes(Bytes, Bytes): bit i says whether bytes i are equal
// and what makes such elements from codes; words are of 16 bits:
//   Bytes shift_words<N>(Bytes)                       each word to the right, zeros from the left
//   Bytes lookup_words(Bytes table, Bytes index)      word index % 32 of the table
//   Table128 load_table128(const uint8_t*); Bytes lookup128(Table128, Bytes index): byte index % 128 of the table; of
//                                                     256 bytes: simd/tables.h
//   Bytes flip_bits(Bytes x, Bytes bits, Bytes mask)  x ^ (bits & mask)
//   Bytes evens_first(Bytes)                          of every 16 bytes those with an even index, then the others
//   Bytes join_first(Bytes low, Bytes high), join_last: words of the low and the high bytes: of the first (last) 8 of
//                                                     every 16
//
// a window: consecutive elements in memory, of which each lane takes those that an index says (N:M sparsity):
//   F32 select_f32<N>(const float* window, I32 index): window[index], index in 0..N-1, N = 16 or 32
//   Bytes select_bytes<N>(const uint8_t* window, Bytes index): the same by bytes, N = kLeastWindow, 64 or 128;
//                                                     kLeastWindow, 16 or 64, is as fast as it gets
//   Bytes select_words<N>(const uint16_t* window, Bytes index): by words, N = 32 or 64, avx512vnni alone
//   Bytes spread_bytes<kBits, I>(I32 x): the I-th 4 fields of kBits = 2, 4 or 8 bits of each lane as its 4 bytes; bits
//                                                     above a field may be anything
//   I32 load_u16_i32(const uint16_t*)
//   Bytes as_bytes(I32), I32 as_lanes(Bytes): the same bits
//   Bytes sub_bytes(Bytes, Bytes)
//   F32 repeat4(const float*): four values, again and again; F32 repeat_lane<I>(F32): of every four lanes the I-th in
//   all I8Weights prepare_i8(Bytes w); I32 dot_i8(I32 sum, I8Weights w, Bytes x)
//                                                     sum + sum_j w[4 l + j] * x[4 l + j], w signed and not -128, x
//                                                     unsigned where kI8Bias is 128, signed where it is 0
#pragma once

#include <cstdint>
#include <cstring>

// Inlined lanes of the scalar tier take minutes to compile: they are not where that tier need not be fast, under
// AddressSanitizer and where every processor has a better one.
#if defined(__SANITIZE_ADDRESS__)
#define GATUN_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GATUN_SANITIZED
#endif
#endif
#if (defined(GATUN_SANITIZED) || defined(__aarch64__)) && !defined(__AVX2__) && !defined(GATUN_NEON)
#define GATUN_INLINE inline
#define GATUN_INLINE_LAMBDA
#else
#define GATUN_INLINE inline __attribute__((always_inline))
// Between the parameters and the body of a lambda that a loop calls for every vector.
#define GATUN_INLINE_LAMBDA __attribute__((always_inline))
#endif

namespace gatun::GATUN_ISA {

// Asks for the cache line of an address, which need not exist.
GATUN_INLINE void prefetch_line(const void* p) { __builtin_prefetch(p, 0, 3); }
// The same to the second-level cache.
GATUN_INLINE void prefetch_far_line(const void* p) { __builtin_prefetch(p, 0, 2); }

// Bytes that n codes of 6 bits take.
GATUN_INLINE int bytes_of_sixes(int n) { return (6 * n + 7) / 8; }

}  // namespace gatun::GATUN_ISA

#if defined(__AVX512F__)
#include "simd/x86_avx512.h"
#elif defined(__AVX2__)
#include "simd/x86_avx2.h"
#elif defined(GATUN_NEON)
#include "simd/arm64_neon.h"
#else
#include "simd/scalar.h"
#endif
