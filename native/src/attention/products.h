// Products of tiles of 32-bit words: four rows of one operand, whose words are broadcast, by vectors of words of the
// other. A word is one f32, two bf16 or four int8 values of successive depths.
//
//                 b[0]  b[1] .. b[V-1]    step s: kLanes words each
//   a[0][s]       sum[0][v] += a[0][s] . b[v][s]
//   ..
//   a[R-1][s]     sum[R-1][v]
#pragma once

#include <cstdint>

#include "attention/kernel.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {

inline constexpr int kRows = 4;  // of a tile in registers; divides kTileRows
// Vectors of a tile: with AVX-512 16 sums in 32 registers, with AVX2 8 in 16; never fewer than a panel.
inline constexpr int kVectors = kLanes == 16 ? 4 : attention::kPanelKeys / kLanes;
inline constexpr int kTileColumns = kVectors * kLanes;
inline constexpr int kTilePanels = kTileColumns / attention::kPanelKeys;
static_assert(attention::kTileRows % kRows == 0 && attention::kGroupColumns % kTileColumns == 0);

struct F32Words {
  static constexpr const char* kName = "f32";
  static constexpr int kValues = 1;  // in a word
  using Sum = F32;
  static GATUN_INLINE F32 load(const uint32_t* p) { return load_f32(reinterpret_cast<const float*>(p)); }
  static GATUN_INLINE F32 broadcast(const uint32_t* p) { return set1(*reinterpret_cast<const float*>(p)); }
  static GATUN_INLINE F32 multiply_add(F32 sum, F32 a, F32 b) { return fma(a, b, sum); }
};

#if defined(__AVX512BF16__)
struct Bf16Words {
  static constexpr const char* kName = "bf16 with f32 sums";
  static constexpr int kValues = 2;
  using Sum = F32;
  static GATUN_INLINE Bytes load(const uint32_t* p) { return load_bytes(reinterpret_cast<const uint8_t*>(p)); }
  static GATUN_INLINE Bytes broadcast(const uint32_t* p) { return broadcast4(reinterpret_cast<const int8_t*>(p)); }
  static GATUN_INLINE F32 multiply_add(F32 sum, Bytes a, Bytes b) { return dot_bf16(sum, a, b); }
};
#endif

// The broadcast operand has kI8Bias added to its values.
struct I8Words {
  static constexpr const char* kName = "int8 with a scale for each query and every 64 keys";
  static constexpr int kValues = 4;
  using Sum = I32;
  static GATUN_INLINE I8Weights load(const uint32_t* p) {
    return prepare_i8(load_bytes(reinterpret_cast<const uint8_t*>(p)));
  }
  static GATUN_INLINE Bytes broadcast(const uint32_t* p) { return broadcast4(reinterpret_cast<const int8_t*>(p)); }
  static GATUN_INLINE I32 multiply_add(I32 sum, Bytes a, const I8Weights& b) { return dot_i8(sum, b, a); }
};

// b[v] has a vector every b_step words.
template <class Words, int V>
GATUN_INLINE void multiply(const uint32_t* a, int64_t a_stride, const uint32_t* const* b, int64_t b_step, int64_t steps,
                           typename Words::Sum (&sum)[kRows * V]) {
#pragma GCC unroll 2
  for (int64_t s = 0; s < steps; ++s) {
    decltype(Words::load(b[0])) w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) w[v] = Words::load(b[v] + s * b_step);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const auto x = Words::broadcast(a + r * a_stride + s);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r * V + v] = Words::multiply_add(sum[r * V + v], x, w[v]);
    }
  }
}

}  // namespace gatun::GATUN_ISA
