// Fewer bits from stored codes, and errors of quantizations.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/dtype.h"
#include "calibrate/reference.h"
#include "calibrate/table.h"
#include "gatun/calibrate.h"
#include "gatun/gatun.h"
#include "gatun/gguf.h"
#include "guard_buffer.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::calibrate {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

gatun_quantize_params make_params(int32_t codes, int32_t zero_point, int32_t scales, int64_t rows, int64_t depth,
                                  int64_t group, int64_t group_rows = 1) {
  gatun_quantize_params p{};
  p.struct_size = sizeof(p);
  p.x_dtype = GATUN_F32;
  p.code_dtype = codes;
  p.zero_point = zero_point;
  p.scale_dtype = scales;
  p.threads = 1;
  p.tensor_scale = 1;
  p.rows = rows;
  p.depth = depth;
  p.group = group;
  p.group_rows = group_rows;
  p.x_row_stride = depth;
  p.x_column_stride = 1;
  return p;
}

int64_t groups(const gatun_quantize_params& p) { return p.depth == 0 ? 0 : (p.depth + p.group - 1) / p.group; }
int64_t blocks(const gatun_quantize_params& p) {
  return p.rows == 0 ? 0 : (p.rows + p.group_rows - 1) / p.group_rows * groups(p);
}
int64_t zero_bytes(const gatun_quantize_params& p) {
  return p.zero_point == GATUN_ZERO_NONE ? 0 : p.zero_point == GATUN_ZERO_FLOAT ? 4 : 1;
}
int32_t out_dtype(const gatun_quantize_params& p, int32_t bits) {
  return bits == 4 ? int{GATUN_U4} : bits == 2 ? int{GATUN_U2} : p.code_dtype;
}

std::string describe(const gatun_quantize_params& p, int32_t bits) {
  return std::string(dtype_name(p.code_dtype)) + " zero points " + std::to_string(p.zero_point) + ", " +
         dtype_name(p.scale_dtype) + " scales, book " + std::to_string(p.book) + ", " + std::to_string(p.rows) + " x " +
         std::to_string(p.depth) + " in blocks of " + std::to_string(p.group_rows) + " x " + std::to_string(p.group) +
         ", bits " + std::to_string(bits);
}

struct Stored {
  Stored(Rng& rng, const gatun_quantize_params& p, Edge edge, int64_t offset)
      : codes(rng.integers<uint8_t>(p.rows * p.depth, 0, 255), edge, offset),
        scales(test::from_floats(rng.normals(blocks(p), 0.1f), p.scale_dtype), edge,
               offset * dtype_bytes(p.scale_dtype, 1)),
        zero_points(p.zero_point == GATUN_ZERO_FLOAT ? test::from_floats(rng.normals(blocks(p)), GATUN_F32)
                                                     : rng.integers<unsigned char>(blocks(p) * zero_bytes(p), 0, 255),
                    edge, offset * zero_bytes(p)) {
    codes.make_read_only();
    scales.make_read_only();
    zero_points.make_read_only();
  }
  const void* zeros() const { return zero_points.size() > 0 ? zero_points.data() : nullptr; }
  GuardBuffer<uint8_t> codes;
  GuardBuffer<unsigned char> scales, zero_points;
};

struct Format {
  int32_t codes, zero_point, scales;
};
constexpr Format kFormats[] = {{GATUN_I8, GATUN_ZERO_NONE, GATUN_F32},    {GATUN_I8, GATUN_ZERO_NONE, GATUN_F16},
                               {GATUN_U8, GATUN_ZERO_INTEGER, GATUN_F32}, {GATUN_U8, GATUN_ZERO_INTEGER, GATUN_F16},
                               {GATUN_U8, GATUN_ZERO_FLOAT, GATUN_F32},   {GATUN_U8, GATUN_ZERO_FLOAT, GATUN_F16}};

