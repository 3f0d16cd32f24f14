// Keys and values that are floats: products in f32, or in bf16 with f32 sums.
//
//   products[r][j]  = sum over c of q[r][c] k[j][c]      a sum in each lane, folded together for kLanes keys at a time
//   sums[r][c]     += sum over j of weights[r][j] v[j][c]    some vectors of c of all rows in registers
#pragma once

#include "decode/codes.h"
#include "decode/kernel.h"
#include "simd/elements.h"
#include "simd/small_floats.h"
#include "simd/transpose.h"

namespace gatun::GATUN_ISA {
namespace {

// body(first channel, vectors) over a row's channels, as many vectors of sums of each row as registers hold: 8 of one
// row, which so takes lines in the order of memory (one pass of 128 channels in place of two: 11 -> 8 cycles a key in
// bf16), then 4, then kLeast at a time.
template <int kRows, int kLeast, class Body>
GATUN_INLINE void for_columns(int size, Body&& body) {
  int c = 0;
  if constexpr (kRows == 1 && kLanes == 16) {
    for (; c + 8 * kLanes <= size; c += 8 * kLanes) body(c, Index<8>());
  }
  for (; c + 4 * kLanes <= size; c += 4 * kLanes) body(c, Index<4>());
  for (; c < size; c += kLeast * kLanes) body(c, Index<kLeast>());
}

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

// Keys that are multiplied together, each with so many sums: a vector of q is read once for all of them.
constexpr int keys_together(int sums_of_key) {
  int keys = 4;
  while (keys > 1 && keys * sums_of_key > kLanes) keys /= 2;
  return keys;
}

// Sums in lanes (F32 or I32) of kRows rows and kKeys keys at a time, by multiply(first key, sums), folded together;
// store(row, first key, vector) of kLanes keys.
template <class Sum, int kRows, int kKeys, class Multiply, class Store>
GATUN_INLINE void fold_products(const decode::Tile& tile, const Fetch& fetch, Multiply&& multiply, Store&& store) {
  for (int j = 0; j < tile.count; j += kLanes) {
    Sum four[kRows][kLanes / 4];
    for (int i = 0; i < kLanes; i += 4) {
      Sum sums[kRows][4];
      for_each_index<4 / kKeys>([&](auto index) GATUN_INLINE_LAMBDA {
        constexpr int kFirst = decltype(index)::value * kKeys;
        fetch.beside<kKeys>(j + i + kFirst);
        Sum some[kRows][kKeys];
        multiply(j + i + kFirst, some);
        for (int r = 0; r < kRows; ++r) {
          for (int k = 0; k < kKeys; ++k) sums[r][kFirst + k] = some[r][k];
        }
      });
      for (int r = 0; r < kRows; ++r) four[r][i / 4] = fold_four(sums[r]);
    }
    for (int r = 0; r < kRows; ++r) store(r, j, fold_quarters(four[r]));
  }
}

template <int kRows, int kKeys>
GATUN_INLINE void clear(F32 (&sum)[kRows][kKeys]) {
  for (int r = 0; r < kRows; ++r) {
    for (int k = 0; k < kKeys; ++k) sum[r][k] = zero_f32();
  }
}

// body(c, whole) for each vector of a row of `size` elements, the last of which may not be whole.
template <int kElements, class Body>
GATUN_INLINE void for_vectors(int size, Body&& body) {
  int c = 0;
  for (; c + kElements <= size; c += kElements) body(c, Index<true>());
  if (c < size) body(c, Index<false>());
}

// Numbers of keys and q, and how vectors of them are multiplied: in f32.
template <class Element>
struct InF32 {
  using Key = typename Element::Type;
  using Number = float;  // of q
  using Vector = F32;
  static constexpr int kElements = kLanes;
  static GATUN_INLINE void store_q(float* to, F32 x) { store_f32(to, x); }
  static GATUN_INLINE F32 load_q(const float* q) { return load_f32(q); }
  static GATUN_INLINE F32 load(const Key* k) { return Element::load(k); }
  static GATUN_INLINE F32 load_n(const Key* k, int n) { return Element::load_n(k, n); }
  static GATUN_INLINE F32 multiply_add(F32 sum, F32 k, F32 q) { return fma(k, q, sum); }
};

template <class Arithmetic>
struct DirectKeys {
  using Key = typename Arithmetic::Key;
  struct Query {
    typename Arithmetic::Number q[decode::kBlockRows][decode::kMaxSize];
  };

