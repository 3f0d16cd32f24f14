// Products of q and keys of codes, in integers:
//
//   product[r][j] = s_q[r] sum over groups g of (s[j][g] sum over c in g of q[r][c] (k[j][c] - bias)
//                                                + z[j][g] sum over c in g of q[r][c])
//
// q[r][c] are multiples of amax / 16256 as two int8 (kParts = 2), or of amax / 127 as one. Scales of channels are
// folded into q before, their zero points become one number for each row. Sums are within 255 * 16256 * 256 = 1.06e9 <
// 2^31.
//
// A lane has the sum of 4 bytes of each vector of the row: of channels of one group, since a group's codes take a
// multiple of 4 bytes.
#pragma once

#include "decode/codes.h"
#include "decode/floats.h"

namespace gatun::GATUN_ISA {
namespace {

// What comes below is 0: 1 / scale would not be finite.
inline constexpr float kLeastQuery = 0x1p-100f;

template <class Codes, int kParts>
struct CodeKeys {
  static constexpr int kMaxLanes = decode::kMaxSize / 4;  // of the vectors of a row

  struct Query {
    alignas(64) int8_t code[decode::kBlockRows][kParts][decode::kMaxSize];  // [(v * kPer + s) * kVectorBytes + byte]
    int32_t start[decode::kBlockRows][kMaxLanes];                           // minus what the bias of codes adds
    int32_t whole_start[decode::kBlockRows];                                // the sum of these
    float lane_sum[decode::kBlockRows][kMaxLanes];                          // of q, by lanes
    int32_t group[kMaxLanes];
    float scale[decode::kBlockRows], offset[decode::kBlockRows];
    float sum[decode::kBlockRows];  // of q
  };

  static void prepare(const decode::Side& side, const float* q, int rows, const uint16_t* scales, const uint16_t* zeros,
                      uint8_t* memory) {
    Query& query = *reinterpret_cast<Query*>(memory);
    const int lanes = (side.row_bytes + kVectorBytes - 1) / kVectorBytes * kLanes;
    for (int l = 0; l < lanes; ++l) {
      const int group = side.per_token ? 4 * l * Codes::kPer / side.group : 0;
      query.group[l] = group < side.groups ? group : side.groups - 1;
    }
    for (int r = 0; r < rows; ++r) prepare_row(side, q + r * decode::kMaxSize, scales, zeros, lanes, r, query);
  }

  static void prepare_row(const decode::Side& side, const float* q, const uint16_t* scales, const uint16_t* zeros,
                          int lanes, int r, Query& query) {
    alignas(64) float scaled[decode::kMaxSize];
    F32 largest = zero_f32();
    float offset = 0, nan = 0;
    for (int c = 0; c < decode::kMaxSize; c += kLanes) {
      F32 x = load_f32(q + c);
      if (scales != nullptr) {
        const bool any = c < side.size;
        x = any ? mul(x, load_channels<f16>(reinterpret_cast<const uint8_t*>(scales), c, side.size)) : zero_f32();
        if (any && zeros != nullptr) {
          const F32 z = load_channels<f16>(reinterpret_cast<const uint8_t*>(zeros), c, side.size);
          offset += reduce_add(mul(load_f32(q + c), z));
        }
      }
      nan += reduce_add(mul(x, zero_f32()));
      largest = max(abs(x), largest);
      store_f32(scaled + c, x);
    }
    constexpr float kSteps = kParts == 2 ? decode::kFineSteps : 127;
    const float amax = reduce_max(largest);
    const bool finite = nan == 0, any = finite && amax >= kLeastQuery;
    const float scale = finite ? (any ? amax / kSteps : 0) : __builtin_nanf(""), inverse = any ? 1 / scale : 0;
    alignas(64) int32_t code[decode::kMaxSize];
    for (int c = 0; c < decode::kMaxSize; c += kLanes) {
      const F32 x = any ? mul(load_f32(scaled + c), set1(inverse)) : zero_f32();
      store_i32(code + c, max_i32(set1_i32(-static_cast<int32_t>(kSteps)),
                                  min_i32(round_to_i32(x), set1_i32(static_cast<int32_t>(kSteps)))));
    }
    const int bias = Codes::kPer > 1 && side.zeros ? 0 : Codes::kBias;
    int32_t total = 0;
    query.whole_start[r] = 0;
    for (int l = 0; l < lanes; ++l) {
      const int v = l / kLanes, first = (l - v * kLanes) * 4;
      int32_t sum = 0;
      for (int s = 0; s < Codes::kPer; ++s) {
        for (int b = first; b < first + 4; ++b) {
          const int c = (v * kVectorBytes + b) * Codes::kPer + s;
          const int32_t x = c < decode::kMaxSize ? code[c] : 0;
          int8_t* const at = &query.code[r][0][(v * Codes::kPer + s) * kVectorBytes + b];
          sum += x;
          if constexpr (kParts == 2) {
            const Halves halves = halves_of(x);
            at[0] = halves.high;
            at[decode::kMaxSize] = halves.low;
          } else {
            at[0] = static_cast<int8_t>(x);
          }
        }
      }
      query.start[r][l] = -bias * sum;
      query.whole_start[r] -= bias * sum;
      query.lane_sum[r][l] = static_cast<float>(sum);
      total += sum;
    }
    query.scale[r] = scale;
    query.offset[r] = offset;
    query.sum[r] = static_cast<float>(total);
  }

