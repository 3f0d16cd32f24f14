// Numbers that are not finite, that cancel, that are far beyond what models have; lengths and tables that fit nothing.
#include <limits>

#include "decode/test_device.h"

namespace gatun::cuda::decode {
namespace {

using gatun::decode::code_formats;
using gatun::decode::kSomeFormats;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
constexpr uint16_t kNanF16 = 0x7e00, kInfinityF16 = 0x7c00;

// Formats of values that tiles take, with q of BF16; and F32.
const std::vector<Format> kValueFormats = {{GATUN_F32}, {GATUN_BF16}, {GATUN_F8E4M3}, {GATUN_F8E5M2}};
const std::vector<Format> kCodeFormats = {{GATUN_I8, GATUN_KV_PER_TOKEN},
                                          {GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT, 32},
                                          {GATUN_U2, GATUN_KV_PER_TOKEN, GATUN_ZERO_NONE, 0},
                                          {GATUN_U4, GATUN_KV_PER_CHANNEL, GATUN_ZERO_FLOAT, 16}};

// Rows see different keys, of two parts.
Spec spec_of(const Format& k, const Format& v) {
  Spec spec;
  spec.dtype = GATUN_BF16;
  spec.k = k;
  spec.v = v;
  spec.heads = spec.ratio = 2;
  spec.query_length = 3;
  spec.causal = true;
  spec.lengths = {20, 270};
  return spec;
}

// Calls test(kernel, number) for each kernel that takes the problem.
template <class Test>
void for_each_kernel(DeviceProblem& problem, Test test) {
  static int64_t number = 0;
  for (const KernelRow* kernel : problem.kernels()) {
    SCOPED_TRACE(describe(problem.host.spec()) + ", " + kernel->name);
    change_conditions(number++);
    Outputs outputs;
    ASSERT_NO_FATAL_FAILURE(problem.call(kernel, &outputs));
    test(*kernel, outputs);
  }
}

bool all_nan(const Problem& problem, const Outputs& outputs, int64_t b, int64_t h, int64_t i) {
  for (const double y : problem.out_row(outputs, b, h, i)) {
    if (!std::isnan(y)) return false;
  }
  return std::isnan(outputs.lse[static_cast<size_t>(problem.lse_at(b, h, i))]);
}

// Rows of item 1 and head 1 of the pools that see key j are none, or have a column that is none; the other ones of that
// head may be; all others are good.
void expect_spoiled(DeviceProblem& problem, int64_t j, bool all_columns) {
  for_each_kernel(problem, [&](const KernelRow& kernel, const Outputs& outputs) {
    Reference reference = problem.host.reference();
    problem.host.for_each_row([&](int64_t b, int64_t h, int64_t i) {
      if (b != 1 || h < 2) {
        EXPECT_TRUE(problem.good_row(kernel, reference, outputs, b, h, i));
      } else if (reference.sees(b, h, i, j)) {
        const std::vector<double> row = problem.host.out_row(outputs, b, h, i);
        EXPECT_TRUE(all_columns ? all_nan(problem.host, outputs, b, h, i) : !std::isfinite(row[13]))
            << b << ", " << h << ", " << i;
      } else if (all_columns) {
        EXPECT_TRUE(problem.good_row(kernel, reference, outputs, b, h, i)) << b << ", " << h << ", " << i;
      }
    });
  });
}

TEST(DecodeExtremes, NoNumbersInQueries) {
  for (const std::vector<Format>& formats : {kValueFormats, kCodeFormats}) {
    for (const Format& format : formats) {
      for (const float bad : {kNan, kInfinity}) {
        DeviceProblem problem(spec_of(format, format));
        problem.host.set_q(1, 2, 1, 13, bad);
        for_each_kernel(problem, [&](const KernelRow& kernel, const Outputs& outputs) {
          Reference reference = problem.host.reference();
          problem.host.for_each_row([&](int64_t b, int64_t h, int64_t i) {
            const bool spoiled = b == 1 && h == 2 && i == 1;
            if (spoiled && (std::isnan(bad) || format.scaling != GATUN_KV_UNSCALED)) {
              EXPECT_TRUE(all_nan(problem.host, outputs, b, h, i));
            } else {
              EXPECT_TRUE(problem.good_row(kernel, reference, outputs, b, h, i));
            }
          });
        });
      }
    }
  }
}

TEST(DecodeExtremes, NoNumbersInKeys) {
  for (const Format& format : kValueFormats) {
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      if (format.dtype == GATUN_F8E4M3 && std::isinf(bad)) continue;
      for (const int64_t place : {0, 258, 268}) {
        Spec spec = spec_of(format, format);
        spec.window_left = 267;  // hides key 0 of the last query alone
        DeviceProblem problem(spec);
        problem.host.k().set(problem.host.page_of(1, 1, place), 1, place % spec.page_size, 13, bad);
        if (std::isnan(bad)) {
          expect_spoiled(problem, place, true);
        } else {
          for_each_kernel(problem, [&](const KernelRow& kernel, const Outputs& outputs) {
            EXPECT_TRUE(problem.good(kernel, outputs));
          });
        }
      }
    }
  }
}

TEST(DecodeExtremes, NoNumbersInScalesOfKeys) {
  for (const Format& format : kCodeFormats) {
    for (const bool zeros : {false, true}) {
      if (zeros && format.zero_point == GATUN_ZERO_NONE) continue;
      constexpr int64_t kKey = 258;
      Spec spec = spec_of(format, {GATUN_BF16});
      spec.causal = false;
      DeviceProblem problem(spec);
      const int64_t r = kKey % spec.page_size;
      const int64_t row = format.scaling == GATUN_KV_PER_TOKEN ? r : r / format.group;
      auto& pool = problem.host.k();
      (zeros ? pool.zeros() : pool.scales())[pool.scale_at(problem.host.page_of(1, 1, kKey), 1, row, 0)] = kNanF16;
      expect_spoiled(problem, kKey, true);
    }
  }
}

TEST(DecodeExtremes, NoNumbersInValues) {
  for (const Format& format : kValueFormats) {
    for (const float bad : {kNan, kInfinity}) {
      if (format.dtype == GATUN_F8E4M3 && std::isinf(bad)) continue;
      for (const int64_t place : {3, 268}) {
        Spec spec = spec_of({GATUN_BF16}, format);
        DeviceProblem problem(spec);
        problem.host.v().set(problem.host.page_of(1, 1, place), 1, place % spec.page_size, 13, bad);
        expect_spoiled(problem, place, false);
      }
    }
  }
}

TEST(DecodeExtremes, NoNumbersInScalesOfValues) {
  for (const Format& format : kCodeFormats) {
    for (const uint16_t bad : {kNanF16, kInfinityF16}) {
      for (const bool zeros : {false, true}) {
        if (zeros && format.zero_point == GATUN_ZERO_NONE) continue;
        constexpr int64_t kKey = 258;
        Spec spec = spec_of({GATUN_BF16}, format);
        DeviceProblem problem(spec);
        const int64_t r = kKey % spec.page_size;
        const bool tokens = format.scaling == GATUN_KV_PER_TOKEN;
        auto& pool = problem.host.v();
        (zeros ? pool.zeros() : pool.scales())[pool.scale_at(problem.host.page_of(1, 1, kKey), 1,
                                                             tokens ? r : r / format.group, tokens ? 0 : 13)] = bad;
        if (bad == kInfinityF16 && !zeros) {
          // A code of zero times infinity is none, too; but some are finite.
          for (int64_t i = 0; i < gatun::kv_cache::row_bytes(pool.layout()); ++i) {
            pool.row_at(problem.host.page_of(1, 1, kKey), 1, r)[i] = 0x11;
          }
        }
        expect_spoiled(problem, kKey, false);
      }
    }
  }
}

TEST(DecodeExtremes, NoNumbersInSlopesAndSinks) {
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    for (const bool slopes : {true, false}) {
      Spec spec = spec_of({GATUN_BF16}, {GATUN_BF16});
      spec.lengths = {70, 0};
      spec.slopes = slopes;
      spec.sinks = !slopes;
      DeviceProblem problem(spec);
      slopes ? problem.host.set_slope(2, bad) : problem.host.set_sink(2, bad);
      ASSERT_NO_FATAL_FAILURE(problem.compare(0));
    }
  }
}

