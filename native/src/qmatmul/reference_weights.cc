// What a weight is, element by element, from the tables of gatun/quantize.h and gatun/gguf.h.
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "gatun/quantize.h"
#include "gguf/block.h"
#include "qmatmul/reference.h"

namespace gatun::qmatmul {
namespace {

double half_at(const uint8_t* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return double{f16_to_f32(bits)};
}

// A float of one sign bit, then exponent and mantissa bits; no NaN, no infinity.
double small_float(int code, int exponent_bits, int mantissa_bits, int bias) {
  const int exponent = code >> mantissa_bits & ((1 << exponent_bits) - 1), mantissa = code & ((1 << mantissa_bits) - 1);
  const double fraction = std::ldexp(mantissa, -mantissa_bits);
  const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias);
  return code >> (exponent_bits + mantissa_bits) & 1 ? -magnitude : magnitude;
}

int code_bits(int32_t dtype) {
  switch (dtype) {
    case GATUN_U2:
      return 2;
    case GATUN_U4:
    case GATUN_F4E2M1:
      return 4;
    case GATUN_F6E3M2:
    case GATUN_F6E2M3:
      return 6;
    default:
      return 8;
  }
}

// Bit by bit: bit b of element k is bit k * bits + b of its row, which starts at a byte.
int code_at(const ReferenceWeights& w, int64_t n, int64_t k) {
  const int bits = code_bits(w.description.code_dtype);
  const uint8_t* row = static_cast<const uint8_t*>(w.codes) + n * ((w.description.depth * bits + 7) / 8);
  int code = 0;
  for (int b = 0; b < bits; ++b) {
    const int64_t bit = k * bits + b;
    code |= (row[bit / 8] >> bit % 8 & 1) << b;
  }
  return code;
}

double book_value(const ReferenceWeights& w, int code) {
  if (w.description.book == GATUN_BOOK_GIVEN) return double{w.code_book[code]};
  float values[256] = {};
  gatun_code_book(w.description.book, values);
  return double{values[code]};
}

// What the code stands for where there is no zero point.
double code_value(const ReferenceWeights& w, int code) {
  if (w.description.book != GATUN_BOOK_NONE) return book_value(w, code);
  switch (w.description.code_dtype) {
    case GATUN_I8:
      return static_cast<int8_t>(code);
    case GATUN_U4:
      return code - 8;
    case GATUN_U2:
      return code - 2;
    case GATUN_F8E4M3:
      return small_float(code, 4, 3, 7);
    case GATUN_F8E5M2:
      return small_float(code, 5, 2, 15);
    case GATUN_F6E3M2:
      return small_float(code, 3, 2, 3);
    case GATUN_F6E2M3:
      return small_float(code, 2, 3, 1);
    default:
      return small_float(code, 2, 1, 1);
  }
}

double scale_at(const ReferenceWeights& w, int64_t index) {
  const uint8_t* bytes = static_cast<const uint8_t*>(w.scales);
  switch (w.description.scale_dtype) {
    case GATUN_F16:
      return half_at(bytes + 2 * index);
    case GATUN_E8M0:
      return std::ldexp(1.0, bytes[index] - 127);
    case GATUN_F8E4M3:
      return small_float(bytes[index], 4, 3, 7);
    default:
      return double{static_cast<const float*>(w.scales)[index]};
  }
}

}  // namespace

ReferenceTerm reference_weight(const ReferenceWeights& w, int32_t mode, int64_t n, int64_t k) {
  const gatun_qmatmul_weights& d = w.description;
  if (d.gguf_type != 0) {
    const gguf::Type& type = *gguf::find_type(d.gguf_type);
    const int64_t block = n * (d.depth / type.elements) + k / type.elements;
    return reference_gguf(d.gguf_type, static_cast<const uint8_t*>(w.blocks) + block * type.bytes,
                          static_cast<int>(k % type.elements));
  }
  const int64_t groups = (d.depth + d.group - 1) / d.group, index = n / d.group_rows * groups + k / d.group;
  const double scale = scale_at(w, index) * double{d.tensor_scale};
  const int code = code_at(w, n, k);
  if (d.zero_point == GATUN_ZERO_INTEGER)
    return {(code - static_cast<const uint8_t*>(w.zero_points)[index]) * scale, 0};
  if (d.zero_point == GATUN_ZERO_FLOAT) {
    return {code * scale, double{static_cast<const float*>(w.zero_points)[index]} * double{d.tensor_scale}};
  }
  const double value = code_value(w, code);
  if (mode != GATUN_QMATMUL_BF16) return {value * scale, 0};
  return {double{bf16_to_f32(f32_to_bf16(static_cast<float>(value)))} * scale, 0, scale};
}

