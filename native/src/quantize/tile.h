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
// One pass over memory: NaN and infinities show in the extremes (scan.h).
//
// Overflow: values are clamped to the codes' range before they become integers, so any scale will do.
// Bound: none, all tiers agree with the reference bit for bit.
#pragma once

#include "quantize/codes.h"
#include "quantize/scan.h"
#include "quantize/stretch.h"

namespace gatun::GATUN_ISA {
namespace {

// What the blocks of a batch need: extremes as ordered integers, then what they make.
struct Lanes {
  int32_t low[kBatch], high[kBatch];
  float inverse[kBatch];  // of the scale; 0 for a scale of 0
  float offset[kBatch];
  int32_t zero_point[kBatch];
};

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

// A plane of scales or zero points, one value a block, from and to the lanes of a batch.
template <class T>
GATUN_INLINE void put_lanes(const Job& job, const Batch& batch, const T* lanes, void* plane) {
  T* to = static_cast<T*>(plane) + batch.row * job.groups + batch.group;
  if (!batch.rows) {
    for (int64_t lane = 0; lane < batch.lanes; ++lane) to[lane] = lanes[lane];
    return;
  }
  for (int64_t lane = 0; lane < batch.lanes; ++lane, to += job.groups) *to = lanes[lane];
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

// Scales and zero points as they are stored.
template <class Codes>
GATUN_INLINE void read_lanes(const Job& job, const Batch& batch, float* scales, Lanes& lanes) {
  if (job.scale_dtype == GATUN_F16) {
    get_lanes<uint16_t>(job, batch, job.scales,
                        [=](int64_t lane, uint16_t value) { scales[lane] = f16_to_float(value); });
  } else {
    get_lanes<float>(job, batch, job.scales, [=](int64_t lane, float value) { scales[lane] = value; });
  }
  for (int32_t& zero : lanes.zero_point) zero = job.zero_point == GATUN_ZERO_NONE ? Codes::kZero : 0;
  if (job.zero_point == GATUN_ZERO_INTEGER) {
    get_lanes<uint8_t>(job, batch, job.zero_points,
                       [&](int64_t lane, uint8_t value) { lanes.zero_point[lane] = value; });
  } else if (job.zero_point == GATUN_ZERO_FLOAT) {
    get_lanes<float>(job, batch, job.zero_points, [&](int64_t lane, float value) { lanes.offset[lane] = value; });
  }
}

// Makes scales and zero points of the extremes, stores them, and leaves in `lanes` what codes are made with. False if
// something is not finite.
template <class X, class Codes>
GATUN_INLINE bool make_scales(const Job& job, const Batch& batch, Lanes& lanes) {
  const bool given = job.scale_rule == GATUN_SCALE_GIVEN, integer = job.zero_point == GATUN_ZERO_INTEGER;
  const bool offsets = job.zero_point == GATUN_ZERO_FLOAT, halves = job.scale_dtype == GATUN_F16;
  float scales[kBatch] = {};
  if (given) {
    for (float& offset : lanes.offset) offset = 0;
    read_lanes<Codes>(job, batch, scales, lanes);
  } else {
    for (float& offset : lanes.offset) offset = 0;
    for (int32_t& zero : lanes.zero_point) zero = offsets ? 0 : Codes::kZero;
  }
  if (job.scale_rule == GATUN_SCALE_DEFAULT && job.zero_point == GATUN_ZERO_NONE && Codes::kBits < 8) {
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
  for (int64_t lane = 0; lane < batch.lanes; lane += kLanes) {
    I32 low_key = load_i32(lanes.low + lane), high_key = load_i32(lanes.high + lane);
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
      store_i32(lanes.zero_point + lane, round_to_i32(select_less(zero_f32(), abs(scale), zero, zero_f32())));
    } else if (offsets) {
      store_f32(lanes.offset + lane, add(low, zero_f32()));  // no -0
    }
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

// How values become codes: those of one block (kBlocks = 0), or of steps. Scales of steps are made of the values, so
// codes are within i16 before they are limited; given scales may be anything.
template <class Codes, bool kOffset, int kBlocks>
class Encoder {
 public:
  GATUN_INLINE Encoder(const Job& job, const Lanes& lanes, int64_t lane)
      : least_(set1_u8(static_cast<uint8_t>(lowest(job)))),
        low_(set1(Codes::kZeroPoints ? -512 : static_cast<float>(lowest(job)))),
        high_(set1(Codes::kZeroPoints ? 512 : Codes::kHighest)),
        lanes_(lanes),
        block_(lane),
        next_(job.group) {}

  GATUN_INLINE Bytes nearest(const F32 (&x)[4]) {
    return make(x, [](F32 steps, int) GATUN_INLINE_LAMBDA { return round_to_i32(steps); });
  }
  GATUN_INLINE Bytes above(const F32 (&x)[4], const F32 (&thresholds)[4]) {
    return make(x, [&](F32 steps, int j) GATUN_INLINE_LAMBDA {
      const F32 down = floor(steps);
      return round_to_i32(add(down, select_less(thresholds[j], sub(steps, down), set1(1), zero_f32())));
    });
  }

 private:
  static GATUN_INLINE int lowest(const Job& job) {
    const bool all = job.scale_rule == GATUN_SCALE_FULL_RANGE || job.scale_rule == GATUN_SCALE_NO_CLIPPING;
    return all ? -128 : Codes::kLowest;
  }

  template <class Round>
  GATUN_INLINE Bytes make(const F32 (&x)[4], Round round) {
    I32 code[4];
    for (int j = 0; j < 4; ++j) {
      const int64_t lane = kBlocks > 0 ? next_.of(j) : block_;
      const F32 value = kOffset ? sub(x[j], set1(lanes_.offset[lane])) : x[j];
      F32 steps = mul(value, set1(lanes_.inverse[lane]));
      if (kBlocks == 0) steps = min(max(steps, low_), high_);
      code[j] = round(steps, j);
      if (Codes::kZeroPoints && !kOffset) code[j] = add_i32(code[j], set1_i32(lanes_.zero_point[lane]));
    }
    if (kBlocks > 0) next_.step();
    const Bytes codes = Codes::pack(code[0], code[1], code[2], code[3]);
    return Codes::kZeroPoints ? codes : max_i8(codes, least_);
  }

  const Bytes least_;     // of i8
  const F32 low_, high_;  // of steps: of i8 the range, of others far beyond it, as pack has the rest to do
  const Lanes& lanes_;
  const int64_t block_;
  StepLanes<kBlocks> next_;
};

// Blocks one by one.
template <class X, class Codes, Seek kSeek>
bool quantize_blocks(const Job& job, int64_t begin, int64_t end) {
  Lanes lanes;
  Extremes extremes;
  Lines lines(job.stream);
  for (int64_t index = begin; index < end;) {
    const Batch batch = batch_at(job, index, end);
    scan_batch<X, kSeek>(job, batch, extremes);
    extremes.fold<kSeek>(batch.lanes, lanes.low, lanes.high);
    if (!make_scales<X, Codes>(job, batch, lanes)) return false;
    for_each_stretch<X>(job, batch, [&](int64_t lane, const typename X::Type* x, int64_t k, int64_t count) {
      encode_row<X, Codes>(job, batch, lane, x, k, count, true, lines,
                           [&] { return Encoder < Codes, kSeek == Seek::order, 0 > (job, lanes, lane); });
    });
    index += batch.units();
  }
  return true;
}

// Steps, to nearest: values of the batch to codes, while `scanner` goes on with the next one.
template <class X, class Codes, bool kOffset, int kBlocks, class Scanner>
GATUN_INLINE void encode_run(const Job& job, const Batch& batch, const Lanes& lanes, Lines& lines, Scanner& scanner) {
  constexpr int64_t kStep = 4 * kLanes, kStepBytes = kStep * Codes::kBits / 8;
  Encoder<Codes, kOffset, kBlocks> encoder(job, lanes, 0);
  Scanner beside = scanner;  // a copy: what it has in registers stays there
  const typename X::Type* x = x_row<X>(job, batch.row) + batch.begin;
  uint8_t* out = codes_row<Codes>(job, batch.row) + Period<Codes::kBits>::byte_of(batch.begin);
  for (int64_t left = run_count(job, batch); left > 0;) {
    const int64_t count = smaller(left, Lines::kRoom);
    uint8_t* to = lines.at(out);
    int64_t i = 0;
    for (; i + kStep <= count; i += kStep, to += kStepBytes) {
      F32 values[4];
      for (int j = 0; j < 4; ++j) values[j] = X::load(x + i + j * kLanes);
      Codes::store(to, encoder.nearest(values));
      beside.step();
    }
    if (i < count) {
      F32 values[4];
      for (int j = 0; j < 4; ++j) values[j] = X::load_n(x + i + j * kLanes, lanes_left(count - i - j * kLanes));
      Codes::store_n(to, encoder.nearest(values), static_cast<int>(count - i));
    }
    x += count;
    out += code_bytes<Codes::kBits>(count);
    left -= count;
    lines.put(out);
  }
  scanner = beside;
}

template <class X, class Codes, Seek kSeek, int kBlocks>
bool quantize_runs(const Job& job, int64_t begin, int64_t end) {
  Lanes lanes;
  Extremes extremes;
  Lines lines(job.stream);
  Batch batch = batch_at(job, begin, end);
  Scanner<X, kSeek, kBlocks> scanner(job, extremes);
  scanner.start(batch);
  while (begin < end) {
    scanner.finish();
    const Batch current = batch;
    extremes.fold<kSeek>(current.lanes, lanes.low, lanes.high);
    if (!make_scales<X, Codes>(job, current, lanes)) return false;
    begin += current.units();
    if (begin < end) {
      batch = batch_at(job, begin, end);
      scanner.start(batch);
    }
    encode_run<X, Codes, kSeek == Seek::order, kBlocks>(job, current, lanes, lines, scanner);
  }
  return true;
}

template <class X, class Codes, Seek kSeek>
bool quantize_scanned(const Job& job, int64_t begin, int64_t end) {
  const bool usual = job.rounding == GATUN_ROUND_NEAREST && job.scale_rule != GATUN_SCALE_GIVEN;
  switch (usual ? blocks_of_step(job) : 0) {
    case 1:
      return quantize_runs<X, Codes, kSeek, 1>(job, begin, end);
    case 2:
      return quantize_runs<X, Codes, kSeek, 2>(job, begin, end);
    case 4:
      return quantize_runs<X, Codes, kSeek, 4>(job, begin, end);
    default:
      return quantize_blocks<X, Codes, kSeek>(job, begin, end);
  }
}

template <class X, class Codes>
bool quantize_units(const Job& job, int64_t begin, int64_t end) {
  if (begin == end) return true;
  if constexpr (Codes::kZeroPoints) {
    if (job.zero_point == GATUN_ZERO_FLOAT) return quantize_scanned<X, Codes, Seek::order>(job, begin, end);
  } else {
    if (job.scale_rule != GATUN_SCALE_NO_CLIPPING) return quantize_scanned<X, Codes, Seek::magnitude>(job, begin, end);
  }
  return quantize_scanned<X, Codes, Seek::signs>(job, begin, end);
}

// What codes stand for: (code - zero point) * scale + offset, without an offset unless kOffset; of one block (kBlocks =
// 0), or of steps.
template <class Codes, bool kOffset, int kBlocks>
struct Decoder {
  const Lanes& lanes;
  const int64_t block;
  StepLanes<kBlocks> next;

  GATUN_INLINE void operator()(const uint8_t* p, F32 (&out)[4]) {
    for (int j = 0; j < 4; ++j) {
      const int64_t lane = kBlocks > 0 ? next.of(j) : block;
      const I32 code = Codes::load(p + j * kLanes * Codes::kBits / 8);
      const F32 scale = set1(lanes.inverse[lane]);
      if (kOffset) {
        out[j] = add(mul(to_f32(code), scale), set1(lanes.offset[lane]));
      } else {
        out[j] = mul(to_f32(sub_i32(code, set1_i32(lanes.zero_point[lane]))), scale);
      }
    }
    if (kBlocks > 0) next.step();
  }
};

template <class Codes, class X, bool kOffset, int kBlocks>
GATUN_INLINE void decode_batch(const Job& job, const Batch& batch, const Lanes& lanes, Lines& lines) {
  const uint8_t* codes = codes_row<Codes>(job, batch.row);
  typename X::Type* x = x_row<X>(job, batch.row) + batch.begin;
  const int64_t count = run_count(job, batch), step = kBlocks > 0 ? count : job.group;
  for (int64_t lane = 0, done = 0; done < count; ++lane, done += step) {
    decode_row<Codes, X>(codes, batch.begin + done, smaller(step, count - done), x + done, lines,
                         [&] { return Decoder<Codes, kOffset, kBlocks>{lanes, lane, StepLanes<kBlocks>(job.group)}; });
  }
}

template <class Codes, class X, bool kOffset>
GATUN_INLINE void decode_some(const Job& job, const Batch& batch, const Lanes& lanes, Lines& lines) {
  switch (blocks_of_step(job)) {
    case 2:
      return decode_batch<Codes, X, kOffset, 2>(job, batch, lanes, lines);
    case 4:
      return decode_batch<Codes, X, kOffset, 4>(job, batch, lanes, lines);
    default:
      return decode_batch<Codes, X, kOffset, 0>(job, batch, lanes, lines);
  }
}

template <class Codes, class X>
void dequantize_units(const Job& job, int64_t begin, int64_t end) {
  Lanes lanes;
  Lines lines(job.stream);
  for (int64_t index = begin; index < end;) {
    const Batch batch = batch_at(job, index, end);
    read_lanes<Codes>(job, batch, lanes.inverse, lanes);
    if (job.zero_point == GATUN_ZERO_FLOAT) {
      decode_some<Codes, X, true>(job, batch, lanes, lines);
    } else {
      decode_some<Codes, X, false>(job, batch, lanes, lines);
    }
    index += batch.units();
  }
}

template <class Codes>
constexpr quantize::Kernel linear_kernel() {
  return {{quantize_units<f32, Codes>, quantize_units<f16, Codes>, quantize_units<bf16, Codes>},
          {dequantize_units<Codes, f32>, dequantize_units<Codes, f16>, dequantize_units<Codes, bf16>}};
}

}  // namespace
}  // namespace gatun::GATUN_ISA
