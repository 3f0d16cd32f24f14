#include "quantize/reference.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "base/status.h"

namespace gatun::quantize {
namespace {

struct Group {
  int64_t row, index, begin, end;  // the group's number in its row, its elements
};

// Calls visit(group) for every group, row by row.
template <class Visit>
void for_each_group(const gatun_quantize_params& p, Visit visit) {
  for (int64_t row = 0; row < p.rows; ++row) {
    int64_t index = 0;
    for (int64_t begin = 0; begin < p.depth; ++index) {
      const int64_t end = begin + std::min(p.group, p.depth - begin);
      visit(Group{row, index, begin, end});
      begin = end;
    }
  }
}

int64_t groups_of(const gatun_quantize_params& p) { return p.depth == 0 ? 0 : (p.depth - 1) / p.group + 1; }

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

// Codes are row by row; an odd row of U4 ends with an unused nibble.
int get_code(const gatun_quantize_params& p, const void* codes, int64_t row, int64_t k) {
  if (p.code_dtype == GATUN_I8) return static_cast<const int8_t*>(codes)[row * p.depth + k];
  if (p.code_dtype == GATUN_U8) return static_cast<const uint8_t*>(codes)[row * p.depth + k];
  const uint8_t byte = static_cast<const uint8_t*>(codes)[row * dtype_bytes(GATUN_U4, p.depth) + k / 2];
  return k % 2 == 0 ? byte & 15 : byte >> 4;
}

void set_code(const gatun_quantize_params& p, void* codes, int64_t row, int64_t k, int code) {
  uint8_t* bytes = static_cast<uint8_t*>(codes);
  if (p.code_dtype != GATUN_U4) {
    bytes[row * p.depth + k] = static_cast<uint8_t>(code);
  } else {
    uint8_t& byte = bytes[row * dtype_bytes(GATUN_U4, p.depth) + k / 2];
    byte = static_cast<uint8_t>(k % 2 == 0 ? code : byte | code << 4);
  }
}

struct Scale {
  float value;
  int zero_point;
};

Scale scale_of(const gatun_quantize_params& p, const void* x, const Group& group) {
  float low = 0, high = 0, extreme = 0;
  for (int64_t k = group.begin; k < group.end; ++k) {
    const float value = value_at(p, x, group.row, k);
    low = std::min(low, value);
    high = std::max(high, value);
    if (std::fabs(value) > std::fabs(extreme)) extreme = value;
  }
  float scale;
  if (p.code_dtype == GATUN_I8) {
    scale = std::fabs(extreme) / 127.0f;
  } else if (p.code_dtype == GATUN_U8) {
    scale = (high - low) / 255.0f;
  } else {
    scale = p.asymmetric ? (high - low) / 15.0f : extreme / -8.0f;
  }
  if (p.scale_dtype == GATUN_F16) scale = f16_to_f32(f32_to_f16(scale));
  if (std::fabs(scale) < 0x1p-120f) scale = 0;
  if (!p.asymmetric) return {scale, p.code_dtype == GATUN_U4 ? 8 : 0};
  if (scale == 0) return {0, 0};
  return {scale,
          static_cast<int>(std::clamp(std::nearbyint(-low / scale), 0.0f, p.code_dtype == GATUN_U8 ? 255.0f : 15.0f))};
}

int code_of(const gatun_quantize_params& p, float value, Scale scale) {
  const int lowest = p.code_dtype == GATUN_I8 ? -127 : 0;
  const int highest = p.code_dtype == GATUN_I8 ? 127 : p.code_dtype == GATUN_U8 ? 255 : 15;
  if (scale.value == 0) return scale.zero_point;
  const float steps = std::nearbyint(value * (1.0f / scale.value));
  return std::clamp(static_cast<int>(steps) + scale.zero_point, lowest, highest);
}

}  // namespace

int32_t reference_check(const gatun_quantize_params& p, const void* x) {
  int32_t status = GATUN_OK;
  for_each_group(p, [&](const Group& group) {
    for (int64_t k = group.begin; k < group.end && status == GATUN_OK; ++k) {
      if (const float value = value_at(p, x, group.row, k); !std::isfinite(value)) {
        status = fail(GATUN_INVALID_ARGUMENT, "x[%lld][%lld] = %g; allowed: finite values",
                      static_cast<long long>(group.row), static_cast<long long>(k), static_cast<double>(value));
      }
    }
    if (status == GATUN_OK && !std::isfinite(scale_of(p, x, group).value)) {
      status = fail(GATUN_INVALID_ARGUMENT,
                    "the scale of group %lld in row %lld of x (elements %lld to %lld) overflows %s; allowed: up to %g",
                    static_cast<long long>(group.index), static_cast<long long>(group.row),
                    static_cast<long long>(group.begin), static_cast<long long>(group.end - 1),
                    dtype_name(p.scale_dtype), p.scale_dtype == GATUN_F16 ? 65504.0 : 3.4028234663852886e38);
    }
  });
  return status;
}

void reference_quantize(const gatun_quantize_params& p, const void* x, void* codes, void* scales, void* zero_points) {
  for_each_group(p, [&](const Group& group) {
    const Scale scale = scale_of(p, x, group);
    const int64_t index = group.row * groups_of(p) + group.index;
    set(scales, p.scale_dtype, index, scale.value);
    if (p.asymmetric) static_cast<uint8_t*>(zero_points)[index] = static_cast<uint8_t>(scale.zero_point);
    for (int64_t k = group.begin; k < group.end; ++k) {
      set_code(p, codes, group.row, k, code_of(p, value_at(p, x, group.row, k), scale));
    }
  });
}

void reference_dequantize(const gatun_quantize_params& p, const void* codes, const void* scales,
                          const void* zero_points, void* x) {
  for_each_group(p, [&](const Group& group) {
    const int64_t index = group.row * groups_of(p) + group.index;
    const float scale = get(scales, p.scale_dtype, index);
    const int zero = p.asymmetric ? static_cast<const uint8_t*>(zero_points)[index] : p.code_dtype == GATUN_U4 ? 8 : 0;
    for (int64_t k = group.begin; k < group.end; ++k) {
      set(x, p.x_dtype, group.row * p.x_row_stride + k,
          static_cast<float>(get_code(p, codes, group.row, k) - zero) * scale);
    }
  });
}

}  // namespace gatun::quantize
