// What the tests of products share: random weights packed on the device, a product by a given row of the table or by
// the entry point, and the oracle with the bound of gatun/cuda_qmatmul.h.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ostream>
#include <vector>

#include "base/dtype.h"
#include "device_buffer.h"
#include "gatun/cuda_qmatmul.h"
#include "gatun/quantize.h"
#include "qmatmul/reference.h"
#include "qmatmul/select.h"
#include "rng.h"
#include "tolerance.h"
#if defined(GATUN_EMULATED)
#include "settings.h"
#endif

namespace gatun::cuda::qmatmul {

using gatun::test::DeviceBuffer;
using gatun::test::Rng;

// What codes stand for.
struct Scheme {
  const char* name;
  int32_t code_dtype, book, zero_point;
};
inline constexpr Scheme kU4 = {"U4", GATUN_U4, 0, 0}, kU4Zero = {"U4 with zero points", GATUN_U4, 0, 1},
                        kU4Float = {"U4 with float zero points", GATUN_U4, 0, 2}, kU2 = {"U2", GATUN_U2, 0, 0},
                        kU2Zero = {"U2 with zero points", GATUN_U2, 0, 1},
                        kU2Float = {"U2 with float zero points", GATUN_U2, 0, 2}, kI8 = {"I8", GATUN_I8, 0, 0},
                        kU8Zero = {"U8 with zero points", GATUN_U8, 0, 1},
                        kU8Float = {"U8 with float zero points", GATUN_U8, 0, 2},
                        kE4M3 = {"F8E4M3", GATUN_F8E4M3, 0, 0}, kE5M2 = {"F8E5M2", GATUN_F8E5M2, 0, 0},
                        kE3M2 = {"F6E3M2", GATUN_F6E3M2, 0, 0}, kE2M3 = {"F6E2M3", GATUN_F6E2M3, 0, 0},
                        kE2M1 = {"F4E2M1", GATUN_F4E2M1, 0, 0}, kNF4 = {"NF4", GATUN_U4, GATUN_BOOK_NF4, 0},
                        kFP4 = {"FP4", GATUN_U4, GATUN_BOOK_FP4, 0},
                        kBook16 = {"a book of 16", GATUN_U4, GATUN_BOOK_GIVEN, 0},
                        kBook256 = {"a book of 256", GATUN_U8, GATUN_BOOK_GIVEN, 0},
                        kDynamic = {"dynamic", GATUN_U8, GATUN_BOOK_DYNAMIC, 0};
inline constexpr Scheme kSchemes[] = {kU4,     kU4Zero,  kU4Float, kU2,      kU2Zero, kU2Float, kI8,
                                      kU8Zero, kU8Float, kE4M3,    kE5M2,    kE3M2,   kE2M3,    kE2M1,
                                      kNF4,    kFP4,     kBook16,  kBook256, kDynamic};
inline const std::vector<int32_t> kModes = {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_PRECISE,
                                            GATUN_QMATMUL_BF16, GATUN_QMATMUL_F16};

// A product to be tested.
struct Case {
  Scheme scheme = kU4;
  int32_t mode = GATUN_QMATMUL_F16;
  int64_t rows = 1, columns = 16, depth = 64, group = 64;
  int32_t scale_dtype = GATUN_F16;
  int32_t x_dtype = GATUN_F16, y_dtype = GATUN_F32;
  int32_t group_rows = 1;
  float tensor_scale = 1;
  int32_t activation = GATUN_ACTIVATION_NONE;
  bool bias = false, residual = false, in_place = false;
  bool integers = false;  // small ones throughout, so that every sum is exact: results are compared with ==
  int64_t x_offset = 0, y_offset = 0;         // elements that misalign the bases
  int64_t x_gap = 0, y_gap = 0;               // elements between rows
  int64_t column_begin = 0, column_end = -1;  // -1: all
  std::vector<float> special;                 // put into x at random places of row rows / 2
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.scheme.name << ", mode " << c.mode << ", " << c.rows << " rows, " << c.columns << " columns, depth "
             << c.depth << ", group " << c.group << " x " << c.group_rows << ", scales " << dtype_name(c.scale_dtype)
             << ", x " << dtype_name(c.x_dtype) << " + " << c.x_offset << " gap " << c.x_gap << ", y "
             << dtype_name(c.y_dtype) << " + " << c.y_offset << " gap " << c.y_gap << ", activation " << c.activation
             << (c.bias ? ", bias" : "") << (c.residual ? ", residual" : "") << (c.integers ? ", integers" : "");
}

// Whether weights of a scheme can be multiplied in a mode, and have scales of a type.
inline bool takes(const Scheme& scheme, int32_t mode) {
  const bool linear = scheme.book == 0 && scheme.code_dtype <= GATUN_U2;
  return linear || mode >= GATUN_QMATMUL_PRECISE;
}

// Numbers of a float type in device memory.
inline std::vector<uint8_t> as_bytes(const std::vector<float>& values, int32_t dtype) {
  std::vector<uint8_t> bytes(values.size() * static_cast<size_t>(dtype_bytes(dtype, 1)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == GATUN_F32) std::memcpy(&bytes[4 * i], &values[i], 4);
    const uint16_t half = dtype == GATUN_F16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    if (dtype != GATUN_F32) std::memcpy(&bytes[2 * i], &half, 2);
  }
  return bytes;
}
inline double element(const uint8_t* bytes, int32_t dtype, int64_t index) {
  return gatun::test::to_doubles(bytes + index * dtype_bytes(dtype, 1), dtype, 1)[0];
}
inline double rounded_to(double value, int32_t dtype) {
  const float narrow = static_cast<float>(value);
  return dtype == GATUN_F16    ? double{f16_to_f32(f32_to_f16(narrow))}
         : dtype == GATUN_BF16 ? double{bf16_to_f32(f32_to_bf16(narrow))}
                               : double{narrow};
}

// Weights of random codes in host memory, and packed on the device.
class Weights {
 public:
  Weights(Rng& rng, const Case& c)
      : description{sizeof(gatun_qmatmul_weights),
                    c.scheme.code_dtype,
                    c.scheme.book,
                    c.scheme.zero_point,
                    c.scale_dtype,
                    0,
                    c.group_rows,
                    c.tensor_scale,
                    c.columns,
                    c.depth,
                    c.group} {
    groups = c.depth == 0 ? 0 : (c.depth - 1) / c.group + 1;
    blocks = c.columns == 0 ? 0 : ((c.columns - 1) / c.group_rows + 1) * groups;
    fill_codes(rng, c.integers);
    fill_scales(rng, c.integers);
    fill_zero_points(rng, c.integers);
    if (c.scheme.book == GATUN_BOOK_GIVEN) {
      const bool of_16 = c.scheme.code_dtype == GATUN_U4;
      for (int i = 0; i < (of_16 ? 16 : 256); ++i) {
        book.push_back(c.integers ? static_cast<float>(i / (of_16 ? 1 : 8) - 9) : rng.uniform(-1.0f, 1.0f));
      }
      std::sort(book.begin(), book.end());
    }
  }

