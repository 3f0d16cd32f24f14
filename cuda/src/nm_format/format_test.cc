// Compression, pruning and decompression on the device against the definitions, byte for byte.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/nm.h"
#include "device_buffer.h"
#include "gatun/cuda_nm_format.h"
#include "nm_format/layout.h"
#include "nm_format/reference.h"
#include "prune/reference.h"
#include "qmatmul/test_product.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::cuda::nm_format {
namespace {

using gatun::nm_format::Canonical;
using gatun::nm_format::Layout;
using gatun::test::DeviceBuffer;
using gatun::test::Rng;
using qmatmul::in_every_order;
using Bytes = std::vector<uint8_t>;
using Faults = gatun_cuda_nm_format_faults;

constexpr int32_t kDtypes[] = {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U4};

gatun_nm_format format_of(int32_t n, int32_t m, int64_t columns, int64_t depth, int32_t dtype = GATUN_F16,
                          int32_t vector = 1) {
  return {sizeof(gatun_nm_format), n, m, vector, dtype, 1, columns, depth, depth};
}

Layout layout_of(const gatun_nm_format& f) {
  Layout layout = {};
  EXPECT_EQ(gatun::nm_format::layout_of(&f, &layout), GATUN_OK) << gatun_last_error();
  return layout;
}

std::string describe(const gatun_nm_format& f) {
  return std::to_string(f.n) + ":" + std::to_string(f.m) + " of " + dtype_name(f.value_dtype) + ", " +
         std::to_string(f.columns) + " x " + std::to_string(f.depth) + ", vector " + std::to_string(f.vector);
}

// Any bits at all, a third of them zeros; the unused nibble of a row of codes is 0.
Bytes random_weights(Rng& rng, const gatun_nm_format& f) {
  const Layout l = layout_of(f);
  Bytes weights(static_cast<size_t>(l.dense_bytes));
  for (size_t i = 0; i < weights.size(); i += static_cast<size_t>(l.element)) {
    const int64_t kind = rng.integer(0, 5);
    for (int64_t b = 0; b < l.element; ++b)
      weights[i + static_cast<size_t>(b)] = static_cast<uint8_t>(rng.integer(0, 255));
    for (int64_t b = 0; kind < 2 && b < l.element; ++b) weights[i + static_cast<size_t>(b)] = 0;
    if (kind == 1 && l.element > 1) weights[i + static_cast<size_t>(l.element) - 1] = 0x80;  // -0
  }
  for (int64_t row = 0; f.value_dtype == GATUN_U4 && f.depth % 2 == 1 && row < f.columns; ++row) {
    weights[static_cast<size_t>((row + 1) * l.dense_row - 1)] &= 15;
  }
  return weights;
}

// In each group of each vector n positions, or by chance fewer.
Bytes random_mask(Rng& rng, const gatun_nm_format& f) {
  const Layout l = layout_of(f);
  Bytes mask(static_cast<size_t>(l.mask_bytes));
  for (int64_t vector = 0; vector < l.vectors; ++vector) {
    for (int64_t group = 0; group < l.groups; ++group) {
      const int64_t kept = rng.integer(0, 3) > 0 ? f.n : rng.integer(0, f.n);
      for (int64_t i = 0; i < kept; ++i) {
        const int64_t k = group * f.m + (kept == f.m ? i : rng.integer(0, f.m - 1));
        for (int64_t row = l.first_row(vector); row < l.first_row(vector + 1) && k < f.depth; ++row) {
          mask[static_cast<size_t>(row * l.mask_row + k / 8)] |= static_cast<uint8_t>(1 << k % 8);
        }
      }
    }
  }
  return mask;
}

// Zeros where a mask has them, of weights with bytes of their own.
Bytes masked(const gatun_nm_format& f, Bytes weights, const Bytes& mask) {
  const Layout l = layout_of(f);
  for (int64_t i = 0; i < f.columns * f.depth; ++i) {
    const int64_t row = i / f.depth, k = i % f.depth;
    if (mask[static_cast<size_t>(row * l.mask_row + k / 8)] >> k % 8 & 1) continue;
    for (int64_t b = 0; b < l.element; ++b) weights[static_cast<size_t>(i * l.element + b)] = 0;
  }
  return weights;
}

// Compresses on the device and back, and compares both ways.
void expect_round_trip(const gatun_nm_format& f, const Bytes& dense, const Bytes* mask, const Bytes* zeros) {
  SCOPED_TRACE(describe(f) + (mask == nullptr ? "" : ", mask") + (zeros == nullptr ? "" : ", zero points"));
  const Layout l = layout_of(f);
  const uint8_t* const host_zeros = zeros == nullptr ? nullptr : zeros->data();
  const Canonical expected =
      gatun::nm_format::reference_compress(f, dense.data(), mask == nullptr ? nullptr : mask->data(), host_zeros);
  ASSERT_TRUE(expected.valid);
  const DeviceBuffer<uint8_t> on_dense(dense), on_mask(mask == nullptr ? Bytes() : *mask),
      on_zeros(zeros == nullptr ? Bytes() : *zeros);
  const uint8_t* const zeros_at = zeros == nullptr ? nullptr : on_zeros.data();
  DeviceBuffer<uint8_t> values(l.values_bytes), indices(l.indices_bytes), back(l.dense_bytes);
  DeviceBuffer<Faults> faults(1);
  ASSERT_EQ(gatun_cuda_nm_compress(&f, on_dense.data(), mask == nullptr ? nullptr : on_mask.data(), zeros_at,
                                   values.data(), indices.data(), faults.data(), nullptr),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_EQ(faults.copy()[0].group, -1);
  EXPECT_EQ(faults.copy()[0].value, -1);
  EXPECT_TRUE(gatun::test::identical(indices.copy(), expected.indices));
  EXPECT_TRUE(gatun::test::identical(values.copy(), expected.values));
  ASSERT_EQ(gatun_cuda_nm_decompress(&f, values.data(), indices.data(), zeros_at, back.data(), nullptr), GATUN_OK)
      << gatun_last_error();
  const Bytes all =
      gatun::nm_format::reference_decompress(f, expected.values.data(), expected.indices.data(), host_zeros);
  EXPECT_TRUE(gatun::test::identical(back.copy(), all));
}

void expect_compression(const gatun_nm_format& f, uint64_t stream) {
  Rng rng(stream);
  const Bytes dense = random_weights(rng, f), mask = random_mask(rng, f);
  if (f.value_dtype == GATUN_U4) {
    gatun_nm_format grouped = f;
    if (f.depth > 16 && stream % 2 == 0) grouped.group = 16 + static_cast<int64_t>(stream % 5);
    if (grouped.group > f.depth) grouped.group = f.depth;
    const int64_t groups = f.depth == 0 ? 0 : (f.depth - 1) / grouped.group + 1;
    const Bytes zeros = rng.integers<uint8_t>(f.columns * groups, 0, 15);
    expect_round_trip(grouped, dense, &mask, stream % 3 == 0 ? nullptr : &zeros);
  } else {
    expect_round_trip(f, dense, &mask, nullptr);
    expect_round_trip(f, masked(f, dense, mask), nullptr, nullptr);
  }
}

TEST(Compress, EveryPatternAndType) {
  uint64_t count = 0;
  for (const int32_t dtype : kDtypes) {
    for (const int32_t m : {2, 4, 8, 16, 32}) {
      for (const int32_t n : {1, 2, m / 2 + 1, m}) {
        ++count;
        expect_compression(format_of(n, m, 5, 67 + n, dtype, count % 3 == 0 ? 2 : 1), count);
      }
    }
  }
}

TEST(Compress, EveryShape) {
  uint64_t count = 0;
  for (const int64_t columns : {0, 1, 3, 9}) {
    for (const int64_t depth : {0, 1, 4, 31, 32, 33, 260}) {
      for (const int32_t vector : {1, 4, 100}) {
        expect_compression(format_of(2, 4, columns, depth, kDtypes[count % 5], vector), count);
        ++count;
      }
    }
  }
}

gatun_prune_params params_of(const gatun_nm_format& f, int32_t score, int32_t pattern = GATUN_PATTERN_NM) {
  gatun_prune_params p = {};
  p.struct_size = sizeof(p);
  p.w_dtype = f.value_dtype;
  p.score = score;
  p.pattern = pattern;
  p.n = f.n;
  p.m = f.m;
  p.vector = f.vector;
  p.columns = f.columns;
  p.depth = f.depth;
  return p;
}

// What pruning reads.
struct Given {
  std::vector<float> w, norms, scores;

  Given(Rng& rng, const gatun_nm_format& f, bool ties)
      : w(ties ? rng.small_integers(f.columns * f.depth, -2, 2) : rng.normals(f.columns * f.depth)),
        norms(ties ? rng.small_integers(f.depth, 0, 2) : rng.normals(f.depth)),
        scores(ties ? rng.small_integers(f.columns * f.depth, -2, 2) : rng.normals(f.columns * f.depth)) {
    for (float& norm : norms) norm = std::fabs(norm);
  }
};

void expect_pruned(const gatun_nm_format& f, const gatun_prune_params& p, const Given& given) {
  SCOPED_TRACE(describe(f) + ", score " + std::to_string(p.score) + ", pattern " + std::to_string(p.pattern));
  const Layout l = layout_of(f);
  const Bytes w = gatun::test::from_floats(given.w, f.value_dtype);
  const std::vector<double> exact = gatun::test::to_doubles(w.data(), f.value_dtype, f.columns * f.depth);
  const bool wanda = p.score == GATUN_SCORE_WANDA, given_scores = p.score == GATUN_SCORE_GIVEN;
  const std::vector<float> scores =
      given_scores
          ? given.scores
          : gatun::prune::reference_scores(p, std::vector<float>(exact.begin(), exact.end()), given.norms.data());
  const Bytes mask = gatun::prune::reference_mask(p, scores);
  const Canonical expected = gatun::nm_format::reference_compress(f, w.data(), mask.data(), nullptr);
  ASSERT_TRUE(expected.valid);
  const DeviceBuffer<uint8_t> on_w(w);
  const DeviceBuffer<float> on_norms(given.norms), on_scores(given.scores);
  DeviceBuffer<uint8_t> values(l.values_bytes), indices(l.indices_bytes);
  DeviceBuffer<Faults> faults(1);
  ASSERT_EQ(gatun_cuda_nm_prune(&f, &p, on_w.data(), wanda ? on_norms.data() : nullptr,
                                given_scores ? on_scores.data() : nullptr, values.data(), indices.data(), faults.data(),
                                nullptr),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_EQ(faults.copy()[0].group, -1);
  EXPECT_EQ(faults.copy()[0].value, -1);
  EXPECT_TRUE(gatun::test::identical(indices.copy(), expected.indices));
  EXPECT_TRUE(gatun::test::identical(values.copy(), expected.values));
}

constexpr int32_t kScores[] = {GATUN_SCORE_MAGNITUDE, GATUN_SCORE_WANDA, GATUN_SCORE_GIVEN};

TEST(Prune, EveryPatternTypeAndScore) {
  uint64_t count = 0;
  for (const int32_t m : {2, 4, 8, 16, 32}) {
    for (const int32_t n : {1, 2, m / 2 + 1, m}) {
      for (const int32_t score : kScores) {
        ++count;
        const gatun_nm_format f = format_of(n, m, 7, 70 + n, kDtypes[count % 3], count % 4 == 0 ? 3 : 1);
        Rng rng(count);
        expect_pruned(f, params_of(f, score), Given(rng, f, count % 2 == 0));
      }
    }
  }
}

TEST(Prune, TilesOfFour) {
  uint64_t count = 0;
  for (const int64_t columns : {0, 1, 4, 6, 9}) {
    for (const int64_t depth : {0, 1, 3, 4, 18, 64}) {
      const gatun_nm_format f = format_of(2, 4, columns, depth, kDtypes[++count % 3]);
      Rng rng(count);
      expect_pruned(f, params_of(f, kScores[count / 2 % 3], GATUN_PATTERN_TRANSPOSABLE), Given(rng, f, count % 2 == 0));
    }
  }
}

TEST(Prune, InfinityIsTheLargestScoreOfOneRow) {
  const gatun_nm_format f = format_of(1, 4, 2, 16, GATUN_F32);
  Rng rng;
  Given given(rng, f, false);
  given.w[3] = -INFINITY;
  given.w[18] = INFINITY;
  given.w[19] = -INFINITY;
  expect_pruned(f, params_of(f, GATUN_SCORE_MAGNITUDE), given);
  for (float& score : given.scores) score = -std::fabs(score);
  given.scores[0] = -INFINITY;
  expect_pruned(f, params_of(f, GATUN_SCORE_GIVEN), given);
}

TEST(Faults, AreTheFirstOnes) {
  gatun_nm_format f = format_of(2, 4, 4, 20, GATUN_F32);
  Rng rng;
  Given given(rng, f, false);
  const Layout l = layout_of(f);
  DeviceBuffer<uint8_t> values(l.values_bytes), indices(l.indices_bytes);
  DeviceBuffer<Faults> faults(1);
  const auto prune = [&](int32_t pattern) {
    const DeviceBuffer<float> w(given.w);
    const gatun_prune_params p = params_of(f, GATUN_SCORE_MAGNITUDE, pattern);
    EXPECT_EQ(
        gatun_cuda_nm_prune(&f, &p, w.data(), nullptr, nullptr, values.data(), indices.data(), faults.data(), nullptr),
        GATUN_OK)
        << gatun_last_error();
    EXPECT_EQ(faults.copy()[0].group, -1);
    return faults.copy()[0].value;
  };
  given.w[25] = INFINITY;
  EXPECT_EQ(prune(GATUN_PATTERN_NM), -1);
  EXPECT_EQ(prune(GATUN_PATTERN_TRANSPOSABLE), 25);
  f.vector = 2;
  EXPECT_EQ(prune(GATUN_PATTERN_NM), 25);
  f.vector = 1;
  given.w[63] = given.w[41] = NAN;
  EXPECT_EQ(prune(GATUN_PATTERN_NM), 41);

  const auto compress = [&](const Bytes* mask) {
    const DeviceBuffer<float> w(given.w);
    const DeviceBuffer<uint8_t> on_mask(mask == nullptr ? Bytes() : *mask);
    EXPECT_EQ(gatun_cuda_nm_compress(&f, w.data(), mask == nullptr ? nullptr : on_mask.data(), nullptr, values.data(),
                                     indices.data(), faults.data(), nullptr),
              GATUN_OK)
        << gatun_last_error();
    EXPECT_EQ(faults.copy()[0].value, -1);
    return faults.copy()[0].group;
  };
  for (size_t i = 0; i < given.w.size(); ++i) given.w[i] = i % 4 < 2 ? 1.0f : 0.0f;
  EXPECT_EQ(compress(nullptr), -1);
  given.w[67] = given.w[50] = 1;
  EXPECT_EQ(compress(nullptr), 2 * 5 + 2);
  Bytes mask(4 * 3, 0x33);
  EXPECT_EQ(compress(&mask), -1);  // bits behind the depth count for nothing
  f.vector = 2;
  mask[9] = 0x31;
  EXPECT_EQ(compress(&mask), 5);
}

TEST(Faults, OfEveryScore) {
  for (const int32_t pattern : {GATUN_PATTERN_NM, GATUN_PATTERN_TRANSPOSABLE}) {
    const gatun_nm_format f = format_of(2, 4, 4, 20, GATUN_F32);
    const Layout l = layout_of(f);
    const auto prune = [&](int32_t score, const Given& given) {
      const DeviceBuffer<float> w(given.w), norms(given.norms), scores(given.scores);
      DeviceBuffer<uint8_t> values(l.values_bytes), indices(l.indices_bytes);
      DeviceBuffer<Faults> faults(1);
      const gatun_prune_params p = params_of(f, score, pattern);
      EXPECT_EQ(gatun_cuda_nm_prune(&f, &p, w.data(), score == GATUN_SCORE_WANDA ? norms.data() : nullptr,
                                    score == GATUN_SCORE_GIVEN ? scores.data() : nullptr, values.data(), indices.data(),
                                    faults.data(), nullptr),
                GATUN_OK)
          << gatun_last_error();
      EXPECT_EQ(faults.copy()[0].group, -1);
      return faults.copy()[0].value;
    };
    Rng rng;
    const Given sound(rng, f, false);
    EXPECT_EQ(prune(GATUN_SCORE_WANDA, sound), -1);
    Given given = sound;
    given.norms[7] = NAN;
    EXPECT_EQ(prune(GATUN_SCORE_WANDA, given), 7);
    EXPECT_EQ(prune(GATUN_SCORE_MAGNITUDE, given), -1);
    given = sound;
    given.norms[5] = INFINITY;
    for (size_t i = 5; i < given.w.size(); i += 20) given.w[i] = i == 25 ? 0.0f : given.w[i];
    // An infinite score is one of one row, and no number to the sums of tiles; that of 0 is none to anyone.
    EXPECT_EQ(prune(GATUN_SCORE_WANDA, given), pattern == GATUN_PATTERN_NM ? 25 : 5);
    given = sound;
    given.scores[45] = given.scores[62] = NAN;
    EXPECT_EQ(prune(GATUN_SCORE_GIVEN, given), 45);
    EXPECT_EQ(prune(GATUN_SCORE_MAGNITUDE, given), -1);
  }
}

// By the definition, in every order, since what is written to another group stays only in some: of equal indices the
// last counts, those below neither m nor the depth for nothing.
TEST(Decompress, AnyIndices) {
  in_every_order([] {
    for (const int32_t dtype : kDtypes) {
      for (const int32_t m : {4, 8, 32}) {
        for (const int64_t depth : {50, 51}) {
          const gatun_nm_format f = format_of(3, m, 3, depth, dtype, m == 8 ? 2 : 1);
          SCOPED_TRACE(describe(f));
          const Layout l = layout_of(f);
          Rng rng;
          const Bytes values = rng.integers<uint8_t>(l.values_bytes, 0, 255),
                      indices = rng.integers<uint8_t>(l.indices_bytes, 0, 255);
          const auto bits_of = [](const Bytes& bytes, int64_t row, int64_t row_bytes, int64_t i, int bits) {
            return bytes[static_cast<size_t>(row * row_bytes + i * bits / 8)] >> i * bits % 8 & ((1 << bits) - 1);
          };
          const bool u4 = dtype == GATUN_U4;
          Bytes expected(static_cast<size_t>(l.dense_bytes));
          for (int64_t row = 0; row < f.columns; ++row) {
            uint8_t* const to = expected.data() + row * l.dense_row;
            for (int64_t k = 0; u4 && k < depth; ++k) to[k / 2] = static_cast<uint8_t>(to[k / 2] | 8 << k % 2 * 4);
            for (int64_t slot = 0; slot < l.groups * f.n; ++slot) {
              const int64_t index = bits_of(indices, row / f.vector, l.indices_row, slot, index_bits(m));
              const int64_t k = slot / f.n * m + index;
              if (index >= m || k >= depth) continue;
              if (u4) {
                const int code = bits_of(values, row, l.values_row, slot, 4);
                to[k / 2] = static_cast<uint8_t>((to[k / 2] & 0xf0 >> k % 2 * 4) | code << k % 2 * 4);
              } else {
                std::memcpy(to + k * l.element, values.data() + row * l.values_row + slot * l.element,
                            static_cast<size_t>(l.element));
              }
            }
          }
          const DeviceBuffer<uint8_t> on_values(values), on_indices(indices);
          DeviceBuffer<uint8_t> dense(l.dense_bytes);
          EXPECT_EQ(gatun_cuda_nm_decompress(&f, on_values.data(), on_indices.data(), nullptr, dense.data(), nullptr),
                    GATUN_OK)
              << gatun_last_error();
          EXPECT_TRUE(gatun::test::identical(dense.copy(), expected));
        }
      }
    }
  });
}

TEST(Format, EveryOrderOfThreads) {
  in_every_order([] {
    for (const int32_t dtype : {GATUN_F16, GATUN_U4}) expect_compression(format_of(3, 8, 9, 300, dtype, 2), 4);
    const gatun_nm_format f = format_of(2, 4, 9, 300, GATUN_BF16);
    Rng rng;
    const Given given(rng, f, false);
    expect_pruned(f, params_of(f, GATUN_SCORE_WANDA), given);
    expect_pruned(f, params_of(f, GATUN_SCORE_WANDA, GATUN_PATTERN_TRANSPOSABLE), given);
  });
}

TEST(SmallestOfEachKernel, IsRight) {
  expect_compression(format_of(1, 2, 3, 9, GATUN_F16), 1);
  expect_compression(format_of(2, 4, 3, 9, GATUN_U4, 2), 1);
  const gatun_nm_format f = format_of(2, 4, 3, 9, GATUN_F16);
  Rng rng;
  const Given given(rng, f, false);
  expect_pruned(f, params_of(f, GATUN_SCORE_WANDA), given);
  expect_pruned(f, params_of(f, GATUN_SCORE_WANDA, GATUN_PATTERN_TRANSPOSABLE), given);
}

}  // namespace
}  // namespace gatun::cuda::nm_format