  // Adds a vector of each key, number v of its row, to the lanes' sums of each row and part of q.
  template <int kRows, int kKeys>
  static GATUN_INLINE void dot_vectors(const Query& query, int v, const Bytes (&x)[kKeys],
                                       I32 (&sum)[kRows][kParts][kKeys]) {
    for_each_index<Codes::kPer>([&](auto index) GATUN_INLINE_LAMBDA {
      constexpr int kPart = decltype(index)::value;
      typename Codes::Weights w[kKeys];
      for (int k = 0; k < kKeys; ++k) w[k] = Codes::prepare(Codes::template part<kPart>(x[k]));
      for (int r = 0; r < kRows; ++r) {
        for (int p = 0; p < kParts; ++p) {
          const int8_t* const at = &query.code[r][p][(v * Codes::kPer + kPart) * kVectorBytes];
          const Bytes q = load_bytes(reinterpret_cast<const uint8_t*>(at));
          for (int k = 0; k < kKeys; ++k) sum[r][p][k] = Codes::dot(sum[r][p][k], w[k], q);
        }
      }
    });
  }
  template <int kKeys>
  static GATUN_INLINE I32 join(const I32 (&sum)[kParts][kKeys], int k) {
    return kParts == 2 ? add_i32(shift_left<7>(sum[0][k]), sum[kParts - 1][k]) : sum[0][k];
  }
  template <int kRows, int kKeys>
  static GATUN_INLINE void clear_parts(I32 (&sum)[kRows][kParts][kKeys]) {
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < kParts; ++p) {
        for (int k = 0; k < kKeys; ++k) sum[r][p][k] = zero_i32();
      }
    }
  }

  // The sums of kKeys rows; after_vector(lanes before it) may take them away after each vector.
  template <int kRows, int kKeys, class Body>
  static GATUN_INLINE void dot_rows(const decode::Side& side, const decode::Tile& tile, const Query& query, int j,
                                    I32 (&sum)[kRows][kParts][kKeys], Body&& after_vector) {
    clear_parts(sum);
    for_vectors<kVectorBytes>(side.row_bytes, [&](int b, auto whole) GATUN_INLINE_LAMBDA {
      Bytes x[kKeys];
      for (int k = 0; k < kKeys; ++k) {
        x[k] = load_left(tile.rows[j + k] + b, decltype(whole)::value ? kVectorBytes : side.row_bytes - b);
      }
      dot_vectors(query, b / kVectorBytes, x, sum);
      after_vector(b / 4);
    });
  }

  // One scale a key, or none: integers to the end.
  template <int kRows>
  static GATUN_INLINE void multiply_whole(const decode::Side& side, const decode::Tile& tile, const Query& query,
                                          const Fetch& fetch, float* products) {
    constexpr int kKeys = keys_together(kRows * kParts);
    const auto multiply_keys = [&](int j, I32(&sum)[kRows][kKeys]) GATUN_INLINE_LAMBDA {
      I32 parts[kRows][kParts][kKeys];
      dot_rows(side, tile, query, j, parts, [](int) {});
      for (int r = 0; r < kRows; ++r) {
        for (int k = 0; k < kKeys; ++k) sum[r][k] = join(parts[r], k);
      }
    };
    fold_products<I32, kRows, kKeys>(tile, fetch, multiply_keys, [&](int r, int j, I32 sum) GATUN_INLINE_LAMBDA {
      F32 x = to_f32(add_i32(sum, set1_i32(query.whole_start[r])));
      if (side.per_token) {
        x = mul(x, load_f32(tile.scales + j));
        if (side.zeros) x = fma(set1(query.sum[r]), load_f32(tile.zeros + j), x);
      }
      store_f32(products + r * decode::kTileKeys + j, fma(x, set1(query.scale[r]), set1(query.offset[r])));
    });
  }

  template <int kRows>
  static GATUN_INLINE void multiply_groups(const decode::Side& side, const decode::Tile& tile, const Query& query,
                                           const Fetch& fetch, float* products) {
    constexpr int kKeys = keys_together(2 * kRows * kParts);
    const auto multiply_keys = [&](int j, F32(&sum)[kRows][kKeys]) GATUN_INLINE_LAMBDA {
      clear(sum);
      I32 parts[kRows][kParts][kKeys];
      dot_rows(side, tile, query, j, parts, [&](int lane) GATUN_INLINE_LAMBDA {
        const I32 group = load_i32(query.group + lane);
        for (int k = 0; k < kKeys; ++k) {
          const F32 scale = lookup_f32(load_table16(tile.scales + (j + k) * side.groups), group);
          for (int r = 0; r < kRows; ++r) {
            const I32 product = add_i32(join(parts[r], k), load_i32(query.start[r] + lane));
            sum[r][k] = fma(to_f32(product), scale, sum[r][k]);
          }
          if (!side.zeros) continue;
          const F32 zero = lookup_f32(load_table16(tile.zeros + (j + k) * side.groups), group);
          for (int r = 0; r < kRows; ++r) sum[r][k] = fma(load_f32(query.lane_sum[r] + lane), zero, sum[r][k]);
        }
        clear_parts(parts);
      });
    };
    fold_products<F32, kRows, kKeys>(tile, fetch, multiply_keys, [&](int r, int j, F32 x) GATUN_INLINE_LAMBDA {
      store_f32(products + r * decode::kTileKeys + j, fma(x, set1(query.scale[r]), set1(query.offset[r])));
    });
  }

  static void multiply(const decode::Side& side, const decode::Tile& tile, const uint8_t* memory, int rows,
                       const decode::Tile* ahead, float* products) {
    const Query& query = *reinterpret_cast<const Query*>(memory);
    const Fetch fetch(tile, ahead, 0, 1);
    with_rows(rows, [&](auto count) {
      constexpr int kRows = decltype(count)::value;
      if (side.groups > 1) {
        multiply_groups<kRows>(side, tile, query, fetch, products);
      } else {
        multiply_whole<kRows>(side, tile, query, fetch, products);
      }
    });
  }
};

}  // namespace
}  // namespace gatun::GATUN_ISA