  static void prepare(const decode::Side&, const float* q, int rows, const uint16_t*, const uint16_t*,
                      uint8_t* memory) {
    Query& query = *reinterpret_cast<Query*>(memory);
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < decode::kMaxSize; c += kLanes) {
        Arithmetic::store_q(query.q[r] + c, load_f32(q + r * decode::kMaxSize + c));
      }
    }
  }

  static void multiply(const decode::Side& side, const decode::Tile& tile, const uint8_t* memory, int rows,
                       const decode::Tile* ahead, float* products) {
    const Query& query = *reinterpret_cast<const Query*>(memory);
    const Fetch fetch(tile, ahead, 0, 1);
    with_rows(rows, [&](auto count) {
      constexpr int kRows = decltype(count)::value;
      constexpr int kKeys = keys_together(kRows);
      const auto multiply_keys = [&](int j, F32(&sum)[kRows][kKeys]) GATUN_INLINE_LAMBDA {
        clear(sum);
        for_vectors<Arithmetic::kElements>(side.size, [&](int c, auto whole) GATUN_INLINE_LAMBDA {
          typename Arithmetic::Vector x[kKeys];
          for (int k = 0; k < kKeys; ++k) {
            const Key* const at = reinterpret_cast<const Key*>(tile.rows[j + k]) + c;
            x[k] = decltype(whole)::value ? Arithmetic::load(at) : Arithmetic::load_n(at, side.size - c);
          }
          for (int r = 0; r < kRows; ++r) {
            const typename Arithmetic::Vector q = Arithmetic::load_q(query.q[r] + c);
            for (int k = 0; k < kKeys; ++k) sum[r][k] = Arithmetic::multiply_add(sum[r][k], x[k], q);
          }
        });
      };
      fold_products<F32, kRows, kKeys>(tile, fetch, multiply_keys, [&](int r, int j, F32 x) GATUN_INLINE_LAMBDA {
        store_f32(products + r * decode::kTileKeys + j, x);
      });
    });
  }
};
template <class Element>
using FloatKeys = DirectKeys<InF32<Element>>;

