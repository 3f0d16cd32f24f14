// gatun/nm_format.h: every documented refusal.
#include "gatun/nm_format.h"

#include <cmath>

#include "boundary.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 4, kDepth = 20;
using Words = std::initializer_list<const char*>;

// Good calls; each test spoils one thing.
class NmFormatBoundary : public ::testing::Test {
 protected:
  NmFormatBoundary() {
    for (size_t i = 0; i < w.size(); ++i) w[i] = i % 4 < 2 ? static_cast<float>(i + 1) : 0.0f;
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = i % 3 == 2 ? 0x3 : 0x33;
    compress();
    good_indices = indices;
    reset();
  }

  int32_t compress() { return gatun_nm_compress(given, w_at, mask_at, zeros_at, values_at, indices_at); }
  int32_t decompress() { return gatun_nm_decompress(given, values_at, indices_at, zeros_at, dense_at); }
  int32_t find_mask() { return gatun_nm_mask(given, indices_at, found_at); }
  int32_t prune() { return gatun_nm_prune(given, pruning_at, w_at, norms_at, scores_at, values_at, indices_at); }

  void reset() {
    format = good;
    pruning = good_pruning;
    given = &format;
    pruning_at = &pruning;
    w_at = w.data();
    mask_at = mask.data();
    zeros_at = nullptr;
    norms_at = scores_at = nullptr;
    std::fill(values.begin(), values.end(), kUntouched);
    std::fill(dense.begin(), dense.end(), kUntouched);
    std::fill(found.begin(), found.end(), kUntouched);
    std::fill(indices.begin(), indices.end(), kUntouched);
    values_at = values.data();
    indices_at = indices.data();
    dense_at = dense.data();
    found_at = found.data();
  }
  void refused_compress(Words words) {
    EXPECT_TRUE(invalid(compress(), words));
    EXPECT_TRUE(untouched(values) && untouched(indices)) << "outputs were written";
    reset();
  }
  void refused_prune(Words words) {
    EXPECT_TRUE(invalid(prune(), words));
    EXPECT_TRUE(untouched(values) && untouched(indices)) << "outputs were written";
    reset();
  }
  void refused_decompress(Words words) {
    EXPECT_TRUE(invalid(decompress(), words));
    EXPECT_TRUE(untouched(dense)) << "the output was written";
    reset();
  }
  // Every call that takes a format refuses it.
  void refused_format(Words words) {
    const gatun_nm_format spoiled = format;
    const gatun_nm_format* const at = given == nullptr ? nullptr : &spoiled;
    int64_t sizes[4] = {-1, -1, -1, -1};
    EXPECT_TRUE(invalid(gatun_nm_bytes(at, sizes, sizes + 1, sizes + 2, sizes + 3), words));
    EXPECT_EQ(std::vector<int64_t>(sizes, sizes + 4), std::vector<int64_t>(4, -1));
    EXPECT_TRUE(invalid(gatun_nm_compress(at, w_at, mask_at, nullptr, values_at, indices_at), words));
    EXPECT_TRUE(invalid(gatun_nm_decompress(at, values_at, good_indices.data(), nullptr, dense_at), words));
    EXPECT_TRUE(invalid(gatun_nm_mask(at, good_indices.data(), found_at), words));
    EXPECT_TRUE(invalid(gatun_nm_check(at, good_indices.data()), words));
    EXPECT_TRUE(invalid(gatun_nm_prune(at, pruning_at, w_at, nullptr, nullptr, values_at, indices_at), words));
    EXPECT_TRUE(invalid(gatun_nm_sm80_bytes(at, sizes), words));
    EXPECT_TRUE(invalid(gatun_nm_to_sm80(at, good_indices.data(), dense_at), words));
    EXPECT_TRUE(invalid(gatun_nm_from_sm80(at, w_at, indices_at), words));
    std::vector<char> text(1024, '\x7f');
    EXPECT_TRUE(invalid(gatun_nm_explain(at, text.data(), 1024), words));
    EXPECT_EQ(text, std::vector<char>(1024, '\x7f'));
    EXPECT_TRUE(untouched(values) && untouched(indices) && untouched(dense) && untouched(found));
    reset();
  }