ReferenceTerm reference_gguf(int32_t type, const uint8_t* b, int i) {
  static const int kIq4[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  // Blocks of 32: element j < 16 in the low nibble of byte j, element j + 16 in its high one.
  const auto nibble = [i](const uint8_t* qs) { return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4; };
  const auto fifth = [i](const uint8_t* qh) { return (qh[i / 8] >> i % 8 & 1) * 16; };
  const int k = i / 16;  // of blocks of 256, whose sub-blocks are 16 or 32
  switch (type) {
    case GATUN_GGUF_Q4_0:
      return {half_at(b) * (nibble(b + 2) - 8), 0};
    case GATUN_GGUF_Q4_1:
      return {half_at(b) * nibble(b + 4), half_at(b + 2)};
    case GATUN_GGUF_Q5_0:
      return {half_at(b) * (nibble(b + 6) + fifth(b + 2) - 16), 0};
    case GATUN_GGUF_Q5_1:
      return {half_at(b) * (nibble(b + 8) + fifth(b + 4)), half_at(b + 2)};
    case GATUN_GGUF_Q8_0:
      return {half_at(b) * static_cast<int8_t>(b[2 + i]), 0};
    case GATUN_GGUF_IQ4_NL:
      return {half_at(b) * kIq4[nibble(b + 2)], 0};
    case GATUN_GGUF_MXFP4:
      return {std::ldexp(small_float(nibble(b + 1), 2, 1, 1), b[0] - 127), 0};
    case GATUN_GGUF_Q2_K: {
      const int q = b[16 + i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3;
      return {half_at(b + 80) * (b[k] & 15) * q, -half_at(b + 82) * (b[k] >> 4)};
    }
    case GATUN_GGUF_Q3_K: {
      const uint8_t* s = b + 96;
      const int low = k < 8 ? s[k] & 15 : s[k - 8] >> 4, scale = (low | (s[8 + k % 4] >> 2 * (k / 4) & 3) << 4) - 32;
      const int q = b[32 + i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3;
      return {half_at(b + 108) * scale * (q - (b[i % 32] >> i / 32 & 1 ? 0 : 4)), 0};
    }
    case GATUN_GGUF_Q4_K:
    case GATUN_GGUF_Q5_K: {
      const uint8_t* s = b + 4;
      const int j = i / 32;
      const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
      const int least = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
      const uint8_t* qs = b + (type == GATUN_GGUF_Q4_K ? 16 : 48) + i / 64 * 32;
      int q = i % 64 < 32 ? qs[i % 32] & 15 : qs[i % 32] >> 4;
      if (type == GATUN_GGUF_Q5_K) q += (b[16 + i % 32] >> j & 1) * 16;
      return {half_at(b) * scale * q, -half_at(b + 2) * least};
    }
    case GATUN_GGUF_Q6_K: {
      const int part = i % 128 / 32, l = i % 32;
      const uint8_t *ql = b + i / 128 * 64, *qh = b + 128 + i / 128 * 32;
      const int low = part < 2 ? ql[l + 32 * part] & 15 : ql[l + 32 * (part - 2)] >> 4;
      const int q = (low | (qh[l] >> 2 * part & 3) << 4) - 32;
      return {half_at(b + 208) * static_cast<int8_t>(b[192 + k]) * q, 0};
    }
    default: {  // IQ4_XS
      const int ib = i / 32, high = b[2] | b[3] << 8;
      const int scale = ((b[4 + ib / 2] >> 4 * (ib % 2) & 15) | (high >> 2 * ib & 3) << 4) - 32;
      const uint8_t* qs = b + 8 + 16 * ib;
      const int q = i % 32 < 16 ? qs[i % 16] & 15 : qs[i % 16] >> 4;
      return {half_at(b) * scale * kIq4[q], 0};
    }
  }
}

}  // namespace gatun::qmatmul