template <class Element>
struct FloatValues {
  template <int kRows, int kVectors>
  static GATUN_INLINE void add_columns(const decode::Side& side, const decode::Tile& tile, const Fetch& fetch,
                                       int first, const float* weights, float* sums) {
    F32 sum[kRows][kVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) sum[r][v] = load_f32(sums + r * decode::kMaxSize + first + v * kLanes);
    }
    for (int j = 0; j < tile.count; ++j) {
      fetch.beside<1>(j);
      F32 x[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        const int column = first + v * kLanes;
        x[v] = kVectors == 1 ? load_channels<Element>(tile.rows[j], column, side.size)
                             : Element::load(reinterpret_cast<const typename Element::Type*>(tile.rows[j]) + column);
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
    with_rows(rows, [&](auto count) {
      constexpr int kRows = decltype(count)::value;
      int pass = 0, passes = 0;
      for_columns<kRows, 1>(side.size, [&](int, auto) { ++passes; });
      for_columns<kRows, 1>(side.size, [&](int c, auto vectors) {
        constexpr int kVectors = decltype(vectors)::value;
        const Fetch fetch(tile, ahead, pass++, passes);
        add_columns<kRows, kVectors>(side, tile, fetch, c, weights, sums);
      });
    });
  }

  static int position_of(int channel) { return channel; }
};

#if defined(__AVX512BF16__)

inline constexpr int kWords = 2 * kLanes;  // bf16 numbers in a vector

struct InBf16 {
  using Key = uint16_t;
  using Number = uint16_t;
  using Vector = Bytes;
  static constexpr int kElements = kWords;
  static GATUN_INLINE void store_q(uint16_t* to, F32 x) { store_bf16(to, x); }
  static GATUN_INLINE Bytes load_q(const uint16_t* q) { return load(q); }
  static GATUN_INLINE Bytes load(const uint16_t* k) { return load_bytes(reinterpret_cast<const uint8_t*>(k)); }
  static GATUN_INLINE Bytes load_n(const uint16_t* k, int n) {
    return load_bytes_n(reinterpret_cast<const uint8_t*>(k), 2 * n);
  }
  static GATUN_INLINE F32 multiply_add(F32 sum, Bytes k, Bytes q) { return dot_bf16(sum, k, q); }
};
using Bf16Keys = DirectKeys<InBf16>;

// Two keys at a time: their values of a channel lie side by side, as do their weights. Sums are in the order of
// interleaved words.
struct Bf16Values {
  template <int kRows, int kVectors>
  static GATUN_INLINE void add_columns(const decode::Side& side, const decode::Tile& tile, const Fetch& fetch,
                                       int first, const uint16_t* weights, float* sums) {
    constexpr int kPairs = kVectors / 2;
    F32 sum[kRows][kVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) sum[r][v] = load_f32(sums + r * decode::kMaxSize + first + v * kLanes);
    }
    for (int j = 0; j < tile.count; j += 2) {
      fetch.beside<2>(j);
      Bytes x[kPairs][2];
      for (int v = 0; v < kPairs; ++v) {
        const auto load = [&](const uint8_t* row) GATUN_INLINE_LAMBDA {
          const int column = first + v * kWords;
          return held(load_left(row + 2 * column, kPairs == 1 ? 2 * (side.size - column) : kVectorBytes));
        };
        const Bytes a = load(tile.rows[j]), b = load(tile.rows[j + 1]);
        interleave2(a, b, x[v]);
      }
      for (int r = 0; r < kRows; ++r) {
        const Bytes pair = broadcast4(reinterpret_cast<const int8_t*>(weights + r * decode::kTileKeys + j));
        for (int v = 0; v < kVectors; ++v) sum[r][v] = dot_bf16(sum[r][v], x[v / 2][v % 2], pair);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) store_f32(sums + r * decode::kMaxSize + first + v * kLanes, sum[r][v]);
    }
  }

  static void multiply(const decode::Side& side, const decode::Tile& tile, const float* weights, int rows,
                       const decode::Tile* ahead, float* sums) {
    with_rows(rows, [&](auto count) {
      constexpr int kRows = decltype(count)::value;
      uint16_t rounded[kRows * decode::kTileKeys];
      for (int i = 0; i < kRows * decode::kTileKeys; i += 2 * kLanes) {
        store_bf16_of_two(rounded + i, load_f32(weights + i), load_f32(weights + i + kLanes));
      }
      int pass = 0, passes = 0;
      for_columns<kRows, 2>(side.size, [&](int, auto) { ++passes; });
      for_columns<kRows, 2>(side.size, [&](int c, auto vectors) {
        constexpr int kVectors = decltype(vectors)::value;
        const Fetch fetch(tile, ahead, pass++, passes);
        add_columns<kRows, kVectors>(side, tile, fetch, c, rounded, sums);
      });
    });
  }

  static int position_of(int channel) {
    const int word = channel % kWords;
    return channel - word + word / 4 % 2 * kLanes + word / 8 * 4 + word % 4;
  }
};

#endif

}  // namespace
}  // namespace gatun::GATUN_ISA
