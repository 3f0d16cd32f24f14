// Random N:M weights in the canonical form (gatun/nm_format.h), packed, between guard pages.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "gatun/nm_matmul.h"
#include "guard_buffer.h"
#include "nm_matmul/layout.h"
#include "nm_matmul/reference.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::nm_matmul {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

// The types of values, with and without zero points.
struct Scheme {
  int32_t value_dtype, zero_point, scale_dtype;
};
inline constexpr Scheme kSchemes[] = {
    {GATUN_F32, GATUN_ZERO_NONE, 0},          {GATUN_F16, GATUN_ZERO_NONE, 0},
    {GATUN_BF16, GATUN_ZERO_NONE, 0},         {GATUN_I8, GATUN_ZERO_NONE, GATUN_F32},
    {GATUN_I8, GATUN_ZERO_NONE, GATUN_F16},   {GATUN_U4, GATUN_ZERO_NONE, GATUN_F16},
    {GATUN_U4, GATUN_ZERO_NONE, GATUN_F32},   {GATUN_U4, GATUN_ZERO_INTEGER, GATUN_F32},
    {GATUN_U4, GATUN_ZERO_INTEGER, GATUN_F16}};
inline bool quantized(const Scheme& scheme) { return scheme.scale_dtype != 0; }

inline const std::vector<int32_t> kAllM = {2, 4, 8, 16, 32};

// Groups that are allowed for a depth: one, the smallest ones, and ones that no unit or piece divides.
inline std::vector<int64_t> groups_of(const Scheme& scheme, int32_t m, int64_t depth) {
  if (!quantized(scheme)) return {0};
  std::vector<int64_t> groups = {depth};
  for (const int64_t least : {16, 40, 64, 160, 520}) {
    const int64_t group = (least + m - 1) / m * m;
    if (group < depth) groups.push_back(group);
  }
  return groups;
}

struct Shape {
  int32_t n, m;
  int64_t columns, depth, group;
  int32_t vector = 1;
};

struct Weights {
  gatun_nm_weights description;
  std::unique_ptr<GuardBuffer<uint8_t>> values, indices, scales, zero_points, packed;

  // What a test wants besides.
  struct Options {
    bool integers = false;                 // integer floats, scales of 1: sums are exact
    int32_t dense = GATUN_NM_DENSE_NEVER;  // with it, for any number of rows
    Edge edge = Edge::back;
    int64_t misalignment = 0;  // of the packed form
    bool kept_zeros = true;    // some kept values are 0
  };

  Weights(Rng& rng, const Scheme& scheme, const Shape& shape, const Options& options)
      : description{sizeof(description), shape.n,       shape.m, shape.vector,  scheme.value_dtype, scheme.zero_point,
                    scheme.scale_dtype,  options.dense, 0,       shape.columns, shape.depth,        shape.group},
        edge_(options.edge),
        misalignment_(options.misalignment) {
    const int64_t groups = shape.depth / shape.m + (shape.depth % shape.m != 0);
    const int64_t segments = shape.group == 0 ? 0 : (shape.depth + shape.group - 1) / shape.group;
    const int64_t kept = groups * shape.n, cells = shape.columns * segments;
    zeros_ = rng.integers<uint8_t>(cells, 0, 15);
    std::vector<float> scale_values = rng.normals(cells, 0.1f);
    if (options.integers) std::fill(scale_values.begin(), scale_values.end(), 1.0f);

    // Which positions are kept, and where they lie beyond the depth, whose values are 0.
    const int64_t index_rows = (shape.columns + shape.vector - 1) / shape.vector;
    std::vector<uint8_t> index_bytes;
    positions_.resize(static_cast<size_t>(index_rows * kept));
    for (int64_t row = 0; row < index_rows; ++row) {
      for (int64_t g = 0; g < groups; ++g)
        pick_positions(rng, &positions_[static_cast<size_t>(row * kept + g * shape.n)]);
      append_row(index_bytes, kept,
                 shape.m <= 4    ? 2
                 : shape.m <= 16 ? 4
                                 : 8,
                 [&](int64_t slot) { return positions_[static_cast<size_t>(row * kept + slot)]; });
    }

    std::vector<uint8_t> value_bytes;
    for (int64_t column = 0; column < shape.columns; ++column) {
      const auto zero_at = [&](int64_t slot) {
        const int64_t depth = depth_of(column, slot);
        const bool beyond = depth >= shape.depth;
        if (!beyond && !(options.kept_zeros && rng.integer(0, 9) == 0)) return -1;
        if (scheme.value_dtype != GATUN_U4) return 0;
        const int64_t group = std::min(depth, shape.depth - 1) / shape.group;
        return scheme.zero_point == GATUN_ZERO_NONE ? 8 : int{zeros_[static_cast<size_t>(column * segments + group)]};
      };
      if (quantized(scheme)) {
        const int bits = scheme.value_dtype == GATUN_U4 ? 4 : 8;
        append_row(value_bytes, kept, bits, [&](int64_t slot) {
          const int zero = zero_at(slot);
          return static_cast<uint8_t>(zero >= 0 ? zero : bits == 4 ? rng.integer(0, 15) : rng.integer(-127, 127));
        });
      } else {
        std::vector<float> row = options.integers ? rng.small_integers(kept, -15, 15) : rng.normals(kept);
        for (int64_t slot = 0; slot < kept; ++slot) {
          if (zero_at(slot) == 0) row[static_cast<size_t>(slot)] = 0.0f;
        }
        const std::vector<unsigned char> bytes = test::from_floats(row, scheme.value_dtype);
        value_bytes.insert(value_bytes.end(), bytes.begin(), bytes.end());
      }
    }
    const auto guard = [&](const std::vector<uint8_t>& bytes) {
      return std::make_unique<GuardBuffer<uint8_t>>(bytes, options.edge);
    };
    values = guard(value_bytes);
    indices = guard(index_bytes);
    scales = guard(quantized(scheme) ? test::from_floats(scale_values, scheme.scale_dtype) : std::vector<uint8_t>());
    zero_points = guard(scheme.zero_point == GATUN_ZERO_NONE ? std::vector<uint8_t>() : zeros_);
    repack();
  }

