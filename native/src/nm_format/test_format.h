// Formats and matrices for the tests of this op.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/nm_format.h"
#include "guard_buffer.h"
#include "nm_format/reference.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::nm_format {

using test::Edge;
using test::GuardBuffer;
using test::Rng;
using Bytes = std::vector<uint8_t>;

inline constexpr int32_t kDtypes[] = {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U4};
inline constexpr int32_t kSizes[] = {2, 4, 8, 16, 32};  // of groups

inline gatun_nm_format make_format(int32_t n, int32_t m, int64_t columns, int64_t depth, int32_t dtype = GATUN_F32,
                                   int32_t vector = 1) {
  return {sizeof(gatun_nm_format), n, m, vector, dtype, 1, columns, depth, depth};
}

inline std::string describe(const gatun_nm_format& f) {
  return std::to_string(f.n) + ":" + std::to_string(f.m) + " of " + dtype_name(f.value_dtype) + ", " +
         std::to_string(f.columns) + " x " + std::to_string(f.depth) + ", vector " + std::to_string(f.vector) +
         ", group " + std::to_string(f.group);
}

struct Sizes {
  explicit Sizes(const gatun_nm_format& f) {
    EXPECT_EQ(gatun_nm_bytes(&f, &dense, &values, &indices, &mask), GATUN_OK) << gatun_last_error();
  }
  int64_t dense, values, indices, mask;
};

// Any bits at all, half of them none; the unused nibble of a row of codes is 0.
inline Bytes random_weights(Rng& rng, const gatun_nm_format& f) {
  Bytes weights(static_cast<size_t>(Sizes(f).dense));
  const int64_t element = dtype_bytes(f.value_dtype, 1);
  for (size_t i = 0; i < weights.size(); i += static_cast<size_t>(element)) {
    const bool zero = rng.integer(0, 1) == 1, negative = rng.integer(0, 1) == 1;
    for (int64_t byte = 0; byte < element; ++byte) {
      uint8_t& at = weights[i + static_cast<size_t>(byte)];
      at = zero ? 0 : static_cast<uint8_t>(rng.integer(0, 255));
      if (zero && negative && element > 1 && byte == element - 1) at = 0x80;
    }
  }
  if (f.value_dtype == GATUN_U4 && f.depth % 2 == 1) {
    const size_t row = static_cast<size_t>(f.depth / 2 + 1);
    for (size_t last = row - 1; last < weights.size(); last += row) weights[last] &= 15;
  }
  return weights;
}

// In each group of each vector n positions, or by chance fewer.
inline Bytes random_mask(Rng& rng, const gatun_nm_format& f) {
  Bytes mask(static_cast<size_t>(Sizes(f).mask));
  const int64_t stride = (f.depth + 7) / 8;
  for (int64_t first = 0; first < f.columns; first += f.vector) {
    for (int64_t group = 0; group * f.m < f.depth; ++group) {
      const int64_t kept = rng.integer(0, 3) > 0 ? f.n : rng.integer(0, f.n);
      for (int64_t i = 0; i < kept; ++i) {
        const int64_t k = group * f.m + (kept == f.m ? i : rng.integer(0, f.m - 1));
        for (int64_t row = first; row < std::min<int64_t>(first + f.vector, f.columns) && k < f.depth; ++row) {
          uint8_t& byte = mask[static_cast<size_t>(row * stride + k / 8)];
          byte = static_cast<uint8_t>(byte | 1 << k % 8);
        }
      }
    }
  }
  return mask;
}

// Zeros where a mask of any format has them.
inline Bytes masked(const gatun_nm_format& f, const Bytes& weights, const Bytes& mask) {
  Bytes kept = weights;
  const int64_t element = dtype_bytes(f.value_dtype, 1), stride = (f.depth + 7) / 8;
  for (int64_t row = 0; row < f.columns; ++row) {
    for (int64_t k = 0; k < f.depth; ++k) {
      if (mask[static_cast<size_t>(row * stride + k / 8)] >> k % 8 & 1) continue;
      for (int64_t byte = 0; byte < element; ++byte)
        kept[static_cast<size_t>((row * f.depth + k) * element + byte)] = 0;
    }
  }
  return kept;
}

}  // namespace gatun::nm_format
