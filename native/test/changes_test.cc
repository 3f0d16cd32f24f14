// Changes during calls (changes.h): weights, indices, masks.
#include "changes.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "gatun/armor.h"
#include "gatun/gatun.h"
#include "gatun/nm_backward.h"
#include "gatun/nm_matmul.h"
#include "gatun/prune.h"
#include "guard_buffer.h"
#include "rng.h"

namespace gatun::test {
namespace {

const auto* const kPrints = ::testing::AddGlobalTestEnvironment(new PrintsHowManyMet);

// Weights of n:m whose indices are 0, 1, .. n - 1 in each group, as canonical form.
struct Sparse {
  static constexpr int64_t kColumns = 70, kDepth = 1024;

  Sparse(int32_t n_of, int32_t m_of)
      : n(n_of), m(m_of), kept(kDepth / m_of * n_of), values(rng.normals(kColumns * kept)) {
    const int bits = m <= 4 ? 2 : m <= 16 ? 4 : 8;
    indices.resize(static_cast<size_t>(kColumns * kept * bits / 8));
    for (size_t slot = 0; slot < indices.size() * 8 / static_cast<size_t>(bits); ++slot) {
      const size_t bit = slot * static_cast<size_t>(bits);
      indices[bit / 8] = static_cast<uint8_t>(indices[bit / 8] | slot % static_cast<size_t>(n) << bit % 8);
    }
  }
  gatun_nm_format format(int32_t dtype = GATUN_F32) const {
    return {sizeof(gatun_nm_format), n, m, 1, dtype, 1, kColumns, kDepth, 0};
  }
  gatun_nm_weights weights(int32_t dense) const {
    return {sizeof(gatun_nm_weights), n, m, 1, GATUN_F32, 0, 0, dense, 1, kColumns, kDepth, 0};
  }

