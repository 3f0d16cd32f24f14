// The kept weights of one column in one segment of a unit (form.h), whatever their order in memory.
#pragma once

#include <cstdint>

#include "gatun/quantize.h"
#include "nm_matmul/sparse_job.h"
#include "ptx/number.h"

namespace gatun::cuda::nm_matmul {

class List {
 public:
  // Of column `column` (0..15) in segment `segment` (0, 1) of the unit.
  GATUN_DEVICE List(const SparseJob& job, const uint8_t* unit, int column, int segment)
      : dtype_(job.value_dtype), order_(job.order), slots_(job.list_slots) {
    const uint32_t* const words = reinterpret_cast<const uint32_t*>(unit);
    const uint8_t* const values = unit + kMetadataBytes;
    const int row = column % 8, second = column / 8;
    if (order_ == Order::lists) {
      mask_ = words[segment * kStripColumns + column];
      values_ = values + (segment * kStripColumns + column) * job.list_bytes;
    } else if (order_ == Order::fragments8) {
      mask_ = mask_of(words[row * 4 + segment * 2 + second]);
      values_ = values + row * 64 + segment * 8 + second * 4;
    } else {
      const uint32_t low = words[row * 4 + segment * 2] >> 16 * second & 0xffffu,
                     high = words[row * 4 + segment * 2 + 1] >> 16 * second & 0xffffu;
      mask_ = mask_of(low | high << 16);
      const bool u4 = dtype_ == GATUN_U4;
      values_ = values + segment * (u4 ? 128 : 512) + row * (u4 ? 16 : 64) + (u4 ? 0 : second * 4);
      shift_ = second * 4;
    }
  }

  // Bit p: depth p of the segment is kept; as many as slots(), if the weights had no faults. Memory may hold anything:
  // of more only the lowest have values.
  GATUN_DEVICE uint32_t mask() const { return mask_; }
  GATUN_DEVICE int slots() const { return slots_; }

  GATUN_DEVICE bool is_half() const { return dtype_ == GATUN_F16 || dtype_ == GATUN_BF16; }

  // The value of a slot, as it is stored in the low bits.
  GATUN_DEVICE uint32_t bits(int slot) const {
    if (dtype_ == GATUN_F32) return reinterpret_cast<const uint32_t*>(values_)[slot];
    if (dtype_ == GATUN_U4) {
      if (order_ == Order::lists) return values_[slot / 2] >> slot % 2 * 4 & 15;
      return values_[slot % 8 / 2 * 4 + slot % 2 * 2 + slot / 8] >> shift_ & 15;
    }
    if (dtype_ == GATUN_I8) {
      return values_[order_ == Order::lists ? slot : slot / 4 * 16 + slot % 4];
    }
    const int at = order_ == Order::lists ? slot : slot % 8 / 2 * 8 + slot / 8 * 4 + slot % 2;
    return reinterpret_cast<const uint16_t*>(values_)[at];
  }

  // What the bits stand for, before the scale.
  GATUN_DEVICE float value(uint32_t bits, int zero) const {
    if (dtype_ == GATUN_F32) return as_float(bits);
    if (dtype_ == GATUN_F16) return f16_to_f32(static_cast<uint16_t>(bits));
    if (dtype_ == GATUN_BF16) return bf16_to_f32(static_cast<uint16_t>(bits));
    return static_cast<float>(code(bits, zero));
  }
  GATUN_DEVICE int code(uint32_t bits, int zero) const {
    return dtype_ == GATUN_I8 ? static_cast<int8_t>(bits) : static_cast<int>(bits) - zero;
  }

 private:
  // From eight nibbles of two positions each.
  GATUN_DEVICE static uint32_t mask_of(uint32_t nibbles) {
    uint32_t mask = 0;
#pragma unroll
    for (int i = 0; i < 32; i += 4) {
      mask |= (1u << (nibbles >> i & 3) | 1u << (nibbles >> (i + 2) & 3)) << i;
    }
    return mask;
  }

  int32_t dtype_;
  Order order_;
  int32_t slots_;
  uint32_t mask_;
  const uint8_t* values_;
  int shift_ = 0;
};

// The zero point of a column in a group.
GATUN_DEVICE int zero_of(const qmatmul::Job& job, int64_t group, int64_t column) {
  return job.zero_point == GATUN_ZERO_INTEGER
             ? static_cast<const uint8_t*>(job.offsets)[group * job.padded_columns + column]
             : qmatmul::zero_code(job.kind);
}

}  // namespace gatun::cuda::nm_matmul