  // The packed form, of a call that must succeed and find no faults.
  std::vector<uint8_t> pack() const {
    int64_t bytes = 0;
    EXPECT_EQ(gatun_cuda_qmatmul_packed_bytes(&description, &bytes), GATUN_OK) << gatun_last_error();
    const DeviceBuffer<uint8_t> on_codes(codes), on_scales(scales), on_zeros(zero_points);
    DeviceBuffer<uint8_t> packed(bytes);
    DeviceBuffer<gatun_cuda_faults> faults(1);
    EXPECT_EQ(gatun_cuda_qmatmul_pack(&description, on_codes.data(), book.empty() ? nullptr : book.data(),
                                      on_scales.data(), zero_points.empty() ? nullptr : on_zeros.data(), packed.data(),
                                      bytes, faults.data(), nullptr),
              GATUN_OK)
        << gatun_last_error();
    EXPECT_EQ(faults.copy()[0].value, -1);
    EXPECT_EQ(faults.copy()[0].block, -1);
    return packed.copy();
  }

  // What the oracle knows of them: code books hold values rounded as the mode says.
  gatun::qmatmul::ReferenceTerm at(int64_t n, int64_t k) const {
    return gatun::qmatmul::reference_weight(
        {oracle, codes.data(), scales.data(), zero_points.data(), oracle_book.data()}, GATUN_QMATMUL_PRECISE, n, k);
  }
  void set_mode(int32_t mode) {
    oracle = description;
    oracle_book = book;
    if (description.book == GATUN_BOOK_NONE) return;
    if (description.book != GATUN_BOOK_GIVEN) {
      oracle_book.resize(256);
      EXPECT_EQ(gatun_code_book(description.book, oracle_book.data()), GATUN_OK);
      oracle.book = GATUN_BOOK_GIVEN;
    }
    for (float& value : oracle_book) {
      if (mode == GATUN_QMATMUL_BF16) value = static_cast<float>(rounded_to(value, GATUN_BF16));
      if (mode == GATUN_QMATMUL_F16) value = static_cast<float>(rounded_to(value, GATUN_F16));
    }
  }

