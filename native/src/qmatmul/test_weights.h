// Quantized weights of random codes for tests.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "base/dtype.h"
#include "gatun/qmatmul.h"
#include "guard_buffer.h"
#include "qmatmul/reference.h"
#include "rng.h"

namespace gatun::qmatmul {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

enum class Scheme { i8, u8_asymmetric, u4, u4_asymmetric };
constexpr Scheme kSchemes[] = {Scheme::i8, Scheme::u8_asymmetric, Scheme::u4, Scheme::u4_asymmetric};

// Quantized weights of random codes, as a caller has them and packed. Buffers touch inaccessible memory.
class Weights {
 public:
  Weights(Rng& rng, Scheme scheme, int32_t scale_dtype, int64_t columns, int64_t depth, int64_t group, Edge edge,
          bool unit_scales = false)
      : description{sizeof(gatun_qmatmul_weights),
                    scheme == Scheme::i8              ? GATUN_I8
                    : scheme == Scheme::u8_asymmetric ? GATUN_U8
                                                      : GATUN_U4,
                    scheme == Scheme::u8_asymmetric || scheme == Scheme::u4_asymmetric,
                    scale_dtype,
                    columns,
                    depth,
                    group},
        groups(depth == 0 ? 0 : (depth + group - 1) / group),
        codes(columns * dtype_bytes(description.code_dtype, depth), edge),
        scales(columns * groups * dtype_bytes(scale_dtype, 1), edge),
        zero_points(description.asymmetric ? columns * groups : 0, edge),
        edge_(edge) {
    const bool four_bits = description.code_dtype == GATUN_U4;
    for (int64_t i = 0; i < codes.size(); ++i) {
      codes[i] = static_cast<uint8_t>(scheme == Scheme::i8 ? rng.integer(-127, 127) : rng.integer(0, 255));
      // The unused nibble of an odd row is 0.
      if (four_bits && depth % 2 == 1 && (i + 1) % ((depth + 1) / 2) == 0) codes[i] &= 15;
    }
    for (int64_t i = 0; i < columns * groups; ++i) {
      const float scale = unit_scales ? 1.0f : rng.uniform(0.5f, 1.0f) * (rng.integer(0, 1) ? 0.02f : -0.02f);
      if (scale_dtype == GATUN_F16) {
        const uint16_t half = f32_to_f16(scale);
        std::memcpy(&scales[2 * i], &half, 2);
      } else {
        std::memcpy(&scales[4 * i], &scale, 4);
      }
    }
    for (int64_t i = 0; i < zero_points.size(); ++i) {
      zero_points[i] = static_cast<uint8_t>(rng.integer(0, four_bits ? 15 : 255));
    }
    misalignment_ = rng.integer(0, 1);  // packed buffers may have any alignment
    repack();
  }

  // Packs again, after a test has changed codes, scales or zero points; a pointer to the packed bytes dangles then.
  void repack() {
    int64_t bytes = 0;
    EXPECT_EQ(gatun_qmatmul_packed_bytes(&description, &bytes), GATUN_OK) << gatun_last_error();
    packed = std::make_unique<GuardBuffer<uint8_t>>(bytes, edge_, misalignment_);
    EXPECT_EQ(gatun_qmatmul_pack(&description, codes.data(), scales.data(), zero_point_data(), packed->data(), bytes),
              GATUN_OK)
        << gatun_last_error();
    packed->make_read_only();
  }

  const uint8_t* zero_point_data() const { return description.asymmetric ? zero_points.data() : nullptr; }
  ReferenceWeights reference_weights() const { return {description, codes.data(), scales.data(), zero_point_data()}; }

  gatun_qmatmul_weights description;
  int64_t groups;
  GuardBuffer<uint8_t> codes, scales, zero_points;
  std::unique_ptr<GuardBuffer<uint8_t>> packed;

 private:
  Edge edge_;
  int64_t misalignment_;
};

inline gatun_qmatmul_params params_for(const Weights& weights, int64_t rows, int32_t mode) {
  gatun_qmatmul_params params{};
  params.struct_size = sizeof(params);
  params.x_dtype = params.y_dtype = GATUN_F32;
  params.mode = mode;
  params.threads = 1;
  params.rows = rows;
  params.columns = weights.description.columns;
  params.depth = weights.description.depth;
  params.x_row_stride = weights.description.depth;
  params.y_row_stride = params.residual_row_stride = weights.description.columns;
  params.column_end = weights.description.columns;
  return params;
}

}  // namespace gatun::qmatmul
