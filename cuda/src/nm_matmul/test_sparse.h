// What the tests of products with sparse weights share: random weights packed on the device, a product by a given row
// of the table or by the entry point, and the oracle with the bound of gatun/cuda_nm_matmul.h.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <ostream>
#include <vector>

#include "base/dtype.h"
#include "base/nm.h"
#include "device_buffer.h"
#include "gatun/cuda_nm_matmul.h"
#include "nm_matmul/reference.h"
#include "nm_matmul/select.h"
#include "qmatmul/test_product.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::cuda::nm_matmul {

using gatun::test::DeviceBuffer;
using gatun::test::Rng;
using qmatmul::as_bytes;
using qmatmul::element;
using qmatmul::in_another_order;
using qmatmul::in_every_order;
using qmatmul::rounded_to;

// A product to be tested.
struct Case {
  int32_t value_dtype = GATUN_F16, scale_dtype = 0, zero_point = 0;
  int32_t n = 2, m = 4, vector = 1;
  int32_t mode = GATUN_NM_F32;
  int64_t rows = 1, columns = 16, depth = 64, group = 0;  // of codes; 0: the depth
  int32_t x_dtype = GATUN_F32, y_dtype = GATUN_F32;
  int32_t activation = GATUN_ACTIVATION_NONE;
  bool bias = false, residual = false, in_place = false;
  bool integers = false;  // small ones throughout, so that every sum is exact: results are compared with ==
  int64_t x_offset = 0, y_offset = 0;         // elements that misalign the bases
  int64_t x_gap = 0, y_gap = 0;               // elements between rows
  int64_t column_begin = 0, column_end = -1;  // -1: all
  std::vector<float> special;                 // put into x at random places of row rows / 2
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.n << ":" << c.m << " x " << c.vector << " of " << dtype_name(c.value_dtype) << ", scales "
             << dtype_name(c.scale_dtype) << ", zero points " << c.zero_point << ", mode " << c.mode << ", " << c.rows
             << " rows, " << c.columns << " columns, depth " << c.depth << ", group " << c.group << ", x "
             << dtype_name(c.x_dtype) << " + " << c.x_offset << " gap " << c.x_gap << ", y " << dtype_name(c.y_dtype)
             << " + " << c.y_offset << " gap " << c.y_gap << ", activation " << c.activation << (c.bias ? ", bias" : "")
             << (c.residual ? ", residual" : "") << (c.integers ? ", integers" : "");
}

// Values with what belongs to them.
inline Case of_values(int32_t value_dtype, int32_t mode, int32_t zero_point = GATUN_ZERO_NONE) {
  Case c;
  c.value_dtype = value_dtype;
  c.scale_dtype = value_dtype == GATUN_I8 || value_dtype == GATUN_U4 ? GATUN_F16 : 0;
  c.zero_point = value_dtype == GATUN_U4 ? zero_point : int32_t{GATUN_ZERO_NONE};
  c.mode = mode;
  return c;
}

// Random weights in the canonical form in host memory, and packed on the device. Some kept values are 0.
class Weights {
 public:
  Weights(Rng& rng, const Case& c)
      : description{sizeof(gatun_nm_weights),
                    c.n,
                    c.m,
                    c.vector,
                    c.value_dtype,
                    c.zero_point,
                    c.scale_dtype,
                    0,
                    0,
                    c.columns,
                    c.depth,
                    0} {
    if (c.scale_dtype != 0) description.group = c.group == 0 ? c.depth : c.group;
    slots = blocks_of(c.depth, c.m) * c.n;
    groups = c.scale_dtype == 0 ? 0 : blocks_of(c.depth, description.group);
    zero_points = rng.integers<uint8_t>(c.zero_point == 0 ? 0 : c.columns * groups, 0, 15);
    std::vector<float> numbers;
    for (int64_t i = 0; i < c.columns * groups; ++i) {
      numbers.push_back(c.integers ? 1.0f : rng.uniform(0.5f, 1.0f) * (rng.integer(0, 1) ? 0.02f : -0.02f));
    }
    if (c.scale_dtype != 0) scales = as_bytes(numbers, c.scale_dtype);
    fill_positions(rng);
    fill_values(rng, c.integers);
  }

