// Making the blocks whose scales are searched for: the K types and IQ4. Our own search, for the least squared error.
//
// A group's scale, by least squares over codes that candidates of the scale give:
//
//   Q2_K Q4_K Q5_K   x ~ scale q - min, q in 0..highest, min >= 0. low = min(x, 0), z = x - low, range = max x - low.
//     start          scale = range / highest, min = -low
//     candidates     levels = highest + 1/2 - c / 4, c = 0..10: q = min(highest, round(z * (levels / range)))
//                    fit z ~ s q + t, t <= -low (on that bound if the free t is beyond): s, -(t + low)
//     choice         the first of the least sum of (z - s q - t)^2 by its sums
//   Q3_K Q6_K IQ4_*  x ~ scale v, v a level: round(x / scale) in -zero..zero - 1, or the nearest of the table, on a
//                    tie the lower one. extreme = the first x of the largest magnitude.
//     start          scale = extreme / lowest level
//     candidates     v = level(x * (c / extreme)) for the type's list of c; scale = sum(v x) / sum(v v)
//     choice         the first of the largest scale * sum(v x)
//
// Candidates begin with the smallest scale, which a lone value in its group gets.
//
// Then, per block: d = largest scale / highest sub-scale (Q3_K Q6_K IQ4_XS: first scale of the largest magnitude /
// lowest sub-scale), to binary16; dmin alike from the mins. A group's sub-scale, and its min's, are one of the two
// integers next to scale / d, whichever gives the lower squared error of x once codes are rounded to nearest: the first
// of the least in the order lower, upper (for pairs scale by scale: (l, l) (l, u) (u, l) (u, u)).
//
// Operands: 16 groups at a time (of one or two blocks of 256, or of 16 blocks of 32), transposed on the stack so that a
// lane is a group:
//
//   x[element][group]   lanes do not touch each other, and sums run over elements in ascending order: the same bits on
//                       every tier, no fma
//
// Overflow: sums become infinite or NaN only for values whose start already overflows d; comparisons with NaN keep the
// start, and d ends the batch. Codes and sub-scales are clamped as floats before they are integers.
// Tails: missing groups are zeros and not stored.
// Bound: none, all tiers agree with the reference bit for bit.
#pragma once

#include "gguf/tile_walk.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr int kGroups = 16;
constexpr float kTiny = 0x1p-100f;  // ranges below are 0: d as binary16 is, and quotients stay finite

// 16 numbers, one a group.
struct alignas(64) PerGroup {
  float of[kGroups];
};

template <int kGroup>
struct alignas(64) Transposed {
  float x[kGroup][kGroups];
};

GATUN_INLINE F32 clamp(F32 x, float low, float high) { return min(max(x, set1(low)), set1(high)); }

// numerator / denominator, or 0 if that is tiny
GATUN_INLINE F32 quotient(F32 numerator, F32 denominator, float tiny) {
  return select_less(abs(denominator), set1(tiny), zero_f32(), div(numerator, denominator));
}

// What x / scale becomes, as a multiple of the scale, and the codes of that.
template <int kHighest>
struct FromZero {
  static GATUN_INLINE F32 level(F32 steps) { return round_even(clamp(steps, 0, kHighest)); }
  static GATUN_INLINE I32 code(F32 steps) { return round_to_i32(level(steps)); }
};

template <int kZero>
struct Around {
  static constexpr float kLowest = -kZero;
  static GATUN_INLINE F32 level(F32 steps) { return round_even(clamp(steps, -kZero, kZero - 1)); }
  static GATUN_INLINE I32 code(F32 steps) { return add_i32(round_to_i32(level(steps)), set1_i32(kZero)); }
};

