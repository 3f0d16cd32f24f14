#include "packing/floats.h"

#include <cmath>

#include "base/dtype.h"
#include "base/status.h"

namespace gatun::packing {
namespace {

using LongLong = long long;

float load(const Floats& floats, int64_t column, int64_t group) {
  const int64_t index = column * floats.strides.column + group * floats.strides.group;
  if (floats.dtype == GATUN_F32) return static_cast<const float*>(floats.data)[index];
  const uint16_t half = static_cast<const uint16_t*>(floats.data)[index];
  return floats.dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

// What a value becomes when it is stored as dtype.
float rounded(float value, int32_t dtype) {
  if (dtype == GATUN_F32) return value;
  return dtype == GATUN_F16 ? f16_to_f32(f32_to_f16(value)) : bf16_to_f32(f32_to_bf16(value));
}

float result(const FloatCopy& copy, int64_t column, int64_t group) {
  const float v = load(copy.from, column, group);
  if (copy.rule == Rule::exact) return v;
  const float s = load(copy.scales, column, group);
  switch (copy.rule) {
    case Rule::from_subtrahend:
      return -(v * s);
    case Rule::to_subtrahend:
      return s == 0 ? 0 : -(v / s);
    case Rule::from_value_of_code_8:
      return v - 8 * s;
    default:
      return v + 8 * s;
  }
}

int32_t refuse(const FloatCopy& copy, int64_t column, int64_t group, const char* allowed) {
  return fail(GATUN_INVALID_ARGUMENT, "%s of column %lld, group %lld = %.9g; allowed: %s", copy.from.name,
              LongLong{column}, LongLong{group}, static_cast<double>(load(copy.from, column, group)), allowed);
}

int32_t check(const FloatCopy& copy, int64_t column, int64_t group) {
  const float v = load(copy.from, column, group), stored = rounded(result(copy, column, group), copy.to_dtype);
  if (!std::isfinite(v)) return refuse(copy, column, group, "finite numbers");
  if (copy.rule == Rule::exact) {
    if (stored == v) return GATUN_OK;
    return refuse(copy, column, group, copy.to_dtype == GATUN_F16 ? "numbers exact in F16" : "numbers exact in BF16");
  }
  if (!std::isfinite(stored)) return refuse(copy, column, group, "numbers that packing does not make infinite");
  if (copy.rule == Rule::to_subtrahend && v != 0 && load(copy.scales, column, group) == 0) {
    return refuse(copy, column, group, "0 where the scale is 0");
  }
  return GATUN_OK;
}

}  // namespace

int32_t check_floats(const FloatCopy& copy, int64_t columns, int64_t groups) {
  for (int64_t n = 0; n < columns; ++n) {
    for (int64_t g = 0; g < groups; ++g) {
      if (const int32_t status = check(copy, n, g); status != GATUN_OK) return status;
    }
  }
  return GATUN_OK;
}

void copy_floats(const FloatCopy& copy, int64_t columns, int64_t groups, void* to) {
  for (int64_t n = 0; n < columns; ++n) {
    for (int64_t g = 0; g < groups; ++g) {
      const float value = result(copy, n, g);
      const int64_t index = n * copy.to_strides.column + g * copy.to_strides.group;
      if (copy.to_dtype == GATUN_F32) {
        static_cast<float*>(to)[index] = value;
      } else {
        static_cast<uint16_t*>(to)[index] = copy.to_dtype == GATUN_F16 ? f32_to_f16(value) : f32_to_bf16(value);
      }
    }
  }
}

}  // namespace gatun::packing
