// What codes of a unit (form.h) stand for, in f32, and scales.
//
// A byte in the low mantissa bits of 2^23 is 2^23 plus that byte, and one subtraction takes off the 2^23 together with
// the zero point. Small floats are shifted into place, and a power of two makes up for the difference of the biases,
// subnormals included. Values of code books come from a table in shared memory, of which neighbouring lanes have their
// own copies in other banks.
#pragma once

#include <cstdint>

#include "gatun/quantize.h"
#include "ptx/memory.h"
#include "ptx/number.h"
#include "qmatmul/form.h"

namespace gatun::cuda::qmatmul {

constexpr int table_copies(Codes codes) { return codes == Codes::book4 ? 32 : 8; }

// Codes that decode alike share an instance: bytes of integers by a flipped sign bit, small floats by their shifts.
constexpr Codes value_instance(Codes codes) {
  if (codes == Codes::i8) return Codes::u8;
  return codes == Codes::f8e5m2 || codes == Codes::f6e3m2 || codes == Codes::f6e2m3 ? Codes::f8e4m3 : codes;
}

// What tells the codes of an instance apart.
struct Decoding {
  uint32_t flip;        // of bytes of integers
  int32_t excess;       // that this adds to their values
  int32_t left, right;  // of a small float: from the highest byte to its place
  uint32_t kept;        // the bits of it there
  float power;
};
constexpr Decoding decoding_of(Codes codes) {
  if (codes == Codes::i8) return {0x80808080u, 128, 0, 0, 0, 0};
  const bool e5m2 = codes == Codes::f8e5m2, e3m2 = codes == Codes::f6e3m2, e2m3 = codes == Codes::f6e2m3,
             e2m1 = codes == Codes::f4e2m1;
  if (!e5m2 && !e3m2 && !e2m3 && !e2m1 && codes != Codes::f8e4m3) return {};
  const int exponents = e5m2 ? 5 : e3m2 ? 3 : e2m3 || e2m1 ? 2 : 4, mantissas = e5m2 || e3m2 ? 2 : e2m1 ? 1 : 3;
  const int bits = exponents + mantissas, bias = (1 << (exponents - 1)) - 1;
  float power = 1;
  for (int i = bias; i < 127; ++i) power *= 2;
  return {0, 0, 7 - bits, 8 - exponents, 0x80000000u | ((1u << bits) - 1) << (23 - mantissas), power};
}

// A small float in the highest byte.
GATUN_DEVICE float small_float(uint32_t code, const Decoding& decoding) {
  const int32_t placed = static_cast<int32_t>(code << decoding.left) >> decoding.right;
  return as_float(static_cast<uint32_t>(placed) & decoding.kept) * decoding.power;
}

// The value of byte i of four codes.
template <Codes kCodes>
class Values {
 public:
  // `lower` is the zero point of linear codes, `table` a lane's copy of a code book.
  GATUN_DEVICE Values(const Decoding& decoding, int lower, const float* table)
      : decoding_(decoding), minus_(-static_cast<float>((1 << 23) + decoding.excess + lower)), table_(table) {}

  GATUN_DEVICE float operator()(uint32_t codes, int i) const {
    if constexpr (kCodes == Codes::book4 || kCodes == Codes::book8) {
      return table_[(codes >> 8 * i & 0xff) * table_copies(kCodes)];
    } else if constexpr (is_linear(kCodes)) {
      if (kCodes == Codes::u8) codes ^= decoding_.flip;
      return as_float(pick_bytes(codes, 0x4b000000u, 0x7440u | static_cast<uint32_t>(i))) + minus_;
    } else {
      return small_float(pick_bytes(codes, 0, 0x0444u | static_cast<uint32_t>(i) << 12), decoding_);
    }
  }

 private:
  const Decoding& decoding_;
  float minus_;
  const float* table_;
};

// A scale as it is stored, in the low bits, and its value.
GATUN_DEVICE uint32_t load_scale(const void* scales, int32_t dtype, int64_t index) {
  if (dtype == GATUN_F32) return static_cast<const uint32_t*>(scales)[index];
  if (dtype == GATUN_F16) return static_cast<const uint16_t*>(scales)[index];
  return static_cast<const uint8_t*>(scales)[index];
}
GATUN_DEVICE float scale_value(uint32_t stored, int32_t dtype) {
  if (dtype == GATUN_F32) return as_float(stored);
  if (dtype == GATUN_F16) return f16_to_f32(static_cast<uint16_t>(stored));
  if (dtype == GATUN_E8M0)
    return stored == 0xff ? as_float(0x7fc00000u) : as_float(stored == 0 ? 0x400000u : stored << 23);
  if ((stored & 0x7f) == 0x7f) return as_float(0x7fc00000u);
  constexpr Decoding kScale = decoding_of(Codes::f8e4m3);
  return small_float(stored << 24, kScale);
}

// A float of F32, F16 or BF16 in memory.
GATUN_DEVICE float load_float(const void* at, int32_t dtype, int64_t index) {
  if (dtype == GATUN_F32) return static_cast<const float*>(at)[index];
  const uint16_t half = static_cast<const uint16_t*>(at)[index];
  return dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

GATUN_DEVICE bool is_finite(float x) { return (as_bits(x) & 0x7fffffffu) < 0x7f800000u; }

// The nearest f16 or bf16, as f32.
GATUN_DEVICE float round_to_f16(float x) { return f16_to_f32(f32_to_f16(x)); }
GATUN_DEVICE float round_to_bf16(float x) { return bf16_to_f32(f32_to_bf16(x)); }

}  // namespace gatun::cuda::qmatmul
