// Keys and values that are floats: products in f32, or in bf16 with f32 sums.
//
//   products[r][j]  = sum over c of q[r][c] k[j][c]      a sum in each lane, folded together for kLanes keys at a time
//   sums[r][c]     += sum over j of weights[r][j] v[j][c]    kColumns vectors of c for all rows in registers
#pragma once

#include "decode/codes.h"
#include "decode/kernel.h"
#include "simd/elements.h"
#include "simd/small_floats.h"
#include "simd/transpose.h"

namespace gatun::GATUN_ISA {
namespace {

inline constexpr int kColumns = 4;

// Exponent and mantissa as those of an f32 that is 2^120 times too small, subnormals included; 480 stands for NaN.
struct f8e4m3 {
  using Type = uint8_t;
  static GATUN_INLINE F32 widen(I32 code) {
    const F32 magnitude = mul(as_f32(shift_left<20>(and_i32(code, set1_i32(127)))), set1(0x1p120f));
    return copy_sign(select_less(magnitude, set1(464.0f), magnitude, set1(__builtin_nanf(""))),
                     as_f32(shift_left<24>(code)));
  }
  static GATUN_INLINE F32 load(const Type* p) { return widen(load_u8_i32(p)); }
  static GATUN_INLINE F32 load_n(const Type* p, int n) { return widen(load_u8_i32_n(p, n)); }
};

// The upper half of an f16.
struct f8e5m2 {
  using Type = uint8_t;
  static GATUN_INLINE F32 load(const Type* p) { return widen_f16(shift_left<8>(load_u8_i32(p))); }
  static GATUN_INLINE F32 load_n(const Type* p, int n) { return widen_f16(shift_left<8>(load_u8_i32_n(p, n))); }
};

template <class Element>
GATUN_INLINE F32 load_channels(const uint8_t* row, int first, int size) {
  const auto* at = reinterpret_cast<const typename Element::Type*>(row) + first;
  return size - first >= kLanes ? Element::load(at) : Element::load_n(at, size - first);
}

// Sums in lanes of kRows rows and each key, by multiply(row of the key, sums), to products.
template <int kRows, class Multiply>
GATUN_INLINE void fold_products(const decode::Side& side, const decode::Tile& tile, const decode::Tile* ahead,
                                float* products, Multiply&& multiply) {
  for (int j = 0; j < tile.count; j += kLanes) {
    F32 four[kRows][kLanes / 4];
    for (int i = 0; i < kLanes; i += 4) {
      F32 sums[kRows][4];
      for (int k = 0; k < 4; ++k) {
        if (ahead != nullptr) fetch_rows<1>(side, *ahead, j + i + k);
        F32 sum[kRows];
        multiply(j + i + k, sum);
        for (int r = 0; r < kRows; ++r) sums[r][k] = sum[r];
      }
      for (int r = 0; r < kRows; ++r) four[r][i / 4] = fold_four(sums[r]);
    }
    for (int r = 0; r < kRows; ++r) store_f32(products + r * decode::kTileKeys + j, fold_quarters(four[r]));
  }
}

template <class Element>
struct FloatKeys {
  struct Query {
    float q[decode::kBlockRows][decode::kMaxSize];
  };

  static void prepare(const decode::Side&, const float* q, int rows, const uint16_t*, const uint16_t*,
                      uint8_t* memory) {
    __builtin_memcpy(memory, q, static_cast<size_t>(rows) * sizeof(Query::q[0]));
  }

  static void multiply(const decode::Side& side, const decode::Tile& tile, const uint8_t* memory, int rows,
                       const decode::Tile* ahead, float* products) {
    const Query& query = *reinterpret_cast<const Query*>(memory);
    for_rows(rows, [&](int row, auto count) {
      constexpr int kRows = decltype(count)::value;
      const auto multiply_key = [&](int j, F32(&sum)[kRows]) GATUN_INLINE_LAMBDA {
        for (int r = 0; r < kRows; ++r) sum[r] = zero_f32();
        for (int c = 0; c < side.size; c += kLanes) {
          const F32 k = load_channels<Element>(tile.rows[j], c, side.size);
          for (int r = 0; r < kRows; ++r) sum[r] = fma(k, load_f32(query.q[row + r] + c), sum[r]);
        }
      };
      fold_products<kRows>(side, tile, row == 0 ? ahead : nullptr, products + row * decode::kTileKeys, multiply_key);
    });
  }
};

template <class Element>
struct FloatValues {
  template <int kRows, int kVectors>
  static GATUN_INLINE void add_columns(const decode::Side& side, const decode::Tile& tile, const decode::Tile* ahead,
                                       int first, const float* weights, float* sums) {
    F32 sum[kRows][kVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) sum[r][v] = load_f32(sums + r * decode::kMaxSize + first + v * kLanes);
    }
    for (int j = 0; j < tile.count; ++j) {
      if (ahead != nullptr) fetch_rows<1>(side, *ahead, j);
      F32 x[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        x[v] = load_channels<Element>(tile.rows[j], first + v * kLanes, kVectors == 1 ? side.size : decode::kMaxSize);
      }
      for (int r = 0; r < kRows; ++r) {
        const F32 weight = set1(weights[r * decode::kTileKeys + j]);
        for (int v = 0; v < kVectors; ++v) sum[r][v] = fma(x[v], weight, sum[r][v]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) store_f32(sums + r * decode::kMaxSize + first + v * kLanes, sum[r][v]);
    }
  }