  const gatun_nm_format good = {sizeof(gatun_nm_format), 2, 4, 1, GATUN_F32, 1, kRows, kDepth, kDepth};
  const gatun_prune_params good_pruning = {sizeof(gatun_prune_params),
                                           GATUN_F32,
                                           GATUN_SCORE_MAGNITUDE,
                                           GATUN_PATTERN_NM,
                                           2,
                                           4,
                                           1,
                                           1,
                                           kRows,
                                           kDepth,
                                           0,
                                           0,
                                           0};
  gatun_nm_format format = good;
  gatun_prune_params pruning = good_pruning;
  const gatun_nm_format* given = &format;
  const gatun_prune_params* pruning_at = &pruning;
  std::vector<float> w = std::vector<float>(kRows * kDepth), more = std::vector<float>(kRows * kDepth, 1.0f);
  std::vector<uint8_t> mask = std::vector<uint8_t>(kRows * 3), zeros = std::vector<uint8_t>(kRows * 2, 7);
  std::vector<uint8_t> values = std::vector<uint8_t>(kRows * kDepth * 2), indices = std::vector<uint8_t>(kRows * 3);
  std::vector<uint8_t> dense = std::vector<uint8_t>(kRows * kDepth * 4), found = std::vector<uint8_t>(kRows * 3);
  std::vector<uint8_t> good_indices;
  const void* w_at = w.data();
  const uint8_t* mask_at = mask.data();
  const uint8_t* zeros_at = nullptr;
  const float *norms_at = nullptr, *scores_at = nullptr;
  void* values_at = values.data();
  uint8_t* indices_at = indices.data();
  void* dense_at = dense.data();
  uint8_t* found_at = found.data();
};

