#include "quantize/reference.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "base/status.h"
#include "quantize/reference_scaled.h"

namespace gatun::quantize {
namespace {

using LongLong = long long;

struct Block {
  int64_t row, group, index;  // index: among all blocks
  int64_t begin, end;         // elements of the row
};

// Calls visit(block) for every block, row by row.
template <class Visit>
void for_each_block(const gatun_quantize_params& p, Visit visit) {
  int64_t index = 0;
  for (int64_t row = 0; row < p.rows; ++row) {
    int64_t group = 0;
    for (int64_t begin = 0; begin < p.depth; ++group, ++index) {
      const int64_t end = begin + std::min(p.group, p.depth - begin);
      visit(Block{row, group, index, begin, end});
      begin = end;
    }
  }
}

float get(const void* x, int32_t dtype, int64_t index) {
  if (dtype == GATUN_F32) return static_cast<const float*>(x)[index];
  const uint16_t half = static_cast<const uint16_t*>(x)[index];
  return dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

void set(void* x, int32_t dtype, int64_t index, float value) {
  if (dtype == GATUN_F32) {
    static_cast<float*>(x)[index] = value;
  } else {
    static_cast<uint16_t*>(x)[index] = dtype == GATUN_F16 ? f32_to_f16(value) : f32_to_bf16(value);
  }
}

float value_at(const gatun_quantize_params& p, const void* x, int64_t row, int64_t k) {
  return get(x, p.x_dtype, row * p.x_row_stride + k * p.x_column_stride);
}

// Codes of a row, one after the other, from the lowest bits of its bytes on.
int code_bits(const gatun_quantize_params& p) {
  return p.code_dtype == GATUN_U4 ? 4 : p.code_dtype == GATUN_U2 ? 2 : 8;
}

int get_code(const gatun_quantize_params& p, const void* codes, int64_t row, int64_t k) {
  const uint8_t* bytes = static_cast<const uint8_t*>(codes) + row * dtype_bytes(p.code_dtype, p.depth);
  int code = 0;
  for (int bit = 0; bit < code_bits(p); ++bit) {
    const int64_t at = k * code_bits(p) + bit;
    code |= (bytes[at / 8] >> at % 8 & 1) << bit;
  }
  return p.code_dtype == GATUN_I8 && code > 127 ? code - 256 : code;
}

void set_code(const gatun_quantize_params& p, void* codes, int64_t row, int64_t k, int code) {
  uint8_t* bytes = static_cast<uint8_t*>(codes) + row * dtype_bytes(p.code_dtype, p.depth);
  for (int bit = 0; bit < code_bits(p); ++bit) {
    const int64_t at = k * code_bits(p) + bit;
    if (at % 8 == 0) bytes[at / 8] = 0;  // what is unused stays 0
    bytes[at / 8] = static_cast<uint8_t>(bytes[at / 8] | (code >> bit & 1) << at % 8);
  }
}

// Codes as signed numbers of steps: from `lowest` to `highest`, where what is stored is the code + `bias`.
struct Range {
  int lowest, highest, bias;
};

Range range_of(const gatun_quantize_params& p) {
  const int most = (1 << code_bits(p)) - 1;
  if (p.zero_point != GATUN_ZERO_NONE) return {0, most, 0};
  const int half = (most + 1) / 2;
  const bool all =
      p.code_dtype != GATUN_I8 || p.scale_rule == GATUN_SCALE_FULL_RANGE || p.scale_rule == GATUN_SCALE_NO_CLIPPING;
  return {all ? -half : 1 - half, half - 1, p.code_dtype == GATUN_I8 ? 0 : half};
}

struct Scale {
  float value;
  int zero_point;
  float offset;
};

// As computed, before it is rounded to its storage type.
float exact_scale(const gatun_quantize_params& p, float least, float most, float extreme) {
  const float low = std::min(least, 0.0f), high = std::max(most, 0.0f);
  const float steps = static_cast<float>((1 << code_bits(p)) - 1);
  const Range range = range_of(p);
  switch (p.scale_rule) {
    case GATUN_SCALE_FULL_RANGE:
      return 2 * std::fabs(extreme) / steps;
    case GATUN_SCALE_NO_CLIPPING:
      return std::max(high / static_cast<float>(range.highest), low / static_cast<float>(range.lowest));
    default:
      if (p.zero_point == GATUN_ZERO_FLOAT) return (most - least) / steps;
      if (p.zero_point == GATUN_ZERO_INTEGER) return (high - low) / steps;
      return p.code_dtype == GATUN_I8 ? std::fabs(extreme) / 127.0f : extreme / static_cast<float>(range.lowest);
  }
}

Scale scale_of(const gatun_quantize_params& p, const void* x, const Block& block, const void* scales,
               const void* zero_points) {
  if (p.scale_rule == GATUN_SCALE_GIVEN) {
    Scale given = {get(scales, p.scale_dtype, block.index), 0, 0};
    if (p.zero_point == GATUN_ZERO_INTEGER) given.zero_point = static_cast<const uint8_t*>(zero_points)[block.index];
    if (p.zero_point == GATUN_ZERO_FLOAT) given.offset = static_cast<const float*>(zero_points)[block.index];
    return given;
  }
  float least = value_at(p, x, block.row, block.begin), most = least, extreme = 0;
  for (int64_t k = block.begin; k < block.end; ++k) {
    const float value = value_at(p, x, block.row, k);
    least = std::min(least, value);
    most = std::max(most, value);
    if (std::fabs(value) > std::fabs(extreme)) extreme = value;
  }
  float scale = exact_scale(p, least, most, extreme);
  if (p.scale_dtype == GATUN_F16) scale = f16_to_f32(f32_to_f16(scale));
  if (std::fabs(scale) < 0x1p-120f) scale = 0;
  if (p.zero_point == GATUN_ZERO_FLOAT) return {scale, 0, least == 0 ? 0 : least};
  if (p.zero_point == GATUN_ZERO_NONE || scale == 0) return {scale, 0, 0};
  const float zero = std::nearbyint(-std::min(least, 0.0f) / scale);
  return {scale, static_cast<int>(std::min(zero, static_cast<float>(range_of(p).highest))), 0};
}

// An integer next to `steps`, as the parameters say which.
double rounded(const gatun_quantize_params& p, float steps, int64_t index, const void* round_up) {
  if (p.rounding == GATUN_ROUND_NEAREST) return std::nearbyint(double{steps});
  const double down = std::floor(double{steps});
  if (down == steps) return down;
  if (p.rounding == GATUN_ROUND_GIVEN) return down + (static_cast<const uint8_t*>(round_up)[index] != 0 ? 1 : 0);
  const float distance = static_cast<float>(steps - down);
  return down + (reference_threshold(p.seed, index) < double{distance} * 0x1p24 ? 1 : 0);
}

int code_of(const gatun_quantize_params& p, float value, const Scale& scale, int64_t index, const void* round_up) {
  const Range range = range_of(p);
  const float inverse = 1 / scale.value;
  const float steps = std::isinf(inverse) ? 0 : (value - scale.offset) * inverse;
  if (std::isnan(steps)) return range.lowest + range.bias;  // infinity, as x - z overflowed, times 0
  const double code = std::isinf(steps) ? double{steps} : rounded(p, steps, index, round_up);
  return static_cast<int>(std::clamp<double>(code + scale.zero_point, range.lowest, range.highest)) + range.bias;
}

int32_t not_finite(const char* name, int64_t row, int64_t column, float value) {
  return fail(GATUN_INVALID_ARGUMENT, "%s[%lld][%lld] = %g; allowed: finite values", name, LongLong{row},
              LongLong{column}, double{value});
}

int32_t check_scale(const gatun_quantize_params& p, const Block& block, const Scale& scale) {
  if (p.scale_rule == GATUN_SCALE_GIVEN) {
    if (!std::isfinite(scale.value)) return not_finite("scales", block.row, block.group, scale.value);
    if (!std::isfinite(scale.offset)) return not_finite("zero_points", block.row, block.group, scale.offset);
  } else if (!std::isfinite(scale.value)) {
    return fail(GATUN_INVALID_ARGUMENT,
                "the scale of group %lld in row %lld of x (elements %lld to %lld) overflows %s; allowed: up to %g",
                LongLong{block.group}, LongLong{block.row}, LongLong{block.begin}, LongLong{block.end - 1},
                dtype_name(p.scale_dtype), p.scale_dtype == GATUN_F16 ? 65504.0 : 3.4028234663852886e38);
  }
  return GATUN_OK;
}

}  // namespace

int32_t reference_threshold(int64_t seed, int64_t index) {
  uint64_t key = static_cast<uint64_t>(seed) + static_cast<uint64_t>(index >> 32) * 0x9e3779b97f4a7c15u;
  key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9u;
  key = (key ^ (key >> 27)) * 0x94d049bb133111ebu;
  key = key ^ (key >> 31);
  uint32_t h = static_cast<uint32_t>(index & 0xffffffff) ^ static_cast<uint32_t>(key & 0xffffffff);
  h = (h ^ (h >> 16)) * 0x7feb352du;
  h = (h ^ (h >> 15) ^ static_cast<uint32_t>(key >> 32)) * 0x846ca68bu;
  return static_cast<int32_t>((h ^ (h >> 16)) >> 8);
}

int32_t reference_check(const gatun_quantize_params& p, const void* x, const void* scales, const void* zero_points) {
  for (int64_t row = 0; row < p.rows; ++row) {
    for (int64_t k = 0; k < p.depth; ++k) {
      if (const float value = value_at(p, x, row, k); !std::isfinite(value)) return not_finite("x", row, k, value);
    }
  }
  if (is_scaled(p)) return reference_check_scaled(p, x, scales);
  int32_t status = GATUN_OK;
  for_each_block(p, [&](const Block& block) {
    if (status == GATUN_OK) status = check_scale(p, block, scale_of(p, x, block, scales, zero_points));
  });
  return status;
}

void reference_quantize(const gatun_quantize_params& p, const void* x, const float* code_book, const void* round_up,
                        void* codes, void* scales, void* zero_points) {
  if (is_scaled(p)) return reference_quantize_scaled(p, x, code_book, round_up, codes, scales);
  for_each_block(p, [&](const Block& block) {
    const Scale scale = scale_of(p, x, block, scales, zero_points);
    if (p.scale_rule != GATUN_SCALE_GIVEN) {
      set(scales, p.scale_dtype, block.index, scale.value);
      if (p.zero_point == GATUN_ZERO_INTEGER) {
        static_cast<uint8_t*>(zero_points)[block.index] = static_cast<uint8_t>(scale.zero_point);
      } else if (p.zero_point == GATUN_ZERO_FLOAT) {
        static_cast<float*>(zero_points)[block.index] = scale.offset;
      }
    }
    for (int64_t k = block.begin; k < block.end; ++k) {
      const int64_t index = block.row * p.depth + k;
      set_code(p, codes, block.row, k, code_of(p, value_at(p, x, block.row, k), scale, index, round_up));
    }
  });
}

void reference_dequantize(const gatun_quantize_params& p, const float* code_book, const void* codes, const void* scales,
                          const void* zero_points, void* x) {
  if (is_scaled(p)) return reference_dequantize_scaled(p, code_book, codes, scales, x);
  for_each_block(p, [&](const Block& block) {
    const float scale = get(scales, p.scale_dtype, block.index);
    for (int64_t k = block.begin; k < block.end; ++k) {
      const int code = get_code(p, codes, block.row, k);
      float value;
      if (p.zero_point == GATUN_ZERO_FLOAT) {
        value = static_cast<float>(code) * scale;
        value += static_cast<const float*>(zero_points)[block.index];
      } else {
        const int zero = p.zero_point == GATUN_ZERO_INTEGER ? static_cast<const uint8_t*>(zero_points)[block.index]
                                                            : range_of(p).bias;
        value = static_cast<float>(code - zero) * scale;
      }
      set(x, p.x_dtype, block.row * p.x_row_stride + k, value);
    }
  });
}

}  // namespace gatun::quantize
