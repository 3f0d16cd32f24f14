// Writing and reading against reference.cc, through the C entry points; all of a pool's bytes are compared, so that
// those of other slots have to stay as they were.
#include <cmath>
#include <limits>

#include "gatun/gatun.h"
#include "kv_cache/test_pool.h"

namespace gatun::kv_cache {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// What x holds: for codes all of it is finite, with stretches of zeros, of magnitudes whose scale f16 has no or hardly
// a number for, and extremes of both signs.
std::vector<float> any_x(Rng& rng, int64_t count, bool codes) {
  std::vector<float> x(static_cast<size_t>(count));
  float scale = 1;
  for (int64_t i = 0; i < count; ++i) {
    if (i % 16 == 0) {
      constexpr float kScales[] = {1, 1, 100, 0, 1e-9f, 3e-7f, 1e-4f};
      scale = kScales[rng.integer(0, 6)];
    }
    float& value = x[static_cast<size_t>(i)];
    value = codes ? scale * rng.normal() : rng.special();
    if (codes && rng.integer(0, 3) == 0) value = scale * 3 * (rng.next() & 1 ? 1.0f : -1.0f);
    if (!codes && rng.next() & 1) value = 100 * rng.normal();
  }
  return x;
}

struct Shape {
  Order order;
  int64_t gap;
  Edge edge;
  int64_t offset;
};
constexpr Shape kShapes[] = {{Order::heads_outside, 0, Edge::back, 0},
                             {Order::rows_outside, 0, Edge::front, 1},
                             {Order::heads_outside, 3, Edge::front, 0},
                             {Order::rows_outside, 1, Edge::back, 3}};

// NaN is NaN, whatever its other bits are.
std::vector<uint8_t> one_nan(const std::vector<uint8_t>& x, int32_t dtype) {
  const std::vector<double> values =
      test::to_doubles(x.data(), dtype, static_cast<int64_t>(x.size()) / dtype_bytes(dtype, 1));
  std::vector<float> floats(values.size());
  for (size_t i = 0; i < values.size(); ++i) floats[i] = std::isnan(values[i]) ? kNan : static_cast<float>(values[i]);
  return test::from_floats(floats, dtype);
}

void compare(Rng& rng, const gatun_kv_layout& l, int32_t dtype, int64_t tokens, const Shape& shape) {
  SCOPED_TRACE(testing::Message() << text(l) << ", x in " << dtype_name(dtype));
  const GuardBuffer<int64_t> slots(any_slots(rng, l, tokens, true), shape.edge);
  const gatun_kv_rows_params p = make_params(l, dtype, slots.size(), shape.order, shape.gap);
  const bool codes = l.scaling != GATUN_KV_UNSCALED;
  const int64_t element = dtype_bytes(dtype, 1);
  GuardBuffer<uint8_t> x(test::from_floats(any_x(rng, x_extent(p, l), codes), dtype), shape.edge,
                         shape.offset * element);
  x.make_read_only();

  const Rng contents(rng.next());
  Memory mine(l, contents, shape.edge, shape.offset), expected(l, contents);
  const Call call{p, expected.pool(l)};
  ASSERT_EQ(gatun_kv_cache_write(&p, &l, x.data(), slots.data(), mine.rows(), mine.scales(), mine.zeros()), GATUN_OK)
      << gatun_last_error();
  reference_write(call, x.data(), slots.data());
  ASSERT_TRUE(Memory::same(mine, expected)) << "written";

  // Reading takes slots in any order, groups or not.
  const GuardBuffer<int64_t> some(any_slots(rng, make_layout({GATUN_F32}, 8, 0, 1, l.pages, l.page_size), tokens, true),
                                  shape.edge);
  gatun_kv_rows_params r = make_params(l, dtype, some.size(), shape.order, shape.gap);
  GuardBuffer<uint8_t> back(x_extent(r, l) * element, shape.edge, shape.offset * element);
  std::vector<uint8_t> wanted = back.copy();
  mine.make_read_only();
  ASSERT_EQ(gatun_kv_cache_read(&r, &l, mine.rows(), mine.scales(), mine.zeros(), some.data(), back.data()), GATUN_OK)
      << gatun_last_error();
  reference_read({r, expected.pool(l)}, some.data(), wanted.data());
  ASSERT_TRUE(test::identical(one_nan(back.copy(), dtype), one_nan(wanted, dtype))) << "read";
}

TEST(KvCache, Values) {
  Rng rng(1);
  for (const Format& format : kValues) {
    for (const int64_t size : {8, 16, 24, 56, 64, 80, 128, 200, 256}) {
      for (const int32_t dtype : kFloats) {
        for (const Shape& shape : kShapes) {
          compare(rng, make_layout(format, size, 0, 2, 5, 7, shape.order, shape.gap), dtype, 30, shape);
        }
      }
    }
  }
}

TEST(KvCache, CodesWithScalesOfTokens) {
  Rng rng(2);
  for (const Format& format : kCodes) {
    if (format.scaling != GATUN_KV_PER_TOKEN) continue;
    for (const int64_t size : {8, 16, 24, 40, 64, 72, 128, 256}) {
      for (const int64_t group : {int64_t{16}, int64_t{32}, int64_t{48}, int64_t{64}, int64_t{112}, size}) {
        if (group > size) continue;
        for (const int32_t dtype : kFloats) {
          for (const Shape& shape : kShapes) {
            compare(rng, make_layout(format, size, group, 2, 3, 9, shape.order, shape.gap), dtype, 23, shape);
          }
        }
      }
    }
  }
}

TEST(KvCache, CodesWithScalesOfChannels) {
  Rng rng(3);
  for (const Format& format : kCodes) {
    if (format.scaling != GATUN_KV_PER_CHANNEL) continue;
    for (const int64_t size : {8, 24, 64, 72, 256}) {
      for (const auto& [group, page_size] : {std::pair<int64_t, int64_t>{16, 16}, {16, 48}, {32, 64}, {48, 96}}) {
        for (const int32_t dtype : kFloats) {
          for (const Shape& shape : kShapes) {
            compare(rng, make_layout(format, size, group, 2, 3, page_size, shape.order, shape.gap), dtype,
                    2 * page_size, shape);
          }
        }
      }
    }
  }
}

// More tokens than a thread takes at once, with slots in a row.
TEST(KvCache, LongRuns) {
  Rng rng(4);
  for (const Format& format : {kValues[1], kCodes[0], kCodes[3], kCodes[5], kCodes[8]}) {
    const gatun_kv_layout l = make_layout(format, 64, 32, 3, 9, 32);
    for (const int64_t tokens : {63, 64, 65, 128, 200, 288}) {
      for (const int64_t first : {0, 7}) {
        const int64_t begin = first / unit_of(l) * unit_of(l);
        std::vector<int64_t> slots(static_cast<size_t>(std::min(tokens, 288 - begin) / unit_of(l) * unit_of(l)));
        std::iota(slots.begin(), slots.end(), begin);
        const gatun_kv_rows_params p = make_params(l, GATUN_F32, static_cast<int64_t>(slots.size()));
        const std::vector<float> x = any_x(rng, x_extent(p, l), true);
        const Rng contents(rng.next());
        Memory mine(l, contents), expected(l, contents);
        ASSERT_EQ(gatun_kv_cache_write(&p, &l, x.data(), slots.data(), mine.rows(), mine.scales(), mine.zeros()),
                  GATUN_OK)
            << gatun_last_error();
        reference_write({p, expected.pool(l)}, x.data(), slots.data());
        ASSERT_TRUE(Memory::same(mine, expected)) << text(l) << ", " << tokens << " tokens from slot " << begin;
        std::vector<float> back(x.size()), wanted(x.size());
        ASSERT_EQ(gatun_kv_cache_read(&p, &l, mine.rows(), mine.scales(), mine.zeros(), slots.data(), back.data()),
                  GATUN_OK);
        reference_read({p, expected.pool(l)}, slots.data(), wanted.data());
        ASSERT_TRUE(test::identical(back, wanted)) << text(l);
      }
    }
  }
}

TEST(KvCache, AnyNumberOfThreads) {
  Rng rng(5);
  for (const Format& format : {kValues[0], kValues[3], kCodes[0], kCodes[4], kCodes[6]}) {
    const gatun_kv_layout l = make_layout(format, 128, 32, 5, 12, 64);
    gatun_kv_rows_params p = make_params(l, GATUN_BF16, 700 / unit_of(l) * unit_of(l));
    const std::vector<int64_t> slots = any_slots(rng, l, p.tokens, false);
    const std::vector<uint8_t> x = test::from_floats(rng.normals(x_extent(p, l)), p.dtype);
    const Rng contents(rng.next());
    Memory one(l, contents);
    std::vector<uint8_t> read(x.size());
    for (const int32_t threads : {1, 0, 2, 3, 5, 8}) {
      p.threads = threads;
      Memory mine(l, contents);
      Memory& pool = threads == 1 ? one : mine;
      ASSERT_EQ(gatun_kv_cache_write(&p, &l, x.data(), slots.data(), pool.rows(), pool.scales(), pool.zeros()),
                GATUN_OK)
          << gatun_last_error();
      ASSERT_TRUE(Memory::same(pool, one)) << text(l) << ", " << threads << " threads";
      std::vector<uint8_t> back(x.size());
      ASSERT_EQ(gatun_kv_cache_read(&p, &l, one.rows(), one.scales(), one.zeros(), slots.data(), back.data()),
                GATUN_OK);
      if (threads == 1) read = back;
      ASSERT_TRUE(test::identical(back, read)) << text(l) << ", " << threads << " threads";
    }
  }
}

// By hand.
TEST(KvCache, WhatCodesStandFor) {
  const int64_t slot = 1;
  float x[8] = {-8, 7, 0, 1, -1, 3, -3, 2}, back[8];
  const auto write = [&](const gatun_kv_layout& l, uint8_t* rows, uint16_t* scales, uint16_t* zeros) {
    const gatun_kv_rows_params p = make_params(l, GATUN_F32, 1);
    ASSERT_EQ(gatun_kv_cache_write(&p, &l, x, &slot, rows, scales, zeros), GATUN_OK) << gatun_last_error();
    ASSERT_EQ(gatun_kv_cache_read(&p, &l, rows, scales, zeros, &slot, back), GATUN_OK) << gatun_last_error();
  };
  uint8_t rows[16] = {};
  uint16_t scales[2] = {}, zeros[2] = {};
  write(make_layout({GATUN_U4, GATUN_KV_PER_TOKEN}, 8, 8, 1, 1, 2), rows, scales, nullptr);
  EXPECT_EQ(std::vector<uint8_t>(rows, rows + 8), (std::vector<uint8_t>{0, 0, 0, 0, 0xf0, 0x98, 0xb7, 0xa5}));
  EXPECT_EQ(scales[0], 0);
  EXPECT_EQ(scales[1], f32_to_f16(1));
  EXPECT_TRUE(test::identical(back, x, 8));
  // x = q + z, 15 steps of 1.
  write(make_layout({GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT}, 8, 8, 1, 1, 2), rows, scales, zeros);
  EXPECT_EQ(zeros[1], f32_to_f16(-8));
  EXPECT_EQ(rows[4], 0xf0);
  EXPECT_TRUE(test::identical(back, x, 8));
  for (float& value : x) value *= 127;
  x[0] = 127 * 127;
  write(make_layout({GATUN_I8, GATUN_KV_PER_TOKEN}, 8, 8, 1, 1, 2), rows, scales, nullptr);
  EXPECT_EQ(scales[1], f32_to_f16(127));
  EXPECT_EQ(std::vector<uint8_t>(rows + 8, rows + 16), (std::vector<uint8_t>{127, 7, 0, 1, 255, 3, 253, 2}));
  EXPECT_TRUE(test::identical(back, x, 8));
  // -2 s, -s, 0, s.
  const float crumbs[8] = {4, 2, 0, -2, 1.1f, -0.9f, 0, 4};
  std::copy(crumbs, crumbs + 8, x);
  write(make_layout({GATUN_U2, GATUN_KV_PER_TOKEN}, 8, 8, 1, 1, 2), rows, scales, nullptr);
  EXPECT_EQ(scales[1], f32_to_f16(-2));
  EXPECT_EQ(rows[2], 0 | 1 << 2 | 2 << 4 | 3 << 6);
  EXPECT_EQ(rows[3], 1 | 2 << 2 | 2 << 4 | 0 << 6);
}

TEST(KvCache, CodesAreMadeWithTheScaleThatIsStored) {
  Rng rng(6);
  const gatun_kv_layout l = make_layout({GATUN_I8, GATUN_KV_PER_TOKEN}, 256, 256, 1, 1, 1);
  const gatun_kv_rows_params p = make_params(l, GATUN_F32, 1);
  const int64_t slot = 0;
  int64_t different = 0;
  for (int i = 0; i < 20; ++i) {
    const std::vector<float> x = rng.normals(256);
    int8_t codes[256];
    uint16_t scale;
    ASSERT_EQ(gatun_kv_cache_write(&p, &l, x.data(), &slot, codes, &scale, nullptr), GATUN_OK);
    float amax = 0;
    for (const float value : x) amax = std::max(amax, std::fabs(value));
    EXPECT_EQ(scale, f32_to_f16(amax / 127));
    for (size_t c = 0; c < 256; ++c) {
      const float inverse = 1 / f16_to_f32(scale);
      EXPECT_EQ(codes[c], std::clamp(std::nearbyint(x[c] * inverse), -127.0f, 127.0f));
      different += std::nearbyint(x[c] * (127 / amax)) != static_cast<float>(codes[c]);
    }
  }
  EXPECT_GT(different, 0);
}

TEST(KvCache, EmptyWorkNeedsNoMemory) {
  for (const Format& format : {kValues[0], kCodes[3], kCodes[6]}) {
    gatun_kv_layout l = make_layout(format, 64, 16, 2, 0, 32);
    const gatun_kv_rows_params none = make_params(l, GATUN_F32, 0);
    EXPECT_EQ(gatun_kv_cache_write(&none, &l, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK)
        << gatun_last_error();
    EXPECT_EQ(gatun_kv_cache_read(&none, &l, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK);
    EXPECT_EQ(gatun_kv_cache_move(&l, 0, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK);
    l.heads = 0;
    l.pages = 3;
    const std::vector<int64_t> slots = {32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47};
    const gatun_kv_rows_params some = make_params(l, GATUN_F32, 16);
    EXPECT_EQ(gatun_kv_cache_write(&some, &l, nullptr, slots.data(), nullptr, nullptr, nullptr), GATUN_OK)
        << gatun_last_error();
    EXPECT_EQ(gatun_kv_cache_read(&some, &l, nullptr, nullptr, nullptr, slots.data(), nullptr), GATUN_OK);
    EXPECT_EQ(gatun_kv_cache_move(&l, 16, slots.data(), slots.data(), nullptr, nullptr, nullptr), GATUN_OK);
  }
}

}  // namespace
}  // namespace gatun::kv_cache
