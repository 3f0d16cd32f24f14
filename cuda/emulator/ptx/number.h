// The twin of src/ptx/number.h on the CPU.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "ptx/thread.h"

namespace gatun::cuda {

inline uint32_t as_bits(float x) { return float_bits(x); }
inline float as_float(uint32_t bits) { return float_from_bits(bits); }

inline float fused(float a, float b, float c) { return std::fma(a, b, c); }

inline float root(float x) { return std::sqrt(x); }
inline double root(double x) { return std::sqrt(x); }

inline uint64_t keep_here(uint64_t x) { return x; }

inline int32_t round_to_i32(float x) {
  if (x != x) return 0;
  if (x >= 2147483648.0f) return INT32_MAX;
  return x <= -2147483648.0f ? INT32_MIN : static_cast<int32_t>(std::nearbyint(x));
}
inline float round_to_integer(float x) { return std::nearbyint(x); }

inline float round_down(float x) { return std::floor(x); }
inline float absolute(float x) { return std::fabs(x); }

inline float max_number(float a, float b) { return b != b || a > b ? a : b; }
inline float min_number(float a, float b) { return b != b || a < b ? a : b; }
inline float max_or_nan(float a, float b) { return a != a || a > b ? a : b; }
inline float min_or_nan(float a, float b) { return a != a || a < b ? a : b; }

inline float flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
inline float exp2_fast(float x) { return flush(std::exp2(flush(x))); }
inline float log2_fast(float x) { return std::log2(flush(x)); }

inline float f16_to_f32(uint16_t x) { return gatun::f16_to_f32(x); }
inline uint16_t f32_to_f16(float x) { return x != x ? 0x7fff : gatun::f32_to_f16(x); }
inline float bf16_to_f32(uint16_t x) { return gatun::bf16_to_f32(x); }
inline uint16_t f32_to_bf16(float x) { return x != x ? 0x7fff : gatun::f32_to_bf16(x); }

inline uint32_t pack_f16(float low, float high) { return uint32_t{f32_to_f16(high)} << 16 | f32_to_f16(low); }
inline uint32_t pack_bf16(float low, float high) { return uint32_t{f32_to_bf16(high)} << 16 | f32_to_bf16(low); }

inline uint16_t pack_e4m3(float low, float high) {
  const auto narrow = [](float x) { return x != x ? uint32_t{0x7f} : uint32_t{f32_to_small<F8E4M3>(x)}; };
  return static_cast<uint16_t>(narrow(high) << 8 | narrow(low));
}

// The products of 11 or 8 bits are exact in double, and so are sums with what is not far from them; a sum that is not
// would have to lie on the middle of two results in double to come out wrong.
template <float (*widen)(uint16_t), uint16_t (*narrow)(float)>
uint32_t fused_halves(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t y = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const auto half = [&](uint32_t x) { return widen(static_cast<uint16_t>(x >> shift)); };
    // Rounded to odd in f32, so that rounding once more is rounding once.
    const double exact = double{half(a)} * half(b) + half(c);
    float rounded = static_cast<float>(exact);
    if (double{rounded} != exact && std::isfinite(rounded) && (float_bits(rounded) & 1) == 0) {
      const bool up = (exact > double{rounded}) == (rounded >= 0);
      rounded = float_from_bits(float_bits(rounded) + (up ? 1u : ~0u));
    }
    y |= uint32_t{narrow(rounded)} << shift;
  }
  return y;
}
inline uint32_t fused_f16x2(uint32_t a, uint32_t b, uint32_t c) {
  return fused_halves<f16_to_f32, f32_to_f16>(a, b, c);
}
inline uint32_t fused_bf16x2(uint32_t a, uint32_t b, uint32_t c) {
  return fused_halves<bf16_to_f32, f32_to_bf16>(a, b, c);
}

inline uint32_t shift_right(uint32_t x, int bits) { return x >> bits; }

inline uint32_t pick_bytes(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = uint64_t{high} << 32 | low;
  uint32_t y = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t nibble = selector >> 4 * i & 15;
    const uint32_t byte = static_cast<uint32_t>(bytes >> 8 * (nibble & 7)) & 0xff;
    y |= (nibble & 8 ? (byte & 0x80 ? 0xffu : 0u) : byte) << 8 * i;
  }
  return y;
}

inline int lowest_bit(uint32_t x) { return __builtin_ctz(x); }
inline int32_t count_ones(uint32_t bits) { return __builtin_popcount(bits); }

inline int32_t dot_i8x4(uint32_t a, uint32_t b, int32_t c) {
  uint32_t sum = static_cast<uint32_t>(c);
  for (int i = 0; i < 32; i += 8) sum += static_cast<uint32_t>(int8_t(a >> i) * int8_t(b >> i));
  return static_cast<int32_t>(sum);
}
inline int32_t dot_u8_i8x4(uint32_t a_unsigned, uint32_t b, int32_t c) {
  uint32_t sum = static_cast<uint32_t>(c);
  for (int i = 0; i < 32; i += 8) sum += static_cast<uint32_t>(uint8_t(a_unsigned >> i) * int8_t(b >> i));
  return static_cast<int32_t>(sum);
}

}  // namespace gatun::cuda