  gatun_qmatmul_weights description;
  int64_t groups = 0, blocks = 0;
  std::vector<uint8_t> codes, scales, zero_points;
  std::vector<float> book;

 private:
  void fill_codes(Rng& rng, bool integers) {
    const int32_t dtype = description.code_dtype;
    const int64_t row_bytes = dtype_bytes(dtype, description.depth);
    codes.resize(static_cast<size_t>(description.columns * row_bytes));
    const int used = static_cast<int>(description.depth * dtype_bytes(dtype, 8) % 8);
    for (size_t i = 0; i < codes.size(); ++i) {
      uint8_t byte = static_cast<uint8_t>(rng.integer(0, 255));
      if (dtype == GATUN_F8E4M3 && (byte & 0x7f) == 0x7f) byte ^= 1;
      if (dtype == GATUN_F8E5M2 && (byte & 0x7c) == 0x7c) byte ^= 4;
      // Among integers, floats are -15..-1 and 1..15 with a few bits after the point.
      if (integers && dtype == GATUN_F8E4M3) byte = static_cast<uint8_t>((byte & 0x80) | rng.integer(0x38, 0x57));
      if (integers && dtype == GATUN_F8E5M2) byte = static_cast<uint8_t>((byte & 0x80) | rng.integer(0x3c, 0x4b));
      const bool last = static_cast<int64_t>(i + 1) % row_bytes == 0;
      codes[i] = last && used > 0 ? static_cast<uint8_t>(byte & ((1 << used) - 1)) : byte;
    }
  }
  void fill_scales(Rng& rng, bool ones) {
    const int64_t size = dtype_bytes(description.scale_dtype, 1);
    scales.resize(static_cast<size_t>(blocks * size));
    for (int64_t i = 0; i < blocks; ++i) {
      const float scale = ones ? 1.0f : rng.uniform(0.5f, 1.0f) * (rng.integer(0, 1) ? 0.02f : -0.02f);
      const uint16_t half = f32_to_f16(scale);
      uint8_t byte = static_cast<uint8_t>(ones ? 127 : rng.integer(117, 124));
      if (description.scale_dtype == GATUN_F8E4M3) {
        byte = static_cast<uint8_t>(ones ? 0x38 : rng.integer(1, 0x30) | rng.integer(0, 1) << 7);
      }
      uint8_t* to = &scales[static_cast<size_t>(i * size)];
      if (size == 4) std::memcpy(to, &scale, 4);
      if (size == 2) std::memcpy(to, &half, 2);
      if (size == 1) *to = byte;
    }
  }
  void fill_zero_points(Rng& rng, bool integers) {
    const int highest = description.code_dtype == GATUN_U8 ? 255 : description.code_dtype == GATUN_U4 ? 15 : 3;
    if (description.zero_point == GATUN_ZERO_INTEGER) {
      zero_points = rng.integers<uint8_t>(blocks, 0, highest);
    } else if (description.zero_point == GATUN_ZERO_FLOAT) {
      std::vector<float> values;
      for (int64_t i = 0; i < blocks; ++i) {
        values.push_back(integers ? static_cast<float>(rng.integer(-9, 9)) : rng.uniform(-1.0f, 1.0f));
      }
      zero_points = as_bytes(values, GATUN_F32);
    }
  }

