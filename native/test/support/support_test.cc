// Tests of the tests: what the other tests rely on must reject what is wrong.
#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>
#include <limits>
#include <set>

#include "guard_buffer.h"
#include "rng.h"
#include "shapes.h"
#include "tiers.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Problem {
  static constexpr int64_t kRows = 5, kColumns = 7, kDepth = 64, kLanes = 8;
  std::vector<double> y, reference, allowed;

  Problem() {
    Rng rng;
    for (int64_t i = 0; i < kRows * kColumns; ++i) {
      double sum = 0, magnitudes = 0;
      for (int64_t k = 0; k < kDepth; ++k) {
        const double term = static_cast<double>(rng.normal()) * static_cast<double>(rng.normal());
        sum += term;
        magnitudes += std::fabs(term);
      }
      reference.push_back(sum);
      y.push_back(static_cast<double>(static_cast<float>(sum)));
      allowed.push_back(accumulation_bound(kDepth, kLanes, magnitudes, GATUN_F32, sum));
    }
  }
  ::testing::AssertionResult compare() const { return within(y, reference, allowed, kColumns); }
};

TEST(Tolerance, AcceptsRoundedReferenceAndErrorsWithinTheBound) {
  Problem problem;
  EXPECT_TRUE(problem.compare());
  for (size_t i = 0; i < problem.y.size(); ++i) problem.y[i] = problem.reference[i] + 0.99 * problem.allowed[i];
  EXPECT_TRUE(problem.compare());
}

TEST(Tolerance, RejectsTwiceItsBoundInAnyElementAndNamesIt) {
  for (size_t i = 0; i < Problem().y.size(); ++i) {
    Problem problem;
    problem.y[i] = problem.reference[i] + (i % 2 ? 2 : -2) * problem.allowed[i];
    const auto result = problem.compare();
    EXPECT_FALSE(result);
    const std::string name = element_name(static_cast<int64_t>(i), Problem::kColumns);
    EXPECT_NE(std::string(result.message()).find(name), std::string::npos) << result.message();
  }
}

TEST(Tolerance, NamesTheWorstOfSeveral) {
  Problem problem;
  problem.y[3] += 3 * problem.allowed[3];
  problem.y[9] += 30 * problem.allowed[9];
  problem.y[20] += 4 * problem.allowed[20];
  const auto result = problem.compare();
  EXPECT_NE(std::string(result.message()).find("3 of 35 elements are wrong; the worst is [1, 2]"), std::string::npos)
      << result.message();
}

TEST(Tolerance, RejectsASwappedRow) {
  Problem problem;
  for (int64_t c = 0; c < Problem::kColumns; ++c) {
    std::swap(problem.y[static_cast<size_t>(c)], problem.y[static_cast<size_t>(Problem::kColumns + c)]);
  }
  EXPECT_FALSE(problem.compare());
}

TEST(Tolerance, NanAndInfinityMatchOnlyThemselves) {
  const auto compare = [](double y, double reference) { return within({y}, {reference}, {1.0}); };
  EXPECT_TRUE(compare(kNaN, kNaN));
  EXPECT_TRUE(compare(kInfinity, kInfinity));
  EXPECT_TRUE(compare(-kInfinity, -kInfinity));
  EXPECT_FALSE(compare(kNaN, 1.0));
  EXPECT_FALSE(compare(1.0, kNaN));
  EXPECT_FALSE(compare(kInfinity, 1.0));
  EXPECT_FALSE(compare(1.0, kInfinity));
  EXPECT_FALSE(compare(kInfinity, -kInfinity));
  EXPECT_FALSE(compare(kInfinity, kNaN));
  // A bound that is no number allows nothing but equality.
  EXPECT_FALSE(within({1.5}, {1.0}, {kNaN}));
  EXPECT_TRUE(within({1.0}, {1.0}, {0.0}));
  EXPECT_FALSE(within({1.0}, {1.0, 2.0}, {0.0, 0.0}));
}

