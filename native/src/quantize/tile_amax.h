// Codes of blocks whose scale comes from their largest magnitude: small floats (tile_float.h) and code books
// (tile_book.h).
//
//   codes[r][k] = code of x[r][k] * (1 / scale),    x[r][k] = value of codes[r][k] * scale [* tensor scale]
//
// blocks.h has the layouts; a block may have several rows. One pass over memory: NaN and infinities show in the largest
// magnitude, taken as an integer.
//
// Scales of a batch are made side by side: those that are powers of two from the bits of amax, whose exponent is the
// floor of the logarithm; adding all bits of a mantissa makes it the ceiling, and half a unit of the codes' mantissa
// rounds.
//
// Bound: none, all tiers agree with the reference bit for bit.
#pragma once

#include "base/dtype.h"
#include "quantize/tile.h"
#include "quantize/tile_book.h"
#include "quantize/tile_float.h"

namespace gatun::GATUN_ISA {
namespace {

template <bool kFlag>
struct Flag {
  static constexpr bool kValue = kFlag;
};

// The blocks of a batch: one a lane, or all lanes are rows of one.
struct Blocks {
  bool joint;
  Batch scales;             // where they are in the plane of scales
  int32_t largest[kBatch];  // bits of the largest magnitude
  float inverse[kBatch];    // of the scale; 0 for a scale of 0
  int32_t signs[kBatch];    // the sign bit, or 0 for a scale of 0
  bool any_zero;            // whether there is such a scale

  Blocks(const Job& job, const Batch& batch)
      : joint(job.group_rows > 1),
        scales(joint ? Batch{batch.row / job.group_rows, batch.group, 1, false, batch.begin} : batch) {}

