// Every kernel of the tier in use (GATUN_MAX_ISA) against reference.cc, through the C entry point.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <memory>

#include "attention_merge/reference.h"
#include "attention_merge/table.h"
#include "gatun/gatun.h"
#include "guard_buffer.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::attention_merge {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

constexpr int32_t kFloats[] = {GATUN_F32, GATUN_BF16, GATUN_F16};
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Rows one after the other, or with a gap after each row, head and item.
gatun_attention_merge_params make_params(int32_t dtype, int64_t batch, int64_t heads, int64_t length, int64_t size,
                                         int64_t gap = 0) {
  gatun_attention_merge_params p{};
  p.struct_size = sizeof(p);
  p.dtype = dtype;
  p.threads = 1;
  p.batch = batch;
  p.heads = heads;
  p.length = length;
  p.value_size = size;
  p.a_row_stride = p.b_row_stride = p.out_row_stride = size + gap;
  p.a_head_stride = p.b_head_stride = p.out_head_stride = length * (size + gap) + gap;
  p.a_batch_stride = p.b_batch_stride = p.out_batch_stride = heads * p.a_head_stride + gap;
  return p;
}

int64_t extent(const gatun_attention_merge_params& p) {
  if (p.batch == 0 || p.heads == 0 || p.length == 0 || p.value_size == 0) return 0;
  return (p.batch - 1) * p.a_batch_stride + (p.heads - 1) * p.a_head_stride + (p.length - 1) * p.a_row_stride +
         p.value_size;
}

// The place of a row in a, b and out.
int64_t place(const gatun_attention_merge_params& p, int64_t row) {
  return row / p.length / p.heads * p.a_batch_stride + row / p.length % p.heads * p.a_head_stride +
         row % p.length * p.a_row_stride;
}

// Partial sums of any sizes, some of no keys.
std::vector<float> sums(Rng& rng, int64_t rows) {
  std::vector<float> lse = rng.normals(rows, 3.0f);
  for (float& value : lse) {
    if (rng.integer(0, 9) == 0) value = -kInfinity;
    if (rng.integer(0, 9) == 0) value += 1000;
  }
  return lse;
}

// Rows of out and numbers of lse, against the reference; the gaps stay as they were.
void check(const gatun_attention_merge_params& p, const uint8_t* a, const float* a_lse, const uint8_t* b,
           const float* b_lse, const uint8_t* out, const float* lse) {
  const int64_t element = dtype_bytes(p.dtype, 1);
  for (int64_t row = 0; row < p.batch * p.heads * p.length; ++row) {
    const auto values = [&](const uint8_t* data) {
      return p.value_size == 0 ? std::vector<double>()
                               : test::to_doubles(data + place(p, row) * element, p.dtype, p.value_size);
    };
    const std::vector<double> of_a = values(a), of_b = values(b);
    std::vector<double> expected(of_a.size()), allowed(of_a.size());
    const double sum = reference_row(of_a.data(), static_cast<double>(a_lse[row]), of_b.data(),
                                     static_cast<double>(b_lse[row]), p.value_size, expected.data());
    for (size_t c = 0; c < allowed.size(); ++c) {
      allowed[c] = 0x1p-23 * (std::fabs(of_a[c]) + std::fabs(of_b[c])) +
                   test::unit_in_last_place(p.dtype, expected[c]) / (p.dtype == GATUN_F32 ? 1 : 1.9);
    }
    ASSERT_TRUE(test::within(values(out), expected, allowed)) << "row " << row;
    if (lse == nullptr) continue;
    ASSERT_TRUE(test::within({static_cast<double>(lse[row])}, {sum}, {test::unit_in_last_place(GATUN_F32, sum)}))
        << "lse of row " << row;
  }
}

void compare(const gatun_attention_merge_params& p, Rng& rng, Edge edge, int64_t offset, bool with_lse) {
  SCOPED_TRACE(testing::Message() << dtype_name(p.dtype) << " " << p.batch << " x " << p.heads << " x " << p.length
                                  << " rows of " << p.value_size << ", row stride " << p.a_row_stride);
  const int64_t element = dtype_bytes(p.dtype, 1), rows = p.batch * p.heads * p.length;
  const auto partial = [&] {
    auto buffer = std::make_unique<GuardBuffer<uint8_t>>(extent(p) * element, edge, offset * element);
    for (int64_t row = 0; p.value_size > 0 && row < rows; ++row) {
      const std::vector<uint8_t> values = test::from_floats(rng.normals(p.value_size), p.dtype);
      std::copy(values.begin(), values.end(), buffer->data() + place(p, row) * element);
    }
    buffer->make_read_only();
    return buffer;
  };
  const auto a = partial(), b = partial();
  GuardBuffer<float> a_lse(sums(rng, rows), edge, offset), b_lse(sums(rng, rows), edge, offset);
  a_lse.make_read_only();
  b_lse.make_read_only();
  GuardBuffer<uint8_t> out(extent(p) * element, edge, offset * element);
  GuardBuffer<float> lse(rows, edge, offset);
  const std::vector<uint8_t> before = out.copy();
  ASSERT_EQ(gatun_attention_merge(&p, a->data(), a_lse.data(), b->data(), b_lse.data(), out.data(),
                                  with_lse ? lse.data() : nullptr),
            GATUN_OK)
      << gatun_last_error();
  ASSERT_NO_FATAL_FAILURE(
      check(p, a->data(), a_lse.data(), b->data(), b_lse.data(), out.data(), with_lse ? lse.data() : nullptr));
  for (int64_t row = 0; p.value_size > 0 && row + 1 < rows; ++row) {
    const int64_t end = (place(p, row) + p.value_size) * element, next = place(p, row + 1) * element;
    ASSERT_TRUE(test::identical(out.data() + end, before.data() + end, next - end)) << "between rows, after " << row;
  }
}