TEST_F(NmFormatBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(compress(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(decompress(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(find_mask(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(found, mask);
  EXPECT_EQ(gatun_nm_check(given, indices_at), GATUN_OK) << gatun_last_error();
  mask_at = nullptr;
  EXPECT_EQ(compress(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(prune(), GATUN_OK) << gatun_last_error();
  pruning.score = GATUN_SCORE_WANDA;
  norms_at = more.data();
  EXPECT_EQ(prune(), GATUN_OK) << gatun_last_error();
  pruning.score = GATUN_SCORE_GIVEN;
  norms_at = nullptr;
  scores_at = more.data();
  EXPECT_EQ(prune(), GATUN_OK) << gatun_last_error();
  int64_t bytes = -1;
  EXPECT_EQ(gatun_nm_bytes(given, nullptr, nullptr, nullptr, nullptr), GATUN_OK);
  EXPECT_EQ(gatun_nm_bytes(given, &bytes, nullptr, nullptr, nullptr), GATUN_OK);
  EXPECT_EQ(bytes, 320);
  EXPECT_EQ(gatun_nm_bytes(given, nullptr, &bytes, nullptr, nullptr), GATUN_OK);
  EXPECT_EQ(bytes, 160);
  EXPECT_EQ(gatun_nm_bytes(given, nullptr, nullptr, &bytes, nullptr), GATUN_OK);
  EXPECT_EQ(bytes, 12);
  EXPECT_EQ(gatun_nm_bytes(given, nullptr, nullptr, nullptr, &bytes), GATUN_OK);
  EXPECT_EQ(bytes, 12);
}

TEST_F(NmFormatBoundary, Format) {
  check_struct(format, given, "format", [&](auto words) { refused_format(words); });
  for (const int32_t m : {-4, 0, 1, 3, 5, 6, 12, 33, 64, 1 << 30}) {
    format.m = m;
    refused_format({"format.m", std::to_string(m).c_str(), "2, 4, 8, 16, 32"});
  }
  for (const int32_t n : {-1, 0, 5, 1 << 30}) {
    format.n = n;
    refused_format({"format.n", std::to_string(n).c_str(), "1..4"});
  }
  for (const int32_t vector : {-1, 0}) {
    format.vector = vector;
    refused_format({"format.vector", std::to_string(vector).c_str()});
  }
  for (const int32_t dtype : {0, -1, int{GATUN_U8}, int{GATUN_U2}, int{GATUN_F8E4M3}, 99}) {
    format.value_dtype = dtype;
    refused_format({"format.value_dtype", std::to_string(dtype).c_str(), "F32, F16, BF16, I8, U4"});
  }
  for (const int32_t threads : {-1, 1025}) {
    format.threads = threads;
    refused_format({"format.threads", std::to_string(threads).c_str(), "1024"});
  }
  for (const int64_t size : {int64_t{-1}, kMin, kMax}) {
    format.columns = size;
    refused_format({"format.columns", std::to_string(size).c_str()});
    format.depth = size;
    refused_format({"format.depth", std::to_string(size).c_str()});
  }
  for (const int64_t huge : {int64_t{1} << 62, int64_t{1} << 59}) {
    format.columns = huge;
    refused_format({"dense", std::to_string(huge).c_str(), "2^62"});
    format.depth = huge;
    refused_format({"2^6"});
    format.columns = format.depth = huge;
    refused_format({"2^6"});
  }
}

TEST_F(NmFormatBoundary, NullsAndAlignment) {
  w_at = nullptr;
  refused_compress({"dense is null"});
  values_at = nullptr;
  refused_compress({"values is null"});
  indices_at = nullptr;
  refused_compress({"indices is null"});
  w_at = reinterpret_cast<const char*>(w.data()) + 2;
  refused_compress({"dense", "4"});
  values_at = values.data() + 2;
  refused_compress({"values", "4"});
  indices = good_indices;
  values_at = nullptr;
  EXPECT_TRUE(invalid(decompress(), {"values is null"}));
  values_at = values.data() + 1;
  EXPECT_TRUE(invalid(decompress(), {"values", "4"}));
  values_at = values.data();
  dense_at = nullptr;
  EXPECT_TRUE(invalid(decompress(), {"dense is null"}));
  dense_at = dense.data() + 3;
  EXPECT_TRUE(invalid(decompress(), {"dense", "4"}));
  dense_at = dense.data();
  indices_at = nullptr;
  EXPECT_TRUE(invalid(decompress(), {"indices is null"}));
  EXPECT_TRUE(invalid(find_mask(), {"indices is null"}));
  EXPECT_TRUE(invalid(gatun_nm_check(given, indices_at), {"indices is null"}));
  indices_at = indices.data();
  found_at = nullptr;
  EXPECT_TRUE(invalid(find_mask(), {"mask is null"}));
  EXPECT_TRUE(untouched(dense) && untouched(found));
  reset();
  w_at = nullptr;
  refused_prune({"w is null"});
  values_at = nullptr;
  refused_prune({"values is null"});
  indices_at = nullptr;
  refused_prune({"indices is null"});
}

TEST_F(NmFormatBoundary, Overlaps) {
  values_at = w.data() + 1;
  EXPECT_TRUE(invalid(compress(), {"values", "dense", "overlap"}));
  EXPECT_TRUE(invalid(prune(), {"values", "w", "overlap"}));
  reset();
  indices_at = mask.data();
  EXPECT_TRUE(invalid(compress(), {"indices", "mask", "overlap"}));
  reset();
  indices_at = values.data() + 5;
  refused_compress({"indices", "values", "overlap"});
  indices_at = values.data() + 5;
  refused_prune({"indices", "values", "overlap"});
  dense_at = values.data();
  refused_decompress({"dense", "values", "overlap"});
  indices = good_indices;
  found_at = indices.data();
  EXPECT_TRUE(invalid(find_mask(), {"mask", "indices", "overlap"}));
  EXPECT_EQ(indices, good_indices);
  reset();
  pruning.score = GATUN_SCORE_WANDA;
  norms_at = static_cast<const float*>(values_at);
  refused_prune({"values", "norms", "overlap"});
  pruning.score = GATUN_SCORE_GIVEN;
  scores_at = static_cast<const float*>(values_at);
  refused_prune({"values", "scores", "overlap"});
}

TEST_F(NmFormatBoundary, Masks) {
  mask[1] = 0x37;  // row 0, group 2
  refused_compress({"mask", "row 0", "group 2", "3", "2 of 4"});
  mask[1] = 0x33;
  mask[11] = 0x13;  // row 3, a bit of depth 20
  refused_compress({"mask", "row 3", "20"});
  mask[11] = 0x3;
  format.vector = pruning.vector = 2;
  mask[3 * 3 + 1] = 0x35;
  refused_compress({"mask", "row 3", "row 2", "group 2", "vector of 2"});
  format.value_dtype = GATUN_U4;
  mask_at = nullptr;
  refused_compress({"mask", "U4", "null"});
}

TEST_F(NmFormatBoundary, WeightsOfWhichTooManyAreNotZero) {
  mask_at = nullptr;
  w[23] = 1;  // row 1, group 0
  EXPECT_TRUE(invalid(compress(), {"dense", "row 1", "group 0", "3", "2 of 4"}));
  w[23] = -0.0f;
  EXPECT_EQ(compress(), GATUN_OK) << gatun_last_error();
  w[23] = std::nanf("");
  EXPECT_TRUE(invalid(compress(), {"dense", "row 1", "group 0"}));
}

TEST_F(NmFormatBoundary, Indices) {
  const auto refused_indices = [&](Words words) {
    EXPECT_TRUE(invalid(gatun_nm_check(given, indices_at), words));
    EXPECT_TRUE(invalid(decompress(), words));
    EXPECT_TRUE(invalid(find_mask(), words));
    EXPECT_TRUE(untouched(dense) && untouched(found));
    reset();
    indices = good_indices;
    indices_at = indices.data();
  };
  indices = good_indices;
  indices[4] = 0x54;  // row 1, group 3: 1 twice
  refused_indices({"indices", "row 1", "group 3", "index 1 after 1", "4"});
  indices[0] = 0x41;  // row 0, group 0: 1 then 0
  refused_indices({"indices", "row 0", "group 0", "index 0 after 1"});
  indices[8] |= 0x10;  // row 2 has 10 indices, in 20 bits
  refused_indices({"indices", "row 2", "last byte"});
  format.n = 1;
  format.m = 2;
  indices[1] = 0x20;  // row 0, group 6: 2
  refused_indices({"indices", "row 0", "group 6", "index 2", "below 2"});
}

TEST_F(NmFormatBoundary, ZeroPoints) {
  zeros_at = zeros.data();
  refused_compress({"zero_points", "U4"});
  zeros_at = zeros.data();
  refused_decompress({"zero_points", "U4"});
  for (const int64_t group : {int64_t{-1}, int64_t{0}, int64_t{15}, kDepth + 1, kMax}) {
    format.value_dtype = GATUN_U4;
    format.group = group;
    zeros_at = zeros.data();
    refused_compress({"format.group", std::to_string(group).c_str(), "16"});
    format.value_dtype = GATUN_U4;
    format.group = group;
    EXPECT_EQ(compress(), GATUN_OK) << "without zero points, the group counts for nothing";
    reset();
  }
  format.value_dtype = GATUN_U4;
  format.group = 16;
  zeros_at = zeros.data();
  EXPECT_EQ(compress(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(decompress(), GATUN_OK) << gatun_last_error();
  std::fill(values.begin(), values.end(), kUntouched);
  std::fill(indices.begin(), indices.end(), kUntouched);
  zeros[5] = 16;
  refused_compress({"zero_points[2][1]", "16", "0..15"});
  indices = good_indices;
  format.value_dtype = GATUN_U4;
  format.group = 16;
  zeros_at = zeros.data();
  refused_decompress({"zero_points[2][1]", "16", "0..15"});
}

TEST_F(NmFormatBoundary, Pruning) {
  pruning_at = nullptr;
  refused_prune({"null"});
  pruning.struct_size = 8;
  refused_prune({"struct_size", "8"});
  for (const int32_t pattern : {-1, int{GATUN_PATTERN_UNSTRUCTURED}, int{GATUN_PATTERN_BLOCKS}, 7}) {
    pruning.pattern = pattern;
    pruning.block_rows = pruning.block_depth = 1;
    refused_prune({"pattern", std::to_string(pattern).c_str()});
  }
  pruning.score = 4;
  refused_prune({"score", "4"});
  pruning.w_dtype = GATUN_F16;
  refused_prune({"prune.w_dtype", "as in format"});
  pruning.columns = kRows + 1;
  refused_prune({"prune.columns", "5", "4", "as in format"});
  pruning.depth = kDepth - 1;
  refused_prune({"prune.depth", "19", "20", "as in format"});
  pruning.n = 1;
  refused_prune({"prune.n", "1", "2", "as in format"});
  pruning.m = 8;
  refused_prune({"prune.m", "8", "4", "as in format"});
  pruning.vector = 2;
  refused_prune({"prune.vector", "2", "1", "as in format"});
  for (const int32_t dtype : {int{GATUN_I8}, int{GATUN_U4}}) {
    format.value_dtype = pruning.w_dtype = dtype;
    refused_prune({"w_dtype", "F32, F16, BF16"});
  }
}

TEST_F(NmFormatBoundary, Transposable) {
  const auto transposable = [&](int32_t n, int32_t m, int32_t vector) {
    pruning.pattern = GATUN_PATTERN_TRANSPOSABLE;
    pruning.n = pruning.m = pruning.vector = 0;  // ignored
    format.n = n;
    format.m = m;
    format.vector = vector;
  };
  transposable(2, 4, 1);
  EXPECT_EQ(prune(), GATUN_OK) << gatun_last_error();
  reset();
  transposable(1, 4, 1);
  refused_prune({"format.n", "TRANSPOSABLE", "1", "2"});
  transposable(2, 8, 1);
  refused_prune({"format.m", "TRANSPOSABLE", "8", "4"});
  transposable(2, 4, 2);
  refused_prune({"format.vector", "TRANSPOSABLE", "2", "1"});
}

TEST_F(NmFormatBoundary, NormsAndScores) {
  pruning.score = GATUN_SCORE_WANDA;
  refused_prune({"norms is null"});
  pruning.score = GATUN_SCORE_GIVEN;
  refused_prune({"scores is null"});
  norms_at = more.data();
  refused_prune({"norms", "WANDA"});
  scores_at = more.data();
  refused_prune({"scores", "GIVEN"});
  for (const float bad : {-1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    more[7] = bad;
    pruning.score = GATUN_SCORE_WANDA;
    norms_at = more.data();
    refused_prune({"norms[7]", "finite", "0"});
  }
  w[45] = std::nanf("");
  EXPECT_TRUE(invalid(prune(), {"w[2][5]", "NaN"}));
  pruning.score = GATUN_SCORE_GIVEN;
  scores_at = more.data();
  more[7] = 1;
  EXPECT_EQ(prune(), GATUN_OK) << "weights may be any where scores are given: " << gatun_last_error();
}

TEST_F(NmFormatBoundary, Metadata) {
  int64_t bytes = -1;
  EXPECT_TRUE(invalid(gatun_nm_sm80_bytes(given, nullptr), {"metadata_bytes is null"}));
  const auto refused_shape = [&](Words words) {
    EXPECT_TRUE(invalid(gatun_nm_sm80_bytes(given, &bytes), words));
    EXPECT_TRUE(invalid(gatun_nm_to_sm80(given, good_indices.data(), dense_at), words));
    EXPECT_TRUE(invalid(gatun_nm_from_sm80(given, w_at, indices_at), words));
    EXPECT_EQ(bytes, -1);
    EXPECT_TRUE(untouched(dense) && untouched(indices));
    reset();
  };
  const auto shape = [&](int32_t dtype, int32_t n, int32_t m, int64_t columns, int64_t depth) {
    format.value_dtype = dtype;
    format.n = n;
    format.m = m;
    format.columns = columns;
    format.depth = depth;
  };
  shape(GATUN_U4, 2, 4, 32, 64);
  refused_shape({"value_dtype", "F32, F16, BF16, I8"});
  shape(GATUN_F32, 2, 4, 32, 64);
  refused_shape({"format.n:m", "2:4", "1:2"});
  shape(GATUN_I8, 1, 2, 32, 64);
  refused_shape({"format.n:m", "1:2", "2:4"});
  shape(GATUN_F16, 2, 4, 32, 64);
  format.vector = 2;
  refused_shape({"format.vector", "2", "1"});
  for (const int32_t dtype : {GATUN_F16, GATUN_BF16}) {
    shape(dtype, 2, 4, 16, 64);
    refused_shape({"format.columns", "16", "32"});
    shape(dtype, 2, 4, 32, 48);
    refused_shape({"format.depth", "48", "32"});
  }
  shape(GATUN_I8, 2, 4, 24, 64);
  refused_shape({"format.columns", "24", "16"});
  shape(GATUN_I8, 2, 4, 16, 96);
  refused_shape({"format.depth", "96", "64"});
  shape(GATUN_F32, 1, 2, 48, 16);
  refused_shape({"format.columns", "48", "32"});
  shape(GATUN_F32, 1, 2, 32, 24);
  refused_shape({"format.depth", "24", "16"});

  shape(GATUN_BF16, 2, 4, 32, 32);
  std::vector<uint8_t> rows(128, 0x44), metadata(128, kUntouched);
  ASSERT_EQ(gatun_nm_sm80_bytes(given, &bytes), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(bytes, 128);
  EXPECT_TRUE(invalid(gatun_nm_to_sm80(given, nullptr, metadata.data()), {"indices is null"}));
  EXPECT_TRUE(invalid(gatun_nm_to_sm80(given, rows.data(), nullptr), {"metadata is null"}));
  EXPECT_TRUE(invalid(gatun_nm_to_sm80(given, rows.data(), metadata.data() + 1), {"metadata", "2"}));
  EXPECT_TRUE(invalid(gatun_nm_to_sm80(given, rows.data(), rows.data() + 2), {"metadata", "indices", "overlap"}));
  EXPECT_TRUE(invalid(gatun_nm_from_sm80(given, nullptr, metadata.data()), {"metadata is null"}));
  EXPECT_TRUE(invalid(gatun_nm_from_sm80(given, rows.data(), nullptr), {"indices is null"}));
  EXPECT_TRUE(invalid(gatun_nm_from_sm80(given, rows.data(), rows.data() + 2), {"indices", "metadata", "overlap"}));
  rows[5] = 0x40;
  EXPECT_TRUE(invalid(gatun_nm_to_sm80(given, rows.data(), metadata.data()), {"indices", "row 1", "group 2"}));
  EXPECT_TRUE(untouched(metadata));
  EXPECT_TRUE(
      invalid(gatun_nm_from_sm80(given, rows.data(), metadata.data()), {"metadata", "row 0", "group 6", "0x0"}));
  EXPECT_TRUE(untouched(metadata));
}

// A loop over rows of no bytes would not end.
TEST_F(NmFormatBoundary, ManyRowsWithoutDepth) {
  for (const int32_t n : {1, 2}) {
    format.columns = pruning.columns = int64_t{1} << 62;
    format.depth = pruning.depth = 0;
    format.n = pruning.n = n;
    format.m = pruning.m = 2 * n;
    format.vector = pruning.vector = 1;
    EXPECT_EQ(gatun_nm_bytes(given, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(compress(), GATUN_OK) << gatun_last_error();
    mask_at = nullptr;
    EXPECT_EQ(compress(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(decompress(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(find_mask(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(prune(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(gatun_nm_check(given, indices_at), GATUN_OK) << gatun_last_error();
    if (n == 2) format.value_dtype = GATUN_BF16;  // of F32 the tensor cores know 1:2
    int64_t bytes = 1;
    EXPECT_EQ(gatun_nm_sm80_bytes(given, &bytes), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(bytes, 0);
    EXPECT_EQ(gatun_nm_to_sm80(given, indices_at, found_at), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(gatun_nm_from_sm80(given, found_at, indices_at), GATUN_OK) << gatun_last_error();
    EXPECT_TRUE(untouched(values) && untouched(indices) && untouched(dense) && untouched(found));
    reset();
  }
}

TEST_F(NmFormatBoundary, Explain) {
  check_text([&](char* text, int64_t capacity) { return gatun_nm_explain(given, text, capacity); }, 1024);
}

}  // namespace
}  // namespace gatun::test