struct Iq4 {
  static constexpr float kLowest = -127;
  // The number of midpoints below, by halving.
  static GATUN_INLINE I32 code(F32 steps) {
    const Table16 midpoints = load_table16(kIq4.midpoints);
    I32 code = zero_i32();
    for (int half = 8; half > 0; half /= 2) {
      const F32 midpoint = lookup_f32(midpoints, add_i32(code, set1_i32(half - 1)));
      code = as_i32(select_less(midpoint, steps, as_f32(add_i32(code, set1_i32(half))), as_f32(code)));
    }
    return code;
  }
  static GATUN_INLINE F32 level(F32 steps) { return lookup_f32(load_table16(kIq4.values), code(steps)); }
};

// Types with mins.
template <int kGroup, int kHighest>
inline void fit_with_min(const Transposed<kGroup>& x, PerGroup& scales, PerGroup& mins) {
  constexpr int kCandidates = 11;
  for (int lane = 0; lane < kGroups; lane += kLanes) {
    const F32 zero = zero_f32(), count = set1(kGroup);
    F32 low = zero, high = load_f32(x.x[0] + lane);
    for (int j = 0; j < kGroup; ++j) {
      low = min(load_f32(x.x[j] + lane), low);
      high = max(load_f32(x.x[j] + lane), high);
    }
    const F32 range = sub(high, low), bound = sub(zero, low);
    F32 sum_z = zero, sum_zz = zero;
    for (int j = 0; j < kGroup; ++j) {
      const F32 z = sub(load_f32(x.x[j] + lane), low);
      sum_z = add(sum_z, z);
      sum_zz = add(sum_zz, mul(z, z));
    }
    F32 scale = div(range, set1(kHighest)), minimum = bound, least = set1(__builtin_inff());
    for (int c = 0; c < kCandidates; ++c) {
      const float levels = kHighest + 0.5f - 0.25f * static_cast<float>(c);
      const F32 inverse = quotient(set1(levels), range, kTiny);
      F32 sum_q = zero, sum_qq = zero, sum_qz = zero;
      for (int j = 0; j < kGroup; ++j) {
        const F32 z = sub(load_f32(x.x[j] + lane), low);
        const F32 q = min(round_even(mul(z, inverse)), set1(kHighest));
        sum_q = add(sum_q, q);
        sum_qq = add(sum_qq, mul(q, q));
        sum_qz = add(sum_qz, mul(q, z));
      }
      const F32 determinant = sub(mul(count, sum_qq), mul(sum_q, sum_q));
      const F32 slope = div(sub(mul(count, sum_qz), mul(sum_q, sum_z)), determinant);
      const F32 free = div(sub(sum_z, mul(slope, sum_q)), count);
      const F32 t = min(bound, free);
      const F32 s = select_less(bound, free, div(sub(sum_qz, mul(t, sum_q)), sum_qq), slope);
      // sum of (z - s q - t)^2
      const F32 squares = add(add(sum_zz, mul(mul(s, s), sum_qq)), mul(mul(t, t), count));
      const F32 products = add(sub(mul(s, sum_qz), mul(mul(s, t), sum_q)), mul(t, sum_z));
      const F32 error = sub(squares, add(products, products));
      scale = select_less(error, least, s, scale);
      minimum = select_less(error, least, sub(bound, t), minimum);
      least = select_less(error, least, error, least);
    }
    store_f32(scales.of + lane, scale);
    store_f32(mins.of + lane, minimum);
  }
}

// Types without.
template <int kGroup, class Coder, class T>
inline void fit(const Transposed<kGroup>& x, PerGroup& scales) {
  for (int lane = 0; lane < kGroups; lane += kLanes) {
    const F32 zero = zero_f32();
    F32 extreme = zero;
    for (int j = 0; j < kGroup; ++j) {
      const F32 value = load_f32(x.x[j] + lane);
      extreme = select_less(abs(extreme), abs(value), value, extreme);
    }
    F32 scale = div(extreme, set1(Coder::kLowest)), most = zero;
    for (const float candidate : T::kCandidates) {
      const F32 inverse = quotient(set1(candidate), extreme, kTiny);
      F32 sum_vx = zero, sum_vv = zero;
      for (int j = 0; j < kGroup; ++j) {
        const F32 value = load_f32(x.x[j] + lane), level = Coder::level(mul(value, inverse));
        sum_vx = add(sum_vx, mul(level, value));
        sum_vv = add(sum_vv, mul(level, level));
      }
      const F32 s = div(sum_vx, sum_vv), gain = mul(s, sum_vx);
      scale = select_less(most, gain, s, scale);
      most = select_less(most, gain, gain, most);
    }
    store_f32(scales.of + lane, scale);
  }
}

