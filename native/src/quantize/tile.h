// Linear codes, per the definition in gatun/quantize.h:
//
//   codes[r][k] = clamp(round((x[r][k] - offset) * (1 / scale)) + zero point)
//   x[r][k] = (codes[r][k] - zero point) * scale [+ offset]
//
// with an integer zero point, or kZero without one, or an offset (float zero points). blocks.h has the layouts.
//
//   x row      [ block 0        | block 1        | .. | last, shorter ]    scan: extremes, kLanes at a time
//   scales row [ s0             | s1             | .. ]                    scales of a batch side by side
//   codes row  [ q0 q1 q2 ..                                          ]    codes, while x is in cache
//
// One pass over memory: NaN and infinities show in the extremes. They are found as integers, which order floats of one
// sign by magnitude and NaN beyond infinity: with the other bits of negative ones inverted, all floats are in order.
//
// Overflow: values are clamped to the codes' range before they become integers, so any scale will do.
// Bound: none, all tiers agree with the reference bit for bit.
#pragma once

#include "quantize/codes.h"
#include "quantize/rounding.h"
#include "quantize/stretch.h"

namespace gatun::GATUN_ISA {
namespace {

// What the blocks of a batch need: extremes as ordered integers, then what they make.
struct Lanes {
  int32_t low[kBatch], high[kBatch];  // kMagnitude: high is the bits of the largest magnitude
  float inverse[kBatch];              // of the scale; 0 for a scale of 0
  float offset[kBatch];
  float zero_point[kBatch];
};

// f32 bits to integers in the floats' order, and back.
GATUN_INLINE I32 ordered(I32 bits) { return xor_i32(bits, and_i32(shift_right<31>(bits), set1_i32(0x7fffffff))); }
constexpr int32_t kLargestFinite = 0x7f7fffff;

template <class X, bool kMagnitude>
inline void scan(const typename X::Type* x, int64_t count, int32_t* low, int32_t* high) {
  I32 least = set1_i32(*low), most = set1_i32(*high);
  const auto take = [&](F32 value, int n) {
    I32 key = as_i32(value);
    key = kMagnitude ? and_i32(key, set1_i32(0x7fffffff)) : ordered(key);
    if (n < kLanes) key = select_n(key, most, n);
    most = max_i32(most, key);
    if (!kMagnitude) least = min_i32(least, n < kLanes ? select_n(key, least, n) : key);
  };
  int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) take(X::load(x + k), kLanes);
  if (k < count) take(X::load_n(x + k, static_cast<int>(count - k)), static_cast<int>(count - k));
  *high = reduce_max_i32(most);
  if (!kMagnitude) *low = reduce_min_i32(least);
}

template <class X, bool kMagnitude>
GATUN_INLINE void scan_batch(const Job& job, const Batch& batch, Lanes& lanes) {
  for (int64_t lane = 0; lane < kBatch; ++lane) {
    lanes.low[lane] = lane < batch.lanes ? 0x7fffffff : 0;
    lanes.high[lane] = lane < batch.lanes ? kMagnitude ? 0 : -0x7fffffff - 1 : 0;
  }
  for_each_stretch<X>(job, batch, [&](int64_t lane, const typename X::Type* x, int64_t, int64_t count) {
    scan<X, kMagnitude>(x, count, &lanes.low[lane], &lanes.high[lane]);
  });
}

// Whether, of the elements of the greatest magnitude, the first one is negative; for a block that has both signs.
template <class X>
inline bool negative_comes_first(const Job& job, const Batch& batch, int64_t lane, float magnitude) {
  const typename X::Type* x =
      x_row<X>(job, batch.lane_row(lane)) + batch.lane_group(lane) * job.group * job.x_column_stride;
  for (int64_t count = lane_count(job, batch, lane); count > 0; --count, x += job.x_column_stride) {
    const float value = reduce_add(X::load_n(x, 1));
    if (value == magnitude) return false;
    if (value == -magnitude) return true;
  }
  return false;
}

// Whether the rule needs only the largest magnitude of a block.
template <class Codes>
GATUN_INLINE bool needs_magnitude_only(const Job& job) {
  if (job.scale_rule == GATUN_SCALE_DEFAULT) return !Codes::kZeroPoints;
  return job.scale_rule != GATUN_SCALE_NO_CLIPPING;
}

// A plane of scales or zero points, one value a block, from and to the lanes of a batch.
template <class T>
GATUN_INLINE void put_lanes(const Job& job, const Batch& batch, const T* lanes, void* plane) {
  T* to = static_cast<T*>(plane) + batch.row * job.groups + batch.group;
  const int64_t step = batch.rows ? job.groups : 1;
  for (int64_t lane = 0; lane < batch.lanes; ++lane, to += step) *to = lanes[lane];
}
template <class T, class Take>
GATUN_INLINE void get_lanes(const Job& job, const Batch& batch, const void* plane, Take take) {
  const T* from = static_cast<const T*>(plane) + batch.row * job.groups + batch.group;
  const int64_t step = batch.rows ? job.groups : 1;
  for (int64_t lane = 0; lane < batch.lanes; ++lane, from += step) take(lane, *from);
}

// Scales of the extremes low <= 0 <= high (float zero points: of any).
template <class Codes>
GATUN_INLINE F32 scale_of(const Job& job, F32 low, F32 high) {
  constexpr int kSteps = Codes::kMost / 2;  // above the code of 0
  const F32 amax = max(high, sub(zero_f32(), low));
  if (job.scale_rule == GATUN_SCALE_FULL_RANGE) return div(add(amax, amax), set1(Codes::kMost));
  if (job.scale_rule == GATUN_SCALE_NO_CLIPPING) return max(div(high, set1(kSteps)), div(low, set1(-kSteps - 1)));
  if (job.zero_point != GATUN_ZERO_NONE) return div(sub(high, low), set1(Codes::kMost));
  if (Codes::kBits == 8) return div(amax, set1(kSteps));
  return div(select_less(high, sub(zero_f32(), low), low, high), set1(-kSteps - 1));
}

// Makes scales and zero points of the extremes, stores them, and leaves in `lanes` what codes are made with. False if
// something is not finite.
template <class X, class Codes>
GATUN_INLINE bool make_scales(const Job& job, const Batch& batch, bool magnitude_only, Lanes& lanes) {
  const bool given = job.scale_rule == GATUN_SCALE_GIVEN, integer = job.zero_point == GATUN_ZERO_INTEGER;
  const bool offsets = job.zero_point == GATUN_ZERO_FLOAT, halves = job.scale_dtype == GATUN_F16;
  float scales[kBatch] = {};
  for (float& offset : lanes.offset) offset = 0;
  for (float& zero : lanes.zero_point) zero = Codes::kZero;
  if (given) {
    const auto set = [](float* values) { return [values](int64_t lane, auto value) { values[lane] = value; }; };
    if (halves) {
      get_lanes<uint16_t>(job, batch, job.scales,
                          [&](int64_t lane, uint16_t value) { scales[lane] = f16_to_float(value); });
    } else {
      get_lanes<float>(job, batch, job.scales, set(scales));
    }
    if (integer) get_lanes<uint8_t>(job, batch, job.zero_points, set(lanes.zero_point));
    if (offsets) get_lanes<float>(job, batch, job.zero_points, set(lanes.offset));
  } else if (Codes::kBits < 8 && job.scale_rule == GATUN_SCALE_DEFAULT && job.zero_point == GATUN_ZERO_NONE) {
    for (int64_t lane = 0; lane < batch.lanes; ++lane) {
      const int32_t high = lanes.high[lane];
      if (high <= 0 || high > kLargestFinite || high != ~lanes.low[lane]) continue;
      // Extremes of both signs: only the first counts.
      const float magnitude = reduce_max(as_f32(set1_i32(high)));
      (negative_comes_first<X>(job, batch, lane, magnitude) ? lanes.high : lanes.low)[lane] = 0;
    }
  }

  uint16_t stored_halves[kBatch];
  I32 largest = zero_i32();  // of the magnitudes of all that must be finite
  for (int64_t lane = 0; lane < kBatch; lane += kLanes) {
    I32 low_key = load_i32(lanes.low + lane), high_key = load_i32(lanes.high + lane);
    if (magnitude_only) low_key = zero_i32();
    largest = max_i32(largest, max_i32(high_key, xor_i32(low_key, set1_i32(-1))));
    if (!offsets) {
      low_key = min_i32(low_key, zero_i32());
      high_key = max_i32(high_key, zero_i32());
    }
    const F32 low = as_f32(ordered(low_key)), high = as_f32(ordered(high_key));
    const F32 infinity = set1(__builtin_inff());
    F32 scale;
    if (given) {
      scale = load_f32(scales + lane);
    } else {
      scale = scale_of<Codes>(job, low, high);
      if (halves) {
        store_f16(stored_halves + lane, scale);
        scale = load_f16(stored_halves + lane);
      }
      scale = select_less(abs(scale), set1(0x1p-120f), zero_f32(), scale);
      if (halves) store_f16(stored_halves + lane, scale);
      store_f32(scales + lane, scale);
    }
    largest = max_i32(largest, as_i32(abs(scale)));
    F32 inverse = div(set1(1), scale);  // a given scale may be too small for one, and counts as 0
    inverse = select_less(abs(inverse), infinity, inverse, zero_f32());
    store_f32(lanes.inverse + lane, inverse);
    if (given) {
      largest = max_i32(largest, as_i32(abs(load_f32(lanes.offset + lane))));
    } else if (integer) {
      const F32 zero = min(round_even(div(sub(zero_f32(), low), scale)), set1(Codes::kMost));
      store_f32(lanes.zero_point + lane, select_less(zero_f32(), abs(scale), zero, zero_f32()));
    } else if (offsets) {
      store_f32(lanes.offset + lane, add(low, zero_f32()));  // no -0
    }
    if (offsets) store_f32(lanes.zero_point + lane, zero_f32());
  }
  if (reduce_max_i32(largest) > kLargestFinite) return false;
  if (given) return true;
  if (halves) {
    put_lanes(job, batch, stored_halves, job.scales);
  } else {
    put_lanes(job, batch, scales, job.scales);
  }
  if (integer) {
    uint8_t zeros[kBatch];
    for (int64_t lane = 0; lane < kBatch; ++lane) zeros[lane] = static_cast<uint8_t>(lanes.zero_point[lane]);
    put_lanes(job, batch, zeros, job.zero_points);
  } else if (offsets) {
    put_lanes(job, batch, lanes.offset, job.zero_points);
  }
  return true;
}

// How values become codes, and codes values.
template <class Codes>
struct Encoder {
  F32 inverse, offset, low, high;
  I32 zero_point;