  // Packs again, after a test has changed values, scales or zero points; a pointer to the packed bytes dangles then.
  void repack() {
    int64_t bytes = 0;
    EXPECT_EQ(gatun_nm_packed_bytes(&description, &bytes), GATUN_OK) << gatun_last_error();
    packed = std::make_unique<GuardBuffer<uint8_t>>(bytes, edge_, misalignment_);
    EXPECT_EQ(gatun_nm_pack(&description, values->data(), indices->data(), scale_data(), zero_point_data(),
                            packed->data(), bytes),
              GATUN_OK)
        << gatun_last_error();
    packed->make_read_only();
  }

  // All codes, and all zero points, alike.
  void make_codes(int code, int zero) {
    const int byte = description.value_dtype == GATUN_U4 ? code * 0x11 : code;
    std::memset(values->data(), byte, static_cast<size_t>(values->size()));
    std::memset(zero_points->data(), zero, static_cast<size_t>(zero_points->size()));
    repack();
  }

  const void* scale_data() const { return description.scale_dtype == 0 ? nullptr : scales->data(); }
  const uint8_t* zero_point_data() const {
    return description.zero_point == GATUN_ZERO_NONE ? nullptr : zero_points->data();
  }
  ReferenceWeights reference_weights() const {
    return {description, values->data(), indices->data(), scale_data(), zero_point_data()};
  }
  bool stored_dense() const { return stores_dense(description); }
  Layout layout() const { return Layout(description, stored_dense()); }
  // Whether a column keeps a depth.
  bool keeps(int64_t column, int64_t depth) const {
    for (int32_t i = 0; i < description.n; ++i) {
      if (depth_of(column, depth / description.m * description.n + i) == depth) return true;
    }
    return false;
  }

 private:
  int64_t kept() const { return (description.depth + description.m - 1) / description.m * description.n; }
  int64_t depth_of(int64_t column, int64_t slot) const {
    return slot / description.n * description.m +
           positions_[static_cast<size_t>(column / description.vector * kept() + slot)];
  }

  // n of 0..m-1, ascending.
  void pick_positions(Rng& rng, uint8_t* positions) const {
    std::vector<uint8_t> all(static_cast<size_t>(description.m));
    std::iota(all.begin(), all.end(), uint8_t{0});
    for (int32_t i = 0; i < description.n; ++i) {
      std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(rng.integer(i, description.m - 1))]);
    }
    std::copy_n(all.begin(), description.n, positions);
    std::sort(positions, positions + description.n);
  }

  // Elements of `bits` bits, the first in the lowest ones.
  template <class Of>
  static void append_row(std::vector<uint8_t>& bytes, int64_t count, int bits, Of of) {
    const int per_byte = 8 / bits;
    for (int64_t i = 0; i < count; ++i) {
      if (i % per_byte == 0) bytes.push_back(0);
      bytes.back() = static_cast<uint8_t>(bytes.back() | of(i) << i % per_byte * bits);
    }
  }

  Edge edge_;
  int64_t misalignment_;
  std::vector<uint8_t> zeros_, positions_;
};

inline std::string name_of(const Weights& weights) {
  const gatun_nm_weights& d = weights.description;
  return std::to_string(d.n) + ":" + std::to_string(d.m) + " " + dtype_name(d.value_dtype) + " zero points " +
         std::to_string(d.zero_point) + " scales " + dtype_name(d.scale_dtype) + " [" + std::to_string(d.columns) +
         ", " + std::to_string(d.depth) + "] in groups of " + std::to_string(d.group) + ", vectors of " +
         std::to_string(d.vector) + (weights.stored_dense() ? ", dense" : "");
}

}  // namespace gatun::nm_matmul