  gatun_qmatmul_weights oracle = {};
  std::vector<float> oracle_book;
};

// What a product of a Case, be it this op's or nm_matmul's, reads in host memory. Gaps of x hold NaN: what reads them
// shows. Where is_full(k), x of integers is 127, so that int8 codes are the integers themselves.
template <class Params>
struct Operands {
  Params params = {};
  std::vector<uint8_t> x, residual;
  std::vector<float> bias;

  template <class Case, class IsFull>
  Operands(Rng& rng, const Case& c, IsFull is_full) {
    params.struct_size = sizeof(params);
    params.x_dtype = c.x_dtype;
    params.y_dtype = c.y_dtype;
    params.mode = c.mode;
    params.activation = c.activation;
    params.rows = c.rows;
    params.columns = c.columns;
    params.depth = c.depth;
    params.x_row_stride = c.depth + c.x_gap;
    params.y_row_stride = c.columns + c.y_gap;
    params.residual_row_stride = c.in_place ? params.y_row_stride : c.columns + 3;
    params.column_begin = c.column_begin;
    params.column_end = c.column_end < 0 ? c.columns : c.column_end;
    const auto numbers = [&](int64_t count) {
      return c.integers ? rng.small_integers(count, -3, 3) : rng.normals(count);
    };
    std::vector<float> values = numbers(extent(c.rows, c.depth, params.x_row_stride));
    for (size_t i = 0; i < values.size(); ++i) {
      const int64_t k = static_cast<int64_t>(i) % params.x_row_stride;
      if (k >= c.depth) values[i] = std::nanf("");
      if (c.integers && is_full(k)) values[i] = 127;
    }
    for (const float special : c.special) {
      values[static_cast<size_t>(c.rows / 2 * params.x_row_stride + rng.integer(0, c.depth - 1))] = special;
    }
    x = as_bytes(values, c.x_dtype);
    if (c.bias) bias = numbers(c.columns);
    if (c.residual) residual = as_bytes(numbers(extent(c.rows, c.columns, params.residual_row_stride)), c.y_dtype);
  }