  static void multiply(const decode::Side& side, const decode::Tile& tile, const float* weights, int rows,
                       const decode::Tile* ahead, float* sums) {
    for_rows(rows, [&](int row, auto count) {
      constexpr int kRows = decltype(count)::value;
      const float* const from = weights + row * decode::kTileKeys;
      float* const to = sums + row * decode::kMaxSize;
      int c = 0;
      for (; c + kColumns * kLanes <= side.size; c += kColumns * kLanes) {
        add_columns<kRows, kColumns>(side, tile, row + c == 0 ? ahead : nullptr, c, from, to);
      }
      for (; c < side.size; c += kLanes) add_columns<kRows, 1>(side, tile, row + c == 0 ? ahead : nullptr, c, from, to);
    });
  }

  static int position_of(int channel) { return channel; }
};

#if defined(__AVX512BF16__)

inline constexpr int kWords = 2 * kLanes;  // bf16 numbers in a vector

GATUN_INLINE Bytes load_words(const uint8_t* row, int first, int size) {
  const int left = 2 * (size - first);
  return left >= kVectorBytes ? load_bytes(row + 2 * first) : load_bytes_n(row + 2 * first, left);
}

struct Bf16Keys {
  struct Query {
    uint16_t q[decode::kBlockRows][decode::kMaxSize];
  };

  static void prepare(const decode::Side&, const float* q, int rows, const uint16_t*, const uint16_t*,
                      uint8_t* memory) {
    Query& query = *reinterpret_cast<Query*>(memory);
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < decode::kMaxSize; c += kLanes) {
        store_bf16(query.q[r] + c, load_f32(q + r * decode::kMaxSize + c));
      }
    }
  }

  static void multiply(const decode::Side& side, const decode::Tile& tile, const uint8_t* memory, int rows,
                       const decode::Tile* ahead, float* products) {
    const Query& query = *reinterpret_cast<const Query*>(memory);
    for_rows(rows, [&](int row, auto count) {
      constexpr int kRows = decltype(count)::value;
      const auto multiply_key = [&](int j, F32(&sum)[kRows]) GATUN_INLINE_LAMBDA {
        for (int r = 0; r < kRows; ++r) sum[r] = zero_f32();
        for (int c = 0; c < side.size; c += kWords) {
          const Bytes k = load_words(tile.rows[j], c, side.size);
          for (int r = 0; r < kRows; ++r) {
            sum[r] = dot_bf16(sum[r], k, load_bytes(reinterpret_cast<const uint8_t*>(query.q[row + r] + c)));
          }
        }
      };
      fold_products<kRows>(side, tile, row == 0 ? ahead : nullptr, products + row * decode::kTileKeys, multiply_key);
    });
  }
};

// Two keys at a time: their values of a channel lie side by side, as do their weights.
struct Bf16Values {
  template <int kRows, int kVectors>
  static GATUN_INLINE void add_columns(const decode::Side& side, const decode::Tile& tile, const decode::Tile* ahead,
                                       int first, const uint16_t* weights, float* sums) {
    constexpr int kPairs = kVectors / 2;
    F32 sum[kRows][kVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) sum[r][v] = load_f32(sums + r * decode::kMaxSize + first + v * kLanes);
    }
    for (int j = 0; j < tile.count; j += 2) {
      if (ahead != nullptr) fetch_rows<2>(side, *ahead, j);
      Bytes x[kVectors];
      for (int v = 0; v < kPairs; ++v) {
        const int column = first + v * kWords, size = kVectors == 2 ? side.size : decode::kMaxSize;
        const Bytes a = load_words(tile.rows[j], column, size), b = load_words(tile.rows[j + 1], column, size);
        x[2 * v] = interleave_first(a, b);
        x[2 * v + 1] = interleave_last(a, b);
      }
      for (int r = 0; r < kRows; ++r) {
        const Bytes pair = broadcast4(reinterpret_cast<const int8_t*>(weights + r * decode::kTileKeys + j));
        for (int v = 0; v < kVectors; ++v) sum[r][v] = dot_bf16(sum[r][v], x[v], pair);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) store_f32(sums + r * decode::kMaxSize + first + v * kLanes, sum[r][v]);
    }
  }

  static void multiply(const decode::Side& side, const decode::Tile& tile, const float* weights, int rows,
                       const decode::Tile* ahead, float* sums) {
    for_rows(rows, [&](int row, auto count) {
      constexpr int kRows = decltype(count)::value;
      const float* const from = weights + row * decode::kTileKeys;
      float* const to = sums + row * decode::kMaxSize;
      uint16_t rounded[kRows * decode::kTileKeys];
      for (int i = 0; i < kRows * decode::kTileKeys; i += 2 * kLanes) {
        store_bf16_of_two(rounded + i, load_f32(from + i), load_f32(from + i + kLanes));
      }
      int c = 0;
      for (; c + kColumns * kLanes <= side.size; c += kColumns * kLanes) {
        add_columns<kRows, kColumns>(side, tile, row + c == 0 ? ahead : nullptr, c, rounded, to);
      }
      for (; c < side.size; c += kWords)
        add_columns<kRows, 2>(side, tile, row + c == 0 ? ahead : nullptr, c, rounded, to);
    });
  }

  static int position_of(int channel) { return channel; }
};

#endif

}  // namespace
}  // namespace gatun::GATUN_ISA
