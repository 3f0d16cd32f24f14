// What the tests share: calls of quantize and dequantize on a device beside the CPU's definition, bit for bit.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/dtype.h"
#include "device_buffer.h"
#include "gatun/cuda.h"
#include "gatun/cuda_quantize.h"
#include "quantize/reference.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::cuda::quantize {

using gatun::quantize::reference_dequantize;
using gatun::quantize::reference_quantize;
using test::DeviceBuffer;
using test::Rng;

inline constexpr int32_t kFloats[] = {GATUN_F32, GATUN_F16, GATUN_BF16};

// What codes are and how their scales are made.
struct Format {
  int32_t code_dtype, book, zero_point, scale_dtype, scale_rule;
};

// Every format with its scales and rules.
inline std::vector<Format> formats() {
  std::vector<Format> all;
  for (const int32_t scales : {GATUN_F32, GATUN_F16}) {
    for (const int32_t codes : {GATUN_I8, GATUN_U4, GATUN_U2}) {
      for (const int32_t rule : {GATUN_SCALE_DEFAULT, GATUN_SCALE_FULL_RANGE, GATUN_SCALE_NO_CLIPPING}) {
        all.push_back({codes, 0, GATUN_ZERO_NONE, scales, rule});
      }
    }
    for (const int32_t codes : {GATUN_U8, GATUN_U4, GATUN_U2}) {
      for (const int32_t zeros : {GATUN_ZERO_INTEGER, GATUN_ZERO_FLOAT}) all.push_back({codes, 0, zeros, scales, 0});
    }
  }
  for (const int32_t codes : {GATUN_F8E4M3, GATUN_F8E5M2, GATUN_F6E3M2, GATUN_F6E2M3, GATUN_F4E2M1}) {
    for (const int32_t scales : {GATUN_F32, GATUN_F16}) all.push_back({codes, 0, 0, scales, 0});
    for (const int32_t rule : {GATUN_SCALE_FLOOR, GATUN_SCALE_CEIL, GATUN_SCALE_RCEIL, GATUN_SCALE_EVEN}) {
      all.push_back({codes, 0, 0, GATUN_E8M0, rule});
    }
  }
  all.push_back({GATUN_F4E2M1, 0, 0, GATUN_F8E4M3, 0});
  for (int32_t book = GATUN_BOOK_NF4; book <= GATUN_BOOK_LINEAR_UNSIGNED; ++book) {
    all.push_back({book <= GATUN_BOOK_FP4 ? GATUN_U4 : GATUN_U8, book, 0, GATUN_F32, 0});
  }
  for (const int32_t codes : {GATUN_U4, GATUN_U8}) all.push_back({codes, GATUN_BOOK_GIVEN, 0, GATUN_F32, 0});
  return all;
}

// The parameters of a contiguous matrix.
inline gatun_quantize_params make_params(const Format& format, int64_t rows, int64_t depth, int64_t group,
                                         int32_t x_dtype = GATUN_F32) {
  gatun_quantize_params p{};
  p.struct_size = sizeof(p);
  p.x_dtype = x_dtype;
  p.code_dtype = format.code_dtype;
  p.book = format.book;
  p.zero_point = format.zero_point;
  p.scale_dtype = format.scale_dtype;
  p.scale_rule = format.scale_rule;
  p.tensor_scale = format.scale_dtype == GATUN_F8E4M3 ? 0.0123f : 1;
  p.rows = rows;
  p.depth = p.x_row_stride = depth;
  p.group = group;
  p.group_rows = p.x_column_stride = 1;
  return p;
}

inline std::string describe(const gatun_quantize_params& p) {
  return std::string(dtype_name(p.x_dtype)) + " to " + dtype_name(p.code_dtype) + ", book " + std::to_string(p.book) +
         ", zero point " + std::to_string(p.zero_point) + ", scales " + dtype_name(p.scale_dtype) + " of rule " +
         std::to_string(p.scale_rule) + ", rounding " + std::to_string(p.rounding) + ", " + std::to_string(p.rows) +
         " x " + std::to_string(p.depth) + ", blocks of " + std::to_string(p.group_rows) + " x " +
         std::to_string(p.group) + ", strides " + std::to_string(p.x_row_stride) + " and " +
         std::to_string(p.x_column_stride) + ", seed " + std::to_string(p.seed);
}

inline int64_t blocks_of(const gatun_quantize_params& p) {
  return gatun::blocks_of(p.rows, p.group_rows) * gatun::blocks_of(p.depth, p.group);
}
// Elements from the first to past the last one of x.
inline int64_t x_extent(const gatun_quantize_params& p) {
  if (p.rows == 0 || p.depth == 0) return 0;
  return (p.rows - 1) * p.x_row_stride + (p.depth - 1) * p.x_column_stride + 1;
}
inline int64_t code_bytes(const gatun_quantize_params& p) { return p.rows * dtype_bytes(p.code_dtype, p.depth); }
inline int64_t zero_bytes(const gatun_quantize_params& p) {
  return p.zero_point == GATUN_ZERO_NONE ? 0 : p.zero_point == GATUN_ZERO_FLOAT ? 4 : 1;
}