  static int64_t extent(int64_t rows, int64_t columns, int64_t stride) {
    return rows == 0 || columns == 0 ? 0 : (rows - 1) * stride + columns;
  }
};

// A product in host memory.
struct Product : Operands<gatun_qmatmul_params> {
  Product(Rng& rng, const Case& c)
      : Operands(rng, c, [&](int64_t k) { return c.mode <= GATUN_QMATMUL_INT8_GROUP && k % c.group == 0; }) {}
};

// What y should be, and by how much it may differ.
struct Expected {
  std::vector<double> y, allowed;
};

inline Expected expect(const Case& c, const Weights& weights, const Product& product) {
  const gatun_qmatmul_params& p = product.params;
  Expected expected;
  for (int64_t m = 0; m < p.rows; ++m) {
    std::vector<double> x(static_cast<size_t>(p.depth)), scales(static_cast<size_t>(weights.groups), 1.0);
    bool finite = true;
    for (int64_t k = 0; k < p.depth; ++k) {
      double& value = x[static_cast<size_t>(k)];
      value = element(product.x.data(), p.x_dtype, m * p.x_row_stride + k);
      if (p.mode == GATUN_QMATMUL_F16) value = rounded_to(value, GATUN_F16);
      if (p.mode == GATUN_QMATMUL_BF16) value = rounded_to(value, GATUN_BF16);
      finite = finite && std::isfinite(value);
    }
    for (int64_t g = 0; finite && p.mode <= GATUN_QMATMUL_INT8_GROUP && g < weights.groups; ++g) {
      const bool by_row = p.mode == GATUN_QMATMUL_INT8_ROW;
      const int64_t begin = g * c.group, end = by_row ? p.depth : std::min(p.depth, begin + c.group);
      double& scale = scales[static_cast<size_t>(g)];
      scale = by_row && g > 0 ? scales[0] : gatun::qmatmul::reference_quantize(x, begin, end);
    }
    for (int64_t n = p.column_begin; n < p.column_end; ++n) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < p.depth; ++k) {
        const gatun::qmatmul::ReferenceTerm w = weights.at(n, k);
        const double value = x[static_cast<size_t>(k)] * scales[static_cast<size_t>(k / c.group)];
        sum += value * (w.product + w.offset);
        magnitude += std::fabs(value) * (std::fabs(w.product) + std::fabs(w.offset));
      }
      const double steps = static_cast<double>(p.depth + 2 * weights.groups + 8);
      if (!product.bias.empty()) {
        sum += double{product.bias[static_cast<size_t>(n)]};
        magnitude += std::fabs(double{product.bias[static_cast<size_t>(n)]});
      }
      if (!finite) sum = std::nan("");
      double y = gatun::qmatmul::reference_activate(sum, p.activation);
      double allowed = 0x1p-23 * steps * magnitude + steps * 0x1p-149;
      // Slopes of activations are at most 1.13, and they have an error of their own (finish.h).
      if (p.activation != GATUN_ACTIVATION_NONE) allowed = 1.13 * allowed + 0x1p-18 * std::fabs(y) + 0x1p-40;
      if (!product.residual.empty()) {
        const double r = element(product.residual.data(), p.y_dtype, m * p.residual_row_stride + n);
        y += r;
        allowed += 0x1p-23 * (std::fabs(r) + std::fabs(y));
      }
      expected.y.push_back(c.integers ? rounded_to(y, p.y_dtype) : y);
      expected.allowed.push_back(c.integers ? 0 : allowed + gatun::test::unit_in_last_place(p.y_dtype, y));
    }
  }
  return expected;
}

// Runs a product of a Case, be it this op's or nm_matmul's, by `kernel`, or where that is null by the entry point, and
// compares all of y with what expected_of(y) gives. Bytes of y between rows and out of the range of columns must stay.
template <class Problem, class Case, class Row, class Weights, class Product, class WorkspaceBytes, class Run,
          class ExpectedOf>
