// Values of codes, times weights, in integers:
//
//   sums[r][c] += s_w[r] (sum over j of w[r][j] (v[j][c] - bias)) + sum over j of weights[r][j] z[j]
//
// w[r][j] are weights[r][j] s[j], s the scale of the token and the group of c, as multiples of s_w = amax / 16256 of
// the tile: two int8. Scales of channels multiply the sums, their zero points go with the sum of the weights. Sums of
// integers are within 255 * 16256 * 64 = 2.7e8 < 2^31.
//
// A weight is wrong by at most 1/32512 of the largest one of 64, so a row of out by 64 / 32512 / (the sum of the tile's
// weights over the largest one, at least 1), below 2^-8 of its largest value: no more than if weights were rounded to
// bf16.
//
// Four rows' bytes are interleaved, so that a lane has four keys' codes of a channel. A position of sums is
// ((v * kPer + s) * 4 + i) * kLanes + l for part s of vector v and lane l of interleaved vector i.
#pragma once

#include "decode/codes.h"
#include "decode/floats.h"

namespace gatun::GATUN_ISA {
namespace {

inline constexpr float kLeastWeight = 0x1p-100f;  // what comes below is 0: 1 / scale would not be finite

alignas(64) inline constexpr int32_t kCount[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

template <class Codes>
struct CodeValues {
  static constexpr int kPer = Codes::kPer;

  // The weights of one row, for each group of channels.
  template <bool kGroups>
  struct Weights {
    static constexpr int kMost = kGroups ? decode::kMaxGroups : 1;
    alignas(64) int8_t code[2][decode::kTileKeys / 4][kMost][4];  // high and low, of four keys
    alignas(64) float scale[kMost];
    float offset[kMost];    // sum of weights[j] z[j], or of weights[j] where channels have scales
    int32_t excess[kMost];  // what the bias of codes adds
  };

  static int channel_of(int v, int s, int i, int l) { return (v * kVectorBytes + interleaved_byte(i, l)) * kPer + s; }
  static int position_of(int channel) {
    const int byte = channel / kPer, v = byte / kVectorBytes, b = byte % kVectorBytes;
    return ((v * kPer + channel % kPer) * 4 + b % 16 / 4) * kLanes + b / 16 * 4 + b % 4;
  }

  template <bool kGroups>
  static GATUN_INLINE void round_weights(const decode::Side& side, const decode::Tile& tile, const float* weights,
                                         int g, Weights<kGroups>& out) {
    alignas(64) float scaled[decode::kTileKeys];
    const auto of_group = [&](const float* scales, int j) GATUN_INLINE_LAMBDA {
      if (side.groups == 1) return load_f32(scales + j);
      const I32 keys = add_i32(load_i32(kCount), set1_i32(j));
      return gather_f32(scales + g, mul_i32(keys, set1_i32(side.groups)));
    };
    F32 largest = zero_f32(), nan = zero_f32(), offset = zero_f32();
    for (int j = 0; j < decode::kTileKeys; j += kLanes) {
      const F32 weight = load_f32(weights + j);
      F32 x = weight;
      if (side.per_token) {
        x = mul(x, of_group(tile.scales, j));
        if (side.zeros) offset = fma(weight, of_group(tile.zeros, j), offset);
      } else {
        offset = add(offset, weight);
      }
      largest = max(abs(x), largest);
      nan = fma(x, zero_f32(), nan);
      store_f32(scaled + j, x);
    }
    const float amax = reduce_max(largest);
    const bool finite = reduce_add(nan) == 0, any = finite && amax >= kLeastWeight;
    const float step = finite ? (any ? amax / decode::kFineSteps : 0) : __builtin_nanf("");
    const F32 inverse = set1(any ? 1 / step : 0);
    I32 sum = zero_i32();
    for (int j = 0; j < decode::kTileKeys; j += kLanes) {
      const I32 code = any ? round_to_i32(mul(load_f32(scaled + j), inverse)) : zero_i32();
      const I32 high = shift_right<7>(add_i32(code, set1_i32(64))), low = sub_i32(code, shift_left<7>(high));
      store_codes(out, 0, j, g, high);
      store_codes(out, 1, j, g, low);
      sum = add_i32(sum, code);
    }
    int32_t lanes[kLanes], all = 0;
    store_i32(lanes, sum);
    for (int l = 0; l < kLanes; ++l) all += lanes[l];
    out.scale[g] = step;
    out.offset[g] = reduce_add(offset);
    out.excess[g] = all * (kPer > 1 && side.zeros ? 0 : Codes::kBias);
  }

  template <bool kGroups>
  static GATUN_INLINE void store_codes(Weights<kGroups>& out, int half, int j, int g, I32 codes) {
    int8_t bytes[kLanes];
    store_i8(kGroups ? bytes : out.code[half][j / 4][0], codes);
    for (int i = 0; kGroups && i < kLanes / 4; ++i) std::memcpy(out.code[half][j / 4 + i][g], bytes + 4 * i, 4);
  }

  // Of part kPart of vector v, interleaved vectors kFirst .. kFirst + kVectors - 1.
  template <int kRows, bool kGroups, int kPart, int kFirst, int kVectors>
  static GATUN_INLINE void add_part(const decode::Side& side, const decode::Tile& tile, const Fetch& fetch,
                                    const Weights<kGroups>* weights, int v, const float* scales, const float* zeros,
                                    float* sums) {
    I32 group[kVectors];
    for (int i = 0; kGroups && i < kVectors; ++i) {
      int32_t index[kLanes];
      for (int l = 0; l < kLanes; ++l) {
        const int g = channel_of(v, kPart, kFirst + i, l) / side.group;
        index[l] = g < side.groups ? g : side.groups - 1;
      }
      group[i] = load_i32(index);
    }
    I32 sum[kRows][2][kVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < kVectors; ++i) sum[r][0][i] = sum[r][1][i] = zero_i32();
    }
    for (int j = 0; j < tile.count; j += 4) {
      fetch.beside<4>(j);
      Bytes row[4], x[4];
      for (int k = 0; k < 4; ++k) {
        row[k] = held(Codes::template part<kPart>(
            load_left(tile.rows[j + k] + v * kVectorBytes, side.row_bytes - v * kVectorBytes)));
      }
      interleave4(row, x);
      for (int r = 0; r < kRows; ++r) {
        for (int p = 0; p < 2; ++p) {
          const auto& four = weights[r].code[p][j / 4];
          if constexpr (kGroups) {
            const Table16 each = load_table16(reinterpret_cast<const float*>(four));
            for (int i = 0; i < kVectors; ++i) {
              const Bytes w = as_bytes(as_i32(lookup_f32(each, group[i])));
              sum[r][p][i] = Codes::dot(sum[r][p][i], Codes::prepare(x[kFirst + i]), w);
            }
          } else {
            const Bytes w = broadcast4(four[0]);
            for (int i = 0; i < kVectors; ++i) {
              sum[r][p][i] = Codes::dot(sum[r][p][i], Codes::prepare(x[kFirst + i]), w);
            }
          }
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < kVectors; ++i) {
        const I32 all = add_i32(shift_left<7>(sum[r][0][i]), sum[r][1][i]);
        const int at = ((v * kPer + kPart) * 4 + kFirst + i) * kLanes;
        float* const to = sums + r * decode::kMaxSize + at;
        F32 x, offset;
        if constexpr (kGroups) {
          const auto look_up = [&](const void* table) GATUN_INLINE_LAMBDA {
            return lookup_f32(load_table16(static_cast<const float*>(table)), group[i]);
          };
          x = mul(to_f32(sub_i32(all, as_i32(look_up(weights[r].excess)))), look_up(weights[r].scale));
          offset = look_up(weights[r].offset);
        } else {
          x = mul(to_f32(sub_i32(all, set1_i32(weights[r].excess[0]))), set1(weights[r].scale[0]));
          offset = set1(weights[r].offset[0]);
        }
        if (scales != nullptr) {
          x = mul(x, load_f32(scales + at));
          offset = mul(offset, load_f32(zeros + at));
        }
        if (side.zeros) x = add(x, offset);
        store_f32(to, add(load_f32(to), x));
      }
    }
  }

  template <int kRows, bool kGroups>
  static void add_rows(const decode::Side& side, const decode::Tile& tile, const decode::Tile* ahead,
                       const float* weights, const float* scales, const float* zeros, float* sums) {
    Weights<kGroups> rounded[kRows];
    for (int r = 0; r < kRows; ++r) {
      for (int g = 0; g < side.groups; ++g) {
        round_weights(side, tile, weights + r * decode::kTileKeys, g, rounded[r]);
      }
    }
    // So that sums stay in registers.
    constexpr int kVectors = kRows == 1 ? 4 : 2, kPasses = kPer * 4 / kVectors;
    const int vectors = (side.row_bytes + kVectorBytes - 1) / kVectorBytes;
    for (int v = 0; v < vectors; ++v) {
      for_each_index<kPasses>([&](auto index) GATUN_INLINE_LAMBDA {
        constexpr int kIndex = decltype(index)::value * kVectors;
        const Fetch fetch(tile, ahead, v * kPasses + kIndex / kVectors, vectors * kPasses);
        add_part<kRows, kGroups, kIndex / 4, kIndex % 4, kVectors>(side, tile, fetch, rounded, v, scales, zeros, sums);
      });
    }
  }

  static void multiply(const decode::Side& side, const decode::Tile& tile, const float* weights, int rows,
                       const decode::Tile* ahead, float* sums) {
    alignas(64) float scales[decode::kMaxSize], zeros[decode::kMaxSize];
    if (side.per_channel) {
      for (int i = 0; i < decode::kMaxSize; ++i) scales[i] = zeros[i] = 0;
      for (int c = 0; c < side.size; ++c) {
        scales[position_of(c)] = f16_to_float(tile.channel_scales[c]);
        if (side.zeros) zeros[position_of(c)] = f16_to_float(tile.channel_zeros[c]);
      }
    }
    const float* const of_channels = side.per_channel ? scales : nullptr;
    with_rows(rows, [&](auto count) {
      constexpr int kRows = decltype(count)::value;
      if (side.groups > 1) {
        add_rows<kRows, true>(side, tile, ahead, weights, of_channels, zeros, sums);
      } else {
        add_rows<kRows, false>(side, tile, ahead, weights, of_channels, zeros, sums);
      }
    });
  }
};

}  // namespace
}  // namespace gatun::GATUN_ISA