// Everything bit for bit: the search over the coarser grid is the definition.
TEST(Requantize, EveryFormatSizeAndGroup) {
  Rng rng(5);
  int64_t cases = 0;
  for (const Format& format : kFormats) {
    for (const int32_t bits : {6, 4, 2}) {
      for (const int64_t depth : {0, 1, 2, 3, 15, 16, 17, 33, 64, 129, 4099}) {
        for (const int64_t group : test::group_sizes(depth)) {
          gatun_quantize_params p =
              make_params(format.codes, format.zero_point, format.scales, rng.integer(0, 3), depth, group);
          SCOPED_TRACE(describe(p, bits));
          const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
          const int64_t offset = rng.integer(0, 3);
          const Stored stored(rng, p, edge, offset);
          const int64_t bytes = p.rows * dtype_bytes(out_dtype(p, bits), depth);
          GuardBuffer<uint8_t> codes(bytes, edge, offset);
          GuardBuffer<unsigned char> scales(stored.scales.size(), edge, offset * dtype_bytes(p.scale_dtype, 1)),
              zeros(stored.zero_points.size(), edge, offset * zero_bytes(p));
          std::vector<uint8_t> right(static_cast<size_t>(bytes));
          std::vector<unsigned char> right_scales = scales.copy(), right_zeros = zeros.copy();
          p.threads = static_cast<int32_t>(rng.integer(0, 3));
          ASSERT_EQ(gatun_requantize(&p, bits, stored.codes.data(), stored.scales.data(), stored.zeros(), codes.data(),
                                     scales.data(), zeros.size() > 0 ? zeros.data() : nullptr),
                    GATUN_OK)
              << gatun_last_error();
          reference_requantize(p, bits, stored.codes.data(), stored.scales.data(), stored.zeros(), right.data(),
                               right_scales.data(), right_zeros.data());
          ASSERT_TRUE(test::identical(codes.copy(), right));
          ASSERT_TRUE(test::identical(scales.copy(), right_scales));
          ASSERT_TRUE(test::identical(zeros.copy(), right_zeros));
          ++cases;
        }
      }
    }
  }
  EXPECT_GT(cases, 500);
}

// All 256 codes. What gatun_dequantize makes of the new codes is the stored value rounded to a multiple of the coarser
// scale: at most half of it away, unless the range ends.
TEST(Requantize, DequantizesToTheStoredValueOnTheCoarserGrid) {
  constexpr int64_t kCodes = 256;
  std::vector<uint8_t> codes(kCodes);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i);
  for (const Format& format : kFormats) {
    if (format.scales != GATUN_F32) continue;
    for (const int32_t bits : {6, 4, 2}) {
      gatun_quantize_params p = make_params(format.codes, format.zero_point, GATUN_F32, 1, kCodes, kCodes);
      SCOPED_TRACE(describe(p, bits));
      const float scale = 0.25f, float_zero = -1.5f;
      const uint8_t zero = 131;
      const void* zeros = p.zero_point == GATUN_ZERO_FLOAT     ? static_cast<const void*>(&float_zero)
                          : p.zero_point == GATUN_ZERO_INTEGER ? &zero
                                                               : nullptr;
      std::vector<uint8_t> out(kCodes);
      float out_scale, out_zero[1];
      ASSERT_EQ(gatun_requantize(&p, bits, codes.data(), &scale, zeros, out.data(), &out_scale,
                                 zeros == nullptr ? nullptr : out_zero),
                GATUN_OK)
          << gatun_last_error();
      const int ratio = 1 << (8 - bits);
      EXPECT_EQ(out_scale, scale * static_cast<float>(ratio));
      float fine[kCodes], coarse[kCodes];
      ASSERT_EQ(gatun_dequantize(&p, nullptr, codes.data(), &scale, zeros, fine), GATUN_OK) << gatun_last_error();
      p.code_dtype = out_dtype(p, bits);
      ASSERT_EQ(gatun_dequantize(&p, nullptr, out.data(), &out_scale, zeros == nullptr ? nullptr : out_zero, coarse),
                GATUN_OK)
          << gatun_last_error();
      const float least = *std::min_element(coarse, coarse + kCodes), most = *std::max_element(coarse, coarse + kCodes);
      const float origin = format.zero_point == GATUN_ZERO_FLOAT ? float_zero : 0;
      for (int64_t i = 0; i < kCodes; ++i) {
        const float steps = (fine[i] - origin) / out_scale;  // exact: powers of two
        const float rounded = std::nearbyint(steps) * out_scale + origin;
        EXPECT_EQ(coarse[i], std::min(std::max(rounded, least), most)) << i;
      }
      EXPECT_EQ((most - least) / out_scale, static_cast<float>((1 << bits) - 1));
    }
  }
}