void expect_output(const Case& c, const Row* kernel, const Weights& weights, const Product& product,
                   WorkspaceBytes workspace_bytes, Run run, ExpectedOf expected_of) {
  const auto& p = product.params;
  const DeviceBuffer<uint8_t> packed(weights.pack());
  const int64_t x_size = dtype_bytes(c.x_dtype, 1), y_size = dtype_bytes(c.y_dtype, 1);
  const DeviceBuffer<uint8_t> x(product.x, c.x_offset * x_size);
  const DeviceBuffer<float> bias(product.bias);
  const DeviceBuffer<uint8_t> residual(c.in_place ? std::vector<uint8_t>() : product.residual, c.y_offset * y_size);
  std::vector<uint8_t> before(static_cast<size_t>(Product::extent(c.rows, c.columns, p.y_row_stride) * y_size), 0xee);
  if (c.in_place) before = product.residual;
  DeviceBuffer<uint8_t> y(before, c.y_offset * y_size);
  const float* bias_at = c.bias ? bias.data() : nullptr;
  const void* residual_at = c.in_place ? y.data() : c.residual ? residual.data() : nullptr;

  if (kernel != nullptr) {
    Problem problem = {};
    problem.params = p;
    ASSERT_EQ(form_of(&weights.description, &problem.form), GATUN_OK) << gatun_last_error();
    const auto plan = plan_on(*kernel, problem);
    DeviceBuffer<uint8_t> workspace(plan.workspace_bytes);
    ASSERT_EQ(
        run_plan(plan, problem, {x.data(), packed.data(), bias_at, residual_at, y.data(), workspace.data()}, nullptr),
        GATUN_OK)
        << gatun_last_error();
  } else {
    int64_t bytes = 0;
    ASSERT_EQ(workspace_bytes(&p, &weights.description, 0, &bytes), GATUN_OK) << gatun_last_error();
    DeviceBuffer<uint8_t> workspace(bytes);
    ASSERT_EQ(run(&p, &weights.description, x.data(), packed.data(), packed.count(), bias_at, residual_at, y.data(),
                  workspace.data(), bytes, nullptr),
              GATUN_OK)
        << gatun_last_error();
  }

  const std::vector<uint8_t> after = y.copy();
  std::vector<uint8_t> untouched = before;
  std::vector<double> actual;
  for (int64_t m = 0; m < p.rows; ++m) {
    for (int64_t n = p.column_begin; n < p.column_end; ++n) {
      const int64_t at = (m * p.y_row_stride + n) * y_size;
      actual.push_back(element(after.data() + at, c.y_dtype, 0));
      std::memcpy(&untouched[static_cast<size_t>(at)], &after[static_cast<size_t>(at)], static_cast<size_t>(y_size));
    }
  }
  const auto expected = expected_of(actual);
  EXPECT_TRUE(gatun::test::within(actual, expected.y, expected.allowed, p.column_end - p.column_begin));
  EXPECT_TRUE(gatun::test::identical(after, untouched)) << "bytes out of the range were written";
}

// Of random weights and operands.
inline void expect_product(const Case& c, const KernelRow* kernel, uint64_t stream = 0) {
  SCOPED_TRACE(testing::Message() << (kernel == nullptr ? "entry" : kernel->name) << ": " << c);
  Rng rng(stream * 1009 + static_cast<uint64_t>(c.rows * 31 + c.columns * 7 + c.depth));
  Weights weights(rng, c);
  weights.set_mode(c.mode);
  const Product product(rng, c);
  expect_output<Problem>(c, kernel, weights, product, gatun_cuda_qmatmul_workspace_bytes, gatun_cuda_qmatmul,
                         [&](const std::vector<double>&) { return expect(c, weights, product); });
}

// ---- orders and effects of the emulator; on a device there is one way ----

#if defined(GATUN_EMULATED)
inline constexpr int kWays = 6;
#else
inline constexpr int kWays = 1;
#endif

template <class Of>
void in_way([[maybe_unused]] int way, Of of) {
#if defined(GATUN_EMULATED)
  using namespace gatun::emulator;
  constexpr Order kOrders[] = {Order::up, Order::down, Order::shuffled};
  settings().order = kOrders[way / 2];
  settings().effects = way % 2 == 0 ? Effects::last : Effects::first;
  SCOPED_TRACE(testing::Message() << "order " << way / 2 << ", effects " << (way % 2 == 0 ? "last" : "first"));
  of();
  settings() = Settings();
#else
  of();
#endif
}

template <class Of>
void in_every_order(Of of) {
  for (int way = 0; way < kWays; ++way) in_way(way, of);
}

inline int calls_in_another_order = 0;
// Once, in another way than the call before. After a round of ways the next begins one further, so that cases that
// take turns meet all of them.
template <class Of>
void in_another_order(Of of) {
  const int call = calls_in_another_order++;
  in_way((call + call / kWays) % kWays, of);
}

}  // namespace gatun::cuda::qmatmul