inline bool is_linear(const gatun_quantize_params& p) { return p.book == 0 && p.code_dtype < GATUN_F8E4M3; }

// Values that make each step of the definition matter.
inline std::vector<float> values(Rng& rng, int64_t count, int64_t kind) {
  std::vector<float> x = rng.normals(count);
  for (float& value : x) {
    switch (kind) {
      case 0:
        break;
      case 1:
        value = static_cast<float>(rng.integer(-8, 8));  // ties, extremes of both signs
        break;
      case 2:
        value = std::ldexp(value, static_cast<int>(rng.integer(-20, 0)));  // subnormal codes
        break;
      case 3:
        value = rng.integer(0, 1) ? 0.0f : -0.0f;
        break;
      case 4:
        value = std::ldexp(value, static_cast<int>(rng.integer(-40, -10)));  // f16 scales underflow
        break;
      case 5:
        value = std::ldexp(1.0f, static_cast<int>(rng.integer(-10, 10))) * (rng.integer(0, 1) ? 1 : -1.5f);
        break;
      case 6:
        value = std::fabs(value);
        break;
      default:
        value = std::ldexp(value, static_cast<int>(rng.integer(-149, -100)));  // scales below 2^-120
    }
  }
  return x;
}
inline constexpr int64_t kValueKinds = 8;

// The memory of a call on the host: of what the definition makes and what it takes.
struct HostCall {
  std::vector<unsigned char> x;
  std::vector<float> book;
  std::vector<uint8_t> round_up, codes, scales, zero_points;

  HostCall(const gatun_quantize_params& p, const std::vector<float>& values, Rng& rng)
      : x(test::from_floats(values, p.x_dtype)),
        codes(static_cast<size_t>(code_bytes(p))),
        scales(static_cast<size_t>(blocks_of(p) * dtype_bytes(p.scale_dtype, 1))),
        zero_points(static_cast<size_t>(blocks_of(p) * zero_bytes(p))) {
    if (p.book == GATUN_BOOK_GIVEN) make_book(p, rng);
    if (p.rounding == GATUN_ROUND_GIVEN) round_up = rng.integers<uint8_t>(p.rows * p.depth, 0, 2);
    if (p.scale_rule == GATUN_SCALE_GIVEN) give_scales(p, rng);
  }

  const float* code_book() const { return book.empty() ? nullptr : book.data(); }
  void quantize(const gatun_quantize_params& p) {
    reference_quantize(p, x.data(), code_book(), round_up.empty() ? nullptr : round_up.data(), codes.data(),
                       scales.data(), zero_points.empty() ? nullptr : zero_points.data());
  }

 private:
  void make_book(const gatun_quantize_params& p, Rng& rng) {
    const bool coarse = rng.integer(0, 2) == 0;  // equal values
    for (int i = 0; i < (p.code_dtype == GATUN_U4 ? 16 : 256); ++i) {
      book.push_back(coarse ? static_cast<float>(rng.integer(-4, 4)) / 4 : rng.normal() / 3);
    }
    std::sort(book.begin(), book.end());
  }

  // As somebody else made them: of linear codes of both signs, too small, too large; otherwise of other values.
  void give_scales(const gatun_quantize_params& p, Rng& rng) {
    const int64_t blocks = blocks_of(p);
    std::vector<float> given, offsets;
    for (int64_t i = 0; i < blocks; ++i) {
      given.push_back(is_linear(p) && rng.integer(0, 3) == 0 ? rng.special_finite() : rng.uniform(-0.2f, 0.2f));
      if (!is_linear(p)) given.back() = std::fabs(given.back());
      if (p.scale_dtype == GATUN_F16) given.back() = std::clamp(given.back(), -65504.0f, 65504.0f);
      offsets.push_back(rng.integer(0, 3) == 0 ? rng.special_finite() : rng.normal());
    }
    if (p.scale_dtype == GATUN_F32 || p.scale_dtype == GATUN_F16) {
      scales = test::from_floats(given, p.scale_dtype);
    } else {  // 0 among F8E4M3
      const bool nested = p.scale_dtype == GATUN_F8E4M3;
      for (uint8_t& scale : scales) scale = static_cast<uint8_t>(rng.integer(nested ? 0 : 100, nested ? 0x7e : 150));
    }
    if (p.zero_point == GATUN_ZERO_FLOAT && blocks > 0)
      std::memcpy(zero_points.data(), offsets.data(), offsets.size() * 4);
    if (p.zero_point == GATUN_ZERO_INTEGER) {
      for (size_t i = 0; i < zero_points.size(); ++i) {
        zero_points[i] = static_cast<uint8_t>(rng.integer(0, i % 2 ? 15 : 255));
      }
    }
  }
};

