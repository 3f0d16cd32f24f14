// Every kernel of the tier in use (GATUN_MAX_ISA) against reference.cc, bit for bit, through the C entry points; how
// good the searches are; and block.h against the reference's reading.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gguf/reference.h"
#include "gguf/table.h"
#include "guard_buffer.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::gguf {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

constexpr int32_t kFloats[] = {GATUN_F32, GATUN_F16, GATUN_BF16};

struct Shape {
  const Type& type;
  int32_t x_dtype;
  int64_t rows, depth, stride;
  int32_t threads = 1;

  int64_t x_extent() const { return rows == 0 || depth == 0 ? 0 : (rows - 1) * stride + depth; }
  int64_t block_bytes() const { return rows * (depth / type.elements) * type.bytes; }
};

std::string describe(const Shape& s) {
  return std::string(s.type.name) + ", x " + dtype_name(s.x_dtype) + ", " + std::to_string(s.rows) + " x " +
         std::to_string(s.depth) + ", stride " + std::to_string(s.stride) + ", threads " + std::to_string(s.threads);
}

int32_t quantize(const Shape& s, const void* x, void* blocks) {
  return gatun_gguf_quantize(s.type.id, s.x_dtype, s.rows, s.depth, s.stride, s.threads, x, blocks);
}
int32_t dequantize(const Shape& s, const void* blocks, void* x) {
  return gatun_gguf_dequantize(s.type.id, s.x_dtype, s.rows, s.depth, s.stride, s.threads, blocks, x);
}

// Values that make each step of the definitions matter; finite, and no scale overflows.
std::vector<float> values(Rng& rng, int64_t count, int64_t kind) {
  std::vector<float> x = rng.normals(count);
  for (float& value : x) {
    switch (kind) {
      case 0:
        break;
      case 1:
        value = static_cast<float>(rng.integer(-8, 8));  // ties, extremes of both signs
        break;
      case 2:
        value = 100 + std::fabs(value);  // all positive, far from 0
        break;
      case 3:
        value = rng.integer(0, 1) ? 0.0f : -0.0f;
        break;
      case 4:
        value *= std::ldexp(1.0f, static_cast<int>(rng.integer(-30, -10)));  // binary16 scales become subnormal, or 0
        break;
      case 5:
        value = rng.integer(0, 9) == 0 ? value * 1000 : 0;
        break;
      case 6:
        value = std::ldexp(value, static_cast<int>(rng.integer(-149, -120)));  // 1 / d overflows
        break;
      default:
        value = -100 - value / 1024;  // all negative, a small spread
        break;
    }
  }
  return x;
}
constexpr int64_t kValueKinds = 8;

// x in guarded memory, both ways.
void compare(const Shape& s, const std::vector<float>& x, Edge edge, int64_t offset) {
  SCOPED_TRACE(describe(s));
  const int64_t element = dtype_bytes(s.x_dtype, 1);
  GuardBuffer<uint8_t> input(test::from_floats(x, s.x_dtype), edge, offset * element);
  input.make_read_only();
  GuardBuffer<uint8_t> blocks(s.block_bytes(), edge, offset);
  std::vector<uint8_t> expected(static_cast<size_t>(s.block_bytes()));
  reference_quantize(s.type, s.x_dtype, s.rows, s.depth, s.stride, input.data(), expected.data());
  ASSERT_EQ(quantize(s, input.data(), blocks.data()), GATUN_OK) << gatun_last_error();
  ASSERT_TRUE(test::identical(blocks.copy(), expected, s.type.bytes)) << "[block, byte]";

  blocks.make_read_only();
  GuardBuffer<uint8_t> back(s.x_extent() * element, edge, offset * element);
  std::vector<uint8_t> plain = back.copy();
  reference_dequantize(s.type, s.x_dtype, s.rows, s.depth, s.stride, expected.data(), plain.data());
  ASSERT_EQ(dequantize(s, blocks.data(), back.data()), GATUN_OK) << gatun_last_error();
  ASSERT_TRUE(test::identical(back.copy(), plain)) << "bytes of x; between rows nothing is written";
}

