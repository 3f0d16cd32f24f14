// The packed layout of nm_matmul: bytes by hand, what layout.h says of every byte, and back again.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "huge_map.h"
#include "nm_matmul/finite.h"
#include "nm_matmul/test_weights.h"

namespace gatun::nm_matmul {
namespace {

void expect_unpacked(const Weights& weights) {
  gatun_nm_weights description{};
  const uint8_t* packed = weights.packed->data();
  const int64_t bytes = weights.packed->size();
  ASSERT_EQ(gatun_nm_describe(packed, bytes, &description), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::memcmp(&description, &weights.description, sizeof(description)), 0);
  GuardBuffer<uint8_t> values(weights.values->size()), indices(weights.indices->size()), scales(weights.scales->size()),
      zeros(weights.zero_points->size());
  ASSERT_EQ(gatun_nm_unpack(&weights.description, packed, bytes, values.data(), indices.data(),
                            weights.scale_data() == nullptr ? nullptr : scales.data(),
                            weights.zero_point_data() == nullptr ? nullptr : zeros.data()),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_TRUE(test::identical(values.copy(), weights.values->copy()));
  EXPECT_TRUE(test::identical(indices.copy(), weights.indices->copy()));
  EXPECT_TRUE(test::identical(scales.copy(), weights.scales->copy()));
  EXPECT_TRUE(test::identical(zeros.copy(), weights.zero_points->copy()));
}

// Reads a panel as the comment of layout.h says, one slot at a time, and adds its weights to a matrix. Fillers must be
// weights of 0 with index 0, columns that are too many zero bytes.
class PanelReader {
 public:
  PanelReader(const Weights& weights, int64_t panel)
      : d_(weights.description),
        dense_(weights.stored_dense()),
        first_(panel * 64),
        filled_(std::min<int64_t>(64, d_.columns - first_)),
        rows_((filled_ + 15) / 16 * 16),
        at_(weights.packed->data() + weights.layout().panel_offset(panel)) {}

  void read(std::vector<double>& matrix) {
    const int64_t segment_depth = d_.scale_dtype != 0 ? d_.group : d_.depth;
    for (int64_t begin = 0; begin < d_.depth; begin += segment_depth) {
      read_segment(begin, std::min(segment_depth, d_.depth - begin), matrix);
    }
  }
  const uint8_t* end() const { return at_; }

 private:
  struct Slot {
    int64_t depth;
    double number;  // without scale and zero point
  };

  void read_segment(int64_t begin, int64_t depth, std::vector<double>& matrix) {
    const int n = dense_ ? d_.m : d_.n;
    const int64_t slots = (depth + d_.m - 1) / d_.m * n;
    std::vector<std::vector<Slot>> columns(static_cast<size_t>(rows_));
    for (int64_t first = 0; first < slots; first += 8) {
      for (int64_t c = 0; c < rows_; ++c) {
        for (int64_t s = first; s < first + 8; ++s) {
          const int index = dense_ ? static_cast<int>(s % d_.m) : index_at(c, static_cast<int>(s - first));
          EXPECT_TRUE(s < slots || dense_ || index == 0) << "column " << c << " slot " << s;
          columns[static_cast<size_t>(c)].push_back(
              {begin + s / n * d_.m + index, value_at(c, static_cast<int>(s - first))});
        }
      }
      at_ += rows_ * unit_bytes();
    }
    std::vector<double> scales(static_cast<size_t>(rows_), 1.0), zeros(static_cast<size_t>(rows_));
    const int scale_bytes = d_.scale_dtype == 0 ? 0 : d_.scale_dtype == GATUN_F32 ? 4 : 2;
    if (scale_bytes > 0) scales = test::to_doubles(at_, d_.scale_dtype, rows_);
    at_ += rows_ * scale_bytes;
    for (int64_t c = 0; c < rows_; ++c) {
      zeros[static_cast<size_t>(c)] = d_.value_dtype != GATUN_U4         ? 0
                                      : d_.zero_point == GATUN_ZERO_NONE ? (c < filled_ ? 8 : 0)
                                                                         : at_[c];
    }
    if (d_.zero_point != GATUN_ZERO_NONE) at_ += rows_;
    for (size_t c = 0; c < columns.size(); ++c) {
      EXPECT_TRUE(static_cast<int64_t>(c) < filled_ || scale_bytes == 0 || scales[c] == 0.0);
      for (int64_t s = 0; s < static_cast<int64_t>(columns[c].size()); ++s) {
        const Slot& slot = columns[c][static_cast<size_t>(s)];
        const double value = (slot.number - zeros[c]) * scales[c];
        if (s >= slots || static_cast<int64_t>(c) >= filled_ || slot.depth >= d_.depth) {
          EXPECT_EQ(value, 0.0) << "column " << c << " slot " << s;
        } else {
          matrix[static_cast<size_t>((first_ + static_cast<int64_t>(c)) * d_.depth + slot.depth)] += value;
        }
      }
    }
  }

  int index_bytes() const { return dense_ ? 0 : d_.m <= 4 ? 2 : d_.m <= 16 ? 4 : 8; }
  int unit_bytes() const { return index_bytes() + static_cast<int>(dtype_bytes(d_.value_dtype, 8)); }

  int index_at(int64_t c, int s) const {
    if (d_.m <= 4) return (at_[c * 2 + s / 4] >> s % 4 * 2) & 3;
    if (d_.m <= 16) return (at_[c * 4 + s / 2] >> s % 2 * 4) & 15;
    return at_[(s / 4 * rows_ + c) * 4 + s % 4];
  }

  double value_at(int64_t c, int s) const {
    const uint8_t* values = at_ + rows_ * index_bytes();
    switch (d_.value_dtype) {
      case GATUN_F32:
        return test::to_doubles(values + (s * rows_ + c) * 4, GATUN_F32, 1)[0];
      case GATUN_F16:
        return test::to_doubles(values + (s * rows_ + c) * 2, GATUN_F16, 1)[0];
      case GATUN_BF16:
        return test::to_doubles(values + ((s / 2 * rows_ + c) * 2 + s % 2) * 2, GATUN_BF16, 1)[0];
      case GATUN_I8:
        return static_cast<int8_t>(values[(s / 4 * rows_ + c) * 4 + s % 4]);
      default:
        return values[c * 4 + s % 4] >> s / 4 * 4 & 15;
    }
  }

  const gatun_nm_weights& d_;
  const bool dense_;
  const int64_t first_, filled_, rows_;
  const uint8_t* at_;
};

// In the mode INT8 the reference's weights are exact.
void expect_layout(const Weights& weights) {
  const gatun_nm_weights& d = weights.description;
  std::vector<double> matrix(static_cast<size_t>(d.columns * d.depth));
  for (int64_t panel = 0; panel * 64 < d.columns; ++panel) {
    PanelReader reader(weights, panel);
    reader.read(matrix);
    if (panel == (d.columns - 1) / 64) {
      EXPECT_EQ(reader.end() - weights.packed->data(), weights.layout().indices_offset());
    }
  }
  const std::vector<double> exact(matrix.size());
  EXPECT_TRUE(test::within(matrix, reference_matrix(weights.reference_weights(), GATUN_NM_INT8), exact, d.depth));
}

// Every M, N from 1 to M, values, vectors, groups that end within units, sparse and dense.
TEST(NmPacked, EveryByteIsWhereTheLayoutSaysAndComesBack) {
  Rng rng(1);
  const std::vector<int64_t> columns = {0, 1, 2, 15, 16, 17, 48, 63, 64, 65, 130};
  const std::vector<int32_t> vectors = {1, 1, 2, 5, 64, 100000};
  for (const int32_t m : kAllM) {
    for (int32_t n = 1; n <= m; ++n) {
      for (const Scheme& scheme : kSchemes) {
        const std::vector<int64_t> depths = {0, 1, m - 1, m, m + 1, 7 * m + 1, rng.integer(1, 300), 1100};
        for (const int64_t depth : {rng.pick(depths), rng.pick(depths)}) {
          Weights::Options options;
          options.dense = static_cast<int32_t>(rng.integer(0, 1));
          options.edge = test::kEdges[rng.integer(0, 1)];
          options.misalignment = rng.integer(0, 3);
          const Weights weights(rng, scheme,
                                {n, m, depth > 1000 ? 17 : rng.pick(columns), depth,
                                 rng.pick(groups_of(scheme, m, depth)), rng.pick(vectors)},
                                options);
          SCOPED_TRACE(name_of(weights));
          expect_layout(weights);
          expect_unpacked(weights);
          if (testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

// Enough panels for several threads.
TEST(NmPacked, ManyPanelsOnManyThreads) {
  Rng rng(2);
  for (const Scheme& scheme : kSchemes) {
    const Weights weights(rng, scheme, {3, 8, 1000, 333, groups_of(scheme, 8, 333).back(), 7}, {});
    SCOPED_TRACE(name_of(weights));
    expect_layout(weights);
    expect_unpacked(weights);
  }
}

// A panel of R = 16 columns with 1 unit: two columns of 2:4 f32 and depth 9, whose last group is continued by zeros.
TEST(NmPacked, BytesAreTheDocumentedOnes) {
  const gatun_nm_weights description{sizeof(description), 2, 4, 1, GATUN_F32, 0, 0, 0, 0, 2, 9, 0};
  const float values[2][6] = {{1, 2, 3, 4, 5, 0}, {-1, -2, -3, -4, -5, 0}};
  // (1, 3) (0, 2) (0, 1) and (2, 3) (0, 1) (0, 3)
  const uint8_t indices[] = {0x8d, 0x04, 0x4e, 0x0c};
  int64_t bytes = 0;
  ASSERT_EQ(gatun_nm_packed_bytes(&description, &bytes), GATUN_OK);
  ASSERT_EQ(bytes, 64 + 16 * (2 + 32));
  std::vector<uint8_t> packed(static_cast<size_t>(bytes)), body(static_cast<size_t>(bytes - 64));
  ASSERT_EQ(gatun_nm_pack(&description, values, indices, nullptr, nullptr, packed.data(), bytes), GATUN_OK)
      << gatun_last_error();
  EXPECT_EQ(std::memcmp(packed.data(), "GATUNPK1", 8), 0);
  std::memcpy(body.data(), indices, 4);
  for (int column = 0; column < 2; ++column) {
    for (int slot = 0; slot < 6; ++slot) {
      std::memcpy(&body[static_cast<size_t>(32 + (slot * 16 + column) * 4)], &values[column][slot], 4);
    }
  }
  EXPECT_TRUE(test::identical(std::vector<uint8_t>(packed.begin() + 64, packed.end()), body));
}

// 1:8 U4 in groups of 16: a segment has 2 slots, the other 6 of its unit stand for 0.
TEST(NmPacked, ShortSegmentsAreFilledUpWithZeros) {
  const gatun_nm_weights description{sizeof(description), 1,           8, 1, GATUN_U4, GATUN_ZERO_INTEGER,
                                     GATUN_F16,           0 /*never*/, 0, 1, 32,       16};
  const uint8_t values[] = {0x21, 0x43}, indices[] = {0x75, 0x03}, zero_points[] = {9, 12};
  const uint16_t scales[] = {0x3c00, 0x4000};
  int64_t bytes = 0;
  ASSERT_EQ(gatun_nm_packed_bytes(&description, &bytes), GATUN_OK);
  ASSERT_EQ(bytes, 64 + 2 * 16 * (4 + 4 + 2 + 1));
  std::vector<uint8_t> packed(static_cast<size_t>(bytes)), body(static_cast<size_t>(bytes - 64));
  ASSERT_EQ(gatun_nm_pack(&description, values, indices, scales, zero_points, packed.data(), bytes), GATUN_OK);
  const uint8_t units[2][8] = {{0x75, 0, 0, 0, 0x91, 0x92, 0x99, 0x99}, {0x03, 0, 0, 0, 0xc3, 0xc4, 0xcc, 0xcc}};
  for (size_t segment = 0; segment < 2; ++segment) {
    uint8_t* at = &body[segment * 176];
    std::memcpy(at, units[segment], 4);
    std::memcpy(at + 64, units[segment] + 4, 4);
    std::memcpy(at + 128, &scales[segment], 2);
    at[160] = zero_points[segment];
  }
  EXPECT_TRUE(test::identical(std::vector<uint8_t>(packed.begin() + 64, packed.end()), body));
}

// Pieces cover the slots once, in ascending order, begin at units, and end with segments.
TEST(NmPacked, PiecesCoverTheDepth) {
  Rng rng(3);
  for (const Scheme& scheme : {kSchemes[0], kSchemes[7]}) {
    for (const int32_t m : kAllM) {
      for (const int64_t depth : {int64_t{0}, int64_t{1}, int64_t{511}, int64_t{512}, int64_t{513}, int64_t{1600}}) {
        for (const int64_t group : groups_of(scheme, m, depth)) {
          for (const bool dense : {false, true}) {
            const int32_t kept = static_cast<int32_t>(rng.integer(1, m));
            const gatun_nm_weights w{
                sizeof(w), kept, m,     1,    scheme.value_dtype, scheme.zero_point, scheme.scale_dtype, dense,
                0,         1,    depth, group};
            const Layout layout(w, dense);
            const int32_t n = dense ? m : kept;
            std::vector<Piece> pieces(static_cast<size_t>(layout.pieces()));
            layout.list_pieces(pieces.data());
            int64_t x = 0, slot = 0, units = 0;
            for (const Piece& piece : pieces) {
              EXPECT_EQ(piece.x, x);
              EXPECT_EQ(piece.slot, slot);
              EXPECT_EQ(piece.units, units);
              EXPECT_EQ(piece.slots, piece.groups * n);
              EXPECT_LE(piece.groups * m, 512);
              const int64_t end = std::min(depth, group == 0 ? depth : (x / group + 1) * group);
              const bool last = piece.groups * m >= end - x;
              x = last ? end : x + piece.groups * m;
              slot += piece.slots;
              units += (piece.slots + 7) / 8 * layout.unit_bytes();
              if (!last) {
                EXPECT_EQ(piece.groups * m, 512);
                continue;
              }
              if (scheme.scale_dtype != 0) {
                EXPECT_EQ(piece.scales, units);
                EXPECT_EQ(piece.zeros, units + layout.scale_bytes());
                units = piece.zeros + layout.zero_points();
              }
            }
            EXPECT_EQ(x, depth);
            EXPECT_EQ(slot, layout.padded_depth() / m * n);
            EXPECT_EQ(units, layout.column_bytes());
          }
        }
      }
    }
  }
}

// As if somebody had changed them since they were found not to be.
TEST(NmPacked, PlaceOfWhatIsFiniteAgain) {
  for (const int32_t dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
    constexpr int64_t kRows = 3, kColumns = 40;
    GuardBuffer<uint8_t> floats(dtype_bytes(dtype, kRows * kColumns));
    std::memset(floats.data(), 0x11, static_cast<size_t>(floats.size()));
    EXPECT_EQ(check_finite(floats.data(), dtype, kRows, kColumns, "values"), GATUN_OK);
    EXPECT_EQ(fail_not_finite(floats.data(), dtype, kRows - 1, kColumns, "values"), GATUN_INTERNAL);
    EXPECT_STREQ(gatun_last_error(),
                 "values: row 2 had a number that is not finite, and has none when it is read again");
    std::memset(floats.data() + dtype_bytes(dtype, kRows * kColumns - 1), 0xff,
                static_cast<size_t>(dtype_bytes(dtype, 1)));
    EXPECT_EQ(check_finite(floats.data(), dtype, kRows, kColumns, "values"), GATUN_INVALID_ARGUMENT);
    EXPECT_STREQ(gatun_last_error(), "values[2][39] is NaN or infinite; allowed: finite");
  }
}

TEST(NmPacked, LiesOnHugePages) {
  if (!test::system_has_huge_pages()) GTEST_SKIP() << "this system knows no huge pages";
  const gatun_nm_weights description{sizeof(description), 2, 4, 1, GATUN_I8, 0, GATUN_F32, 0, 0, 1024, 4096, 4096};
  int64_t bytes = 0;
  ASSERT_EQ(gatun_nm_packed_bytes(&description, &bytes), GATUN_OK);
  const test::HugeMap packed(3);
  ASSERT_LE(bytes, packed.bytes());
  ASSERT_FALSE(packed.advised());
  const std::vector<int8_t> values(1024 * 2048);
  const std::vector<uint8_t> indices(1024 * 512, 0x44);
  const std::vector<float> scales(1024);
  ASSERT_EQ(gatun_nm_pack(&description, values.data(), indices.data(), scales.data(), nullptr, packed.data(), bytes),
            GATUN_OK);
  EXPECT_TRUE(packed.advised());
}

struct ReportCase {
  int32_t n, m, dtype;
  int64_t rows;
  int32_t slower;  // of gatun_nm_report, dense being allowed
};

// Bytes of a unit, sparse over dense, and the cost of a kept weight.
TEST(NmReport, SaysWhereSparseIsSlower) {
  const ReportCase cases[] = {
      {2, 4, GATUN_F32, 0, 0},          {2, 4, GATUN_F16, 512, 0},      {2, 4, GATUN_BF16, 512, 0},
      {2, 4, GATUN_I8, 512, 0},         {2, 4, GATUN_U4, 1, 0},         {3, 4, GATUN_F32, 512, 2 | 4},
      {3, 4, GATUN_BF16, 512, 2 | 4},   {3, 4, GATUN_BF16, 1, 2},       {3, 4, GATUN_BF16, 0, 2},
      {3, 4, GATUN_BF16, 4, 2},         {3, 4, GATUN_BF16, 5, 2 | 4},   {3, 4, GATUN_I8, 1, 2},
      {3, 4, GATUN_I8, 2, 2 | 4},       {4, 8, GATUN_U4, 1, 1 | 4},     {3, 4, GATUN_I8, 0, 2},
      {3, 4, GATUN_I8, 100, 2 | 4},     {3, 4, GATUN_U4, 0, 1 | 2 | 4}, {5, 8, GATUN_U4, 1, 1 | 2 | 4},
      {5, 8, GATUN_U4, 100, 1 | 2 | 4}, {17, 32, GATUN_U4, 100, 1},     {4, 4, GATUN_F32, 0, 1 | 2 | 4},
      {8, 32, GATUN_U4, 1, 0},          {9, 32, GATUN_U4, 1, 1 | 4},    {28, 32, GATUN_F32, 1, 1 | 2 | 4},
  };
  for (const ReportCase& c : cases) {
    const bool codes = c.dtype == GATUN_I8 || c.dtype == GATUN_U4;
    gatun_nm_weights w{
        sizeof(w),       c.n, c.m, 1, c.dtype, 0, codes ? GATUN_F16 : 0, GATUN_NM_DENSE_IF_FASTER, c.rows, 256, 1024,
        codes ? 1024 : 0};
    SCOPED_TRACE(testing::Message() << c.n << ":" << c.m << " " << dtype_name(c.dtype) << " rows " << c.rows);
    char text[1024];
    int32_t slower = -1;
    ASSERT_EQ(gatun_nm_report(&w, &slower, text, sizeof(text)), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(slower, c.slower) << text;
    EXPECT_EQ(stores_dense(w), (slower & 4) != 0);
    EXPECT_NE(std::strstr(text, slower & 4 ? "packed dense" : "packed sparse"), nullptr) << text;
    w.dense = GATUN_NM_DENSE_NEVER;
    ASSERT_EQ(gatun_nm_report(&w, &slower, text, sizeof(text)), GATUN_OK);
    EXPECT_EQ(slower, c.slower & 3) << text;
    EXPECT_NE(std::strstr(text, "not allowed"), nullptr) << text;
  }
}

}  // namespace
}  // namespace gatun::nm_matmul