// The same on the device, all bases `offset` elements off; outputs are canaries.
struct DeviceCall {
  int64_t element, workspace_bytes = 0;
  DeviceBuffer<unsigned char> x;
  DeviceBuffer<uint8_t> round_up, codes, scales, zero_points;
  DeviceBuffer<gatun_cuda_faults> faults;
  std::vector<float> book;

  DeviceCall(const gatun_quantize_params& p, const HostCall& host, int64_t offset = 0)
      : element(dtype_bytes(p.x_dtype, 1)),
        x(host.x, offset * element),
        round_up(host.round_up, offset),
        codes(static_cast<int64_t>(host.codes.size()), offset),
        scales(static_cast<int64_t>(host.scales.size()), offset * dtype_bytes(p.scale_dtype, 1)),
        zero_points(static_cast<int64_t>(host.zero_points.size()), offset * zero_bytes(p)),
        faults(1),
        book(host.book) {
    if (p.scale_rule != GATUN_SCALE_GIVEN) return;
    test::copy_to_device(scales.data(), host.scales.data(), scales.count());
    test::copy_to_device(zero_points.data(), host.zero_points.data(), zero_points.count());
  }

  const float* code_book() const { return book.empty() ? nullptr : book.data(); }
  uint8_t* zeros() { return zero_points.count() == 0 ? nullptr : zero_points.data(); }

  int32_t quantize(const gatun_quantize_params& p) {
    const int32_t status = gatun_cuda_quantize_workspace_bytes(&p, &workspace_bytes);
    if (status != GATUN_OK) return status;
    DeviceBuffer<uint8_t> workspace(workspace_bytes);
    return gatun_cuda_quantize(&p, x.data(), code_book(), round_up.count() == 0 ? nullptr : round_up.data(),
                               codes.data(), scales.data(), zeros(), faults.data(),
                               workspace_bytes == 0 ? nullptr : workspace.data(), workspace_bytes, nullptr);
  }
  int32_t dequantize(const gatun_quantize_params& p, void* y) {
    return gatun_cuda_dequantize(&p, code_book(), codes.data(), scales.data(), zeros(), y, nullptr);
  }
};

inline ::testing::AssertionResult same(const DeviceCall& device, const HostCall& host, const gatun_quantize_params& p) {
  if (auto result = test::identical(device.scales.copy(), host.scales); !result) return result << " (scales)";
  if (auto result = test::identical(device.zero_points.copy(), host.zero_points); !result) {
    return result << " (zero points)";
  }
  return test::identical(device.codes.copy(), host.codes, dtype_bytes(p.code_dtype, p.depth)) << " (codes)";
}

inline void expect_faults(const DeviceCall& call, int64_t value, int64_t block) {
  const gatun_cuda_faults faults = call.faults.copy()[0];
  EXPECT_EQ(faults.value, value);
  EXPECT_EQ(faults.block, block);
}

// Quantizes x by kernel and definition and compares; then the same back, with rows further apart.
inline void compare(const gatun_quantize_params& p, const std::vector<float>& x, Rng& rng, int64_t offset = 0) {
  SCOPED_TRACE(describe(p));
  HostCall host(p, x, rng);
  DeviceCall device(p, host, offset);
  host.quantize(p);
  ASSERT_EQ(device.quantize(p), GATUN_OK) << gatun_cuda_last_error();
  ASSERT_TRUE(same(device, host, p));
  expect_faults(device, -1, -1);

  gatun_quantize_params back = p;
  back.x_column_stride = 1;
  back.x_row_stride = p.depth + offset;
  DeviceBuffer<unsigned char> y(x_extent(back) * device.element, offset * device.element);
  std::vector<unsigned char> wanted = y.copy(), values(wanted.size());  // between rows nothing is written
  ASSERT_EQ(device.dequantize(back, y.data()), GATUN_OK) << gatun_cuda_last_error();
  reference_dequantize(back, host.code_book(), host.codes.data(), host.scales.data(),
                       host.zero_points.empty() ? nullptr : host.zero_points.data(), values.data());
  for (int64_t row = 0; row < p.rows && p.depth > 0; ++row) {
    const int64_t at = row * back.x_row_stride * device.element;
    std::memcpy(wanted.data() + at, values.data() + at, static_cast<size_t>(p.depth * device.element));
  }
  ASSERT_TRUE(test::identical(y.copy(), wanted)) << " (bytes of x)";
}

}  // namespace gatun::cuda::quantize