// An integer: x lies between it and the next one, or is one of both.
GATUN_INLINE F32 lower_integer(F32 x) { return round_even(sub(x, set1(0.5f))); }

// Rounds scale / d (and min / dmin) of each group to the integers that give the least error.
template <int kGroup, class T>
inline void round_scales(const Transposed<kGroup>& x, const PerGroup& d, const PerGroup& dmin, PerGroup& scales,
                         PerGroup& mins) {
  using Coder = typename T::Coder;
  for (int lane = 0; lane < kGroups; lane += kLanes) {
    const F32 base = load_f32(d.of + lane), base_min = load_f32(dmin.of + lane), zero = zero_f32();
    const F32 lower = lower_integer(quotient(load_f32(scales.of + lane), base, kTiny));
    const F32 lower_min = T::kMins ? lower_integer(quotient(load_f32(mins.of + lane), base_min, kTiny)) : zero;
    F32 best = zero, best_min = zero, least = set1(__builtin_inff());
    for (int i = 0; i < (T::kMins ? 4 : 2); ++i) {
      const int up = T::kMins ? i / 2 : i;
      const F32 scale = clamp(add(lower, set1(static_cast<float>(up))), T::kLowestScale, T::kHighestScale);
      const F32 minimum = clamp(add(lower_min, set1(static_cast<float>(i % 2))), 0, T::kHighestScale);
      const F32 step = mul(base, scale), offset = mul(base_min, minimum);
      const F32 inverse = quotient(set1(1), step, kTiny);
      F32 error = zero;
      for (int j = 0; j < kGroup; ++j) {
        const F32 value = load_f32(x.x[j] + lane);
        F32 made;
        if (T::kMins) {
          made = sub(mul(step, Coder::level(mul(add(value, offset), inverse))), offset);
        } else {
          made = mul(step, Coder::level(mul(value, inverse)));
        }
        const F32 difference = sub(made, value);
        error = add(error, mul(difference, difference));
      }
      best = select_less(error, least, scale, best);
      best_min = select_less(error, least, minimum, best_min);
      least = select_less(error, least, error, least);
    }
    store_f32(scales.of + lane, best);
    if (T::kMins) store_f32(mins.of + lane, best_min);
  }
}

// d (or dmin) of a block as binary16, and as f32 for each of its groups: from its largest value, or from the first of
// the largest magnitude. False if it overflows.
template <int kBlockGroups>
GATUN_INLINE bool block_scale(const PerGroup& values, int first, float divisor, uint16_t& half, PerGroup& d) {
  float extreme = 0;
  for (int g = first; g < first + kBlockGroups; ++g) {
    if (__builtin_fabsf(values.of[g]) > __builtin_fabsf(extreme)) extreme = values.of[g];
  }
  half = float_to_f16(extreme / divisor + 0.0f);  // 0, not -0, of zeros
  for (int g = first; g < first + kBlockGroups; ++g) d.of[g] = f16_to_float(half);
  return (half & 0x7fff) < 0x7c00;
}