  // The packed form, of a call that must succeed; the faults are those of the weights.
  std::vector<uint8_t> pack(gatun_cuda_nm_faults expected = {-1, -1, -1}) const {
    int64_t bytes = 0;
    EXPECT_EQ(gatun_cuda_nm_packed_bytes(&description, &bytes), GATUN_OK) << gatun_last_error();
    const DeviceBuffer<uint8_t> on_values(values), on_indices(indices), on_scales(scales), on_zeros(zero_points);
    DeviceBuffer<uint8_t> packed(bytes);
    DeviceBuffer<gatun_cuda_nm_faults> faults(1);
    EXPECT_EQ(gatun_cuda_nm_pack(
                  &description, on_values.data(), on_indices.data(), scales.empty() ? nullptr : on_scales.data(),
                  zero_points.empty() ? nullptr : on_zeros.data(), packed.data(), bytes, faults.data(), nullptr),
              GATUN_OK)
        << gatun_last_error();
    EXPECT_EQ(faults.copy()[0].value, expected.value);
    EXPECT_EQ(faults.copy()[0].index, expected.index);
    EXPECT_EQ(faults.copy()[0].block, expected.block);
    return packed.copy();
  }

  gatun::nm_matmul::ReferenceWeights oracle() const {
    return {description, values.data(), indices.data(), scales.data(), zero_points.data()};
  }

  gatun_nm_weights description;
  int64_t slots, groups;
  std::vector<uint8_t> values, indices, scales, zero_points;

 private:
  int64_t depth_of(int64_t column, int64_t slot) const {
    const int position = positions_[static_cast<size_t>(column / description.vector * slots + slot)];
    return slot / description.n * description.m + position;
  }

  // `count` elements of a row, of some bits each, the first in the lowest ones.
  template <class Of>
  static void append_row(std::vector<uint8_t>* bytes, int64_t count, int bits, Of of) {
    for (int64_t i = 0; i < count; ++i) {
      if (i * bits % 8 == 0) bytes->push_back(0);
      bytes->back() = static_cast<uint8_t>(bytes->back() | of(i) << i * bits % 8);
    }
  }

  void fill_positions(Rng& rng) {
    const int32_t n = description.n, m = description.m;
    const int64_t rows = blocks_of(description.columns, description.vector);
    for (int64_t i = 0; i < rows * slots / n; ++i) {
      std::vector<uint8_t> all(static_cast<size_t>(m));
      std::iota(all.begin(), all.end(), uint8_t{0});
      for (int32_t j = 0; j < n; ++j) {
        std::swap(all[static_cast<size_t>(j)], all[static_cast<size_t>(rng.integer(j, m - 1))]);
      }
      std::sort(all.begin(), all.begin() + n);
      positions_.insert(positions_.end(), all.begin(), all.begin() + n);
    }
    for (int64_t row = 0; row < rows; ++row) {
      append_row(&indices, slots, index_bits(m),
                 [&](int64_t slot) { return positions_[static_cast<size_t>(row * slots + slot)]; });
    }
  }

  void fill_values(Rng& rng, bool integers) {
    const int32_t dtype = description.value_dtype;
    for (int64_t column = 0; column < description.columns; ++column) {
      std::vector<float> row = integers ? rng.small_integers(slots, -15, 15) : rng.normals(slots);
      std::vector<uint8_t> codes = rng.integers<uint8_t>(slots, 0, 255);
      for (int64_t slot = 0; slot < slots; ++slot) {
        const int64_t k = depth_of(column, slot);
        if (k < description.depth && rng.integer(0, 9) > 0) continue;
        row[static_cast<size_t>(slot)] = 0;
        const int64_t own =
            column * groups + std::min(k, description.depth - 1) / std::max<int64_t>(1, description.group);
        codes[static_cast<size_t>(slot)] = dtype != GATUN_U4     ? uint8_t{0}
                                           : zero_points.empty() ? uint8_t{8}
                                                                 : zero_points[static_cast<size_t>(own)];
      }
      if (dtype == GATUN_I8 || dtype == GATUN_U4) {
        const int bits = dtype == GATUN_U4 ? 4 : 8;
        append_row(&values, slots, bits, [&](int64_t slot) {
          return static_cast<uint8_t>(codes[static_cast<size_t>(slot)] & ((1 << bits) - 1));
        });
      } else {
        const std::vector<uint8_t> bytes = as_bytes(row, dtype);
        values.insert(values.end(), bytes.begin(), bytes.end());
      }
    }
  }

  std::vector<uint8_t> positions_;
};

// A product in host memory.
struct Product : qmatmul::Operands<gatun_nm_matmul_params> {
  Product(Rng& rng, const Case& c) : Operands(rng, c, [&](int64_t k) { return c.mode == GATUN_NM_INT8 && k == 0; }) {}
};

// What y should be, by how much it may differ, and whether NaN would do, too.
struct Expected {
  std::vector<double> y, allowed;
  std::vector<bool> may_be_nan;
};

