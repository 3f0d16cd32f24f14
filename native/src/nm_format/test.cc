// Compress, decompress, mask and check: every kernel of the tier in use (GATUN_MAX_ISA) against reference.cc, through
// the C entry points.
#include <cstring>

#include "nm_format/check.h"
#include "nm_format/table.h"
#include "nm_format/test_format.h"
#include "shapes.h"

namespace gatun::nm_format {
namespace {

// Compresses and comes back. Every byte of every output is compared.
void check(const gatun_nm_format& f, const Bytes& weights, const Bytes* mask, const Bytes* zero_points,
           Edge edge = Edge::back, int64_t offset = 0) {
  SCOPED_TRACE(describe(f) + (mask == nullptr ? ", no mask" : ""));
  const Sizes sizes(f);
  const int64_t element = dtype_bytes(f.value_dtype, 1);
  GuardBuffer<uint8_t> dense(weights, edge, offset * element);
  dense.make_read_only();
  GuardBuffer<uint8_t> kept(mask == nullptr ? Bytes() : *mask, edge, offset);
  kept.make_read_only();
  const uint8_t* const mask_at = mask == nullptr ? nullptr : kept.data();
  const uint8_t* const zeros = zero_points == nullptr ? nullptr : zero_points->data();
  GuardBuffer<uint8_t> values(sizes.values, edge, offset * element), indices(sizes.indices, edge, offset);
  ASSERT_EQ(gatun_nm_compress(&f, dense.data(), mask_at, zeros, values.data(), indices.data()), GATUN_OK)
      << gatun_last_error();
  const Canonical expected = reference_compress(f, weights.data(), mask == nullptr ? nullptr : mask->data(), zeros);
  ASSERT_TRUE(expected.valid);
  ASSERT_TRUE(test::identical(indices.copy(), expected.indices)) << "indices";
  ASSERT_TRUE(test::identical(values.copy(), expected.values)) << "values";

  ASSERT_EQ(gatun_nm_check(&f, indices.data()), GATUN_OK) << gatun_last_error();
  values.make_read_only();
  indices.make_read_only();
  GuardBuffer<uint8_t> back(sizes.dense, edge, offset * element), found(sizes.mask, edge, offset);
  ASSERT_EQ(gatun_nm_decompress(&f, values.data(), indices.data(), zeros, back.data()), GATUN_OK) << gatun_last_error();
  ASSERT_TRUE(
      test::identical(back.copy(), reference_decompress(f, expected.values.data(), expected.indices.data(), zeros)));
  ASSERT_EQ(gatun_nm_mask(&f, indices.data(), found.data()), GATUN_OK) << gatun_last_error();
  ASSERT_TRUE(test::identical(found.copy(), reference_mask(f, expected.indices.data())));
}

Bytes random_zero_points(Rng& rng, const gatun_nm_format& f) {
  return rng.integers<uint8_t>(f.depth == 0 ? 0 : f.columns * ((f.depth - 1) / f.group + 1), 0, 15);
}

void check_random(Rng& rng, const gatun_nm_format& format) {
  gatun_nm_format f = format;
  const Bytes mask = random_mask(rng, f), weights = random_weights(rng, f);
  const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
  const int64_t offset = rng.integer(0, 3);
  if (f.value_dtype == GATUN_U4) {
    f.group = rng.pick(test::group_sizes(f.depth));
    const Bytes zeros = random_zero_points(rng, f);
    check(f, weights, &mask, rng.integer(0, 1) && !zeros.empty() ? &zeros : nullptr, edge, offset);
    return;
  }
  check(f, weights, &mask, nullptr, edge, offset);
  check(f, masked(f, weights, mask), nullptr, nullptr, edge, offset);
}

TEST(NmFormat, EveryFormat) {
  Rng rng(1);
  for (const int32_t m : kSizes) {
    for (int32_t n = 1; n <= m; ++n) {
      for (const int32_t dtype : kDtypes) {
        for (const int64_t depth :
             {int64_t{0}, int64_t{1}, int64_t{m - 1}, int64_t{m}, int64_t{m + 1}, int64_t{64}, rng.integer(65, 200)}) {
          const int64_t columns = rng.integer(0, 7);
          check_random(rng, make_format(n, m, columns, depth, dtype, static_cast<int32_t>(rng.integer(1, 4))));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Around blocks of 64 and chunks of 1024 weights.
TEST(NmFormat, Depths) {
  Rng rng(2);
  for (const int64_t depth : {63, 65, 127, 128, 129, 1023, 1024, 1025, 1087, 2047, 2048, 2049, 3000}) {
    for (const int32_t dtype : kDtypes) {
      for (const int32_t m : kSizes) {
        const int32_t n = static_cast<int32_t>(rng.integer(1, m));
        check_random(rng, make_format(n, m, 3, depth, dtype, static_cast<int32_t>(rng.integer(1, 2))));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(NmFormat, Vectors) {
  Rng rng(3);
  for (const int32_t vector : {1, 2, 5, 16, 17, 64, INT32_MAX}) {
    for (const int64_t columns : {1, 16, 17, 40}) {
      for (const int32_t dtype : kDtypes) {
        check_random(rng, make_format(2, 8, columns, 70, dtype, vector));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(NmFormat, ByHand) {
  const gatun_nm_format f = make_format(2, 4, 2, 6);
  const float dense[] = {1, 0, 2, 0, 0, 3, /**/ 0, 0, 4, 5, 6, -0.0f};
  float values[8];
  uint8_t indices[2];
  ASSERT_EQ(gatun_nm_compress(&f, dense, nullptr, nullptr, values, indices), GATUN_OK) << gatun_last_error();
  // Positions 0 2 | 0 1 and 2 3 | 0 1: a group that keeps one weight, at 1 or at 0, is filled up with the lowest other.
  EXPECT_EQ(std::vector<float>(values, values + 8), (std::vector<float>{1, 2, 0, 3, 4, 5, 6, 0}));
  EXPECT_EQ(Bytes(indices, indices + 2), (Bytes{0x48, 0x4e}));
  EXPECT_FALSE(std::signbit(values[7])) << "-0 is no kept weight";
  uint8_t mask[2];
  ASSERT_EQ(gatun_nm_mask(&f, indices, mask), GATUN_OK);
  EXPECT_EQ(Bytes(mask, mask + 2), (Bytes{0x35, 0x3c}));

  const gatun_nm_format pair = make_format(1, 2, 1, 7, GATUN_I8);
  const int8_t codes[] = {0, 9, 8, 0, 0, 0, 7};
  int8_t kept[4];
  uint8_t row;
  ASSERT_EQ(gatun_nm_compress(&pair, codes, nullptr, nullptr, kept, &row), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<int8_t>(kept, kept + 4), (std::vector<int8_t>{9, 8, 0, 7}));
  EXPECT_EQ(row, 0x01);  // 1, 0, 0, 0

  const gatun_nm_format eight = make_format(3, 8, 1, 8, GATUN_I8);
  const int8_t wide[] = {0, 1, 0, 0, 2, 0, 0, 3};
  uint8_t nibbles[2];
  ASSERT_EQ(gatun_nm_compress(&eight, wide, nullptr, nullptr, kept, nibbles), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(Bytes(nibbles, nibbles + 2), (Bytes{0x41, 0x07}));

  const gatun_nm_format large = make_format(2, 32, 1, 40, GATUN_I8);
  int8_t many[40] = {};
  many[31] = 5;
  many[3] = 4;
  many[39] = 6;
  uint8_t bytes[4];
  ASSERT_EQ(gatun_nm_compress(&large, many, nullptr, nullptr, kept, bytes), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(Bytes(bytes, bytes + 4), (Bytes{3, 31, 0, 7}));
  EXPECT_EQ(std::vector<int8_t>(kept, kept + 4), (std::vector<int8_t>{4, 5, 0, 6}));
}

// A weight that the mask keeps stays, whatever it is; one that it does not keep is a zero even where it fills a group
// up.
TEST(NmFormat, TheMaskDecides) {
  const gatun_nm_format f = make_format(2, 4, 1, 4);
  const float dense[] = {7, -0.0f, 0, 9};
  const uint8_t keep_zeros = 0x6, keep_last = 0x8;
  float values[2];
  uint8_t indices;
  ASSERT_EQ(gatun_nm_compress(&f, dense, &keep_zeros, nullptr, values, &indices), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(indices, 0x9);
  EXPECT_TRUE(values[0] == 0 && std::signbit(values[0]) && values[1] == 0 && !std::signbit(values[1]));
  ASSERT_EQ(gatun_nm_compress(&f, dense, &keep_last, nullptr, values, &indices), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(indices, 0xc);
  EXPECT_EQ(values[0], 0) << "position 0 only fills up";
  EXPECT_EQ(values[1], 9);

  gatun_nm_format codes = make_format(2, 4, 1, 6, GATUN_U4);
  const uint8_t packed[] = {0x21, 0x43, 0x65}, zero_point = 11, bits = 0x12;  // keeps 1 and 4
  uint8_t kept[2], positions;
  ASSERT_EQ(gatun_nm_compress(&codes, packed, &bits, nullptr, kept, &positions), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(Bytes(kept, kept + 2), (Bytes{0x28, 0x85}));
  EXPECT_EQ(positions, 0x44);
  ASSERT_EQ(gatun_nm_compress(&codes, packed, &bits, &zero_point, kept, &positions), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(Bytes(kept, kept + 2), (Bytes{0x2b, 0xb5}));
  uint8_t back[3];
  ASSERT_EQ(gatun_nm_decompress(&codes, kept, &positions, &zero_point, back), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(Bytes(back, back + 3), (Bytes{0x2b, 0xbb, 0xb5}));
}

// Values that bypass the caches are the same as those of a row by itself, which are too few for that.
TEST(NmFormat, ManyValues) {
  Rng rng(4);
  for (const int32_t dtype : {GATUN_F32, GATUN_BF16, GATUN_I8}) {
    const int64_t element = dtype_bytes(dtype, 1);
    for (const int64_t odd : {0, 1}) {
      gatun_nm_format f = make_format(2, 4, 10, ((int64_t{17} << 20) / element / 10) * 2 / 32 * 32 + odd * 20, dtype);
      const Sizes sizes(f);
      ASSERT_GE(sizes.values, int64_t{16} << 20);
      gatun_nm_format row = f;
      row.columns = 1;
      const Sizes of_row(row);
      const Bytes mask = random_mask(rng, f), weights = rng.integers<uint8_t>(sizes.dense, 0, 255);
      Bytes values(static_cast<size_t>(sizes.values)), indices(static_cast<size_t>(sizes.indices));
      Bytes row_values(static_cast<size_t>(of_row.values)), row_indices(static_cast<size_t>(of_row.indices));
      f.threads = 2;
      ASSERT_EQ(gatun_nm_compress(&f, weights.data(), mask.data(), nullptr, values.data(), indices.data()), GATUN_OK);
      for (int64_t r = 0; r < f.columns; ++r) {
        ASSERT_EQ(gatun_nm_compress(&row, weights.data() + r * of_row.dense, mask.data() + r * of_row.mask, nullptr,
                                    row_values.data(), row_indices.data()),
                  GATUN_OK);
        ASSERT_TRUE(test::identical(values.data() + r * of_row.values, row_values.data(), of_row.values)) << r;
        ASSERT_TRUE(test::identical(indices.data() + r * of_row.indices, row_indices.data(), of_row.indices)) << r;
      }
    }
  }
}

TEST(NmFormat, AnyNumberOfThreads) {
  Rng rng(5);
  for (const int32_t dtype : kDtypes) {
    gatun_nm_format f = make_format(3, 8, 901, 1030, dtype, 2);
    const Sizes sizes(f);
    const Bytes mask = random_mask(rng, f), weights = random_weights(rng, f);
    const Canonical expected = reference_compress(f, weights.data(), mask.data(), nullptr);
    const Bytes dense = reference_decompress(f, expected.values.data(), expected.indices.data(), nullptr);
    for (const int32_t threads : {0, 1, 2, 3, 8}) {
      f.threads = threads;
      Bytes values(expected.values.size()), indices(expected.indices.size()), back(dense.size());
      Bytes found(static_cast<size_t>(sizes.mask));
      ASSERT_EQ(gatun_nm_compress(&f, weights.data(), mask.data(), nullptr, values.data(), indices.data()), GATUN_OK);
      ASSERT_TRUE(test::identical(values, expected.values) && test::identical(indices, expected.indices)) << threads;
      ASSERT_EQ(gatun_nm_decompress(&f, values.data(), indices.data(), nullptr, back.data()), GATUN_OK);
      ASSERT_TRUE(test::identical(back, dense)) << threads;
      ASSERT_EQ(gatun_nm_mask(&f, indices.data(), found.data()), GATUN_OK);
      ASSERT_TRUE(test::identical(found, reference_mask(f, indices.data()))) << threads;
    }
  }
}

// Random bytes, and indices of which one is another: the op and the reference agree on whether they are indices.
TEST(NmFormat, Check) {
  Rng rng(6);
  int refused = 0, accepted = 0;
  for (int round = 0; round < 4000; ++round) {
    const int32_t m = kSizes[rng.integer(0, 4)];
    const int64_t depth = rng.integer(0, 3) ? rng.integer(1, 40) : rng.integer(1, 300);
    const gatun_nm_format f = make_format(static_cast<int32_t>(rng.integer(1, m)), m, rng.integer(1, 3), depth);
    const Bytes weights = random_weights(rng, f), mask = random_mask(rng, f);
    Bytes indices = reference_compress(f, weights.data(), mask.data(), nullptr).indices;
    const int64_t last = static_cast<int64_t>(indices.size()) - 1;
    uint8_t& spoiled = indices[static_cast<size_t>(rng.integer(0, 2) ? rng.integer(0, last) : last)];
    if (rng.integer(0, 7)) spoiled = static_cast<uint8_t>(spoiled ^ 1 << rng.integer(0, 7));
    const bool valid = reference_check(f, indices.data());
    ++(valid ? accepted : refused);
    ASSERT_EQ(gatun_nm_check(&f, indices.data()), valid ? GATUN_OK : GATUN_INVALID_ARGUMENT)
        << describe(f) << gatun_last_error();
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(accepted, 500);
}

// The first group that keeps too much is named, with a mask and without.
TEST(NmFormat, GroupsThatKeepTooMuch) {
  Rng rng(7);
  for (const int32_t m : kSizes) {
    for (int32_t n = 1; n < m; ++n) {
      const gatun_nm_format f = make_format(n, m, 4, 200, rng.integer(0, 1) ? GATUN_I8 : GATUN_F16, 2);
      const int64_t group = rng.integer(0, 200 / m - 1), row = rng.integer(0, 3),
                    element = dtype_bytes(f.value_dtype, 1);
      Bytes mask(4 * 25), dense(static_cast<size_t>(Sizes(f).dense)),
          values(static_cast<size_t>(Sizes(f).values), 0xab);
      Bytes indices(static_cast<size_t>(Sizes(f).indices), 0xab);
      for (int32_t i = 0; i <= n; ++i) {
        const int64_t k = group * m + i;
        for (int64_t each = row / 2 * 2; each < row / 2 * 2 + 2; ++each) {
          mask[static_cast<size_t>(each * 25 + k / 8)] |= static_cast<uint8_t>(1 << k % 8);
        }
        dense[static_cast<size_t>((row * 200 + k) * element)] = 3;
      }
      const std::string row_name = "row " + std::to_string(row), group_name = "group " + std::to_string(group) + " ";
      ASSERT_EQ(gatun_nm_compress(&f, dense.data(), nullptr, nullptr, values.data(), indices.data()),
                GATUN_INVALID_ARGUMENT)
          << describe(f);
      EXPECT_NE(std::string(gatun_last_error()).find(row_name), std::string::npos) << gatun_last_error();
      EXPECT_NE(std::string(gatun_last_error()).find(group_name), std::string::npos) << gatun_last_error();
      std::fill(values.begin(), values.end(), 0xab);
      std::fill(indices.begin(), indices.end(), 0xab);
      const Bytes untouched_values = values, untouched_indices = indices;
      ASSERT_EQ(gatun_nm_compress(&f, dense.data(), mask.data(), nullptr, values.data(), indices.data()),
                GATUN_INVALID_ARGUMENT)
          << describe(f);
      EXPECT_NE(std::string(gatun_last_error()).find(group_name), std::string::npos) << gatun_last_error();
      EXPECT_TRUE(test::identical(values, untouched_values) && test::identical(indices, untouched_indices));
      // As many as are allowed are allowed.
      mask.assign(mask.size(), 0);
      for (int64_t each = 0; each < 4; ++each) {
        for (int32_t i = m - n; i < m; ++i) {
          mask[static_cast<size_t>(each * 25 + (group * m + i) / 8)] |= static_cast<uint8_t>(1 << (group * m + i) % 8);
        }
      }
      ASSERT_EQ(gatun_nm_compress(&f, dense.data(), mask.data(), nullptr, values.data(), indices.data()), GATUN_OK)
          << describe(f) << gatun_last_error();
    }
  }
}

// As if somebody had changed a mask that was fine when it was checked: `dense`, of codes half a byte each, is not
// looked through for what keeps too much.
TEST(NmFormat, MaskThatKeepsTooMuchAfterItsCheck) {
  for (const int32_t dtype : kDtypes) {
    const gatun_nm_format f = make_format(2, 4, 3, 4000, dtype);
    Layout layout;
    ASSERT_EQ(layout_of(&f, &layout), GATUN_OK);
    GuardBuffer<uint8_t> dense(Sizes(f).dense), mask(Sizes(f).mask);
    std::memset(dense.data(), 0, static_cast<size_t>(dense.size()));
    EXPECT_EQ(fail_overfull(f, layout, dense.data(), mask.data()), GATUN_INTERNAL);
    EXPECT_STREQ(gatun_last_error(), "the mask keeps too much of a group, and did not when it was checked");
  }
}

TEST(NmFormat, EveryTierAgrees) {
  Rng rng(8);
  for (const int32_t dtype : kDtypes) {
    for (const int32_t m : kSizes) {
      const gatun_nm_format f = make_format(m / 2, m, 9, 777, dtype, 2);
      const Bytes mask = random_mask(rng, f), weights = random_weights(rng, f);
      const Sizes sizes(f);
      Bytes values[2], indices[2];
      for (int i = 0; i < 2; ++i) {
        values[i].resize(static_cast<size_t>(sizes.values));
        indices[i].resize(static_cast<size_t>(sizes.indices));
        ASSERT_EQ(run_compress(i == 0 ? Tier::scalar : active_tier(), &f, weights.data(), mask.data(), nullptr,
                               values[i].data(), indices[i].data()),
                  GATUN_OK);
      }
      ASSERT_TRUE(test::identical(values[1], values[0]) && test::identical(indices[1], indices[0])) << describe(f);
    }
  }
}

TEST(NmFormat, ExplainNamesTheKernel) {
  char text[1024];
  for (const int32_t dtype : kDtypes) {
    const gatun_nm_format f = make_format(2, 4, 5000, 6000, dtype);
    ASSERT_EQ(gatun_nm_explain(&f, text, sizeof(text)), GATUN_OK) << gatun_last_error();
    const std::string name = table().select(dtype, dtype, active_tier()).name;
    EXPECT_NE(std::string(text).find(name), std::string::npos) << text;
    EXPECT_NE(std::string(text).find("2:4"), std::string::npos) << text;
    EXPECT_EQ(std::string(text).find("past the caches") != std::string::npos, dtype != GATUN_I8 && dtype != GATUN_U4);
  }
}

}  // namespace
}  // namespace gatun::nm_format
