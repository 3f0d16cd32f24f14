#include "quantize/reference_scaled.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "quantize/books.h"
#include "quantize/reference.h"

namespace gatun::quantize {
namespace {

using LongLong = long long;

float get(const void* values, int32_t dtype, int64_t index) {
  const uint8_t* bytes = static_cast<const uint8_t*>(values);
  const uint16_t* halves = static_cast<const uint16_t*>(values);
  switch (dtype) {
    case GATUN_F32:
      return static_cast<const float*>(values)[index];
    case GATUN_F16:
      return f16_to_f32(halves[index]);
    case GATUN_BF16:
      return bf16_to_f32(halves[index]);
    case GATUN_E8M0:
      return bytes[index] == 255 ? NAN : static_cast<float>(std::ldexp(1.0, bytes[index] - 127));
    default:
      return small_to_f32<F8E4M3>(bytes[index]);
  }
}

struct Block {
  int64_t index, first_row, last_row, begin, end;  // rows and elements up to, not including, the last
};

template <class Visit>
void for_each_block(const gatun_quantize_params& p, Visit visit) {
  int64_t index = 0;
  for (int64_t row = 0; row < p.rows; row += std::min(p.group_rows, p.rows - row)) {
    for (int64_t k = 0; k < p.depth; k += std::min(p.group, p.depth - k)) {
      visit(Block{index++, row, row + std::min(p.group_rows, p.rows - row), k, k + std::min(p.group, p.depth - k)});
    }
  }
}

template <class Visit>
void for_each_element(const Block& block, Visit visit) {
  for (int64_t row = block.first_row; row < block.last_row; ++row) {
    for (int64_t k = block.begin; k < block.end; ++k) visit(row, k);
  }
}

float x_at(const gatun_quantize_params& p, const void* x, int64_t row, int64_t k) {
  return get(x, p.x_dtype, row * p.x_row_stride + k * p.x_column_stride);
}

// A code and what it stands for.
struct Entry {
  float value;
  int code;
};

// What is special about a format.
struct Format {
  int bits;
  int mantissa_bits = 0, top = 0;  // floats: of the mantissa, and the exponent of the largest power of two
  float largest = 1;               // value
  std::vector<Entry> entries;      // finite ones, in ascending order; equal ones as the definition has them
  float by_code[256] = {};
};

// Of floats and FP4, which have two zeros each, -0 before 0.
void sort_entries(Format& format) {
  std::sort(format.entries.begin(), format.entries.end(), [](const Entry& a, const Entry& b) {
    if (a.value != b.value) return a.value < b.value;
    return std::signbit(a.value) != std::signbit(b.value) ? std::signbit(a.value) : a.code < b.code;
  });
}

template <class Small>
Format float_format(int bits) {
  Format format;
  format.bits = bits;
  format.mantissa_bits = Small::kMantissaBits;
  format.largest = small_to_f32<Small>(Small::kHighest);
  format.top = std::ilogb(format.largest);
  for (int code = 0; code < 1 << bits; ++code) {
    format.by_code[code] = small_to_f32<Small>(static_cast<uint8_t>(code));
    if (std::isfinite(format.by_code[code])) format.entries.push_back({format.by_code[code], code});
  }
  sort_entries(format);
  return format;
}

Format format_of(const gatun_quantize_params& p, const float* code_book) {
  Format format;
  switch (p.code_dtype) {
    case GATUN_F8E4M3:
      format = float_format<F8E4M3>(8);
      break;
    case GATUN_F8E5M2:
      format = float_format<F8E5M2>(8);
      break;
    case GATUN_F6E3M2:
      format = float_format<F6E3M2>(6);
      break;
    case GATUN_F6E2M3:
      format = float_format<F6E2M3>(6);
      break;
    case GATUN_F4E2M1:
      format = float_format<F4E2M1>(4);
      break;
    default:
      format.bits = p.code_dtype == GATUN_U4 ? 4 : 8;
      if (p.book == GATUN_BOOK_GIVEN) {
        std::copy(code_book, code_book + (1 << format.bits), format.by_code);
      } else {
        book_values(p.book, format.by_code);
      }
      for (int code = 0; code < 1 << format.bits; ++code) format.entries.push_back({format.by_code[code], code});
      if (p.book == GATUN_BOOK_FP4) sort_entries(format);  // the others ascend with the code, whatever signs zeros have
  }
  return format;
}

// Whether v is nearer to b than to a < b: the sign of 2 v - (a + b), where the sum of the two floats is that of two
// doubles, the second below half a unit of the first one's last place.
int nearer_to_upper(double v, double a, double b) {
  const double sum = a + b, rest = std::fabs(a) > std::fabs(b) ? (a - sum) + b : (b - sum) + a;
  if (2 * v != sum) return 2 * v > sum ? 1 : -1;
  return rest == 0 ? 0 : rest < 0 ? 1 : -1;
}

// bitsandbytes' decisions, from above.
int nearest_nf4(float v) {
  constexpr float kDescending[] = {
      0.8614784181118011f,   0.6427869200706482f,   0.5016634166240692f,  0.3893125355243683f,    0.2920137718319893f,
      0.2035212516784668f,   0.1202552504837513f,   0.03979014977812767f, -0.045525018125772476f, -0.13791173323988914f,
      -0.23460740596055984f, -0.33967943489551544f, -0.4599952697753906f, -0.6106329262256622f,   -0.8480964004993439f};
  int code = 15;
  for (const float threshold : kDescending) {
    if (v > threshold) return code;
    --code;
  }
  return code;
}
int nearest_fp4(float v) {
  const float m = std::fabs(v);
  const int sign = v < 0 ? 8 : 0;
  if (m > 0.29166667f) {
    if (m > 0.583333f) return sign + (m > 0.8333333f ? 3 : 2);
    return sign + (m > 0.4166667f ? 5 : 4);
  }
  if (m > 0.0859375f) return sign + (m > 0.20833333f ? 7 : 6);
  return sign + (m > 0.00260417f ? 1 : 0);
}

int nearest(const gatun_quantize_params& p, const Format& format, float v) {
  if (p.book == GATUN_BOOK_NF4) return nearest_nf4(v);
  if (p.book == GATUN_BOOK_FP4) return nearest_fp4(v);
  Entry best = format.entries.front();
  for (const Entry& entry : format.entries) {
    if (entry.value == best.value) {
      // Two zeros of a float: the one of v's sign. Equal values of a book: the upper one for values beyond.
      if (p.book == GATUN_BOOK_NONE ? !std::signbit(v) : v > entry.value) best = entry;
      continue;
    }
    const int upper = nearer_to_upper(v, best.value, entry.value);
    const bool even = p.book == GATUN_BOOK_NONE && entry.code % 2 == 0;
    if (upper > 0 || (upper == 0 && even)) best = entry;
  }
  return best.code;
}

// The code below or above v that `rounding` says.
int rounded(const gatun_quantize_params& p, const Format& format, float v, int64_t index, const void* round_up) {
  const float clamped = std::clamp(v, format.entries.front().value, format.entries.back().value);
  const Entry* low = nullptr;
  const Entry* high = nullptr;
  for (const Entry& entry : format.entries) {
    if (entry.value == clamped) return nearest(p, format, v);
    if (entry.value < clamped) low = &entry;
    if (entry.value > clamped && high == nullptr) high = &entry;
  }
  const float distance = (clamped - low->value) / (high->value - low->value);
  const bool up = p.rounding == GATUN_ROUND_GIVEN
                      ? static_cast<const uint8_t*>(round_up)[index] != 0
                      : static_cast<float>(reference_threshold(p.seed, index)) * 0x1p-24f < distance;
  return (up ? high : low)->code;
}

float power_of_two(int exponent) { return static_cast<float>(std::ldexp(1.0, std::clamp(exponent, -127, 127))); }

int ceil_log2(float value) {
  const int floor = std::ilogb(value);
  return std::ldexp(1.0, floor) == double{value} ? floor : floor + 1;
}

float power_scale(const gatun_quantize_params& p, const Format& format, float amax) {
  if (amax == 0) return 0x1p-127f;
  switch (p.scale_rule) {
    case GATUN_SCALE_CEIL:
      return power_of_two(ceil_log2(amax) - format.top);
    case GATUN_SCALE_RCEIL: {
      const float ratio = amax / format.largest;
      return ratio == 0 ? 0x1p-127f : power_of_two(ceil_log2(ratio));
    }
    case GATUN_SCALE_EVEN: {
      const int exponent = std::ilogb(amax);
      const double rounded = std::round(std::ldexp(double{amax}, format.mantissa_bits - exponent));
      return power_of_two(std::ilogb(std::ldexp(rounded, exponent - format.mantissa_bits)) - format.top);
    }
    default:
      return power_of_two(std::ilogb(amax) - format.top);
  }
}

float scale_of(const gatun_quantize_params& p, const Format& format, const void* x, const Block& block,
               const void* scales) {
  if (p.scale_rule == GATUN_SCALE_GIVEN) return get(scales, p.scale_dtype, block.index);
  float amax = 0;
  for_each_element(block, [&](int64_t row, int64_t k) { amax = std::max(amax, std::fabs(x_at(p, x, row, k))); });
  if (p.scale_dtype == GATUN_E8M0) return power_scale(p, format, amax);
  if (p.scale_dtype == GATUN_F8E4M3) {
    gatun_quantize_params e4m3 = p;
    e4m3.book = GATUN_BOOK_NONE;
    const Format scale_format = float_format<F8E4M3>(8);
    float scale = amax / 6;
    scale = scale / p.tensor_scale;
    return scale_format.by_code[nearest(e4m3, scale_format, std::clamp(scale, 0x1p-6f, 448.0f))];
  }
  float scale = amax / format.largest;
  if (p.scale_dtype == GATUN_F16) scale = f16_to_f32(f32_to_f16(scale));
  return scale < 0x1p-120f ? 0 : scale;
}

void set_scale(const gatun_quantize_params& p, void* scales, int64_t index, float scale) {
  switch (p.scale_dtype) {
    case GATUN_F32:
      static_cast<float*>(scales)[index] = scale;
      break;
    case GATUN_F16:
      static_cast<uint16_t*>(scales)[index] = f32_to_f16(scale);
      break;
    default: {  // the code that stands for it
      int code = 0;
      while (get(std::vector<uint8_t>{static_cast<uint8_t>(code)}.data(), p.scale_dtype, 0) != scale) ++code;
      static_cast<uint8_t*>(scales)[index] = static_cast<uint8_t>(code);
    }
  }
}

// Codes follow each other in a row, the first in the lowest bits.
int get_code(const gatun_quantize_params& p, int bits, const void* codes, int64_t row, int64_t k) {
  const uint8_t* bytes = static_cast<const uint8_t*>(codes) + row * dtype_bytes(p.code_dtype, p.depth);
  int code = 0;
  for (int64_t bit = 0; bit < bits; ++bit) {
    code |= (bytes[(k * bits + bit) / 8] >> (k * bits + bit) % 8 & 1) << bit;
  }
  return code;
}
void set_code(const gatun_quantize_params& p, int bits, void* codes, int64_t row, int64_t k, int code) {
  uint8_t* bytes = static_cast<uint8_t*>(codes) + row * dtype_bytes(p.code_dtype, p.depth);
  for (int64_t bit = 0; bit < bits; ++bit) {
    uint8_t& byte = bytes[(k * bits + bit) / 8];
    byte = static_cast<uint8_t>(byte | (code >> bit & 1) << (k * bits + bit) % 8);
  }
}

float inverse_of(const gatun_quantize_params& p, float scale) {
  const float one = p.scale_dtype == GATUN_F8E4M3 ? 1 / p.tensor_scale : 1;
  const float inverse = one / scale;
  return std::isfinite(inverse) ? inverse : 0;  // a given scale of 0, or too small
}

}  // namespace

bool is_scaled(const gatun_quantize_params& p) {
  return p.book != GATUN_BOOK_NONE || (p.code_dtype >= GATUN_F8E4M3 && p.code_dtype <= GATUN_F4E2M1);
}

int32_t reference_check_scaled(const gatun_quantize_params& p, const void* x, const void* scales) {
  gatun_quantize_params plain = p;  // no scale depends on the values of a book
  if (plain.book == GATUN_BOOK_GIVEN) plain.book = p.code_dtype == GATUN_U4 ? GATUN_BOOK_NF4 : GATUN_BOOK_LINEAR;
  const Format format = format_of(plain, nullptr);
  int32_t status = GATUN_OK;
  for_each_block(p, [&](const Block& block) {
    if (status != GATUN_OK) return;
    const float scale = scale_of(p, format, x, block, scales);
    if (std::isfinite(scale)) return;
    const LongLong groups = (p.depth - 1) / p.group + 1, row = block.index / groups, group = block.index % groups;
    if (p.scale_rule == GATUN_SCALE_GIVEN) {
      status =
          fail(GATUN_INVALID_ARGUMENT, "scales[%lld][%lld] = %g; allowed: finite values", row, group, double{scale});
    } else {
      status = fail(GATUN_INVALID_ARGUMENT,
                    "the scale of group %lld in row %lld of x (elements %lld to %lld) overflows %s; allowed: up to %g",
                    group, LongLong{block.first_row}, LongLong{block.begin}, LongLong{block.end - 1},
                    dtype_name(p.scale_dtype), 65504.0);
    }
  });
  return status;
}

void reference_quantize_scaled(const gatun_quantize_params& p, const void* x, const float* code_book,
                               const void* round_up, void* codes, void* scales) {
  const Format format = format_of(p, code_book);
  uint8_t* bytes = static_cast<uint8_t*>(codes);
  std::fill(bytes, bytes + p.rows * dtype_bytes(p.code_dtype, p.depth), uint8_t{0});
  for_each_block(p, [&](const Block& block) {
    const float scale = scale_of(p, format, x, block, scales), inverse = inverse_of(p, scale);
    if (p.scale_rule != GATUN_SCALE_GIVEN) set_scale(p, scales, block.index, scale);
    for_each_element(block, [&](int64_t row, int64_t k) {
      const float v = x_at(p, x, row, k) * inverse;
      int code;
      if (inverse == 0) {
        code = nearest(p, format, 0);
      } else if (p.rounding == GATUN_ROUND_NEAREST) {
        code = nearest(p, format, v);
      } else {
        code = rounded(p, format, v, row * p.depth + k, round_up);
      }
      set_code(p, format.bits, codes, row, k, code);
    });
  });
}

void reference_dequantize_scaled(const gatun_quantize_params& p, const float* code_book, const void* codes,
                                 const void* scales, void* x) {
  const Format format = format_of(p, code_book);
  for_each_block(p, [&](const Block& block) {
    const float scale = get(scales, p.scale_dtype, block.index);
    for_each_element(block, [&](int64_t row, int64_t k) {
      float value = format.by_code[get_code(p, format.bits, codes, row, k)] * scale;
      if (p.scale_dtype == GATUN_F8E4M3) value *= p.tensor_scale;
      const int64_t at = row * p.x_row_stride + k;
      if (p.x_dtype == GATUN_F32) {
        static_cast<float*>(x)[at] = value;
      } else {
        static_cast<uint16_t*>(x)[at] = p.x_dtype == GATUN_F16 ? f32_to_f16(value) : f32_to_bf16(value);
      }
    });
  });
}

}  // namespace gatun::quantize
