// p and g in memory: four elements of a lane, or single ones, in F32, F16 or BF16.
#pragma once

#include <cstdint>

#include "gatun/types.h"
#include "optimizer/device_job.h"
#include "ptx/memory.h"
#include "ptx/number.h"
#include "quantize/threshold.h"

namespace gatun::cuda::optimizer {

// Types of p and g: the bits of an element, those of a lane's four, and their values.
struct F32Values {
  using Element = uint32_t;
  using Raw = Words4;

  static GATUN_DEVICE void put(Raw& raw, int i, Element bits) { raw.word[i] = bits; }
  static GATUN_DEVICE Element get(const Raw& raw, int i) { return raw.word[i]; }
  static GATUN_DEVICE float value(const Raw& raw, int i) { return as_float(raw.word[i]); }
  static GATUN_DEVICE Raw narrow(const float (&v)[kLaneElements]) {
    return {{as_bits(v[0]), as_bits(v[1]), as_bits(v[2]), as_bits(v[3])}};
  }
};

struct HalfValues {
  using Element = uint16_t;
  struct alignas(8) Raw {
    uint32_t word[2];
  };

  static GATUN_DEVICE void put(Raw& raw, int i, Element bits) { raw.word[i / 2] |= uint32_t{bits} << 16 * (i % 2); }
  static GATUN_DEVICE Element get(const Raw& raw, int i) {
    return static_cast<Element>(raw.word[i / 2] >> 16 * (i % 2));
  }
};
struct F16Values : HalfValues {
  static GATUN_DEVICE float value(const Raw& raw, int i) { return f16_to_f32(get(raw, i)); }
  static GATUN_DEVICE Raw narrow(const float (&v)[kLaneElements]) {
    return {{pack_f16(v[0], v[1]), pack_f16(v[2], v[3])}};
  }
};
struct BF16Values : HalfValues {
  static GATUN_DEVICE float value(const Raw& raw, int i) {
    return as_float(i % 2 ? raw.word[i / 2] & 0xffff0000u : raw.word[i / 2] << 16);
  }
  static GATUN_DEVICE Raw narrow(const float (&v)[kLaneElements]) {
    return {{pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3])}};
  }
};

template <class X>
GATUN_DEVICE typename X::Raw load_values(const void* x, int64_t first) {
  return *reinterpret_cast<const typename X::Raw*>(static_cast<const typename X::Element*>(x) + first);
}
template <class X>
GATUN_DEVICE void store_values(void* x, int64_t first, const typename X::Raw& raw) {
  *reinterpret_cast<typename X::Raw*>(static_cast<typename X::Element*>(x) + first) = raw;
}

// The first `count` of them; the others are 0, or stay.
template <class X>
GATUN_DEVICE typename X::Raw load_values(const void* x, int64_t first, int count) {
  typename X::Raw raw = {};
#pragma unroll
  for (int i = 0; i < kLaneElements; ++i) {
    if (i < count) X::put(raw, i, static_cast<const typename X::Element*>(x)[first + i]);
  }
  return raw;
}
template <class X>
GATUN_DEVICE void store_values(void* x, int64_t first, int count, const typename X::Raw& raw) {
#pragma unroll
  for (int i = 0; i < kLaneElements; ++i) {
    if (i < count) static_cast<typename X::Element*>(x)[first + i] = X::get(raw, i);
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
// The key of the first 2^32 elements is in shared memory, as registers are scarce.
class StochasticRounding {
 public:
  // By all threads of the block.
  GATUN_DEVICE StochasticRounding(const uint64_t& seed, uint64_t* key) : seed_(seed), key_(key) {
    if (thread_index() == 0) *key = quantize::threshold_key(seed, 0);
    block_barrier();
  }

  // Elements from `first`, a multiple of kLaneElements, on.
  GATUN_DEVICE void round(float (&v)[kLaneElements], int64_t first) const {
    const uint32_t upper = static_cast<uint32_t>(first >> 32);
    const uint64_t key = upper == 0 ? *key_ : quantize::threshold_key(seed_, upper);
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) {
      const uint32_t random = quantize::random_threshold(key, static_cast<uint32_t>(first + i)) >> 8;
      const float cut = as_float((as_bits(v[i]) + random) & 0xffff0000u);
      v[i] = absolute(v[i]) < as_float(0x7f800000u) ? cut : v[i];
    }
  }

 private:
  const uint64_t& seed_;
  const uint64_t* const key_;
};

}  // namespace gatun::cuda::optimizer