TEST(AttentionMerge, Rows) {
  Rng rng(1);
  for (const int32_t dtype : kFloats) {
    for (const int64_t size : {0, 1, 7, 8, 15, 16, 17, 31, 33, 64, 80, 128, 257}) {
      for (const Edge edge : test::kEdges) {
        for (const int64_t offset : {0, 1}) {
          compare(make_params(dtype, 2, 3, 17, size, offset * 3), rng, edge, offset, edge == Edge::back);
        }
      }
    }
  }
}

TEST(AttentionMerge, EmptyWorkNeedsNoMemory) {
  for (const auto& [batch, heads, length] : {std::array<int64_t, 3>{0, 3, 5}, {3, 0, 5}, {3, 5, 0}}) {
    const gatun_attention_merge_params p = make_params(GATUN_F32, batch, heads, length, 8);
    EXPECT_EQ(gatun_attention_merge(&p, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK)
        << gatun_last_error();
  }
  // Without values there is still a lse.
  const gatun_attention_merge_params p = make_params(GATUN_F32, 1, 1, 1, 0);
  const float a_lse = 0, b_lse = 0;
  float lse = 0;
  EXPECT_EQ(gatun_attention_merge(&p, nullptr, &a_lse, nullptr, &b_lse, nullptr, &lse), GATUN_OK);
  EXPECT_NEAR(lse, std::log(2.0), 0x1p-24);
}

// What has seen no keys adds nothing, not even its NaN; both: zeros and -infinity.
TEST(AttentionMerge, NoKeys) {
  Rng rng(2);
  for (const int32_t dtype : kFloats) {
    const gatun_attention_merge_params p = make_params(dtype, 1, 1, 3, 40);
    const std::vector<uint8_t> good = test::from_floats(rng.normals(120), dtype);
    const std::vector<uint8_t> bad = test::from_floats(std::vector<float>(120, kNan), dtype);
    const std::vector<float> some = {1, -2, 3e4f}, none(3, -kInfinity);
    std::vector<uint8_t> out(good.size());
    std::vector<float> lse(3);
    const auto merge = [&](const std::vector<uint8_t>& a, const std::vector<float>& a_lse,
                           const std::vector<uint8_t>& b, const std::vector<float>& b_lse) {
      ASSERT_EQ(gatun_attention_merge(&p, a.data(), a_lse.data(), b.data(), b_lse.data(), out.data(), lse.data()),
                GATUN_OK);
    };
    merge(good, some, bad, none);
    EXPECT_EQ(out, good);
    EXPECT_EQ(lse, some);
    out.assign(out.size(), 0);
    merge(bad, none, good, some);
    EXPECT_EQ(out, good);
    EXPECT_EQ(lse, some);
    merge(bad, none, bad, none);
    EXPECT_EQ(out, std::vector<uint8_t>(out.size()));
    EXPECT_EQ(lse, none);
  }
}

TEST(AttentionMerge, NoNumbersStayInTheirRows) {
  Rng rng(3);
  const gatun_attention_merge_params p = make_params(GATUN_F32, 1, 1, 4, 24);
  const std::vector<float> a = rng.normals(96);
  std::vector<float> b = rng.normals(96), out(96), lse(4);
  b[24 + 5] = kNan;
  const std::vector<float> a_lse = {0, 1, kNan, 2}, b_lse = {1, 1, 1, 1};
  ASSERT_EQ(gatun_attention_merge(&p, a.data(), a_lse.data(), b.data(), b_lse.data(), out.data(), lse.data()),
            GATUN_OK);
  for (size_t i = 0; i < 96; ++i) EXPECT_EQ(std::isnan(out[i]), i == 24 + 5 || i / 24 == 2) << i;
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(lse[i]), i == 2) << i;
}

