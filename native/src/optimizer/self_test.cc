#include "self_test/self_test.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "optimizer/check.h"
#include "optimizer/reference.h"
#include "optimizer/table.h"

namespace gatun::optimizer {
namespace {

// What a step changes.
struct Changed {
  std::vector<uint8_t> p, state1, state2;
  std::vector<float> scales1, scales2;

  bool operator==(const Changed& other) const {
    return p == other.p && state1 == other.state1 && state2 == other.state2 && scales1 == other.scales1 &&
           scales2 == other.scales2;
  }
};

std::vector<uint8_t> small_values(SmallValues& values, int32_t dtype, int64_t count) {
  std::vector<uint8_t> bytes(static_cast<size_t>(dtype_bytes(dtype, count)));
  for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(dtype_bytes(dtype, 1))) {
    const float value = values.next();
    const uint16_t half = dtype == GATUN_F16 ? f32_to_f16(value) : f32_to_bf16(value);
    std::memcpy(&bytes[at], dtype == GATUN_F32 ? static_cast<const void*>(&value) : &half,
                static_cast<size_t>(dtype_bytes(dtype, 1)));
  }
  return bytes;
}

// Two steps from a state of zeros, bit for bit.
bool agrees(Tier tier, gatun_optimizer_params p) {
  const auto bytes = [&](int64_t rows) { return std::vector<uint8_t>(static_cast<size_t>(rows * state_row_bytes(p))); };
  const auto scales = [&](int64_t rows) { return std::vector<float>(static_cast<size_t>(rows * state_row_scales(p))); };
  const int64_t rows1 = rows_of_state1(p.rule), rows2 = rows_of_state2(p.rule);
  SmallValues values;
  Changed actual = {small_values(values, p.p_dtype, p.count), bytes(rows1), bytes(rows2), scales(rows1), scales(rows2)};
  Changed expected = actual;
  const auto data = [](auto& vector) { return vector.empty() ? nullptr : vector.data(); };
  for (p.step = 1; p.step <= 2; ++p.step) {
    const std::vector<uint8_t> g = small_values(values, p.p_dtype, p.count);
    if (run_step(tier, &p, actual.p.data(), g.data(), actual.state1.data(), data(actual.scales1), data(actual.state2),
                 data(actual.scales2)) != GATUN_OK) {
      return false;
    }
    reference_step(p, expected.p.data(), g.data(), expected.state1.data(), data(expected.scales1),
                   data(expected.state2), data(expected.scales2));
  }
  return actual == expected;
}

void test_steps(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (int32_t rule = 0; rule < kRules; ++rule) {
      for (const int32_t p_dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
        for (const int64_t count : {int64_t{7}, int64_t{300}}) {
          gatun_optimizer_params p = step_params(rule, p_dtype, row.from, count, 128);
          if (p_dtype == GATUN_BF16) p.rounding = GATUN_PARAMETER_STOCHASTIC;
          ++cases;
          wrong += !agrees(tier, p);
        }
      }
    }
    report.add(row.name, cases, wrong);
  });
}

void test_squares(Tier tier, Report& report) {
  for_each_selected(squares_table(), tier, [&](const KernelRow<SquaresKernel>& row) {
    int cases = 0, wrong = 0;
    for (const int32_t dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
      for (const int64_t count : {int64_t{7}, int64_t{3000}}) {
        SmallValues values;
        const std::vector<uint8_t> g = small_values(values, dtype, count);
        const double expected = reference_sum_of_squares(dtype, count, g.data());
        double sum;
        ++cases;
        wrong += run_gradient_norm(tier, dtype, count, g.data(), 1, &sum) != GATUN_OK ||
                 !(std::fabs(sum - expected) <= 0x1p-18 * expected);
      }
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace

void self_test(Tier tier, Report& report) {
  test_steps(tier, report);
  test_squares(tier, report);
}

}  // namespace gatun::optimizer