TEST(Requantize, AnyNumberOfThreadsAndEveryTierAgree) {
  Rng rng(6);
  for (const Format& format : kFormats) {
    for (const int32_t bits : {6, 4, 2}) {
      for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{1, 700001}, {500, 1001}}) {
        gatun_quantize_params p = make_params(format.codes, format.zero_point, format.scales, rows, depth, 100);
        const Stored stored(rng, p, Edge::back, 0);
        const auto results = [&](Tier tier) {
          std::vector<uint8_t> out(static_cast<size_t>(p.rows * dtype_bytes(out_dtype(p, bits), p.depth)));
          std::vector<unsigned char> scales(stored.scales.copy()), zeros(stored.zero_points.copy());
          EXPECT_EQ(run_requantize(tier, &p, bits, stored.codes.data(), stored.scales.data(), stored.zeros(),
                                   out.data(), scales.data(), zeros.empty() ? nullptr : zeros.data()),
                    GATUN_OK);
          out.insert(out.end(), scales.begin(), scales.end());
          out.insert(out.end(), zeros.begin(), zeros.end());
          return out;
        };
        const std::vector<uint8_t> one = results(static_cast<Tier>(gatun_tier()));
        p.threads = 8;
        ASSERT_TRUE(test::identical(results(static_cast<Tier>(gatun_tier())), one)) << describe(p, bits);
        ASSERT_TRUE(test::identical(results(Tier::scalar), one)) << describe(p, bits);
      }
    }
  }
}

// Codes, scales and zero points of any format, made of x by gatun_quantize where there is a kernel for it.
struct Planes {
  std::vector<uint8_t> codes;
  std::vector<float> scales, zero_points;  // memory for any dtype of them
  const void* zeros() const { return zero_points.empty() ? nullptr : zero_points.data(); }
};

int32_t quantize(const gatun_quantize_params& p, const void* x, const float* book, Planes* planes) {
  planes->codes.assign(static_cast<size_t>(p.rows * dtype_bytes(p.code_dtype, p.depth)), 0);
  planes->scales.assign(static_cast<size_t>(blocks(p)), 0);
  planes->zero_points.assign(p.zero_point == GATUN_ZERO_NONE ? 0 : static_cast<size_t>(blocks(p)), 0);
  return gatun_quantize(&p, x, book, nullptr, planes->codes.data(), planes->scales.data(),
                        planes->zero_points.empty() ? nullptr : planes->zero_points.data());
}

::testing::AssertionResult sums_agree(const std::vector<double>& sums, const std::vector<double>& right) {
  std::vector<double> allowed(right.size());
  for (size_t i = 0; i < right.size(); ++i) allowed[i] = 0x1p-40 * right[i];
  return test::within(sums, right, allowed);
}

