// Rows of q, k or v between guard pages.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "attention/test_spec.h"
#include "rng.h"

namespace gatun::attention {

struct TestTensor {
  Strides strides{};
  int64_t heads = 0, rows = 0, columns = 0;
  std::unique_ptr<GuardBuffer<uint8_t>> bytes;

  TestTensor() = default;

  // Standard normal; rows of no item hold NaN, and so do gaps.
  TestTensor(const Spec& spec, Order order, const std::vector<int64_t>& offsets, int64_t head_count, int64_t row_count,
             int64_t column_count, Rng& rng)
      : strides(strides_of(order, head_count, row_count, column_count)),
        heads(head_count),
        rows(row_count),
        columns(column_count) {
    const int64_t element = dtype_bytes(spec.dtype, 1), items = offsets.empty() ? spec.batch : 1;
    bytes = std::make_unique<GuardBuffer<uint8_t>>(extent(strides, items, heads, rows, columns) * element, spec.edge,
                                                   spec.offset * element);
    for (int64_t row = 0; row < items * heads * rows; ++row) {
      if (!offsets.empty() && (row % rows < offsets.front() || row % rows >= offsets.back())) continue;
      const int64_t first =
          row / (heads * rows) * strides.batch + row / rows % heads * strides.head + row % rows * strides.row;
      put(spec, first, rng.normals(columns));
    }
  }

  // What element x of row r of a head of a batch item is.
  using Element = std::function<float(int64_t b, int64_t head, int64_t r, int64_t x)>;
  void set(const Spec& spec, const std::vector<int64_t>& offsets, const Element& value) {
    const bool ragged = !offsets.empty();
    for (int64_t b = 0; b < spec.batch; ++b) {
      const size_t item = static_cast<size_t>(b);
      const int64_t first = ragged ? offsets[item] * strides.row : b * strides.batch;
      const int64_t count = ragged ? offsets[item + 1] - offsets[item] : rows;
      for (int64_t head = 0; head < heads; ++head) {
        for (int64_t r = 0; r < count; ++r) {
          std::vector<float> row;
          for (int64_t x = 0; x < columns; ++x) row.push_back(value(b, head, r, x));
          put(spec, first + head * strides.head + r * strides.row, row);
        }
      }
    }
  }

 private:
  void put(const Spec& spec, int64_t at, const std::vector<float>& row) {
    const std::vector<uint8_t> values = test::from_floats(row, spec.dtype);
    std::copy(values.begin(), values.end(), bytes->data() + at * dtype_bytes(spec.dtype, 1));
  }
};

}  // namespace gatun::attention