TEST(Gguf, EveryTypeAndSize) {
  Rng rng(1);
  int64_t cases = 0;
  for (const Type& type : kTypeTable) {
    for (const int32_t x_dtype : kFloats) {
      for (const int64_t row_blocks : {0, 1, 2, 3, 15, 16, 17, 33}) {
        if (type.elements == 256 && row_blocks > 3) continue;
        for (const int64_t rows : {0, 1, 3}) {
          const int64_t depth = row_blocks * type.elements;
          const Shape s = {type, x_dtype, rows, depth, depth + (cases % 3) * rng.integer(0, 5)};
          const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
          compare(s, values(rng, s.x_extent(), cases++ % kValueKinds), edge, rng.integer(0, 3));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  EXPECT_GT(cases, 500);
}

TEST(Gguf, EveryKindOfValues) {
  Rng rng(2);
  for (const Type& type : kTypeTable) {
    for (const int32_t x_dtype : kFloats) {
      for (int64_t kind = 0; kind < kValueKinds; ++kind) {
        compare({type, x_dtype, 1, 4096, 4096}, values(rng, 4096, kind), Edge::back, 0);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Any bytes are blocks. Which NaN comes out is open.
TEST(Gguf, AnyBytesAreBlocks) {
  Rng rng(3);
  for (const Type& type : kTypeTable) {
    for (const int32_t x_dtype : kFloats) {
      const Shape s = {type, x_dtype, 3, 5 * type.elements, 5 * type.elements + 3};
      for (int round = 0; round < 40; ++round) {
        GuardBuffer<uint8_t> blocks(rng.integers<uint8_t>(s.block_bytes(), 0, 255),
                                    round % 2 ? Edge::back : Edge::front);
        if (round % 4 == 0) {  // every scale NaN, infinite, or next to that
          for (int64_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<uint8_t>(rng.integer(0, 1) ? 0xff : 0x7c);
        }
        blocks.make_read_only();
        GuardBuffer<uint8_t> x(s.x_extent() * dtype_bytes(x_dtype, 1));
        std::vector<uint8_t> expected = x.copy();
        ASSERT_EQ(dequantize(s, blocks.data(), x.data()), GATUN_OK);
        reference_dequantize(type, x_dtype, s.rows, s.depth, s.stride, blocks.data(), expected.data());
        const std::vector<double> actual = test::to_doubles(x.data(), x_dtype, s.x_extent());
        const std::vector<double> wanted = test::to_doubles(expected.data(), x_dtype, s.x_extent());
        ASSERT_TRUE(test::within(actual, wanted, std::vector<double>(wanted.size(), 0))) << describe(s);
      }
    }
  }
}

TEST(Gguf, BlocksAreTakenApartAndPutTogether) {
  Rng rng(4);
  for (const Type& type : kTypeTable) {
    for (int round = 0; round < 500; ++round) {
      GuardBuffer<uint8_t> block(rng.integers<uint8_t>(type.bytes, 0, 255)), again(type.bytes);
      Fields fields;
      read_block(type, block.data(), fields);
      write_block(type, fields, again.data());
      ASSERT_TRUE(test::identical(again.copy(), block.copy())) << type.name;
      Fields same;
      read_block(type, again.data(), same);
      ASSERT_EQ(std::memcmp(&same, &fields, sizeof(fields)), 0) << type.name;
      for (int i = 0; i < type.elements; ++i) ASSERT_LT(fields.codes[i], 1 << type.bits) << type.name;

      // The value that block.h states for each element.
      std::vector<float> x(static_cast<size_t>(type.elements));
      reference_dequantize(type, GATUN_F32, 1, type.elements, type.elements, block.data(), x.data());
      const float d = type.power_scale ? std::ldexp(1.0f, fields.e - 128) : f16_to_f32(fields.d);
      if (!std::isfinite(d) || !std::isfinite(f16_to_f32(fields.dmin)) || fields.e == 255) continue;
      for (int i = 0; i < type.elements; ++i) {
        const int k = i / type.group, code = fields.codes[i];
        const float level = static_cast<float>(type.table != nullptr ? type.table[code] : code - type.zero);
        float value = d * level;
        if (type.group < type.elements) value = d * static_cast<float>(fields.scales[k]) * level;
        if (type.offset == Offset::value) value += f16_to_f32(fields.dmin);
        if (type.offset == Offset::mins) value -= f16_to_f32(fields.dmin) * static_cast<float>(fields.mins[k]);
        ASSERT_EQ(value, x[static_cast<size_t>(i)]) << type.name << ", element " << i;
      }
    }
  }
}

// Kernels as the entry calls them for many MiB of x, at every alignment of it.
TEST(Gguf, PastTheCaches) {
  Rng rng(5);
  for (const Type& type : kTypeTable) {
    const Kernel& kernel = *table().select(type.id, 0, static_cast<Tier>(gatun_tier())).kernel;
    for (const int64_t blocks : {1, 2, 7, 100}) {
      for (const int64_t offset : {0, 1, 8, 16}) {
        const int64_t count = blocks * type.elements;
        std::vector<uint8_t> bytes(static_cast<size_t>(blocks * type.bytes));
        const std::vector<float> x = rng.normals(count);
        reference_quantize(type, GATUN_F32, 1, count, count, x.data(), bytes.data());
        std::vector<float> plain(x.size());
        reference_dequantize(type, GATUN_F32, 1, count, count, bytes.data(), plain.data());
        GuardBuffer<float> back(count, offset % 3 ? Edge::front : Edge::back, offset);
        const Job job = {back.data(), bytes.data(), blocks, count, true};
        const int64_t middle = blocks / 3;  // where another thread begins
        kernel.dequantize[kXF32](job, middle, blocks);
        kernel.dequantize[kXF32](job, 0, middle);
        ASSERT_TRUE(test::identical(back.copy(), plain)) << type.name << ", " << blocks << " blocks";
      }
    }
  }
}

TEST(Gguf, AnyNumberOfThreadsAndEveryTier) {
  Rng rng(6);
  for (const Type& type : kTypeTable) {
    Shape s = {type, GATUN_BF16, 37, 2048, 2048 + 5};
    const std::vector<unsigned char> x = test::from_floats(rng.normals(s.x_extent()), s.x_dtype);
    const size_t bytes = static_cast<size_t>(s.block_bytes());
    std::vector<uint8_t> one(bytes), scalar(bytes);
    ASSERT_EQ(quantize(s, x.data(), one.data()), GATUN_OK);
    ASSERT_EQ(run_quantize(Tier::scalar, type.id, s.x_dtype, s.rows, s.depth, s.stride, 1, x.data(), scalar.data()),
              GATUN_OK);
    ASSERT_TRUE(test::identical(one, scalar)) << type.name;
    std::vector<unsigned char> back(x), again(x);
    ASSERT_EQ(dequantize(s, one.data(), back.data()), GATUN_OK);
    ASSERT_EQ(run_dequantize(Tier::scalar, type.id, s.x_dtype, s.rows, s.depth, s.stride, 1, one.data(), again.data()),
              GATUN_OK);
    ASSERT_TRUE(test::identical(back, again)) << type.name;
    for (const int32_t threads : {0, 2, 8}) {
      s.threads = threads;
      std::vector<uint8_t> many(bytes);
      ASSERT_EQ(quantize(s, x.data(), many.data()), GATUN_OK);
      ASSERT_TRUE(test::identical(many, one)) << describe(s);
      again = x;
      ASSERT_EQ(dequantize(s, one.data(), again.data()), GATUN_OK);
      ASSERT_TRUE(test::identical(again, back)) << describe(s);
    }
  }
}

TEST(Gguf, NanAndInfinityAreNamed) {
  Rng rng(7);
  for (const Type& type : kTypeTable) {
    for (const int32_t x_dtype : kFloats) {
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
        const Shape s = {type, x_dtype, 5, 1024, 1024, 2};
        std::vector<float> x = rng.normals(s.x_extent());
        const int64_t row = rng.integer(0, 4), k = rng.integer(0, 1023);
        x[static_cast<size_t>(row * 1024 + k)] = bad;
        if (row < 4) x[4 * 1024 + 1023] = bad;  // a later one
        std::vector<uint8_t> blocks(static_cast<size_t>(s.block_bytes()));
        ASSERT_EQ(quantize(s, test::from_floats(x, x_dtype).data(), blocks.data()), GATUN_INVALID_ARGUMENT)
            << describe(s);
        const std::string name = "x[" + std::to_string(row) + "][" + std::to_string(k) + "]";
        ASSERT_NE(std::string(gatun_last_error()).find(name), std::string::npos) << gatun_last_error();
      }
    }
  }
}

// d = steps * 65519.996 is the largest that binary16 takes; one f32 more is refused, as is anything beyond. Where d is
// half a range, or m, likewise.
TEST(Gguf, ScalesThatOverflow) {
  const std::map<int32_t, float> steps = {
      {GATUN_GGUF_Q4_0, -8},       {GATUN_GGUF_Q5_0, -16},     {GATUN_GGUF_Q8_0, 127},
      {GATUN_GGUF_Q4_1, 15},       {GATUN_GGUF_Q5_1, 31},      {GATUN_GGUF_Q2_K, 3 * 15},
      {GATUN_GGUF_Q3_K, 4 * 32},   {GATUN_GGUF_Q4_K, 15 * 63}, {GATUN_GGUF_Q5_K, 31 * 63},
      {GATUN_GGUF_Q6_K, 32 * 128}, {GATUN_GGUF_IQ4_NL, 127},   {GATUN_GGUF_IQ4_XS, 127 * 32}};
  for (const Type& type : kTypeTable) {
    std::vector<float> x(static_cast<size_t>(2 * type.elements));
    std::vector<uint8_t> blocks(static_cast<size_t>(2 * type.bytes));
    const Shape s = {type, GATUN_F32, 2, type.elements, type.elements};
    const auto refused = [&] {
      const bool expected = reference_check(type, GATUN_F32, s.rows, s.depth, s.stride, x.data()) != GATUN_OK;
      const int32_t status = quantize(s, x.data(), blocks.data());
      EXPECT_EQ(status, expected ? GATUN_INVALID_ARGUMENT : GATUN_OK) << type.name;
      if (expected) {
        const std::string message = gatun_last_error();
        EXPECT_NE(message.find("block 0 in row 1"), std::string::npos) << message;
        EXPECT_NE(message.find("overflows F16"), std::string::npos) << message;
      }
      return expected;
    };
    float& value = x[static_cast<size_t>(type.elements + 3)];
    if (type.power_scale) {  // no scale overflows
      value = std::numeric_limits<float>::max();
      EXPECT_FALSE(refused());
      continue;
    }
    const float step = steps.at(type.id);
    // A search may prefer a scale that is somewhat larger.
    value = (made_as_ggml(type) ? 65504 : 50000) * step;
    EXPECT_FALSE(refused()) << type.name;
    if (made_as_ggml(type)) {
      value = std::nextafter(65520.0f, 0.0f) * step;
      while (std::fabs(value / step) >= 65520) value = std::nextafter(value, 0.0f);
      EXPECT_FALSE(refused()) << type.name;
      value = 65520 * step;
      EXPECT_TRUE(refused()) << type.name;
    }
    for (const float large : {1.2f * 65520 * step, 1e18f, -1e20f, 3e38f, -std::numeric_limits<float>::max()}) {
      value = large;
      EXPECT_TRUE(refused()) << type.name << ", " << large;
      for (int i = 0; i < type.elements; i += 2) x[static_cast<size_t>(type.elements + i)] = -large;
      EXPECT_TRUE(refused()) << type.name << ", " << large;
      std::fill(x.begin(), x.end(), 0.0f);
    }
    if (type.offset != Offset::none) {  // a constant far from 0 is all offset
      std::fill(x.begin() + type.elements, x.end(), -65504.0f);
      EXPECT_FALSE(refused()) << type.name;
      std::fill(x.begin() + type.elements, x.end(), -65520.0f * 63);
      EXPECT_TRUE(refused()) << type.name;
    }
  }
}

// ggml's own figures on as many values of a normal distribution.
TEST(Gguf, RelativeErrorOfTheSearches) {
  Rng rng(8);
  constexpr int64_t kCount = 1 << 19;
  const std::vector<float> x = rng.normals(kCount);
  const std::map<int32_t, double> allowed = {
      {GATUN_GGUF_Q2_K, .2965}, {GATUN_GGUF_Q3_K, .1506},   {GATUN_GGUF_Q4_K, .0714},  {GATUN_GGUF_Q5_K, .0361},
      {GATUN_GGUF_Q6_K, .0177}, {GATUN_GGUF_IQ4_NL, .0787}, {GATUN_GGUF_IQ4_XS, .0767}};
  for (const auto& [id, figure] : allowed) {
    const Shape s = {*find_type(id), GATUN_F32, 512, kCount / 512, kCount / 512};
    std::vector<uint8_t> blocks(static_cast<size_t>(s.block_bytes()));
    std::vector<float> back(x.size());
    ASSERT_EQ(quantize(s, x.data(), blocks.data()), GATUN_OK);
    ASSERT_EQ(dequantize(s, blocks.data(), back.data()), GATUN_OK);
    double errors = 0, squares = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      errors += std::pow(double{back[i]} - x[i], 2);
      squares += std::pow(x[i], 2);
    }
    const double relative = std::sqrt(errors / squares);
    EXPECT_LE(relative, figure) << s.type.name;
    EXPECT_GT(relative, figure / 2) << s.type.name << ": too good to be true";
    RecordProperty(s.type.name, std::to_string(relative));
  }
}

// Each value within half a step, and what rounding the scales adds; what was made is made again.
TEST(Gguf, ErrorsOfTheExactTypesAndMakingTwice) {
  Rng rng(9);
  for (const Type& type : kTypeTable) {
    if (!made_as_ggml(type)) continue;
    for (const float scale : {1.0f, 0x1p-8f, 1000.0f}) {
      const Shape s = {type, GATUN_F32, 1, 32 * 200, 32 * 200};
      const std::vector<float> x = rng.normals(s.depth, scale);
      std::vector<uint8_t> blocks(static_cast<size_t>(s.block_bytes())), again(blocks.size());
      std::vector<float> back(x.size()), twice(x.size());
      ASSERT_EQ(quantize(s, x.data(), blocks.data()), GATUN_OK);
      ASSERT_EQ(dequantize(s, blocks.data(), back.data()), GATUN_OK);
      for (size_t i = 0; i < x.size(); ++i) {
        Fields fields;
        read_block(type, &blocks[i / 32 * static_cast<size_t>(type.bytes)], fields);
        double bound;
        if (type.power_scale) {  // steps of 2 at the upper end, where 6 stands for up to 8
          bound = std::ldexp(2.0, fields.e - 127);
        } else {
          const double d = std::fabs(f16_to_f32(fields.d)), m = std::fabs(f16_to_f32(fields.dmin));
          // A half's rounding, and codes next to the extreme of the other sign that are one step short.
          const double half_step = type.id == GATUN_GGUF_Q4_0 || type.id == GATUN_GGUF_Q5_0 ? 1 : 0.5;
          bound = d * half_step + (d * (1 << type.bits) + m) * 0x1p-11;
        }
        ASSERT_LE(std::fabs(double{back[i]} - x[i]), bound * 1.0001) << type.name << ", element " << i;
      }
      ASSERT_EQ(quantize(s, back.data(), again.data()), GATUN_OK);
      ASSERT_EQ(dequantize(s, again.data(), twice.data()), GATUN_OK);
      if (type.offset == Offset::none) {
        ASSERT_TRUE(test::within(std::vector<double>(twice.begin(), twice.end()),
                                 std::vector<double>(back.begin(), back.end()), std::vector<double>(back.size(), 0)))
            << type.name;
      }
    }
  }
}

// IQ4_NL against a look at every binary16 scale from a third of the plain one to three times that, of both signs.
TEST(Gguf, NearlyTheBestOfAllScales) {
  Rng rng(10);
  const Type& type = *find_type(GATUN_GGUF_IQ4_NL);
  double mine = 0, best_of_all = 0;
  for (int round = 0; round < 50; ++round) {
    const std::vector<float> x = rng.normals(32);
    std::vector<uint8_t> block(18);
    std::vector<float> back(32);
    ASSERT_EQ(quantize({type, GATUN_F32, 1, 32, 32}, x.data(), block.data()), GATUN_OK);
    ASSERT_EQ(dequantize({type, GATUN_F32, 1, 32, 32}, block.data(), back.data()), GATUN_OK);
    float amax = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      mine += std::pow(double{back[i]} - x[i], 2);
      amax = std::max(amax, std::fabs(x[i]));
    }
    double best = std::numeric_limits<double>::infinity();
    for (int half = f32_to_f16(amax / 127 / 3); half < f32_to_f16(amax / 127 * 3); ++half) {
      for (const double sign : {-1.0, 1.0}) {
        double error = 0;
        for (const float value : x) {
          double least = std::numeric_limits<double>::infinity();
          for (int code = 0; code < 16; ++code) {
            least =
                std::min(least, std::pow(sign * f16_to_f32(static_cast<uint16_t>(half)) * type.table[code] - value, 2));
          }
          error += least;
        }
        best = std::min(best, error);
      }
    }
    best_of_all += best;
  }
  EXPECT_GE(mine, best_of_all);
  EXPECT_LE(mine, 1.04 * best_of_all);
}

TEST(Gguf, EmptyWorkNeedsNoMemory) {
  for (const Type& type : kTypeTable) {
    for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{0, 0}, {0, 256}, {5, 0}}) {
      EXPECT_EQ(quantize({type, GATUN_F32, rows, depth, depth}, nullptr, nullptr), GATUN_OK);
      EXPECT_EQ(dequantize({type, GATUN_F32, rows, depth, depth}, nullptr, nullptr), GATUN_OK);
    }
  }
}

TEST(Gguf, ExplainNamesTheKernel) {
  char text[1024];
  for (const Type& type : kTypeTable) {
    for (const int32_t x_dtype : kFloats) {
      ASSERT_EQ(gatun_gguf_explain(type.id, x_dtype, text, sizeof(text)), GATUN_OK) << gatun_last_error();
      const std::string name = table().select(type.id, 0, static_cast<Tier>(gatun_tier())).name;
      EXPECT_NE(std::string(text).find(name), std::string::npos) << text;
      EXPECT_NE(std::string(text).find(type.name), std::string::npos) << text;
    }
  }
}

}  // namespace
}  // namespace gatun::gguf
