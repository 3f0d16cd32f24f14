// A call of gatun_prune and its comparison with the reference.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/prune.h"
#include "guard_buffer.h"
#include "prune/kernel.h"
#include "prune/reference.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::prune {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

inline constexpr int32_t kFloats[] = {GATUN_F32, GATUN_F16, GATUN_BF16};
inline constexpr int32_t kScores[] = {GATUN_SCORE_MAGNITUDE, GATUN_SCORE_WANDA, GATUN_SCORE_LAMP, GATUN_SCORE_GIVEN};

inline gatun_prune_params make_params(int32_t pattern, int32_t score, int64_t columns, int64_t depth,
                                      int32_t w_dtype = GATUN_F32) {
  gatun_prune_params p{};
  p.struct_size = sizeof(p);
  p.w_dtype = w_dtype;
  p.score = score;
  p.pattern = pattern;
  p.n = 2;
  p.m = 4;
  p.vector = 1;
  p.threads = 1;
  p.columns = columns;
  p.depth = depth;
  p.block_rows = p.block_depth = 1;
  return p;
}

inline std::string describe(const gatun_prune_params& p) {
  const std::string numbers[] = {"pattern " + std::to_string(p.pattern),
                                 "score " + std::to_string(p.score),
                                 dtype_name(p.w_dtype),
                                 std::to_string(p.columns) + " x " + std::to_string(p.depth),
                                 std::to_string(p.n) + ":" + std::to_string(p.m),
                                 "vector " + std::to_string(p.vector),
                                 "keep " + std::to_string(p.keep),
                                 "blocks " + std::to_string(p.block_rows) + " x " + std::to_string(p.block_depth)};
  std::string text;
  for (const std::string& number : numbers) text += number + ", ";
  return text;
}

// Weights and what goes with them, each at the edge of its memory.
struct Matrix {
  Matrix(const gatun_prune_params& p, const std::vector<float>& values, const std::vector<float>& norms_of,
         Edge edge = Edge::back)
      : stored(p.score == GATUN_SCORE_GIVEN ? int32_t{GATUN_F32} : p.w_dtype),
        bytes(test::from_floats(values, stored), edge),
        norms(norms_of, edge),
        given(p.score == GATUN_SCORE_GIVEN),
        wanda(p.score == GATUN_SCORE_WANDA) {
    bytes.make_read_only();
    norms.make_read_only();
  }

  const void* w() const { return given ? nullptr : bytes.data(); }
  const float* norms_at() const { return wanda ? norms.data() : nullptr; }
  const float* scores() const { return given ? reinterpret_cast<const float*>(bytes.data()) : nullptr; }
  // The weights as they were stored.
  std::vector<float> values() const {
    const int64_t count = bytes.size() / dtype_bytes(stored, 1);
    const std::vector<double> exact = test::to_doubles(bytes.data(), stored, count);
    return std::vector<float>(exact.begin(), exact.end());
  }

  const int32_t stored;
  GuardBuffer<unsigned char> bytes;
  GuardBuffer<float> norms;
  const bool given, wanda;
};

inline void compare(const gatun_prune_params& p, const Matrix& matrix, Edge edge = Edge::back) {
  SCOPED_TRACE(describe(p));
  const int64_t row_bytes = mask_bytes(p.depth);
  GuardBuffer<uint8_t> mask(p.columns * row_bytes, edge);
  ASSERT_EQ(gatun_prune(&p, matrix.w(), matrix.norms_at(), matrix.scores(), mask.data()), GATUN_OK)
      << gatun_last_error();
  const std::vector<float> scores = reference_scores(p, matrix.values(), matrix.norms_at());
  ASSERT_TRUE(test::identical(mask.copy(), reference_mask(p, scores), row_bytes));
}

// What the scores are made of: few different values give ties.
inline std::vector<float> some_weights(Rng& rng, int64_t count, int kind) {
  switch (kind % 4) {
    case 0:
      return rng.normals(count);
    case 1:
      return rng.small_integers(count, -3, 3);
    case 2:
      return std::vector<float>(static_cast<size_t>(count), -0.0f);
    default: {
      std::vector<float> values = rng.normals(count);
      for (float& value : values) {
        if (rng.integer(0, 3) == 0) value = std::clamp(rng.special_finite(), -6e4f, 6e4f);  // finite as F16
      }
      return values;
    }
  }
}

inline std::vector<float> some_norms(Rng& rng, int64_t count) {
  std::vector<float> norms = rng.normals(count);
  for (float& norm : norms) norm = rng.integer(0, 7) == 0 ? 0.0f : norm < 0 ? -norm : norm;
  return norms;
}

}  // namespace gatun::prune