TEST(AttentionMerge, InPlaceAndAnyNumberOfThreads) {
  Rng rng(4);
  for (const int32_t dtype : kFloats) {
    gatun_attention_merge_params p = make_params(dtype, 3, 7, 211, 72);
    const int64_t rows = 3 * 7 * 211;
    const std::vector<uint8_t> a = test::from_floats(rng.normals(rows * 72), dtype);
    const std::vector<uint8_t> b = test::from_floats(rng.normals(rows * 72), dtype);
    const std::vector<float> a_lse = sums(rng, rows), b_lse = sums(rng, rows);
    std::vector<uint8_t> one(a.size());
    std::vector<float> one_lse(a_lse.size());
    ASSERT_EQ(gatun_attention_merge(&p, a.data(), a_lse.data(), b.data(), b_lse.data(), one.data(), one_lse.data()),
              GATUN_OK);
    ASSERT_NO_FATAL_FAILURE(check(p, a.data(), a_lse.data(), b.data(), b_lse.data(), one.data(), one_lse.data()));
    for (const int32_t threads : {0, 1, 2, 3, 8}) {
      p.threads = threads;
      std::vector<uint8_t> out = a;
      std::vector<float> lse = a_lse;
      ASSERT_EQ(gatun_attention_merge(&p, out.data(), lse.data(), b.data(), b_lse.data(), out.data(), lse.data()),
                GATUN_OK)
          << gatun_last_error();
      ASSERT_TRUE(test::identical(out, one)) << threads << " threads";
      ASSERT_TRUE(test::identical(lse, one_lse)) << threads << " threads";
    }
  }
}

// The same bits on every tier that runs here.
TEST(AttentionMerge, EveryTierAgrees) {
  Rng rng(5);
  for (const int32_t dtype : kFloats) {
    for (const int64_t size : {1, 13, 64, 100}) {
      const gatun_attention_merge_params p = make_params(dtype, 1, 2, 9, size);
      const std::vector<uint8_t> a = test::from_floats(rng.normals(18 * size), dtype);
      const std::vector<uint8_t> b = test::from_floats(rng.normals(18 * size), dtype);
      const std::vector<float> a_lse = sums(rng, 18), b_lse = sums(rng, 18);
      std::vector<uint8_t> mine(a.size()), scalar(a.size());
      ASSERT_EQ(gatun_attention_merge(&p, a.data(), a_lse.data(), b.data(), b_lse.data(), mine.data(), nullptr),
                GATUN_OK);
      ASSERT_EQ(run(Tier::scalar, &p, a.data(), a_lse.data(), b.data(), b_lse.data(), scalar.data(), nullptr),
                GATUN_OK);
      ASSERT_TRUE(test::identical(mine, scalar)) << dtype_name(dtype) << ", " << size;
    }
  }
}

// Attention over all keys from that over the first ones and that over the others.
TEST(AttentionMerge, AttentionOverTheUnion) {
  Rng rng(6);
  constexpr int64_t kQueries = 20, kKeys = 90, kFirst = 37, kSize = 32;
  gatun_attention_params p{};
  p.struct_size = sizeof(p);
  p.dtype = p.out_dtype = GATUN_F32;
  p.scale = 0.25f;
  p.window_left = p.window_right = -1;
  p.batch = p.query_heads = p.kv_heads = 1;
  p.query_length = kQueries;
  p.head_size = p.value_size = kSize;
  p.q_row_stride = p.k_row_stride = p.v_row_stride = p.out_row_stride = kSize;
  const std::vector<float> q = rng.normals(kQueries * kSize), k = rng.normals(kKeys * kSize),
                           v = rng.normals(kKeys * kSize);
  struct Result {
    std::vector<float> out = std::vector<float>(kQueries * kSize), lse = std::vector<float>(kQueries);
  };
  const auto attend = [&](int64_t begin, int64_t end) {
    Result result;
    p.kv_length = end - begin;
    EXPECT_EQ(gatun_attention(&p, q.data(), k.data() + begin * kSize, v.data() + begin * kSize, nullptr, nullptr,
                              nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, result.out.data(),
                              result.lse.data()),
              GATUN_OK)
        << gatun_last_error();
    return result;
  };
  const Result all = attend(0, kKeys), first = attend(0, kFirst), others = attend(kFirst, kKeys);
  const gatun_attention_merge_params m = make_params(GATUN_F32, 1, 1, kQueries, kSize);
  Result merged;
  ASSERT_EQ(gatun_attention_merge(&m, first.out.data(), first.lse.data(), others.out.data(), others.lse.data(),
                                  merged.out.data(), merged.lse.data()),
            GATUN_OK);
  for (size_t i = 0; i < all.out.size(); ++i) ASSERT_NEAR(merged.out[i], all.out[i], 2e-6) << i;
  for (size_t i = 0; i < all.lse.size(); ++i) ASSERT_NEAR(merged.lse[i], all.lse[i], 2e-6) << i;
}

}  // namespace
}  // namespace gatun::attention_merge
