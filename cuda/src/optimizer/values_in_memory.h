// p and g in memory: four elements of a lane, or single ones, in F32, F16 or BF16.
#pragma once

#include <cstdint>

#include "gatun/types.h"
#include "optimizer/device_job.h"
#include "ptx/memory.h"
#include "ptx/number.h"
#include "quantize/threshold.h"

namespace gatun::cuda::optimizer {

// The bits of four elements: a word each in F32, half a word each in 16 bits.
using RawValues = Words4;
struct alignas(8) Words2 {
  uint32_t word[2];
};

GATUN_DEVICE RawValues load_values(int32_t dtype, const void* x, int64_t first) {
  if (dtype == GATUN_F32) return *reinterpret_cast<const Words4*>(static_cast<const float*>(x) + first);
  const Words2 two = *reinterpret_cast<const Words2*>(static_cast<const uint16_t*>(x) + first);
  return {{two.word[0], two.word[1], 0, 0}};
}

GATUN_DEVICE RawValues load_values(int32_t dtype, const void* x, int64_t first, int count) {
  RawValues raw = {};
#pragma unroll
  for (int i = 0; i < kLaneElements; ++i) {
    if (i >= count) continue;
    if (dtype == GATUN_F32) {
      raw.word[i] = static_cast<const uint32_t*>(x)[first + i];
    } else {
      raw.word[i / 2] |= uint32_t{static_cast<const uint16_t*>(x)[first + i]} << 16 * (i % 2);
    }
  }
  return raw;
}

GATUN_DEVICE void widen(int32_t dtype, const RawValues& raw, float (&v)[kLaneElements]) {
#pragma unroll
  for (int i = 0; i < kLaneElements; ++i) {
    const uint32_t pair = raw.word[i / 2];
    v[i] = dtype == GATUN_F32   ? as_float(raw.word[i])
           : dtype == GATUN_F16 ? f16_to_f32(static_cast<uint16_t>(pair >> 16 * (i % 2)))
                                : as_float(i % 2 ? pair & 0xffff0000u : pair << 16);
  }
}

// The bits of one element, and its value.
GATUN_DEVICE uint32_t load_value(int32_t dtype, const void* x, int64_t index) {
  return dtype == GATUN_F32 ? static_cast<const uint32_t*>(x)[index] : static_cast<const uint16_t*>(x)[index];
}
GATUN_DEVICE float widen(int32_t dtype, uint32_t bits) {
  return dtype == GATUN_F32   ? as_float(bits)
         : dtype == GATUN_F16 ? f16_to_f32(static_cast<uint16_t>(bits))
                              : as_float(bits << 16);
}

// To BF16: 16 random bits below its last place, and what is left there cut off; then rounding to nearest does nothing.
// Infinities and NaN stay.
class StochasticRounding {
 public:
  explicit GATUN_DEVICE StochasticRounding(uint64_t seed) : seed_(seed), key_(quantize::threshold_key(seed, 0)) {}

  // Elements from `first`, a multiple of kLaneElements, on.
  GATUN_DEVICE void round(float (&v)[kLaneElements], int64_t first) {
    const uint32_t upper = static_cast<uint32_t>(first >> 32);
    if (upper != upper_) {
      upper_ = upper;
      key_ = quantize::threshold_key(seed_, upper);
    }
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) {
      const uint32_t random = quantize::random_threshold(key_, static_cast<uint32_t>(first + i)) >> 8;
      const float cut = as_float((as_bits(v[i]) + random) & 0xffff0000u);
      v[i] = absolute(v[i]) < as_float(0x7f800000u) ? cut : v[i];
    }
  }

 private:
  const uint64_t seed_;
  uint32_t upper_ = 0;
  uint64_t key_;  // of the upper bits of indices
};

GATUN_DEVICE RawValues narrow(int32_t dtype, const float (&v)[kLaneElements]) {
  if (dtype == GATUN_F32) return {{as_bits(v[0]), as_bits(v[1]), as_bits(v[2]), as_bits(v[3])}};
  if (dtype == GATUN_F16) return {{pack_f16(v[0], v[1]), pack_f16(v[2], v[3]), 0, 0}};
  return {{pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), 0, 0}};
}

GATUN_DEVICE void store_values(int32_t dtype, void* x, int64_t first, const RawValues& raw) {
  if (dtype == GATUN_F32) {
    *reinterpret_cast<Words4*>(static_cast<float*>(x) + first) = raw;
  } else {
    *reinterpret_cast<Words2*>(static_cast<uint16_t*>(x) + first) = {{raw.word[0], raw.word[1]}};
  }
}

GATUN_DEVICE void store_values(int32_t dtype, void* x, int64_t first, int count, const RawValues& raw) {
#pragma unroll
  for (int i = 0; i < kLaneElements; ++i) {
    if (i >= count) continue;
    if (dtype == GATUN_F32) {
      static_cast<uint32_t*>(x)[first + i] = raw.word[i];
    } else {
      static_cast<uint16_t*>(x)[first + i] = static_cast<uint16_t>(raw.word[i / 2] >> 16 * (i % 2));
    }
  }
}

}  // namespace gatun::cuda::optimizer