inline Expected expect(const Case& c, const Weights& weights, const Product& product) {
  // The oracle gets x and residual in f32, x rounded to f16 where the mode says so.
  gatun_nm_matmul_params p = product.params;
  const int64_t columns = p.column_end - p.column_begin;
  const auto floats = [&](const std::vector<uint8_t>& bytes, int32_t dtype, bool round) {
    std::vector<float> values(bytes.size() / static_cast<size_t>(dtype_bytes(dtype, 1)));
    for (size_t i = 0; i < values.size(); ++i) {
      const double value = element(bytes.data(), dtype, static_cast<int64_t>(i));
      values[i] = static_cast<float>(round ? rounded_to(value, GATUN_F16) : value);
    }
    return values;
  };
  const std::vector<float> x = floats(product.x, p.x_dtype, c.mode == GATUN_NM_F16),
                           residual = floats(product.residual, p.y_dtype, false);
  p.x_dtype = p.y_dtype = GATUN_F32;
  if (c.mode == GATUN_NM_F16) p.mode = GATUN_NM_F32;
  const float* const bias = c.bias ? product.bias.data() : nullptr;
  const auto run = [&] {
    return gatun::nm_matmul::reference(p, x.data(), weights.oracle(), bias, c.residual ? residual.data() : nullptr);
  };
  const gatun::nm_matmul::Reference ref = run();
  p.activation = GATUN_ACTIVATION_NONE;
  const std::vector<double> sums = run().activated;
  const double steps = static_cast<double>(weights.slots + 2 * std::max<int64_t>(weights.groups, 1) + 8);
  Expected expected;
  for (int64_t m = 0; m < p.rows; ++m) {
    bool finite = true;
    for (int64_t k = 0; k < p.depth; ++k) {
      double value = double{x[static_cast<size_t>(m * p.x_row_stride + k)]};
      if (c.mode == GATUN_NM_BF16) value = rounded_to(value, GATUN_BF16);
      finite = finite && std::isfinite(value);
    }
    for (int64_t i = 0; i < columns; ++i) {
      const size_t at = static_cast<size_t>(m * columns + i);
      const double y = std::isfinite(sums[at]) ? ref.y[at] : std::nan("");
      double allowed = 0x1p-23 * steps * ref.magnitude[at] + steps * 0x1p-149;
      // Slopes of activations are at most 1.13, and they have an error of their own (qmatmul/finish.h).
      if (c.activation != GATUN_ACTIVATION_NONE) {
        allowed = 1.13 * allowed + 0x1p-18 * std::fabs(ref.activated[at]) + 0x1p-40;
      }
      expected.y.push_back(c.integers ? rounded_to(y, c.y_dtype) : y);
      expected.allowed.push_back(c.integers ? 0 : allowed + gatun::test::unit_in_last_place(c.y_dtype, y));
      // Where terms are near the largest f32, a part of the sum may overflow.
      expected.may_be_nan.push_back(!finite || ref.magnitude[at] > 0x1p127);
    }
  }
  return expected;
}

// Whether the kernel is made for the device, which has the shared memory that it wants.
inline bool fits_device(const KernelRow& row) {
  Device device = {};
  EXPECT_EQ(describe_device(0, &device), GATUN_OK) << gatun_last_error();
  return row.capabilities.contains(device.major * 10 + device.minor) && device.shared_bytes >= row.shared_bytes;
}

// While this lives, the emulated device has no more shared memory than any device has that the kernel is chosen for.
class LeastSharedMemory {
 public:
  explicit LeastSharedMemory([[maybe_unused]] const KernelRow& row) {
#if defined(GATUN_EMULATED)
    gatun::emulator::settings().device.shared_bytes = std::max<int64_t>(99 * 1024, row.shared_bytes);
#endif
  }
  LeastSharedMemory(const LeastSharedMemory&) = delete;
  LeastSharedMemory& operator=(const LeastSharedMemory&) = delete;
  ~LeastSharedMemory() {
#if defined(GATUN_EMULATED)
    gatun::emulator::settings().device = gatun::emulator::Settings().device;
#endif
  }
};

// Runs a product of random weights and operands by `kernel`, or where that is null by the entry point, and compares all
// of y with the oracle.
inline void expect_product(const Case& c, const KernelRow* kernel = nullptr, uint64_t stream = 0) {
  SCOPED_TRACE(testing::Message() << (kernel == nullptr ? "entry" : kernel->name) << ": " << c);
  Rng rng(stream * 1009 + static_cast<uint64_t>(c.rows * 31 + c.columns * 7 + c.depth));
  const Weights weights(rng, c);
  const Product product(rng, c);
  qmatmul::expect_output<Problem>(c, kernel, weights, product, gatun_cuda_nm_matmul_workspace_bytes,
                                  gatun_cuda_nm_matmul, [&](const std::vector<double>& actual) {
                                    Expected expected = expect(c, weights, product);
                                    for (size_t i = 0; i < actual.size(); ++i) {
                                      if (expected.may_be_nan[i] && std::isnan(actual[i])) expected.y[i] = actual[i];
                                    }
                                    return expected;
                                  });
}

}  // namespace gatun::cuda::nm_matmul