  int64_t of(int64_t lane) const { return joint ? 0 : lane; }
};

template <class X>
GATUN_INLINE void scan_blocks(const Job& job, const Batch& batch, Blocks& blocks) {
  for (int32_t& largest : blocks.largest) largest = 0;
  if (!blocks.joint) {
    Extremes extremes;
    int32_t unused[kBatch];
    scan_batch<X, Seek::magnitude>(job, batch, extremes);
    extremes.fold<Seek::magnitude>(batch.lanes, unused, blocks.largest);
    return;
  }
  for_each_stretch<X>(job, batch, [&](int64_t, const typename X::Type* x, int64_t, int64_t count) {
    scan_magnitude<X>(x, count, &blocks.largest[0]);
  });
}

// A scale, and the bits that stand for it.
struct Scale {
  F32 value;
  I32 stored;
};

// 2^(exponent - 127) as E8M0, by a rule, from the largest magnitude.
template <class Codes>
GATUN_INLINE Scale power_scale(int32_t rule, F32 amax) {
  constexpr int32_t kMantissa = 0x7fffff;
  I32 exponent;
  if (rule == GATUN_SCALE_RCEIL) {
    const F32 least = set1(0x1p-127f), ratio = div(amax, set1(Codes::kLargest));
    const I32 bits = as_i32(select_less(least, ratio, ratio, zero_f32()));
    exponent = shift_right<23>(add_i32(bits, set1_i32(kMantissa)));
  } else {
    const int32_t up = rule == GATUN_SCALE_CEIL   ? kMantissa
                       : rule == GATUN_SCALE_EVEN ? 1 << (22 - Codes::kMantissaBits)
                                                  : 0;
    const I32 power = shift_right<23>(add_i32(as_i32(amax), set1_i32(up)));
    exponent = max_i32(sub_i32(power, set1_i32(Codes::kTop)), zero_i32());
  }
  return {as_f32(max_i32(shift_left<23>(exponent), set1_i32(0x400000))), exponent};
}

// The scale of a largest magnitude within a tensor scale, as F8E4M3, normal; to nearest, ties to even.
template <class Codes>
GATUN_INLINE Scale small_scale(float tensor_scale, F32 amax) {
  const F32 exact = div(div(amax, set1(Codes::kLargest)), set1(tensor_scale));
  const I32 bits = as_i32(max(min(exact, set1(448)), set1(0x1p-6f)));
  const I32 odd = and_i32(shift_right<20>(bits), set1_i32(1));
  const I32 rounded = shift_right<20>(add_i32(add_i32(bits, set1_i32(0x7ffff)), odd));
  return {as_f32(shift_left<20>(rounded)), sub_i32(rounded, set1_i32((127 - 7) << 3))};
}

template <class Codes>
GATUN_INLINE Scale plain_scale(bool halves, F32 amax) {
  uint16_t stored[kLanes];
  F32 scale = div(amax, set1(Codes::kLargest));
  if (halves) {
    store_f16(stored, scale);
    scale = load_f16(stored);
  }
  scale = select_less(scale, set1(0x1p-120f), zero_f32(), scale);
  return {scale, as_i32(scale)};
}

template <class Codes>
GATUN_INLINE Scale scale_of(const Job& job, F32 amax) {
  if constexpr (Codes::kSmallScales) {
    if (job.scale_dtype == GATUN_E8M0) return power_scale<Codes>(job.scale_rule, amax);
    if (job.scale_dtype == GATUN_F8E4M3) return small_scale<Codes>(job.tensor_scale, amax);
  }
  return plain_scale<Codes>(job.scale_dtype == GATUN_F16, amax);
}

// Scale `index` of the plane.
GATUN_INLINE float stored_scale(const Job& job, int64_t index) {
  switch (job.scale_dtype) {
    case GATUN_F32:
      return static_cast<const float*>(job.scales)[index];
    case GATUN_F16:
      return f16_to_float(static_cast<const uint16_t*>(job.scales)[index]);
    case GATUN_E8M0:
      return e8m0_to_f32(static_cast<const uint8_t*>(job.scales)[index]);
    default:
      return small_to_f32<F8E4M3>(static_cast<const uint8_t*>(job.scales)[index]);
  }
}

// Lanes of 32 bits to the plane of scales.
GATUN_INLINE void store_scales(const Job& job, const Batch& batch, const int32_t* stored, const float* values) {
  if (job.scale_dtype == GATUN_F32) return put_lanes(job, batch, values, job.scales);
  if (job.scale_dtype == GATUN_F16) {
    uint16_t halves[kBatch];
    for (int64_t lane = 0; lane < kBatch; lane += kLanes) store_f16(halves + lane, load_f32(values + lane));
    return put_lanes(job, batch, halves, job.scales);
  }
  int8_t bytes[kBatch];
  for (int64_t lane = 0; lane < kBatch; lane += kLanes) store_i8(bytes + lane, load_i32(stored + lane));
  put_lanes(job, batch, bytes, job.scales);
}

// Makes scales of the largest magnitudes and stores them, or takes those that are given. False if something is not
// finite.
template <class Codes>
GATUN_INLINE bool make_scales(const Job& job, Blocks& blocks) {
  const bool given = job.scale_rule == GATUN_SCALE_GIVEN;
  float values[kBatch] = {};
  int32_t stored[kBatch];
  if (given) {
    const int64_t first = blocks.scales.row * job.groups + blocks.scales.group;
    const int64_t step = blocks.scales.rows ? job.groups : 1;
    for (int64_t lane = 0; lane < blocks.scales.lanes; ++lane) values[lane] = stored_scale(job, first + lane * step);
  }
  I32 worst = zero_i32();
  for (int64_t lane = 0; lane < kBatch; lane += kLanes) {
    const I32 largest = load_i32(blocks.largest + lane);
    Scale scale = {load_f32(values + lane), zero_i32()};
    if (!given) scale = scale_of<Codes>(job, as_f32(min_i32(largest, set1_i32(0x7f800000))));
    worst = max_i32(worst, max_i32(largest, as_i32(abs(scale.value))));
    store_f32(values + lane, scale.value);
    store_i32(stored + lane, scale.stored);
    F32 one = set1(1);
    if (job.scale_dtype == GATUN_F8E4M3) one = div(one, set1(job.tensor_scale));
    F32 inverse = div(one, scale.value);  // a given scale may be too small for one, and counts as 0
    inverse = select_less(abs(inverse), set1(__builtin_inff()), inverse, zero_f32());
    store_f32(blocks.inverse + lane, inverse);
    // An inverse is 0 or at least 2^-128 in magnitude.
    store_i32(blocks.signs + lane, as_i32(select_less(zero_f32(), abs(inverse), set1(-0.0f), zero_f32())));
  }
  blocks.any_zero = false;
  for (int64_t lane = 0; lane < blocks.scales.lanes; ++lane) blocks.any_zero |= blocks.signs[lane] == 0;
  if (reduce_max_i32(worst) > kLargestFinite) return false;
  if (!given) store_scales(job, blocks.scales, stored, values);
  return true;
}

// Values to codes: those of one block, or with kRun vectors of one block each, one after the other.
template <class Codes, bool kRun>
class Scaled {
 public:
  GATUN_INLINE Scaled(const typename Codes::Encoder& encoder, const Blocks& blocks, int64_t block, int64_t group)
      : encoder_(encoder), blocks_(blocks), block_(block), next_(group, blocks.scales.lanes) {}

  GATUN_INLINE Bytes nearest(const F32 (&x)[4]) {
    F32 v[4];
    I32 signs[4];
    scale(x, v, signs);
    return encoder_.nearest(v, signs);
  }
  GATUN_INLINE Bytes above(const F32 (&x)[4], const F32 (&thresholds)[4]) {
    F32 v[4];
    I32 signs[4];
    scale(x, v, signs);
    return encoder_.above(v, signs, thresholds);
  }

