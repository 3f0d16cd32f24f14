// The contract of vec.h in portable C++: four lanes that the compiler may put into whatever registers there are.
#pragma once

#include <cmath>

#include "base/dtype.h"

namespace gatun::GATUN_ISA {

inline constexpr int kLanes = 4;
struct F32 {
  float lane[kLanes];
};
struct I32 {
  int32_t lane[kLanes];
};
struct Bytes {
  uint8_t byte[4 * kLanes];
};

// Vector of type V whose lane i is of(i).
template <typename V, typename Of>
GATUN_INLINE V lanes(Of of) {
  V result;
  for (int i = 0; i < kLanes; ++i) result.lane[i] = of(i);
  return result;
}
template <typename Of>
GATUN_INLINE Bytes bytes(Of of) {
  Bytes result;
  for (int i = 0; i < 4 * kLanes; ++i) result.byte[i] = static_cast<uint8_t>(of(i));
  return result;
}

// Elements at addresses of any alignment.
template <typename T>
GATUN_INLINE T get(const T* p, int i) {
  T value;
  std::memcpy(&value, reinterpret_cast<const char*>(p) + i * static_cast<int>(sizeof(T)), sizeof(T));
  return value;
}
template <typename T>
GATUN_INLINE void put(T* p, int i, T value) {
  std::memcpy(reinterpret_cast<char*>(p) + i * static_cast<int>(sizeof(T)), &value, sizeof(T));
}

GATUN_INLINE F32 load_f32_n(const float* p, int n) {
  return lanes<F32>([=](int i) { return i < n ? get(p, i) : 0.0f; });
}
GATUN_INLINE F32 load_f32(const float* p) { return load_f32_n(p, kLanes); }
GATUN_INLINE void store_f32_n(float* p, F32 x, int n) {
  for (int i = 0; i < n; ++i) put(p, i, x.lane[i]);
}
GATUN_INLINE void store_f32(float* p, F32 x) { store_f32_n(p, x, kLanes); }
GATUN_INLINE F32 load_bf16_n(const uint16_t* p, int n) {
  return lanes<F32>([=](int i) { return i < n ? bf16_to_f32(get(p, i)) : 0.0f; });
}
GATUN_INLINE F32 load_bf16(const uint16_t* p) { return load_bf16_n(p, kLanes); }
GATUN_INLINE void store_bf16_n(uint16_t* p, F32 x, int n) {
  for (int i = 0; i < n; ++i) put(p, i, f32_to_bf16(x.lane[i]));
}
GATUN_INLINE void store_bf16(uint16_t* p, F32 x) { store_bf16_n(p, x, kLanes); }
GATUN_INLINE F32 load_f16_n(const uint16_t* p, int n) {
  return lanes<F32>([=](int i) { return i < n ? f16_to_f32(get(p, i)) : 0.0f; });
}
GATUN_INLINE F32 load_f16(const uint16_t* p) { return load_f16_n(p, kLanes); }
GATUN_INLINE void store_f16_n(uint16_t* p, F32 x, int n) {
  for (int i = 0; i < n; ++i) put(p, i, f32_to_f16(x.lane[i]));
}
GATUN_INLINE void store_f16(uint16_t* p, F32 x) { store_f16_n(p, x, kLanes); }
GATUN_INLINE float f16_to_float(uint16_t x) { return f16_to_f32(x); }
GATUN_INLINE uint16_t float_to_f16(float x) { return f32_to_f16(x); }
GATUN_INLINE I32 load_i32(const int32_t* p) {
  return lanes<I32>([=](int i) { return get(p, i); });
}
GATUN_INLINE void store_i32(int32_t* p, I32 x) {
  for (int i = 0; i < kLanes; ++i) put(p, i, x.lane[i]);
}
GATUN_INLINE I32 load_u8_i32_n(const uint8_t* p, int n) {
  return lanes<I32>([=](int i) { return i < n ? p[i] : 0; });
}
GATUN_INLINE I32 load_u8_i32(const uint8_t* p) { return load_u8_i32_n(p, kLanes); }
GATUN_INLINE I32 load_i8_i32_n(const int8_t* p, int n) {
  return lanes<I32>([=](int i) { return i < n ? p[i] : 0; });
}
GATUN_INLINE I32 load_i8_i32(const int8_t* p) { return load_i8_i32_n(p, kLanes); }
GATUN_INLINE void store_i8_n(int8_t* p, I32 x, int n) {
  for (int i = 0; i < n; ++i) p[i] = static_cast<int8_t>(x.lane[i]);
}
GATUN_INLINE void store_i8(int8_t* p, I32 x) { store_i8_n(p, x, kLanes); }
GATUN_INLINE I32 load_u4_i32(const uint8_t* p) {
  return lanes<I32>([=](int i) { return p[i / 2] >> 4 * (i % 2) & 15; });
}
GATUN_INLINE Bytes load_bytes(const uint8_t* p) {
  return bytes([=](int i) { return p[i]; });
}
GATUN_INLINE I32 load_u2_i32(const uint8_t* p) {
  return lanes<I32>([=](int i) { return p[i / 4] >> 2 * (i % 4) & 3; });
}
GATUN_INLINE void store_bytes_n(uint8_t* p, Bytes x, int n) {
  for (int i = 0; i < n; ++i) p[i] = x.byte[i];
}
GATUN_INLINE void store_bytes(uint8_t* p, Bytes x) { store_bytes_n(p, x, 4 * kLanes); }
// kBits of each of the first n bytes.
template <int kBits>
GATUN_INLINE void store_bits_n(uint8_t* p, Bytes x, int n) {
  constexpr int kPerByte = 8 / kBits;
  for (int i = 0; i < n; i += kPerByte) {
    int packed = 0;
    for (int j = 0; j < kPerByte && i + j < n; ++j) packed |= x.byte[i + j] << kBits * j;
    p[i / kPerByte] = static_cast<uint8_t>(packed);
  }
}
GATUN_INLINE void store_nibbles_n(uint8_t* p, Bytes x, int n) { store_bits_n<4>(p, x, n); }
GATUN_INLINE void store_nibbles(uint8_t* p, Bytes x) { store_nibbles_n(p, x, 4 * kLanes); }
GATUN_INLINE void store_crumbs_n(uint8_t* p, Bytes x, int n) { store_bits_n<2>(p, x, n); }
GATUN_INLINE void store_crumbs(uint8_t* p, Bytes x) { store_crumbs_n(p, x, 4 * kLanes); }
GATUN_INLINE void stream_f32(float* p, F32 x) { store_f32(p, x); }
GATUN_INLINE void stream_bytes(uint8_t* p, Bytes x) { store_bytes(p, x); }
GATUN_INLINE void stream_nibbles(uint8_t* p, Bytes x) { store_nibbles(p, x); }
GATUN_INLINE void fence_streams() {}

GATUN_INLINE F32 set1(float x) {
  return lanes<F32>([=](int) { return x; });
}
GATUN_INLINE F32 zero_f32() { return set1(0.0f); }
GATUN_INLINE F32 add(F32 a, F32 b) {
  return lanes<F32>([=](int i) { return a.lane[i] + b.lane[i]; });
}
GATUN_INLINE F32 sub(F32 a, F32 b) {
  return lanes<F32>([=](int i) { return a.lane[i] - b.lane[i]; });
}
GATUN_INLINE F32 mul(F32 a, F32 b) {
  return lanes<F32>([=](int i) { return a.lane[i] * b.lane[i]; });
}
GATUN_INLINE F32 div(F32 a, F32 b) {
  return lanes<F32>([=](int i) { return a.lane[i] / b.lane[i]; });
}
GATUN_INLINE F32 sqrt(F32 a) {
  return lanes<F32>([=](int i) { return __builtin_sqrtf(a.lane[i]); });
}
// One rounding, as the contract says: the C library's fmaf is exact also where no instruction does it.
GATUN_INLINE F32 fma(F32 a, F32 b, F32 c) {
  return lanes<F32>([=](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
}
GATUN_INLINE F32 min(F32 a, F32 b) {
  return lanes<F32>([=](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
GATUN_INLINE F32 max(F32 a, F32 b) {
  return lanes<F32>([=](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
GATUN_INLINE F32 abs(F32 a) {
  return lanes<F32>([=](int i) { return __builtin_fabsf(a.lane[i]); });
}
GATUN_INLINE F32 min_magnitude(F32 a, F32 b) { return min(abs(a), b); }
GATUN_INLINE F32 round_even(F32 a) {
  return lanes<F32>([=](int i) { return __builtin_nearbyintf(a.lane[i]); });
}
GATUN_INLINE F32 floor(F32 a) {
  return lanes<F32>([=](int i) { return __builtin_floorf(a.lane[i]); });
}
GATUN_INLINE F32 select_less(F32 a, F32 b, F32 x, F32 y) {
  return lanes<F32>([=](int i) { return a.lane[i] < b.lane[i] ? x.lane[i] : y.lane[i]; });
}
GATUN_INLINE F32 keep_n(F32 a, int n) {
  return lanes<F32>([=](int i) { return i < n ? a.lane[i] : 0.0f; });
}
GATUN_INLINE F32 to_f32(I32 a) {
  return lanes<F32>([=](int i) { return static_cast<float>(a.lane[i]); });
}
GATUN_INLINE I32 round_to_i32(F32 a) {
  return lanes<I32>([=](int i) {
    const float whole = __builtin_nearbyintf(a.lane[i]);
    return __builtin_fabsf(whole) < 0x1p31f ? static_cast<int32_t>(whole) : INT32_MIN;
  });
}
GATUN_INLINE F32 scale_by_power(F32 x, I32 n) {
  return lanes<F32>([=](int i) { return x.lane[i] * float_from_bits(static_cast<uint32_t>(n.lane[i] + 127) << 23); });
}
// A factor of 2^-127 has the bits of 0.
GATUN_INLINE F32 times_power(F32 x, F32 n) { return scale_by_power(x, round_to_i32(max(n, set1(-127.0f)))); }
GATUN_INLINE float reduce_add(F32 a) { return (a.lane[0] + a.lane[2]) + (a.lane[1] + a.lane[3]); }
GATUN_INLINE float reduce_max(F32 a) {
  float result = a.lane[0];
  for (int i = 1; i < kLanes; ++i) result = a.lane[i] > result ? a.lane[i] : result;
  return result;
}

GATUN_INLINE I32 set1_i32(int32_t x) {
  return lanes<I32>([=](int) { return x; });
}
GATUN_INLINE I32 zero_i32() { return set1_i32(0); }
GATUN_INLINE I32 add_i32(I32 a, I32 b) {
  return lanes<I32>(
      [=](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) + static_cast<uint32_t>(b.lane[i])); });
}
GATUN_INLINE I32 sub_i32(I32 a, I32 b) {
  return lanes<I32>(
      [=](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) - static_cast<uint32_t>(b.lane[i])); });
}
GATUN_INLINE I32 mul_i32(I32 a, I32 b) {
  return lanes<I32>(
      [=](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) * static_cast<uint32_t>(b.lane[i])); });
}
template <int N>
GATUN_INLINE I32 shift_right(I32 a) {
  return lanes<I32>([=](int i) { return a.lane[i] >> N; });
}
template <int N>
GATUN_INLINE I32 shift_left(I32 a) {
  return lanes<I32>([=](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) << N); });
}
GATUN_INLINE I32 and_i32(I32 a, I32 b) {
  return lanes<I32>([=](int i) { return a.lane[i] & b.lane[i]; });
}
GATUN_INLINE I32 or_i32(I32 a, I32 b) {
  return lanes<I32>([=](int i) { return a.lane[i] | b.lane[i]; });
}
GATUN_INLINE F32 as_f32(I32 a) {
  return lanes<F32>([=](int i) { return float_from_bits(static_cast<uint32_t>(a.lane[i])); });
}
GATUN_INLINE I32 as_i32(F32 a) {
  return lanes<I32>([=](int i) { return static_cast<int32_t>(float_bits(a.lane[i])); });
}
template <int N>
GATUN_INLINE I32 shift_right_logical(I32 a) {
  return lanes<I32>([=](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.lane[i]) >> N); });
}
GATUN_INLINE I32 xor_i32(I32 a, I32 b) {
  return lanes<I32>([=](int i) { return a.lane[i] ^ b.lane[i]; });
}
GATUN_INLINE I32 and_or_i32(I32 a, I32 b, I32 c) { return or_i32(and_i32(a, b), c); }
GATUN_INLINE I32 select_bits(I32 mask, I32 a, I32 b) {
  return lanes<I32>([&](int i) { return (a.lane[i] & mask.lane[i]) | (b.lane[i] & ~mask.lane[i]); });
}
GATUN_INLINE I32 max_u32(I32 a, I32 b) {
  return lanes<I32>([=](int i) {
    return static_cast<uint32_t>(a.lane[i]) > static_cast<uint32_t>(b.lane[i]) ? a.lane[i] : b.lane[i];
  });
}
GATUN_INLINE I32 select_n(I32 a, I32 b, int n) {
  return lanes<I32>([=](int i) { return i < n ? a.lane[i] : b.lane[i]; });
}
GATUN_INLINE int32_t reduce_max_i32(I32 a) {
  int32_t result = a.lane[0];
  for (int i = 1; i < kLanes; ++i) result = a.lane[i] > result ? a.lane[i] : result;
  return result;
}
GATUN_INLINE I32 min_i32(I32 a, I32 b) {
  return lanes<I32>([=](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}
GATUN_INLINE I32 max_i32(I32 a, I32 b) {
  return lanes<I32>([=](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}

template <int kLow, int kHigh>
GATUN_INLINE Bytes pack_i32(I32 a, I32 b, I32 c, I32 d) {
  const I32 quarters[] = {a, b, c, d};
  return bytes([&](int i) {
    const int32_t lane = quarters[i / kLanes].lane[i % kLanes];
    return lane < kLow ? kLow : lane > kHigh ? kHigh : lane;
  });
}
GATUN_INLINE Bytes pack_i8(I32 a, I32 b, I32 c, I32 d) { return pack_i32<-128, 127>(a, b, c, d); }
GATUN_INLINE Bytes pack_u8(I32 a, I32 b, I32 c, I32 d) { return pack_i32<0, 255>(a, b, c, d); }

GATUN_INLINE Bytes set1_u8(uint8_t x) {
  return bytes([=](int) { return x; });
}
GATUN_INLINE Bytes min_u8(Bytes a, Bytes b) {
  return bytes([&](int i) { return a.byte[i] < b.byte[i] ? a.byte[i] : b.byte[i]; });
}

GATUN_INLINE Bytes max_i8(Bytes a, Bytes b) {
  return bytes([&](int i) {
    const int8_t left = static_cast<int8_t>(a.byte[i]), right = static_cast<int8_t>(b.byte[i]);
    return left > right ? left : right;
  });
}

template <int E>
GATUN_INLINE Bytes keep_bits(Bytes x, uint64_t bits) {
  return bytes([=](int i) { return bits >> i / E & 1 ? x.byte[i] : 0; });
}

GATUN_INLINE Bytes low_nibbles(Bytes x) {
  return bytes([=](int i) { return x.byte[i] & 15; });
}
GATUN_INLINE Bytes high_nibbles(Bytes x) {
  return bytes([=](int i) { return x.byte[i] >> 4; });
}
GATUN_INLINE Bytes broadcast4(const int8_t* p) {
  return bytes([=](int i) { return p[i % 4]; });
}
GATUN_INLINE I32 truncate_to_i32(F32 a) {
  return lanes<I32>([=](int i) { return static_cast<int32_t>(a.lane[i]); });
}
GATUN_INLINE F32 copy_sign(F32 magnitude, F32 sign) {
  return lanes<F32>([=](int i) { return __builtin_copysignf(magnitude.lane[i], sign.lane[i]); });
}
template <int N, int I>
GATUN_INLINE void store_part(uint8_t* p, Bytes x) {
  std::memcpy(p, x.byte + I * (4 * kLanes / N), 4 * kLanes / N);
}
GATUN_INLINE uint32_t equal_mask(I32 a, I32 b) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= uint32_t{a.lane[i] == b.lane[i]} << i;
  return mask;
}
GATUN_INLINE uint32_t greater_mask(I32 a, I32 b) {
  uint32_t mask = 0;
  for (int i = 0; i < kLanes; ++i) mask |= uint32_t{a.lane[i] > b.lane[i]} << i;
  return mask;
}
GATUN_INLINE I32 reduce_max_each(const I32 (&x)[kLanes]) {
  return lanes<I32>([&](int l) {
    int32_t largest = x[l].lane[0];
    for (int i = 1; i < kLanes; ++i) largest = x[l].lane[i] > largest ? x[l].lane[i] : largest;
    return largest;
  });
}
struct Table16 {
  float entry[16];
};
GATUN_INLINE Table16 load_table16(const float* p) {
  Table16 table;
  for (int i = 0; i < 16; ++i) table.entry[i] = get(p, i);
  return table;
}
GATUN_INLINE F32 lookup_f32(const Table16& table, I32 index) {
  return lanes<F32>([&](int i) { return table.entry[index.lane[i]]; });
}
struct Table32 {
  Table16 low, high;
};
GATUN_INLINE Table32 load_table32(const float* p) { return {load_table16(p), load_table16(p + 16)}; }
GATUN_INLINE F32 lookup_f32(const Table32& table, I32 index) {
  return lanes<F32>([&](int i) { return (index.lane[i] < 16 ? table.low : table.high).entry[index.lane[i] % 16]; });
}
GATUN_INLINE F32 gather_f32(const float* table, I32 index) {
  return lanes<F32>([=](int i) { return get(table, index.lane[i]); });
}
GATUN_INLINE Bytes broadcast16(const uint8_t* p) {
  return bytes([=](int i) { return p[i % 16]; });
}
GATUN_INLINE Bytes lookup16(Bytes table, Bytes index) {
  return bytes([=](int i) { return table.byte[index.byte[i]]; });
}
template <int J>
GATUN_INLINE I32 byte_lane(Bytes x) {
  return lanes<I32>([=](int i) { return x.byte[4 * i + J]; });
}
template <int J>
GATUN_INLINE I32 nibble_lane(Bytes x) {
  return lanes<I32>([=](int i) { return x.byte[4 * i + J / 2] >> 4 * (J % 2) & 15; });
}

GATUN_INLINE I32 dot_u8_i8(I32 sum, Bytes w, Bytes a) {
  return lanes<I32>([=](int i) {
    int32_t total = sum.lane[i];
    for (int j = 4 * i; j < 4 * i + 4; ++j) total += w.byte[j] * static_cast<int8_t>(a.byte[j]);
    return total;
  });
}
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w, Bytes a) { return dot_u8_i8(sum, w, a); }
inline constexpr bool kPairedDots = false;
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w0, Bytes a0, Bytes w1, Bytes a1) { return dot_u4(dot_u4(sum, w0, a0), w1, a1); }

inline constexpr int kU8Bias = 0;
using U8Weights = Bytes;
GATUN_INLINE U8Weights prepare_u8(Bytes w) { return w; }
GATUN_INLINE I32 dot_u8(I32 sum, U8Weights w, Bytes a) { return dot_u8_i8(sum, w, a); }
inline constexpr int kI8Bias = 128;
using I8Weights = Bytes;
GATUN_INLINE I8Weights prepare_i8(Bytes w) { return w; }
GATUN_INLINE I32 dot_i8(I32 sum, I8Weights w, Bytes x) { return dot_u8_i8(sum, x, w); }

GATUN_INLINE F32 repeat4(const float* p) { return load_f32(p); }
template <int I>
GATUN_INLINE F32 repeat_lane(F32 x) {
  return lanes<F32>([=](int) { return x.lane[I]; });
}
GATUN_INLINE Bytes as_bytes(I32 x) {
  Bytes result;
  std::memcpy(&result, &x, sizeof(result));
  return result;
}
GATUN_INLINE I32 as_lanes(Bytes x) {
  I32 result;
  std::memcpy(&result, &x, sizeof(result));
  return result;
}
GATUN_INLINE Bytes sub_bytes(Bytes a, Bytes b) {
  return bytes([=](int i) { return a.byte[i] - b.byte[i]; });
}
GATUN_INLINE I32 load_u16_i32(const uint16_t* p) {
  return lanes<I32>([=](int i) { return get(p, i); });
}
template <int N>
GATUN_INLINE F32 select_f32(const float* window, I32 index) {
  return gather_f32(window, index);
}
inline constexpr int kLeastWindow = 64;
template <int N>
GATUN_INLINE Bytes select_bytes(const uint8_t* window, Bytes index) {
  return bytes([=](int i) { return window[index.byte[i]]; });
}
template <int kBits, int I>
GATUN_INLINE Bytes spread_bytes(I32 x) {
  return bytes([=](int i) { return static_cast<uint32_t>(x.lane[i / 4]) >> (4 * kBits * I % 32 + kBits * (i % 4)); });
}

GATUN_INLINE Bytes add_where_less(const F32 (&a)[4], const F32 (&b)[4], Bytes x, int amount) {
  return bytes([&](int i) {
    return x.byte[i] + (a[i / kLanes].lane[i % kLanes] < b[i / kLanes].lane[i % kLanes] ? amount : 0);
  });
}
GATUN_INLINE I32 add_where_less(F32 a, F32 b, I32 x, int amount) {
  return lanes<I32>([&](int i) { return x.lane[i] + (a.lane[i] < b.lane[i] ? amount : 0); });
}
GATUN_INLINE Bytes select_negative(const F32 (&x)[4], Bytes a, Bytes b) {
  return bytes([&](int i) { return float_bits(x[i / kLanes].lane[i % kLanes]) >> 31 != 0 ? a.byte[i] : b.byte[i]; });
}
GATUN_INLINE Bytes add_bytes(Bytes x, int amount) {
  return bytes([=](int i) { return x.byte[i] + amount; });
}

GATUN_INLINE void store_u16(uint16_t* p, I32 x) {
  for (int i = 0; i < kLanes; ++i) put(p, i, static_cast<uint16_t>(x.lane[i]));
}
template <int X>
GATUN_INLINE I32 swap_lanes(I32 x) {
  return lanes<I32>([&](int i) { return x.lane[i ^ X]; });
}
GATUN_INLINE I32 compress_lanes(I32 x, uint32_t mask) {
  I32 result = x;
  for (int i = 0, count = 0; i < kLanes; ++i) {
    if (mask >> i & 1) result.lane[count++] = x.lane[i];
  }
  return result;
}

GATUN_INLINE F32 widen_f16(I32 x) {
  return lanes<F32>([=](int i) { return f16_to_f32(static_cast<uint16_t>(x.lane[i])); });
}
GATUN_INLINE I32 load_u6_i32(const uint8_t* p) {
  const uint32_t quad = uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16;
  return lanes<I32>([=](int i) { return static_cast<int32_t>(quad >> 6 * i & 63); });
}
GATUN_INLINE void store_sixes_n(uint8_t* p, Bytes x, int n) {
  for (int i = 0; i < n; i += 4) {
    uint32_t quad = 0;
    for (int j = i; j < n && j < i + 4; ++j) quad |= uint32_t{x.byte[j]} << 6 * (j - i);
    for (int byte = 0; byte < 3 && i / 4 * 3 + byte < bytes_of_sixes(n); ++byte) {
      p[i / 4 * 3 + byte] = static_cast<uint8_t>(quad >> 8 * byte);
    }
  }
}
GATUN_INLINE void store_sixes(uint8_t* p, Bytes x) { store_sixes_n(p, x, 4 * kLanes); }

}  // namespace gatun::GATUN_ISA

#include "simd/tables_in_memory.h"