// Against sums over the whole dequantized matrix.
void compare_error(const gatun_quantize_params& p, int32_t gguf_type, int64_t group, const void* x, const float* book,
                   const Planes& planes, const std::vector<float>& values) {
  for (const int32_t per : {GATUN_ERROR_PER_BLOCK, GATUN_ERROR_PER_ROW}) {
    const bool rows = per == GATUN_ERROR_PER_ROW;
    const int64_t group_rows = rows || gguf_type != 0 ? 1 : p.group_rows;
    const int64_t columns = rows ? p.depth : group;
    const size_t count = static_cast<size_t>((p.rows + group_rows - 1) / group_rows *
                                             (p.depth == 0 ? 0 : (p.depth + columns - 1) / columns));
    std::vector<double> right(count), right_squares(count);
    reference_error(p, group_rows, columns, x, values.data(), right.data(), right_squares.data());
    GuardBuffer<double> errors(static_cast<int64_t>(count)), squares(static_cast<int64_t>(count));
    const void* scales = gguf_type != 0 ? nullptr : planes.scales.data();
    ASSERT_EQ(gatun_quantization_error(&p, gguf_type, per, x, book, planes.codes.data(), scales, planes.zeros(),
                                       errors.data(), squares.data()),
              GATUN_OK)
        << gatun_last_error();
    ASSERT_TRUE(sums_agree(errors.copy(), right)) << "per " << per;
    ASSERT_TRUE(sums_agree(squares.copy(), right_squares)) << "per " << per;
    // The same bits with 8 threads and on the lowest tier.
    gatun_quantize_params other = p;
    other.threads = 8;
    for (const Tier tier : {static_cast<Tier>(gatun_tier()), Tier::scalar}) {
      std::vector<double> again(count), squares_again(count);
      ASSERT_EQ(run_error(tier, &other, gguf_type, per, x, book, planes.codes.data(), scales, planes.zeros(),
                          again.data(), squares_again.data()),
                GATUN_OK);
      ASSERT_TRUE(test::identical(again, errors.copy())) << "per " << per;
      ASSERT_TRUE(test::identical(squares_again, squares.copy())) << "per " << per;
    }
  }
}

TEST(QuantizationError, EveryFormatThatQuantizes) {
  Rng rng(7);
  int64_t cases = 0;
  std::vector<float> book = rng.normals(256);
  std::sort(book.begin(), book.end());
  const auto run = [&](gatun_quantize_params p, int32_t x_dtype) {
    p.x_dtype = x_dtype;
    p.x_row_stride = p.depth + rng.integer(0, 3);
    SCOPED_TRACE(describe(p, 0));
    const std::vector<unsigned char> x =
        test::from_floats(rng.normals(p.rows == 0 ? 0 : (p.rows - 1) * p.x_row_stride + p.depth), x_dtype);
    const float* values_of_book = p.book == GATUN_BOOK_GIVEN ? book.data() : nullptr;
    Planes planes;
    ASSERT_EQ(quantize(p, x.data(), values_of_book, &planes), GATUN_OK) << gatun_last_error();
    std::vector<float> values(static_cast<size_t>(p.rows * p.depth));
    gatun_quantize_params whole = p;
    whole.x_dtype = GATUN_F32;
    whole.x_row_stride = p.depth;
    ASSERT_EQ(gatun_dequantize(&whole, values_of_book, planes.codes.data(), planes.scales.data(), planes.zeros(),
                               values.data()),
              GATUN_OK)
        << gatun_last_error();
    compare_error(p, 0, p.group, x.data(), values_of_book, planes, values);
    ++cases;
  };
  struct Kind {
    int32_t codes, zero_point, scales, book, group_rows;
  };
  const Kind kinds[] = {{GATUN_I8, 0, GATUN_F32, 0, 1},
                        {GATUN_U8, GATUN_ZERO_INTEGER, GATUN_F16, 0, 1},
                        {GATUN_U4, 0, GATUN_F16, 0, 1},
                        {GATUN_U4, GATUN_ZERO_FLOAT, GATUN_F32, 0, 1},
                        {GATUN_U2, GATUN_ZERO_INTEGER, GATUN_F32, 0, 1},
                        {GATUN_F8E4M3, 0, GATUN_F32, 0, 3},
                        {GATUN_F8E5M2, 0, GATUN_E8M0, 0, 1},
                        {GATUN_F6E3M2, 0, GATUN_E8M0, 0, 1},
                        {GATUN_F4E2M1, 0, GATUN_F8E4M3, 0, 1},
                        {GATUN_U4, 0, GATUN_F32, GATUN_BOOK_NF4, 1},
                        {GATUN_U8, 0, GATUN_F32, GATUN_BOOK_GIVEN, 1}};
  for (const Kind& kind : kinds) {
    for (const int64_t depth : {1, 7, 33, 100, 131, 9001}) {
      for (const int64_t group : test::group_sizes(depth)) {
        if (depth > 1000 && group > 17 && group < 100) continue;
        gatun_quantize_params p =
            make_params(kind.codes, kind.zero_point, kind.scales, 4, depth, group, kind.group_rows);
        p.book = kind.book;
        run(p, rng.pick(std::vector<int32_t>{GATUN_F32, GATUN_F16, GATUN_BF16}));
        if (HasFatalFailure()) return;
      }
    }
  }
  EXPECT_GT(cases, 150);
}