 private:
  GATUN_INLINE void scale(const F32 (&x)[4], F32 (&v)[4], I32 (&signs)[4]) {
    for (int j = 0; j < 4; ++j) {
      const int64_t block = kRun ? next_.next() : block_;
      v[j] = mul(x[j], set1(blocks_.inverse[block]));
      signs[j] = set1_i32(blocks_.signs[block]);
    }
  }

  const typename Codes::Encoder encoder_;  // a copy: what it has in registers stays there
  const Blocks& blocks_;
  const int64_t block_;
  VectorLanes next_;
};

// The codes of a block with a scale of 0 are those of 0, however others are rounded.
template <class X, class Codes>
GATUN_INLINE void encode_blocks(const Job& job, const Batch& batch, const Blocks& blocks,
                                const typename Codes::Encoder& encoder, Lines& lines) {
  if (VectorLanes::fit(job) && batch.lanes > 1 && (job.rounding == GATUN_ROUND_NEAREST || !blocks.any_zero)) {
    const int64_t count = smaller(batch.lanes * job.group, job.depth - batch.begin);
    encode_row<X, Codes>(job, batch, 0, x_row<X>(job, batch.row) + batch.begin, batch.begin, count, true, lines,
                         [&] { return Scaled<Codes, true>(encoder, blocks, 0, job.group); });
    return;
  }
  for_each_stretch<X>(job, batch, [&](int64_t lane, const typename X::Type* x, int64_t k, int64_t count) {
    const int64_t block = blocks.of(lane);
    encode_row<X, Codes>(job, batch, lane, x, k, count, blocks.signs[block] != 0, lines,
                         [&] { return Scaled<Codes, false>(encoder, blocks, block, job.group); });
  });
}

template <class X, class Codes>
bool quantize_scaled(const Job& job, int64_t begin, int64_t end) {
  const typename Codes::Encoder encoder(job);
  Lines lines(job.stream);
  for (int64_t index = begin; index < end;) {
    const Batch batch = batch_at(job, index, end);
    Blocks blocks(job, batch);
    scan_blocks<X>(job, batch, blocks);
    if (!make_scales<Codes>(job, blocks)) return false;
    encode_blocks<X, Codes>(job, batch, blocks, encoder, lines);
    index += batch.units();
  }
  return true;
}

// What codes stand for: those of one block, or with kRun vectors of one block each, one after the other.
template <class Codes, bool kRun>
struct Values {
  const typename Codes::Decoder decoder;
  const float* const scales;
  const F32 tensor_scale;
  VectorLanes at;
  const int64_t block;

  GATUN_INLINE void operator()(const uint8_t* p, F32 (&out)[4]) {
    decoder.values(p, out);
    for (int j = 0; j < 4; ++j) out[j] = mul(mul(out[j], set1(scales[kRun ? at.next() : block])), tensor_scale);
  }
};

template <class Codes, class X>
void dequantize_scaled(const Job& job, int64_t begin, int64_t end) {
  const typename Codes::Decoder decoder(job);
  const F32 tensor_scale = set1(job.tensor_scale);
  Lines lines(job.stream);
  for (int64_t index = begin; index < end;) {
    const Batch batch = batch_at(job, index, end);
    const Blocks blocks(job, batch);
    const int64_t first = blocks.scales.row * job.groups + blocks.scales.group;
    float scales[kBatch];
    for (int64_t lane = 0; lane < blocks.scales.lanes; ++lane) scales[lane] = stored_scale(job, first + lane);
    const auto values = [&](auto run, int64_t block) {
      return Values<Codes, decltype(run)::kValue>{decoder, scales, tensor_scale, VectorLanes(job.group, batch.lanes),
                                                  block};
    };
    typename X::Type* const x = x_row<X>(job, batch.row) + batch.begin;
    if (VectorLanes::fit(job) && batch.lanes > 1) {
      decode_row<Codes, X>(codes_row<Codes>(job, batch.row), batch.begin,
                           smaller(batch.lanes * job.group, job.depth - batch.begin), x, lines,
                           [&] { return values(Flag<true>(), 0); });
    } else {
      const int64_t step = batch.rows ? job.x_row_stride : job.group;
      for (int64_t lane = 0; lane < batch.lanes; ++lane) {
        decode_row<Codes, X>(codes_row<Codes>(job, batch.lane_row(lane)), batch.lane_group(lane) * job.group,
                             lane_count(job, batch, lane), x + lane * step, lines,
                             [&] { return values(Flag<false>(), blocks.of(lane)); });
      }
    }
    index += batch.units();
  }
}

template <class Codes>
constexpr quantize::Kernel scaled_kernel() {
  return {{quantize_scaled<f32, Codes>, quantize_scaled<f16, Codes>, quantize_scaled<bf16, Codes>},
          {dequantize_scaled<Codes, f32>, dequantize_scaled<Codes, f16>, dequantize_scaled<Codes, bf16>}};
}

}  // namespace
}  // namespace gatun::GATUN_ISA