TEST(Tolerance, UnitsInTheLastPlace) {
  for (const float value : {1.0f, 1.5f, 3.0e-39f, 1.0e-45f, 0.0f, 1.0e30f, 0.1f}) {
    const float next = std::nextafter(value, std::numeric_limits<float>::infinity());
    EXPECT_EQ(unit_in_last_place(GATUN_F32, static_cast<double>(value)),
              static_cast<double>(next) - static_cast<double>(value));
    EXPECT_EQ(unit_in_last_place(GATUN_F32, -static_cast<double>(value)),
              unit_in_last_place(GATUN_F32, static_cast<double>(value)));
  }
  EXPECT_EQ(unit_in_last_place(GATUN_BF16, 1.0), 0x1p-7);
  EXPECT_EQ(unit_in_last_place(GATUN_F16, 1.0), 0x1p-10);
  EXPECT_EQ(unit_in_last_place(GATUN_F16, 0.0), 0x1p-24);
}

TEST(Tolerance, IdenticalComparesBits) {
  const std::vector<float> zeros = {0.0f, 0.0f};
  EXPECT_TRUE(identical(zeros, zeros));
  EXPECT_FALSE(identical(std::vector<float>{0.0f, -0.0f}, zeros));
  const std::vector<uint8_t> bytes = {1, 2, 3, 4};
  const auto result = identical(std::vector<uint8_t>{1, 2, 7, 5}, bytes, 2);
  EXPECT_FALSE(result);
  EXPECT_STREQ(result.message(), "2 of 4 elements differ; the first is [1, 0]: 7, expected 3");
  EXPECT_FALSE(identical(std::vector<uint8_t>{1}, bytes));
}

TEST(Tolerance, ConvertsEveryFloatDtype) {
  const std::vector<float> values = {0.0f, -1.0f, 0.5f, 240.0f, 0x1p-14f};
  for (const int32_t dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
    const auto bytes = from_floats(values, dtype);
    const auto doubles = to_doubles(bytes.data(), dtype, static_cast<int64_t>(values.size()));
    for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(doubles[i], static_cast<double>(values[i]));
  }
}

// Whether an access to byte `index` of a guarded buffer kills the process.
bool faults(Edge edge, size_t bytes, size_t offset, ptrdiff_t index, bool writes) {
  const Ending ending = run_in_child([&](auto&) {
    GuardPages pages(bytes, edge, offset);
    volatile unsigned char* at = pages.data() + index;
    if (writes) {
      *at = 1;
    } else {
      (void)*at;
    }
    return true;
  });
  EXPECT_TRUE(ending.succeeded() || ending.signal == SIGSEGV || ending.signal == SIGBUS);
  return !ending.succeeded();
}

TEST(GuardBuffer, FaultsOnePastTheGuardedEnd) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{4096}, size_t{5000}}) {
    const ptrdiff_t end = static_cast<ptrdiff_t>(bytes);
    for (const bool writes : {false, true}) {
      EXPECT_TRUE(faults(Edge::back, bytes, 0, end, writes)) << bytes;
      EXPECT_TRUE(faults(Edge::front, bytes, 0, -1, writes)) << bytes;
      EXPECT_TRUE(faults(Edge::back, bytes, 3, end + 3, writes)) << bytes;
      EXPECT_TRUE(faults(Edge::front, bytes, 3, -4, writes)) << bytes;
      if (bytes == 0) continue;
      for (const Edge edge : kEdges) {
        EXPECT_FALSE(faults(edge, bytes, 0, 0, writes)) << bytes;
        EXPECT_FALSE(faults(edge, bytes, 0, end - 1, writes)) << bytes;
      }
    }
  }
}

TEST(GuardBuffer, CanariesCatchWritesOnTheOtherSideAndInTheOffset) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{4096}, size_t{4097}}) {
    const ptrdiff_t end = static_cast<ptrdiff_t>(bytes);
    struct Write {
      Edge edge;
      ptrdiff_t index;
    };
    for (const Write write : {Write{Edge::back, -1}, Write{Edge::back, -64}, Write{Edge::back, end},
                              Write{Edge::front, end}, Write{Edge::front, end + 63}, Write{Edge::front, -1}}) {
      GuardPages pages(bytes, write.edge, 4);
      EXPECT_TRUE(pages.intact());
      if (bytes > 0) pages.data()[0] = pages.data()[bytes - 1] = 0;
      EXPECT_TRUE(pages.intact());
      pages.data()[write.index] ^= 0x10;
      EXPECT_FALSE(pages.intact()) << bytes << " " << write.index;
      pages.data()[write.index] ^= 0x10;
    }
  }
}