// Products beyond the range of f32 are infinite before a scale that would bring them back.
TEST(DecodeExtremes, ProductsThatOverflow) {
  for (const float sign : {1.0f, -1.0f}) {
    Spec spec = spec_of({GATUN_BF16}, {GATUN_BF16});
    spec.lengths = {70, 80};
    spec.scale = 1e-38f;
    DeviceProblem problem(spec);
    for (int64_t c = 0; c < spec.size; ++c) {
      problem.host.set_q(1, 2, 1, c, 1e20f);
      problem.host.k().set(problem.host.page_of(1, 1, 7), 1, 7, c, sign * 1e20f);
    }
    ASSERT_NO_FATAL_FAILURE(problem.compare(1));
  }
}

// All of a row's logits are -infinity: as if it saw no key.
TEST(DecodeExtremes, RowsOfMinusInfinity) {
  for (const bool sinks : {false, true}) {
    Spec spec = spec_of({GATUN_BF16}, {GATUN_BF16});
    spec.lengths = {70, 40};
    spec.sinks = sinks;
    DeviceProblem problem(spec);
    for (int64_t j = 0; j < 40; ++j) {
      problem.host.k().set(problem.host.page_of(1, 1, j), 1, j % spec.page_size, 0, -kInfinity);
    }
    for (int64_t c = 0; c < spec.size; ++c) problem.host.set_q(1, 2, 1, c, 0.5f);
    ASSERT_NO_FATAL_FAILURE(problem.compare(2));
  }
}

