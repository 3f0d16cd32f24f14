// Codes of blocks whose scale comes from their largest magnitude: small floats (tile_float.h) and code books
// (tile_book.h).
//
//   codes[r][k] = code of x[r][k] * (1 / scale),    x[r][k] = value of codes[r][k] * scale [* tensor scale]
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
__attribute__((noinline)) void store_scales(const Job& job, const Batch& batch, const int32_t* stored,
                                            const float* values) {
  if (job.scale_dtype == GATUN_F32) return put_blocks(job, batch, values, job.scales);
  if (job.scale_dtype == GATUN_F16) {
    uint16_t halves[kBatch];
    for (int64_t i = 0; i < kBatch; i += kLanes) store_f16(halves + i, load_f32(values + i));
    return put_blocks(job, batch, halves, job.scales);
  }
  int8_t bytes[kBatch];
  for (int64_t i = 0; i < kBatch; i += kLanes) store_i8(bytes + i, load_i32(stored + i));
  put_blocks(job, batch, bytes, job.scales);
}

// The reverse: the scales of a batch.
__attribute__((noinline)) void read_scales(const Job& job, const Batch& batch, float* scales) {
  const int64_t first = batch.row / job.group_rows * job.groups + batch.group;
  const int64_t step = batch.by_rows ? job.groups : 1, blocks = batch.blocks();
  for (int64_t i = 0; i < blocks; ++i) scales[i] = stored_scale(job, first + i * step);
}

// The blocks of a batch.
struct ScaledBlocks : Found {
  float inverse[kRoom] = {};  // of the scale; 0 for a scale of 0
  int32_t kept[kRoom] = {};   // bits of codes: of the magnitude; for a scale of 0, whose codes are those of 0, all
};

template <class C>
struct Scaled {
  using Codes = C;
  using Blocks = ScaledBlocks;

  static constexpr Seek kSeek = Seek::magnitude;
  // A given scale may leave the range that look-ups in code books have without clamping.
  static Seek seek(const Job& job) {
    return job.scale_rule == GATUN_SCALE_GIVEN && job.book != nullptr ? Seek::order : kSeek;
  }

  // Makes scales of the largest magnitudes and stores them, unless they are there, and what codes are made with. False
  // if something is not finite.
  static bool make_scales(const Job& job, const Batch& batch, Blocks& blocks) {
    float values[kBatch] = {};
    int32_t stored[kBatch] = {};
    if (job.fixed) read_scales(job, batch, values);
    I32 worst = zero_i32();
    for (int64_t i = 0; i < batch.blocks(); i += kLanes) {
      // Of Seek::order, both ends count; of Seek::magnitude, low is 0.
      const I32 largest = max_i32(load_i32(blocks.high + i), xor_i32(load_i32(blocks.low + i), set1_i32(-1)));
      Scale scale = {load_f32(values + i), zero_i32()};
      if (!job.fixed) scale = scale_of<Codes>(job, as_f32(min_i32(largest, set1_i32(0x7f800000))));
      worst = max_i32(worst, max_i32(largest, as_i32(abs(scale.value))));
      store_f32(values + i, scale.value);
      store_i32(stored + i, scale.stored);
      F32 one = set1(1);
      if (job.scale_dtype == GATUN_F8E4M3) one = div(one, set1(job.tensor_scale));
      F32 inverse = div(one, scale.value);  // a given scale may be too small for one, and counts as 0
      inverse = select_less(abs(inverse), set1(__builtin_inff()), inverse, zero_f32());
      store_f32(blocks.inverse + i, inverse);
      // An inverse is 0 or at least 2^-128 in magnitude.
      const F32 magnitude = as_f32(set1_i32(Codes::kMagnitude)), all = as_f32(set1_i32(2 * Codes::kMagnitude + 1));
      store_i32(blocks.kept + i, as_i32(select_less(zero_f32(), abs(inverse), magnitude, all)));
    }
    if (reduce_max_i32(worst) > kLargestFinite) return false;
    if (!job.fixed) store_scales(job, batch, stored, values);
    return true;
  }

  // The codes of a block with a scale of 0 are those of 0, however others are rounded.
  static bool rounds(const Blocks& blocks, int64_t block) { return blocks.inverse[block] != 0; }

  class Encoder {
   public:
    explicit GATUN_INLINE Encoder(const Job& job) : encoder_(job) {}

    GATUN_INLINE Bytes usual(const Blocks& blocks, const Owners& owners, const F32 (&x)[4]) const {
      return nearest<false>(blocks, owners, x);
    }
    template <bool kLimited = true>
    GATUN_INLINE Bytes nearest(const Blocks& blocks, const Owners& owners, const F32 (&x)[4]) const {
      F32 v[4];
      I32 kept[4];
      scale(blocks, owners, x, v, kept);
      return encoder_.template nearest<kLimited>(v, kept);
    }
    GATUN_INLINE Bytes above(const Blocks& blocks, const Owners& owners, const F32 (&x)[4],
                             const F32 (&thresholds)[4]) const {
      F32 v[4];
      I32 kept[4];
      scale(blocks, owners, x, v, kept);
      return encoder_.above(v, kept, thresholds);
    }

   private:
    static GATUN_INLINE void scale(const Blocks& blocks, const Owners& owners, const F32 (&x)[4], F32 (&v)[4],
                                   I32 (&kept)[4]) {
      for (int j = 0; j < 4; ++j) {
        v[j] = mul(x[j], set1(blocks.inverse[owners.block[j]]));
        kept[j] = set1_i32(blocks.kept[owners.block[j]]);
      }
    }

    const typename Codes::Encoder encoder_;
  };

  struct Scales {
    float scale[kRoom] = {};
    float tensor_scale = 1;

    void read(const Job& job, const Batch& batch) {
      read_scales(job, batch, scale);
      tensor_scale = job.tensor_scale;
    }
  };

  class Decoder {
   public:
    explicit GATUN_INLINE Decoder(const Job& job) : decoder_(job) {}

    // What the codes from p on stand for.
    GATUN_INLINE void values(const Scales& scales, const Owners& owners, const uint8_t* p, F32 (&out)[4]) const {
      decoder_.values(p, out);
      for (int j = 0; j < 4; ++j) {
        out[j] = mul(mul(out[j], set1(scales.scale[owners.block[j]])), set1(scales.tensor_scale));
      }
    }

   private:
    const typename Codes::Decoder decoder_;
  };
};

}  // namespace
}  // namespace gatun::GATUN_ISA
