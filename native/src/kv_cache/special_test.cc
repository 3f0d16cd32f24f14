// NaN and infinity among what is written, and scales beyond f16.
#include <cmath>
#include <cstring>
#include <limits>

#include "gatun/gatun.h"
#include "kv_cache/test_pool.h"

namespace gatun::kv_cache {
namespace {

using test::Rng;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The error names the place; slots of other calls stay.
TEST(KvCacheSpecial, WhatHasNoCode) {
  struct Case {
    Format format;
    float value;
    int64_t head, token, channel;
    const char* message;
  };
  const Case cases[] = {
      {kCodes[0], kNan, 1, 70, 5, "x[1][70][5] = nan"},
      {kCodes[1], kInfinity, 0, 0, 63, "x[0][0][63] = inf"},
      {kCodes[3], -kInfinity, 1, 95, 0, "x[1][95][0] = -inf"},
      {kCodes[5], kNan, 1, 40, 33, "x[1][40][33] = nan"},
      {kCodes[9], -kInfinity, 0, 95, 63, "x[0][95][63] = -inf"},
      {kCodes[0], 65520 * 127, 1, 3, 17, "the scale of head 1, tokens 3 to 3, channels 16 to 31 of x overflows F16"},
      {kCodes[2], 65520 * 2, 0, 9, 40, "the scale of head 0, tokens 9 to 9, channels 32 to 47"},
      {kCodes[4], -65520, 1, 80, 3, "the zero point of head 1, tokens 80 to 80, channels 0 to 15"},
      {kCodes[7], -65520 * 2, 0, 50, 11, "the scale of head 0, tokens 48 to 63, channels 11 to 11"},
      {kCodes[8], -65520, 1, 16, 60, "the zero point of head 1, tokens 16 to 31, channels 60 to 60"},
  };
  Rng rng(7);
  for (const Case& c : cases) {
    const gatun_kv_layout l = make_layout(c.format, 64, 16, 2, 4, 32);
    for (const int32_t threads : {1, 4}) {
      gatun_kv_rows_params p = make_params(l, GATUN_F32, 96);
      p.threads = threads;
      std::vector<float> x = rng.normals(x_extent(p, l));
      x[static_cast<size_t>(c.head * p.x_head_stride + c.token * p.x_row_stride + c.channel)] = c.value;
      std::vector<int64_t> slots(96);
      std::iota(slots.begin(), slots.end(), 16);
      const Rng contents(rng.next());
      Memory mine(l, contents), before(l, contents);
      ASSERT_EQ(gatun_kv_cache_write(&p, &l, x.data(), slots.data(), mine.rows(), mine.scales(), mine.zeros()),
                GATUN_INVALID_ARGUMENT)
          << c.message;
      EXPECT_NE(std::strstr(gatun_last_error(), c.message), nullptr) << gatun_last_error();
      // The first and the last 16 slots.
      std::iota(slots.begin(), slots.end(), -16);
      std::fill(slots.begin() + 16, slots.begin() + 80, -1);
      for (size_t i = 0; i < 16; ++i) {
        slots[i] += 16;
        slots[80 + i] = 112 + static_cast<int64_t>(i);
      }
      std::vector<float> rows(x.size()), rows_before(x.size());
      reference_read({p, mine.pool(l)}, slots.data(), rows.data());
      reference_read({p, before.pool(l)}, slots.data(), rows_before.data());
      ASSERT_TRUE(test::identical(rows, rows_before)) << c.message;
      // What is left out does not matter.
      std::iota(slots.begin(), slots.end(), 16);
      const int64_t unit = unit_of(l), first = c.token / unit * unit;
      std::fill_n(slots.begin() + first, unit, -1);
      ASSERT_EQ(gatun_kv_cache_write(&p, &l, x.data(), slots.data(), mine.rows(), mine.scales(), mine.zeros()),
                GATUN_OK)
          << gatun_last_error();
    }
  }
}

// The largest finite value of F8 stands for all beyond it, infinity included; NaN stays NaN; other values of NaN and
// infinity are kept.
TEST(KvCacheSpecial, ValuesThatAreNoNumbers) {
  const float x[8] = {kNan, kInfinity, -kInfinity, 1e30f, -1e30f, -kNan, 500, 0x1p-30f};
  const int64_t slot = 0;
  for (const Format& format : kValues) {
    const gatun_kv_layout l = make_layout(format, 8, 0, 1, 1, 1);
    const gatun_kv_rows_params p = make_params(l, GATUN_F32, 1);
    float row[8], back[8];
    ASSERT_EQ(gatun_kv_cache_write(&p, &l, x, &slot, row, nullptr, nullptr), GATUN_OK) << gatun_last_error();
    ASSERT_EQ(gatun_kv_cache_read(&p, &l, row, nullptr, nullptr, &slot, back), GATUN_OK);
    const float most = format.dtype == GATUN_F8E4M3 ? 448 : format.dtype == GATUN_F8E5M2 ? 57344 : kInfinity;
    SCOPED_TRACE(dtype_name(format.dtype));
    EXPECT_TRUE(std::isnan(back[0]) && std::isnan(back[5]));
    EXPECT_EQ(back[1], most);
    EXPECT_EQ(back[2], -most);
  }
}

}  // namespace
}  // namespace gatun::kv_cache