TEST(QuantizationError, GgufBlocks) {
  Rng rng(8);
  for (const int32_t type : {GATUN_GGUF_Q4_0, GATUN_GGUF_Q8_0, GATUN_GGUF_Q6_K, GATUN_GGUF_MXFP4}) {
    int32_t elements, bytes;
    ASSERT_EQ(gatun_gguf_block(type, &elements, &bytes), GATUN_OK);
    for (const int64_t count : {1, 3, 41}) {
      gatun_quantize_params p = make_params(0, 0, 0, 3, count * elements, 0);
      p.x_row_stride += 5;
      const std::vector<float> x = rng.normals(3 * p.x_row_stride);
      std::vector<float> values(static_cast<size_t>(p.rows * p.depth));
      Planes planes;
      planes.codes.resize(static_cast<size_t>(p.rows * count * bytes));
      ASSERT_EQ(gatun_gguf_quantize(type, GATUN_F32, p.rows, p.depth, p.x_row_stride, 1, x.data(), planes.codes.data()),
                GATUN_OK);
      ASSERT_EQ(gatun_gguf_dequantize(type, GATUN_F32, p.rows, p.depth, p.depth, 1, planes.codes.data(), values.data()),
                GATUN_OK);
      compare_error(p, type, elements, x.data(), nullptr, planes, values);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(QuantizationError, ByHandAndNan) {
  const int8_t codes[] = {1, 2, -3, 4};
  const float scales[] = {0.5f, 2};
  float x[] = {1, 1, -6, 9};
  const gatun_quantize_params p = make_params(GATUN_I8, 0, GATUN_F32, 2, 2, 2);
  double errors[2], squares[2];
  ASSERT_EQ(gatun_quantization_error(&p, 0, GATUN_ERROR_PER_ROW, x, nullptr, codes, scales, nullptr, errors, squares),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_EQ(errors[0], 0.25);
  EXPECT_EQ(squares[0], 2);
  EXPECT_EQ(errors[1], 1);
  EXPECT_EQ(squares[1], 117);
  x[1] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_EQ(gatun_quantization_error(&p, 0, GATUN_ERROR_PER_ROW, x, nullptr, codes, scales, nullptr, errors, squares),
            GATUN_OK);
  EXPECT_TRUE(std::isnan(errors[0]) && std::isnan(squares[0]));
  EXPECT_EQ(errors[1], 1);
}

TEST(QuantizationError, EmptyWork) {
  for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{0, 0}, {0, 32}}) {
    const gatun_quantize_params p = make_params(GATUN_U4, 0, GATUN_F32, rows, depth, depth);
    EXPECT_EQ(gatun_quantization_error(&p, 0, GATUN_ERROR_PER_ROW, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                       nullptr),
              GATUN_OK)
        << gatun_last_error();
    EXPECT_EQ(gatun_requantize(&p, 4, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_INVALID_ARGUMENT);
  }
  const gatun_quantize_params p = make_params(GATUN_U4, 0, GATUN_F32, 2, 0, 0);
  double errors[2] = {1, 1}, squares[2] = {1, 1};
  EXPECT_EQ(gatun_quantization_error(&p, 0, GATUN_ERROR_PER_ROW, nullptr, nullptr, nullptr, nullptr, nullptr, errors,
                                     squares),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_EQ(errors[1] + squares[1] + errors[0] + squares[0], 0);
}

}  // namespace
}  // namespace gatun::calibrate