  GATUN_INLINE Encoder(const Job& job, float scale_inverse, float value_offset, float zero)
      : inverse(set1(scale_inverse)),
        offset(set1(value_offset)),
        low(set1(static_cast<float>(lowest(job)) - zero)),
        high(set1(Codes::kHighest - zero)),
        zero_point(set1_i32(static_cast<int32_t>(zero))) {}

  static GATUN_INLINE int lowest(const Job& job) {
    const bool all = job.scale_rule == GATUN_SCALE_FULL_RANGE || job.scale_rule == GATUN_SCALE_NO_CLIPPING;
    return !Codes::kZeroPoints && all ? -Codes::kMost / 2 - 1 : Codes::kLowest;
  }

  // In steps from the zero point, within the range.
  GATUN_INLINE F32 steps(F32 x) const {
    return min(max(mul(Codes::kZeroPoints ? sub(x, offset) : x, inverse), low), high);
  }
  GATUN_INLINE I32 nearest(F32 x) const { return add_i32(round_to_i32(steps(x)), zero_point); }
  GATUN_INLINE I32 above(F32 x, F32 threshold) const {
    const F32 v = steps(x), down = floor(v);
    const F32 up = select_less(threshold, sub(v, down), set1(1), zero_f32());
    return add_i32(round_to_i32(add(down, up)), zero_point);
  }
};

constexpr int64_t kMostAhead = 16384;  // elements; further away than the next batch nothing is asked for

template <class X, class Codes>
GATUN_INLINE void encode_batch(const Job& job, const Batch& batch, const Lanes& lanes, Lines& lines) {
  const int64_t ahead = smaller(batch.rows ? 0 : batch.lanes * job.group, kMostAhead);
  for_each_stretch<X>(job, batch, [&](int64_t lane, const typename X::Type* x, int64_t k, int64_t count) {
    const Encoder<Codes> encoder(job, lanes.inverse[lane], lanes.offset[lane], lanes.zero_point[lane]);
    const int64_t row = batch.lane_row(lane);
    for (int64_t last = k + count; k < last;) {
      int64_t n = smaller(last - k, Lines::kRoom);
      uint8_t* const out = codes_row<Codes>(job, row) + Period<Codes::kBits>::byte_of(k);
      uint8_t* const to = lines.at(out);
      const int64_t phase = k % Period<Codes::kBits>::kCodes;
      if (job.rounding == GATUN_ROUND_NEAREST) {
        encode_stretch<X, Codes>(x, n, ahead, to, phase,
                                 [&](F32 value, int64_t, int) GATUN_INLINE_LAMBDA { return encoder.nearest(value); });
      } else {
        n = smaller(n, Thresholds::reach(job, row, k));
        const Thresholds thresholds(job, row, k);
        encode_stretch<X, Codes>(x, n, ahead, to, phase, [&](F32 value, int64_t i, int lanes_used) GATUN_INLINE_LAMBDA {
          return encoder.above(value, thresholds.at(i, lanes_used));
        });
      }
      lines.put(out + code_bytes<Codes::kBits>(phase + n));
      x += n;
      k += n;
    }
  });
}

template <class X, class Codes>
bool quantize_units(const Job& job, int64_t begin, int64_t end) {
  const bool magnitude_only = needs_magnitude_only<Codes>(job);
  Lanes lanes;
  Lines lines(job.stream);
  for (int64_t index = begin; index < end;) {
    const Batch batch = batch_at(job, index, end);
    if (magnitude_only) {
      scan_batch<X, true>(job, batch, lanes);
    } else {
      scan_batch<X, false>(job, batch, lanes);
    }
    if (!make_scales<X, Codes>(job, batch, magnitude_only, lanes)) return false;
    encode_batch<X, Codes>(job, batch, lanes, lines);
    index += batch.units();
  }
  return true;
}

template <class Codes, class X>
void dequantize_units(const Job& job, int64_t begin, int64_t end) {
  for (int64_t index = begin; index < end; ++index) {
    const int64_t row = index / job.groups, k = index % job.groups * job.group;
    const int64_t count = smaller(job.group, job.depth - k);
    const uint8_t* codes = codes_row<Codes>(job, row);
    typename X::Type* x = x_row<X>(job, row) + k;
    const F32 scale = set1(job.scale_dtype == GATUN_F16 ? f16_to_float(static_cast<const uint16_t*>(job.scales)[index])
                                                        : static_cast<const float*>(job.scales)[index]);
    if (job.zero_point == GATUN_ZERO_FLOAT) {
      const F32 offset = set1(static_cast<const float*>(job.zero_points)[index]);
      decode_stretch<Codes, X>(codes, k, count, x, job.stream,
                               [=](I32 code) GATUN_INLINE_LAMBDA { return add(mul(to_f32(code), scale), offset); });
    } else {
      const I32 zero_point = set1_i32(
          job.zero_point == GATUN_ZERO_INTEGER ? static_cast<const uint8_t*>(job.zero_points)[index] : Codes::kZero);
      decode_stretch<Codes, X>(codes, k, count, x, job.stream, [=](I32 code) GATUN_INLINE_LAMBDA {
        return mul(to_f32(sub_i32(code, zero_point)), scale);
      });
    }
  }
  if (job.stream) fence_streams();
}

template <class Codes>
constexpr quantize::Kernel linear_kernel() {
  return {{quantize_units<f32, Codes>, quantize_units<f16, Codes>, quantize_units<bf16, Codes>},
          {dequantize_units<Codes, f32>, dequantize_units<Codes, f16>, dequantize_units<Codes, bf16>}};
}

}  // namespace
}  // namespace gatun::GATUN_ISA
