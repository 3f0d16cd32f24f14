// Linear codes, per the definition in gatun/quantize.h:
//
//   codes[r][k] = clamp(round((x[r][k] - offset) * (1 / scale)) + zero point)
//   x[r][k] = (codes[r][k] - zero point) * scale + offset
//
// with an integer zero point, or kZero without one, or an offset (float zero points; otherwise 0 to quantize, and -0 to
// dequantize, which leave every number as it is).
//
// Overflow: values are clamped to the codes' range before they become integers, so any scale will do.
// Bound: none, all tiers agree with the reference bit for bit.
#pragma once

#include "base/dtype.h"
#include "quantize/codes.h"
#include "quantize/tile.h"

namespace gatun::GATUN_ISA {
namespace {

// The blocks of a batch: extremes as ordered integers, and what is made of them.
struct LinearBlocks : Found {
  float inverse[kRoom] = {};  // of the scale; 0 for a scale of 0
  float offset[kRoom] = {};
  int32_t zero_point[kRoom] = {};
};

// Of extremes of the same magnitude only the first counts: the other becomes 0.
__attribute__((noinline)) void settle_ties(const Job& job, const Batch& batch, LinearBlocks& blocks) {
  const auto tied = [&](int64_t i) { return blocks.high[i] > 0 && blocks.high[i] == ~blocks.low[i]; };
  int64_t left = 0;
  for (int64_t i = 0; i < batch.blocks(); ++i) left += tied(i);
  for_each_stretch(job, batch, [&](int64_t, int64_t block, const float* x, int64_t, int64_t count) {
    if (left == 0 || !tied(block)) return;
    const float magnitude = float_from_bits(static_cast<uint32_t>(blocks.high[block]));
    for (int64_t i = 0; i < count; ++i) {
      if (x[i] != magnitude && x[i] != -magnitude) continue;
      (x[i] == magnitude ? blocks.low : blocks.high)[block] = 0;
      --left;
      return;
    }
  });
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

template <class C>
struct Linear {
  using Codes = C;
  using Blocks = LinearBlocks;

  static constexpr Seek kSeek = Codes::kZeroPoints ? Seek::signs : Seek::magnitude;  // what is sought most
  static Seek seek(const Job& job) {
    if (job.scale_rule == GATUN_SCALE_GIVEN || job.zero_point == GATUN_ZERO_FLOAT) return Seek::order;
    return job.scale_rule == GATUN_SCALE_NO_CLIPPING ? Seek::signs : kSeek;
  }

  // Scales, to `scales`, offsets and zero points as they are stored.
  static void read(const Job& job, const Batch& batch, float* scales, Blocks& blocks) {
    if (job.scale_dtype == GATUN_F16) {
      get_blocks<uint16_t>(job, batch, job.scales, [=](int64_t i, uint16_t value) { scales[i] = f16_to_float(value); });
    } else {
      get_blocks<float>(job, batch, job.scales, [=](int64_t i, float value) { scales[i] = value; });
    }
    if (job.zero_point == GATUN_ZERO_INTEGER) {
      get_blocks<uint8_t>(job, batch, job.zero_points, [&](int64_t i, uint8_t value) { blocks.zero_point[i] = value; });
    } else if (job.zero_point == GATUN_ZERO_FLOAT) {
      get_blocks<float>(job, batch, job.zero_points, [&](int64_t i, float value) { blocks.offset[i] = value; });
    } else {
      for (int64_t i = 0; i < kBatch; ++i) blocks.zero_point[i] = Codes::kZero;
    }
  }

  // Makes scales and zero points of the extremes and stores them, unless they are there, and what codes are made with.
  // False if something is not finite.
  static bool make_scales(const Job& job, const Batch& batch, Blocks& blocks) {
    const bool integer = job.zero_point == GATUN_ZERO_INTEGER, offsets = job.zero_point == GATUN_ZERO_FLOAT;
    const bool halves = job.scale_dtype == GATUN_F16;
    float scales[kBatch] = {};
    if (job.fixed) {
      read(job, batch, scales, blocks);
    } else {
      for (int64_t i = 0; i < kBatch; ++i) blocks.zero_point[i] = offsets ? 0 : Codes::kZero;
      if (job.scale_rule == GATUN_SCALE_DEFAULT && job.zero_point == GATUN_ZERO_NONE && Codes::kZeroPoints) {
        uint32_t ties = 0;
        for (int64_t i = 0; i < batch.blocks(); i += kLanes) {
          ties |= equal_mask(load_i32(blocks.high + i), xor_i32(load_i32(blocks.low + i), set1_i32(-1)));
        }
        if (ties != 0) settle_ties(job, batch, blocks);
      }
    }

    uint16_t stored_halves[kBatch];
    I32 largest = zero_i32();  // of the magnitudes of all that must be finite
    for (int64_t i = 0; i < batch.blocks(); i += kLanes) {
      I32 low_key = load_i32(blocks.low + i), high_key = load_i32(blocks.high + i);
      largest = max_i32(largest, max_i32(high_key, xor_i32(low_key, set1_i32(-1))));
      if (!offsets) {
        low_key = min_i32(low_key, zero_i32());
        high_key = max_i32(high_key, zero_i32());
      }
      const F32 low = as_f32(ordered(low_key)), high = as_f32(ordered(high_key));
      F32 scale = load_f32(scales + i);
      if (!job.fixed) {
        scale = scale_of<Codes>(job, low, high);
        if (halves) {
          store_f16(stored_halves + i, scale);
          scale = load_f16(stored_halves + i);
        }
        scale = select_less(abs(scale), set1(0x1p-120f), zero_f32(), scale);
        if (halves) store_f16(stored_halves + i, scale);
        store_f32(scales + i, scale);
      }
      largest = max_i32(largest, as_i32(abs(scale)));
      F32 inverse = div(set1(1), scale);  // a given scale may be too small for one, and counts as 0
      inverse = select_less(abs(inverse), set1(__builtin_inff()), inverse, zero_f32());
      store_f32(blocks.inverse + i, inverse);
      if (job.fixed) {
        largest = max_i32(largest, as_i32(abs(load_f32(blocks.offset + i))));
      } else if (integer) {
        const F32 zero = min(round_even(div(sub(zero_f32(), low), scale)), set1(Codes::kMost));
        store_i32(blocks.zero_point + i, round_to_i32(select_less(zero_f32(), abs(scale), zero, zero_f32())));
      } else if (offsets) {
        store_f32(blocks.offset + i, add(low, zero_f32()));  // no -0
      }
    }
    if (reduce_max_i32(largest) > kLargestFinite) return false;
    if (job.fixed) return true;
    if (halves) {
      put_blocks(job, batch, stored_halves, job.scales);
    } else {
      put_blocks(job, batch, scales, job.scales);
    }
    if (integer) {
      uint8_t zeros[kBatch];
      for (int64_t i = 0; i < kBatch; ++i) zeros[i] = static_cast<uint8_t>(blocks.zero_point[i]);
      put_blocks(job, batch, zeros, job.zero_points);
    } else if (offsets) {
      put_blocks(job, batch, blocks.offset, job.zero_points);
    }
    return true;
  }

  // Whether a block's codes depend on the rounding.
  static bool rounds(const Blocks&, int64_t) { return true; }

  class Encoder {
   public:
    explicit GATUN_INLINE Encoder(const Job& job)
        : least_(set1_u8(static_cast<uint8_t>(lowest(job)))),
          low_(set1(Codes::kZeroPoints ? -512 : static_cast<float>(lowest(job)))),
          high_(set1(Codes::kZeroPoints ? 512 : Codes::kHighest)) {}

    // Of values that the scales are made of, without float zero points: steps are within i16.
    GATUN_INLINE Bytes usual(const Blocks& blocks, const Owners& owners, const F32 (&x)[4]) const {
      I32 code[4];
      for (int j = 0; j < 4; ++j) {
        const int64_t i = owners.block[j];
        code[j] = round_to_i32(mul(x[j], set1(blocks.inverse[i])));
        if (Codes::kZeroPoints) code[j] = add_i32(code[j], set1_i32(blocks.zero_point[i]));
      }
      return pack(code);
    }
    GATUN_INLINE Bytes nearest(const Blocks& blocks, const Owners& owners, const F32 (&x)[4]) const {
      return make(blocks, owners, x, [](F32 steps, int) GATUN_INLINE_LAMBDA { return round_to_i32(steps); });
    }
    GATUN_INLINE Bytes above(const Blocks& blocks, const Owners& owners, const F32 (&x)[4],
                             const F32 (&thresholds)[4]) const {
      return make(blocks, owners, x, [&](F32 steps, int j) GATUN_INLINE_LAMBDA {
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
    GATUN_INLINE Bytes make(const Blocks& blocks, const Owners& owners, const F32 (&x)[4], Round round) const {
      I32 code[4];
      for (int j = 0; j < 4; ++j) {
        const int64_t i = owners.block[j];
        const F32 value = Codes::kZeroPoints ? sub(x[j], set1(blocks.offset[i])) : x[j];
        code[j] = round(min(max(mul(value, set1(blocks.inverse[i])), low_), high_), j);
        if (Codes::kZeroPoints) code[j] = add_i32(code[j], set1_i32(blocks.zero_point[i]));
      }
      return pack(code);
    }

    GATUN_INLINE Bytes pack(const I32 (&code)[4]) const {
      const Bytes codes = Codes::pack(code[0], code[1], code[2], code[3]);
      return Codes::kZeroPoints ? codes : max_i8(codes, least_);
    }

    const Bytes least_;     // of i8
    const F32 low_, high_;  // of steps: of i8 the range, of others far beyond it, as pack has the rest to do
  };

  struct Scales {
    float scale[kRoom] = {};
    Blocks blocks;

    void read(const Job& job, const Batch& batch) {
      if (job.zero_point != GATUN_ZERO_FLOAT) {
        for (float& offset : blocks.offset) offset = -0.0f;
      }
      Linear::read(job, batch, scale, blocks);
    }
  };

  struct Decoder {
    explicit Decoder(const Job&) {}

    // What the codes from p on stand for.
    GATUN_INLINE void values(const Scales& scales, const Owners& owners, const uint8_t* p, F32 (&out)[4]) const {
      for (int j = 0; j < 4; ++j) {
        const int64_t i = owners.block[j];
        const I32 code = sub_i32(Codes::load(p + j * kLanes * Codes::kBits / 8), set1_i32(scales.blocks.zero_point[i]));
        out[j] = add(mul(to_f32(code), set1(scales.scale[i])), set1(scales.blocks.offset[i]));
      }
    }
  };
};

}  // namespace
}  // namespace gatun::GATUN_ISA