TEST(GuardBuffer, ReadOnlyFaultsOnWrites) {
  GuardBuffer<float> buffer(std::vector<float>{1, 2, 3});
  buffer.make_read_only();
  EXPECT_EQ(buffer[2], 3);
  EXPECT_FALSE(run_in_child([&](auto&) {
                 buffer[1] = 5;
                 return true;
               }).succeeded());
}

TEST(GuardBuffer, PoisonIsNanInEveryFloatDtype) {
  for (const Edge edge : kEdges) {
    for (const int64_t offset : {0, 1, 5}) {
      GuardBuffer<float> singles(9, edge, offset);
      for (int64_t i = 0; i < 9; ++i) EXPECT_TRUE(std::isnan(singles[i]));
      GuardBuffer<uint16_t> halves(9, edge, offset);
      for (int64_t i = 0; i < 9; ++i) {
        EXPECT_TRUE(std::isnan(bf16_to_f32(halves[i])));
        EXPECT_TRUE(std::isnan(f16_to_f32(halves[i])));
      }
      const int64_t beside = edge == Edge::back ? -1 : 9;
      EXPECT_TRUE(std::isnan(singles.data()[beside]));
      EXPECT_TRUE(std::isnan(bf16_to_f32(halves.data()[beside])));
      EXPECT_TRUE(std::isnan(f16_to_f32(halves.data()[beside])));
    }
  }
}

TEST(Rng, GivesTheSameNumbersForTheSameStreamOnly) {
  Rng a(1), b(1), c(2);
  const uint64_t first = a.next();
  EXPECT_EQ(first, b.next());
  EXPECT_NE(first, c.next());
}

TEST(Rng, StaysInRangeAndReachesBothEnds) {
  Rng rng;
  std::set<int64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    seen.insert(rng.integer(-3, 4));
    const float value = rng.uniform(-2.0f, 5.0f);
    EXPECT_TRUE(value >= -2.0f && value < 5.0f);
    EXPECT_TRUE(std::isfinite(rng.special_finite()));
  }
  EXPECT_EQ(seen.size(), 8u);
  EXPECT_EQ(*seen.begin(), -3);
  EXPECT_EQ(*seen.rbegin(), 4);
}

TEST(Rng, NormalHasItsMoments) {
  Rng rng;
  double sum = 0, squares = 0;
  for (const float value : rng.normals(100000)) {
    sum += static_cast<double>(value);
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  EXPECT_NEAR(sum / 100000, 0.0, 0.02);
  EXPECT_NEAR(squares / 100000, 1.0, 0.02);
}

TEST(Rng, SpecialCoversEveryClass) {
  Rng rng;
  std::set<int> classes;
  for (int i = 0; i < 1000; ++i) classes.insert(std::fpclassify(rng.special()));
  EXPECT_EQ(classes, (std::set<int>{FP_NAN, FP_INFINITE, FP_ZERO, FP_SUBNORMAL, FP_NORMAL}));
}

TEST(Shapes, EdgesAroundATile) {
  EXPECT_EQ(edge_sizes(16), (std::vector<int64_t>{0, 1, 15, 16, 17, 33}));
  EXPECT_EQ(edge_sizes(1), (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(Shapes, GroupsAreAllowedAndSomeDoNotDivide) {
  EXPECT_EQ(group_sizes(7), (std::vector<int64_t>{7}));
  for (const int64_t depth : {17, 128, 257}) {
    bool divides_not = false;
    for (const int64_t group : group_sizes(depth)) {
      EXPECT_TRUE(group == depth || (group >= 16 && group < depth));
      divides_not |= depth % group != 0;
    }
    EXPECT_TRUE(divides_not) << depth;
  }
}

TEST(Tiers, EverySupportedTierCanBeForced) {
  const auto tiers = supported_tiers();
  ASSERT_FALSE(tiers.empty());
  EXPECT_EQ(tiers.front(), "scalar");
  for (const std::string& tier : tiers) {
    EXPECT_TRUE(run_on_tier(tier, [](auto&) { return true; }).succeeded()) << tier;
  }
}

TEST(Tiers, ChildrenReportFailureAndOutput) {
  EXPECT_FALSE(run_in_child([](auto&) { return false; }).succeeded());
  const Ending ending = run_in_child([](std::vector<unsigned char>& output) {
    output.assign(100000, 7);
    return true;
  });
  EXPECT_TRUE(ending.succeeded());
  EXPECT_EQ(ending.output, std::vector<unsigned char>(100000, 7));
}

}  // namespace
}  // namespace gatun::test