// The bytes of codes, transposed back.
template <int kGroup, class T>
inline void encode(const Transposed<kGroup>& x, const PerGroup& d, const PerGroup& dmin, const PerGroup& scales,
                   const PerGroup& mins, uint8_t (&codes)[kGroups][kGroup]) {
  uint8_t transposed[kGroup][kGroups];
  for (int lane = 0; lane < kGroups; lane += kLanes) {
    const F32 step = mul(load_f32(d.of + lane), load_f32(scales.of + lane));
    const F32 inverse = quotient(set1(1), step, kTiny);
    const F32 offset = T::kMins ? mul(load_f32(dmin.of + lane), load_f32(mins.of + lane)) : zero_f32();
    for (int j = 0; j < kGroup; ++j) {
      const F32 value = load_f32(x.x[j] + lane);
      const I32 code = T::Coder::code(mul(T::kMins ? add(value, offset) : value, inverse));
      store_i8(reinterpret_cast<int8_t*>(transposed[j]) + lane, code);
    }
  }
  for (int j = 0; j < kGroup; ++j) {
    for (int g = 0; g < kGroups; ++g) codes[g][j] = transposed[j][g];
  }
}

// Fills x[.][g] from `count` values that lie side by side, the rest with zeros. False if one is NaN or infinite.
template <class X, int kGroup>
inline bool transpose(const typename X::Type* values, int64_t count, Transposed<kGroup>& x) {
  I32 largest = zero_i32();
  alignas(64) float group[kGroup];
  for (int g = 0; g < kGroups; ++g) {
    for (int j = 0; j < kGroup; j += kLanes) {
      const F32 value = g * kGroup < count ? X::load(values + g * kGroup + j) : zero_f32();
      largest = max_i32(largest, magnitude_bits(value));
      store_f32(group + j, value);
    }
    for (int j = 0; j < kGroup; ++j) x.x[j][g] = group[j];
  }
  return greater_mask(largest, set1_i32(kInfinity - 1)) == 0;
}

template <class X, class T>
bool quantize_searched(const Job& job, int64_t begin, int64_t end) {
  constexpr int kGroup = T::kGroup, kElements = T::kElements, kBlockGroups = kElements / kGroup;
  constexpr int kBlocks = kGroups / kBlockGroups;
  const gguf::Type& type = *gguf::find_type(T::kType);
  return for_each_batch<X, kElements, kBlocks>(
      job, begin, end, [&](const typename X::Type* values, int64_t index, int64_t count) {
        Transposed<kGroup> x;
        if (!transpose<X>(values, count * kElements, x)) return false;
        PerGroup scales, mins, d, dmin;
        if constexpr (T::kMins) {
          fit_with_min<kGroup, T::kHighest>(x, scales, mins);
        } else {
          fit<kGroup, typename T::Coder, T>(x, scales);
        }
        gguf::Fields fields[kBlocks];
        for (int b = 0; b < kBlocks; ++b) {
          bool fits = block_scale<kBlockGroups>(scales, b * kBlockGroups, T::kDivisor, fields[b].d, d);
          if (T::kMins) {
            fits = block_scale<kBlockGroups>(mins, b * kBlockGroups, T::kDivisor, fields[b].dmin, dmin) && fits;
          }
          if (!fits) return false;
        }
        if (T::kSubScales) {
          round_scales<kGroup, T>(x, d, dmin, scales, mins);
        } else {
          for (float& scale : scales.of) scale = 1;
        }
        uint8_t codes[kGroups][kGroup];
        encode<kGroup, T>(x, d, dmin, scales, mins, codes);
        for (int64_t b = 0; b < count; ++b) {
          gguf::Fields& block = fields[b];
          std::memcpy(block.codes, codes[b * kBlockGroups], static_cast<size_t>(kElements));
          for (int g = 0; g < kBlockGroups; ++g) {
            block.scales[g] = static_cast<int8_t>(scales.of[b * kBlockGroups + g]);
            if (T::kMins) block.mins[g] = static_cast<uint8_t>(mins.of[b * kBlockGroups + g]);
          }
          gguf::write_block(type, block, job.blocks + (index + b) * type.bytes);
        }
        return true;
      });
}

}  // namespace
}  // namespace gatun::GATUN_ISA