  Rng rng{31};
  const int32_t n, m;
  const int64_t kept;
  const std::vector<float> values;
  Bytes indices;
};

// Indices that point beyond their group, where their bits have room for that, or twice to its last position.
class Changes : public ::testing::TestWithParam<std::pair<int32_t, int32_t>> {
 protected:
  static constexpr int64_t kColumns = Sparse::kColumns, kDepth = Sparse::kDepth;
  Sparse sparse{GetParam().first, GetParam().second};
};

TEST_P(Changes, Format) {
  for (const int32_t dtype : {GATUN_F32, GATUN_U4}) {
    const gatun_nm_format format = sparse.format(dtype);
    int64_t dense_bytes = 0, values_bytes = 0, indices_bytes = 0, mask_bytes = 0;
    ASSERT_EQ(gatun_nm_bytes(&format, &dense_bytes, &values_bytes, &indices_bytes, &mask_bytes), GATUN_OK);
    GuardBuffer<uint8_t> dense(dense_bytes), values(values_bytes), indices(indices_bytes), mask(mask_bytes);
    ASSERT_LE(static_cast<size_t>(values_bytes), sparse.values.size() * sizeof(float));  // any bits are codes
    change_during(sparse.indices, 0xff, [&] {
      return gatun_nm_decompress(&format, sparse.values.data(), sparse.indices.data(), nullptr, dense.data());
    });
    change_during(sparse.indices, 0xff, [&] { return gatun_nm_mask(&format, sparse.indices.data(), mask.data()); });
    Bytes bits = mask.copy();
    ASSERT_EQ(gatun_nm_mask(&format, sparse.indices.data(), bits.data()), GATUN_OK);
    // Nothing in it keeps too much, wherever somebody may look for that.
    std::memset(dense.data(), 0, static_cast<size_t>(dense_bytes));
    for (const uint8_t other : {uint8_t{0xff}, uint8_t{0x00}}) {
      change_during(bits, other, [&] {
        return gatun_nm_compress(&format, dense.data(), bits.data(), nullptr, values.data(), indices.data());
      });
    }
  }
}

TEST_P(Changes, Gradients) {
  constexpr int64_t kRows = 5;
  const gatun_nm_backward_params params = {sizeof(params), sparse.n, sparse.m, 1,      GATUN_F32, 1, 0.5f, 0,
                                           kRows,          kColumns, kDepth,   kDepth, kColumns};
  const std::vector<float> x = sparse.rng.normals(kRows * kDepth), dy = sparse.rng.normals(kRows * kColumns);
  GuardBuffer<float> dx(kRows * kDepth), dvalues(kColumns * sparse.kept), dw(kColumns * kDepth);
  change_during(sparse.indices, 0xff, [&] {
    return gatun_nm_backward_x(&params, dy.data(), sparse.values.data(), sparse.indices.data(), dx.data());
  });
  change_during(sparse.indices, 0xff, [&] {
    return gatun_nm_backward_values(&params, dy.data(), x.data(), sparse.indices.data(), dvalues.data());
  });
  change_during(sparse.indices, 0xff, [&] {
    return gatun_nm_backward_dense(&params, dy.data(), x.data(), sparse.indices.data(), dw.data());
  });
}

TEST_P(Changes, PackedWeights) {
  constexpr int64_t kRows = 3;
  for (const int32_t dense : {GATUN_NM_DENSE_NEVER, GATUN_NM_DENSE_IF_FASTER}) {
    const gatun_nm_weights weights = sparse.weights(dense);
    int64_t bytes = 0;
    ASSERT_EQ(gatun_nm_packed_bytes(&weights, &bytes), GATUN_OK);
    Bytes packed(static_cast<size_t>(bytes));
    change_during(sparse.indices, 0xff, [&] {
      return gatun_nm_pack(&weights, sparse.values.data(), sparse.indices.data(), nullptr, nullptr, packed.data(),
                           bytes);
    });
    ASSERT_EQ(
        gatun_nm_pack(&weights, sparse.values.data(), sparse.indices.data(), nullptr, nullptr, packed.data(), bytes),
        GATUN_OK);
    GuardBuffer<float> values(kColumns * sparse.kept);
    GuardBuffer<uint8_t> indices(static_cast<int64_t>(sparse.indices.size()));
    constexpr size_t kHeader = 64;
    change_during({packed, kHeader}, 0xff, [&] {
      return gatun_nm_unpack(&weights, packed.data(), bytes, values.data(), indices.data(), nullptr, nullptr);
    });
    gatun_nm_matmul_params params{};
    params.struct_size = sizeof(params);
    params.x_dtype = params.y_dtype = GATUN_F32;
    params.threads = 1;
    params.rows = kRows;
    params.columns = params.column_end = params.y_row_stride = kColumns;
    params.depth = params.x_row_stride = kDepth;
    GuardBuffer<float> x(sparse.rng.normals(kRows * kDepth)), y(kRows * kColumns);
    change_during({packed, kHeader}, 0xff,
                  [&] { return gatun_nm_matmul(&params, x.data(), packed.data(), bytes, nullptr, nullptr, y.data()); });
    constexpr int64_t kBlock = 1;
    const std::vector<float> left(kColumns, 1), right(kDepth, 1);
    change_during({packed, kHeader}, 0xff, [&] {
      return gatun_armor_matmul(&params, kBlock, x.data(), right.data(), packed.data(), bytes, left.data(), nullptr,
                                nullptr, y.data());
    });
  }
}

// Of m = 32 only 5 of 8 bits are needed, of 8 and 2 all but one; with 4 of 4, weights may be stored dense.
INSTANTIATE_TEST_SUITE_P(EachIndexSize, Changes,
                         ::testing::Values(std::pair(1, 2), std::pair(2, 4), std::pair(4, 4), std::pair(3, 8),
                                           std::pair(8, 8), std::pair(5, 32), std::pair(32, 32)));

// Values and scales that become NaN after they were found to be finite, and, more dangerous, the other way round: the
// place of a NaN is looked up when it may be gone.
TEST(ChangesOfNumbers, Pack) {
  constexpr int64_t kDepth = 1 << 17, kSlots = kDepth / 2, kGroup = 32;
  Rng rng(34);
  const Bytes indices(kSlots / 4, 0x44);  // 0, 1 in each group
  for (const int32_t dtype : {GATUN_F32, GATUN_F16, GATUN_U4}) {
    const bool codes = dtype == GATUN_U4;
    const gatun_nm_weights weights = {sizeof(weights),       2, 4, 1, dtype,  0,
                                      codes ? GATUN_F32 : 0, 0, 1, 1, kDepth, codes ? kGroup : 0};
    int64_t bytes = 0;
    ASSERT_EQ(gatun_nm_packed_bytes(&weights, &bytes), GATUN_OK) << gatun_last_error();
    GuardBuffer<uint8_t> packed(bytes), values(codes ? kSlots / 2 : kSlots * (dtype == GATUN_F32 ? 4 : 2)),
        scales(codes ? kDepth / kGroup * 4 : 0);
    GuardBuffer<uint8_t>& numbers = codes ? scales : values;
    const auto pack = [&] {
      return gatun_nm_pack(&weights, values.data(), indices.data(), codes ? scales.data() : nullptr, nullptr,
                           packed.data(), bytes);
    };
    std::memset(values.data(), 0x11, static_cast<size_t>(values.size()));
    std::memset(numbers.data(), 0x11, static_cast<size_t>(numbers.size()));
    change_during(numbers, 0xff, pack);
    const int64_t last = numbers.size() - 4;
    std::memset(numbers.data() + last, 0xff, 4);
    change_during({numbers, last}, 0x11, pack, GATUN_INVALID_ARGUMENT);
  }
}

TEST(ChangesOfMasks, Apply) {
  constexpr int64_t kRows = 3, kDepth = 4099, kMaskBytes = kRows * 513;
  Rng rng(35);
  GuardBuffer<float> x(rng.normals(kRows * kDepth)), y(kRows * kDepth);
  Bytes mask(kMaskBytes);
  change_during(mask, 0xff, [&] {
    return gatun_mask_apply(GATUN_F32, kRows, kDepth, kDepth, x.data(), mask.data(), 1, kDepth, y.data());
  });
}

// More weights are kept, or fewer, than when they were counted.
TEST(ChangesOfMasks, Regrow) {
  constexpr int64_t kColumns = 2, kDepth = 8192;
  Rng rng(32);
  const std::vector<float> w = rng.normals(kColumns * kDepth), means = rng.normals(kDepth), ones(kDepth, 1.0f);
  for (const int32_t n : {0, 2}) {
    const gatun_regrow_params params = {sizeof(params), GATUN_F32, n, n == 0 ? 0 : 8, 10, 1, 0, 1, kColumns, kDepth};
    for (const auto& [before, other] : {std::pair<uint8_t, uint8_t>{0x00, 0xff}, {0x11, 0x00}, {0x11, 0xee}}) {
      Bytes mask(kColumns * kDepth / 8, before);
      change_during(mask, other, [&] {
        return gatun_prune_regrow(&params, w.data(), means.data(), ones.data(), ones.data(), mask.data());
      });
    }
  }
}

Bytes bytes_of(const std::vector<float>& floats) {
  Bytes bytes(floats.size() * sizeof(float));
  std::memcpy(bytes.data(), floats.data(), bytes.size());
  return bytes;
}

// Weights that are NaN, or others, after they were checked.
TEST(ChangesOfWeights, Prune) {
  constexpr int64_t kColumns = 4, kDepth = 1024;
  Rng rng(33);
  Bytes w = bytes_of(rng.normals(kColumns * kDepth));
  gatun_prune_params params{};
  params.struct_size = sizeof(params);
  params.w_dtype = GATUN_F32;
  params.n = 2;
  params.m = 4;
  params.vector = 3;
  params.threads = 1;
  params.columns = kColumns;
  params.depth = kDepth;
  params.keep = 3;
  params.block_rows = params.block_depth = 5;
  GuardBuffer<uint8_t> mask(kColumns * kDepth / 8), indices(kColumns * kDepth / 8);
  GuardBuffer<float> values(kColumns * kDepth / 2);
  for (const uint8_t other : {uint8_t{0x01}, uint8_t{0xff}}) {
    for (const int32_t score : {GATUN_SCORE_MAGNITUDE, GATUN_SCORE_LAMP}) {
      for (int32_t pattern = GATUN_PATTERN_NM; pattern <= GATUN_PATTERN_BLOCKS; ++pattern) {
        params.score = score;
        params.pattern = pattern;
        change_during(w, other, [&] { return gatun_prune(&params, w.data(), nullptr, nullptr, mask.data()); });
        if (pattern != GATUN_PATTERN_NM && pattern != GATUN_PATTERN_TRANSPOSABLE) continue;
        const int32_t vector = pattern == GATUN_PATTERN_NM ? params.vector : 1;
        const gatun_nm_format format = {sizeof(format), 2, 4, vector, GATUN_F32, 1, kColumns, kDepth, 0};
        change_during(w, other, [&] {
          return gatun_nm_prune(&format, &params, w.data(), nullptr, nullptr, values.data(), indices.data());
        });
      }
    }
  }
}

TEST(ChangesOfWeights, ArmorFit) {
  constexpr int64_t kColumns = 32, kDepth = 256, kBlock = 16;
  const gatun_armor_fit_params params = {sizeof(params), 2, 4, 1, 1, 0, kColumns, kDepth, kBlock};
  Rng rng(36);
  Bytes w = bytes_of(rng.normals(kColumns * kDepth));
  GuardBuffer<float> left(kColumns * kBlock), right(kDepth * kBlock), values(kColumns * kDepth / 2);
  GuardBuffer<uint8_t> indices(kColumns * kDepth / 8);
  for (const uint8_t other : {uint8_t{0x7f}, uint8_t{0x01}}) {  // NaN; tiny
    change_during(w, other, [&] {
      return gatun_armor_fit(&params, reinterpret_cast<const float*>(w.data()), nullptr, left.data(), values.data(),
                             indices.data(), right.data(), nullptr);
    });
  }
}

}  // namespace
}  // namespace gatun::test