TEST(DecodeExtremes, LogitsFarApart) {
  for (const std::vector<Format>& formats : {kValueFormats, kCodeFormats}) {
    for (const Format& format : formats) {
      for (const float scale : {30.0f, -1000.0f}) {
        Spec spec = spec_of(format, format);
        spec.scale = scale;
        DeviceProblem problem(spec);
        ASSERT_NO_FATAL_FAILURE(problem.compare(3));
      }
    }
  }
}

TEST(DecodeExtremes, QueriesOfAnySize) {
  for (const std::vector<Format>& formats : {kValueFormats, kCodeFormats}) {
    for (const Format& format : formats) {
      for (const float size : {0.0f, 1e-30f, 1e30f}) {
        Spec spec = spec_of(format, format);
        spec.mode = size > 1 ? GATUN_DECODE_INT8 : GATUN_DECODE_EXACT;
        spec.lengths = {40, 50};
        spec.scale = size > 0 ? 0.1f / size : 1.0f;
        DeviceProblem problem(spec);
        Rng rng(7);
        problem.host.for_each_row([&](int64_t b, int64_t h, int64_t i) {
          for (int64_t c = 0; c < spec.size; ++c) problem.host.set_q(b, h, i, c, size * rng.normal());
        });
        ASSERT_NO_FATAL_FAILURE(problem.compare(4));
      }
    }
  }
}

// Codes at the ends of their range, in all places at once, with queries likewise: integer sums must hold them.
TEST(DecodeExtremes, LargestSumsOfCodes) {
  for (const Format& format : kCodeFormats) {
    for (const int32_t mode : {GATUN_DECODE_EXACT, GATUN_DECODE_INT8}) {
      Spec spec = spec_of(format, format);
      spec.mode = mode;
      spec.size = spec.value_size = 256;
      spec.lengths = {40, 50};
      spec.scale = 1e-4f;
      DeviceProblem problem(spec);
      problem.host.for_each_row([&](int64_t b, int64_t h, int64_t i) {
        for (int64_t c = 0; c < spec.size; ++c) problem.host.set_q(b, h, i, c, mode ? 3.0f : -3.0f);
      });
      for (auto* const pool : {&problem.host.k(), &problem.host.v()}) {
        for (int64_t j = 0; j < 50; ++j) {
          const uint8_t code = format.dtype == GATUN_I8 ? j % 2 == 0 ? 0x7f : 0x81 : j % 2 == 0 ? 0xff : 0;
          std::fill_n(pool->row_at(problem.host.page_of(1, 1, j), 1, j % spec.page_size),
                      gatun::kv_cache::row_bytes(pool->layout()), code);
        }
      }
      ASSERT_NO_FATAL_FAILURE(problem.compare(5));
    }
  }
}

// Scales of values from the least of f16 to the largest, in any order; and all of them 0.
TEST(DecodeExtremes, ScalesOfValuesFarApart) {
  for (const Format& format : kCodeFormats) {
    for (const bool none : {false, true}) {
      Spec spec = spec_of({GATUN_BF16}, format);
      spec.lengths = {100, 200};
      DeviceProblem problem(spec);
      Rng rng(8);
      auto& pool = problem.host.v();
      for (int64_t j = 0; j < 200; ++j) {
        const int64_t r = j % spec.page_size;
        const bool tokens = format.scaling == GATUN_KV_PER_TOKEN;
        for (int64_t i = 0; i < gatun::kv_cache::scales_of_row(pool.layout()); ++i) {
          pool.scales()[pool.scale_at(problem.host.page_of(1, 1, j), 1, tokens ? r : r / format.group, i)] =
              none ? 0 : f32_to_f16(std::ldexp(1.0f, static_cast<int>(rng.integer(-24, 15))));
        }
      }
      ASSERT_NO_FATAL_FAILURE(problem.compare(6));
    }
  }
}

