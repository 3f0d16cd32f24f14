// Small floats and code books: what calls refuse, and the least that they take.
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "gatun/gatun.h"
#include "gatun/quantize.h"
#include "quantize/reference.h"
#include "quantize/test_scaled.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::quantize::scaled {
namespace {

// Values with `bad` ones among them: the first is named.
void expect_refused(const Format& format, int32_t x_dtype, float bad, Rng& rng) {
  gatun_quantize_params p = make_params(format, 70, 67, 17, x_dtype);
  if (format.code_dtype == GATUN_F8E4M3) p.group_rows = 32;
  p.threads = 0;
  SCOPED_TRACE(describe(p));
  const Extras extras(p, rng);
  const int64_t row = rng.integer(0, 69), column = rng.integer(0, 66);
  std::vector<float> x = values(rng, 70 * 67, 0);
  x[static_cast<size_t>(row * 67 + column)] = bad;
  if (row < 69) x[static_cast<size_t>(69 * 67)] = bad;  // a later one does not hide the first
  const std::vector<unsigned char> bytes = test::from_floats(x, x_dtype);
  Quantized q(p);
  // Given scales: bytes that are finite numbers in any format.
  std::fill(q.scales.data(), q.scales.data() + q.scales.size(), uint8_t{0x3c});
  ASSERT_EQ(gatun_quantize(&p, bytes.data(), extras.code_book(), nullptr, q.codes.data(), q.scales.data(), nullptr),
            GATUN_INVALID_ARGUMENT);
  const std::string named = "x[" + std::to_string(row) + "][" + std::to_string(column) + "]";
  EXPECT_NE(std::string(gatun_last_error()).find(named), std::string::npos) << gatun_last_error();
}

TEST(Scaled, RefusesWhatIsNotFiniteByIndex) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  Rng rng(30);
  for (Format format : formats()) {
    for (const int32_t rule : {format.scale_rule, int32_t{GATUN_SCALE_GIVEN}}) {
      format.scale_rule = rule;
      for (const int32_t x_dtype : kFloats) {
        for (const float bad : {kNaN, -kNaN, kInfinity, -kInfinity}) expect_refused(format, x_dtype, bad, rng);
      }
    }
  }
}

TEST(Scaled, RefusesScales) {
  gatun_quantize_params p = make_params({GATUN_F8E4M3, 0, GATUN_F16, 0}, 3, 40, 20);
  std::vector<float> x(120, 1.0f);
  x[2 * 40 + 21] = 65520.0f * 448;
  Quantized q(p);
  ASSERT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr),
            GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_last_error()).find("group 1 in row 2"), std::string::npos) << gatun_last_error();
  x[2 * 40 + 21] *= 0.99f;
  EXPECT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr), GATUN_OK);

  for (const int32_t scale_dtype : {GATUN_F16, GATUN_E8M0}) {
    gatun_quantize_params given = make_params({GATUN_F8E5M2, 0, scale_dtype, GATUN_SCALE_GIVEN}, 3, 40, 20);
    Quantized bad(given);
    std::fill(bad.scales.data(), bad.scales.data() + bad.scales.size(),
              static_cast<uint8_t>(scale_dtype == GATUN_F16 ? 0x3c : 127));
    uint8_t* last = bad.scales.data() + bad.scales.size() - 1;  // of group 1 in row 2
    *last = scale_dtype == GATUN_F16 ? 0x7e : 0xff;
    ASSERT_EQ(gatun_quantize(&given, x.data(), nullptr, nullptr, bad.codes.data(), bad.scales.data(), nullptr),
              GATUN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(gatun_last_error()).find("scales[2][1]"), std::string::npos) << gatun_last_error();
  }
}

TEST(Scaled, RefusesBooks) {
  gatun_quantize_params p = make_params({GATUN_U4, GATUN_BOOK_GIVEN, GATUN_F32, 0}, 1, 32, 32);
  std::vector<float> x(32, 1.0f), book(16, 0.0f);
  book[3] = -1;
  Quantized q(p);
  ASSERT_EQ(gatun_quantize(&p, x.data(), book.data(), nullptr, q.codes.data(), q.scales.data(), nullptr),
            GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_last_error()).find("code_book[3] = -1"), std::string::npos) << gatun_last_error();
  ASSERT_EQ(gatun_dequantize(&p, book.data(), q.codes.data(), q.scales.data(), nullptr, x.data()),
            GATUN_INVALID_ARGUMENT);
  ASSERT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr),
            GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_last_error()).find("code_book"), std::string::npos) << gatun_last_error();
}

TEST(Scaled, EmptyWorkNeedsNoMemory) {
  for (const Format& format : formats()) {
    if (format.book == GATUN_BOOK_GIVEN) continue;
    for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{0, 0}, {0, 64}, {5, 0}}) {
      const gatun_quantize_params p = make_params(format, rows, depth, depth);
      EXPECT_EQ(gatun_quantize(&p, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK)
          << gatun_last_error();
      EXPECT_EQ(gatun_dequantize(&p, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
    }
  }
}

}  // namespace
}  // namespace gatun::quantize::scaled