// A length counts as one within the room of the table, a page that is not in the pool hides its keys.
TEST(DecodeExtremes, LengthsAndTablesThatFitNothing) {
  for (const Format& format : {kValueFormats[1], kCodeFormats[1], kValueFormats[0]}) {
    Spec spec = spec_of(format, format);
    spec.causal = false;
    spec.lengths = {128, 320};
    spec.page_size = 32;
    DeviceProblem problem(spec);
    const gatun_decode_params p = problem.host.params();
    const std::vector<int32_t> table(problem.host.inputs().table, problem.host.inputs().table + 2 * p.table_stride);
    Outputs good, other;
    for_each_kernel(problem, [&](const KernelRow& kernel, const Outputs& outputs) {
      good = outputs;
      // Entries beyond those that count are no pages.
      for (const int64_t length : {INT64_MAX, int64_t{12} * 32}) {
        problem.lengths = {128, length};
        ASSERT_NO_FATAL_FAILURE(problem.call(&kernel, &other));
        EXPECT_TRUE(identical(other, good)) << length;
      }
      problem.lengths = {INT64_MIN, -1};
      ASSERT_NO_FATAL_FAILURE(problem.call(&kernel, &other));
      problem.host.for_each_row([&](int64_t b, int64_t h, int64_t i) {
        EXPECT_EQ(other.lse[static_cast<size_t>(problem.host.lse_at(b, h, i))], -kInfinity);
        EXPECT_EQ(problem.host.out_row(other, b, h, i)[5], 0);
      });
      problem.lengths.clear();
      problem.table = table;
      problem.table[static_cast<size_t>(p.table_stride + 2)] = -1;
      problem.table[static_cast<size_t>(p.table_stride + 9)] = INT32_MAX;
      problem.table[1] = static_cast<int32_t>(problem.host.k_layout().pages);
      ASSERT_NO_FATAL_FAILURE(problem.call(&kernel, &other));
      problem.table.clear();
      problem.host.for_each_row([&](int64_t b, int64_t h, int64_t i) {
        double sum = 0;
        for (int64_t j = 0; j < problem.host.length(b, h); ++j) {
          const size_t at = static_cast<size_t>(problem.host.logits_at(b, h, i) + j);
          const bool hidden = b == 0 ? j / 32 == 1 : j / 32 == 2 || j / 32 == 9;
          EXPECT_EQ(other.logits[at], hidden ? -kInfinity : good.logits[at]) << j;
          sum += std::exp(static_cast<double>(other.logits[at]));
        }
        EXPECT_NEAR(other.lse[static_cast<size_t>(problem.host.lse_at(b, h, i))], std::log(sum), 1e-5);
        for (const double y : problem.host.out_row(other, b, h, i)) EXPECT_TRUE(std::isfinite(y));
      });
    });
  }
}

// Queries far before the first key: what is left of them is no number of 64 bits.
TEST(DecodeExtremes, WindowsThatHideNothing) {
  for (const Format& format : {kValueFormats[1], kCodeFormats[1], kValueFormats[0]}) {
    for (const bool causal : {false, true}) {
      for (const bool logits : {false, true}) {
        Spec spec = spec_of(format, format);
        spec.query_length = 4;
        spec.lengths = {2, 1};
        spec.causal = causal;
        spec.window_left = INT64_MAX;
        spec.logits = logits;
        DeviceProblem problem(spec);
        ASSERT_NO_FATAL_FAILURE(problem.compare(causal + 2 * logits));
      }
    }
  }
}

// Bits do not depend on which pages hold the keys, nor on other batch items.
TEST(DecodeExtremes, SameBits) {
  for (const Format& format : {kValueFormats[1], kCodeFormats[1], kValueFormats[0], kCodeFormats[3]}) {
    Spec spec = spec_of(format, format);
    spec.lengths = {300};
    const auto fill = [&](DeviceProblem& problem) {
      Rng rng(9);
      problem.host.for_each_row([&](int64_t b, int64_t h, int64_t i) {
        for (int64_t c = 0; c < spec.size; ++c) problem.host.set_q(b, h, i, c, rng.normal());
      });
    };
    DeviceProblem one(spec);
    fill(one);
    Spec other = spec;
    other.page_seed = 5;
    other.pool_order = gatun::decode::Order::nhd;
    DeviceProblem moved(other);
    fill(moved);
    other.page_size = 16;
    DeviceProblem small(other);
    fill(small);
    other.lengths = {300, 40};
    DeviceProblem two(other);
    fill(two);
    for_each_kernel(one, [&](const KernelRow& kernel, const Outputs& outputs) {
      for (DeviceProblem* problem : {&moved, &small, &two}) {
        Outputs same;
        ASSERT_NO_FATAL_FAILURE(problem->call(&kernel, &same));
        problem->host.for_each_row([&](int64_t b, int64_t h, int64_t i) {
          if (b != 0) return;
          EXPECT_EQ(problem->host.out_row(same, b, h, i), one.host.out_row(outputs, b, h, i));
          const auto lse = [&](const Problem& host, const Outputs& of) {
            return of.lse[static_cast<size_t>(host.lse_at(b, h, i))];
          };
          EXPECT_EQ(lse(problem->host, same), lse(one.host, outputs));
        });
      }
    });
  }
}

}  // namespace
}  // namespace gatun::cuda::decode
