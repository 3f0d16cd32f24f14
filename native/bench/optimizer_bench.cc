// Every row of the optimizer's tables on one thread, from memory, through the entry with the row's tier as its limit.
//
//   <row>/<rule>/<dtype of p and g>, <row of squares>/<dtype>
//
// GB/s counts what is read and what is written: p and state twice, g once. limit% compares with the time that a loop
// takes which changes as many bytes of as many streams in place; of squares, with that of reading.
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "bench.h"
#include "optimizer/check.h"
#include "optimizer/reference.h"
#include "optimizer/table.h"

namespace gatun::bench {
namespace {

constexpr int64_t kCount = int64_t{32} << 20;  // of p, 128 MiB of f32
constexpr int64_t kBlock = 256;

struct Rule {
  const char* name;
  int32_t rule;
};
constexpr Rule kRuleNames[] = {{"adam", GATUN_ADAM},       {"ademamix", GATUN_ADEMAMIX}, {"momentum", GATUN_MOMENTUM},
                               {"rmsprop", GATUN_RMSPROP}, {"adagrad", GATUN_ADAGRAD},   {"lion", GATUN_LION}};

// Normal values as f32, or their upper halves as bf16; state of zeros, of which a first step makes others.
struct Buffers {
  Memory p = allocate(kCount * 4), g = allocate(kCount * 4);
  Memory state1 = allocate(2 * kCount * 4), state2 = allocate(kCount * 4);
  Memory scales1 = allocate(2 * kCount / kBlock * 4), scales2 = allocate(kCount / kBlock * 4);

  void fill(int32_t dtype) {
    constexpr int64_t kSome = int64_t{1} << 20;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    const int64_t element = dtype_bytes(dtype, 1);
    for (uint8_t* values : {p.get(), g.get()}) {
      for (int64_t i = 0; i < kSome; ++i) {
        const float value = normal(random);
        const uint16_t half = f32_to_bf16(value);
        std::memcpy(values + i * element, element == 4 ? static_cast<const void*>(&value) : &half,
                    static_cast<size_t>(element));
      }
      for (int64_t i = kSome; i < kCount; i += kSome) std::memcpy(values + i * element, values, kSome * element);
    }
    std::memset(state1.get(), 0, 2 * kCount * 4);
    std::memset(state2.get(), 0, kCount * 4);
    std::memset(scales1.get(), 0, 2 * kCount / kBlock * 4);
    std::memset(scales2.get(), 0, kCount / kBlock * 4);
  }
};

Buffers& buffers() {
  static Buffers kept;
  return kept;
}

// Bytes/s of changing streams in place: the first `updated` of them, of so many bytes an element.
double update_limit(const std::vector<int32_t>& pieces, int32_t updated) {
  constexpr double kSeconds = 0.5;
  static std::map<std::pair<std::vector<int32_t>, int32_t>, double> measured;
  double& best = measured[{pieces, updated}];
  double median;
  if (best == 0 && gatun_limits_update(1, static_cast<int32_t>(pieces.size()), updated, pieces.data(), kSeconds, &best,
                                       &median) != GATUN_OK) {
    std::fprintf(stderr, "gatun_bench: %s\n", gatun_limits_last_error());
    std::exit(1);
  }
  return best;
}

void step(benchmark::State& state, const KernelRow<optimizer::Kernel>& row, int32_t rule, int32_t p_dtype) {
  Buffers& b = buffers();
  b.fill(p_dtype);
  gatun_optimizer_params params = optimizer::step_params(rule, p_dtype, row.from, kCount, kBlock);
  params.learning_rate = 1e-6f;  // p stays as it is, however many steps there are
  const int64_t rows1 = optimizer::rows_of_state1(rule), rows2 = optimizer::rows_of_state2(rule);
  const auto scales = [&](Memory& memory, int64_t rows) {
    return row.from == GATUN_STATE_F32 || rows == 0 ? nullptr : reinterpret_cast<float*>(memory.get());
  };
  // Pieces of half a byte an element.
  const int32_t value = static_cast<int32_t>(dtype_bytes(p_dtype, 2));
  const int32_t code = static_cast<int32_t>(dtype_bytes(optimizer::state_dtype(row.from), 2));
  std::vector<int32_t> pieces = {value};
  for (int64_t i = 0; i < rows1 + rows2; ++i) pieces.push_back(code);
  const int32_t updated = static_cast<int32_t>(pieces.size());
  pieces.push_back(value);
  const double halves = 3.0 * value + 2.0 * code * static_cast<double>(rows1 + rows2);
  const double bytes = halves / 2 * static_cast<double>(kCount);
  run(state, {bytes, 0}, bytes / update_limit(pieces, updated), [&] {
    const bool good =
        optimizer::run_step(row.tier, &params, b.p.get(), b.g.get(), b.state1.get(), scales(b.scales1, rows1),
                            rows2 == 0 ? nullptr : b.state2.get(), scales(b.scales2, rows2)) == GATUN_OK;
    ++params.step;
    return good;
  });
}

void sum_squares(benchmark::State& state, const KernelRow<optimizer::SquaresKernel>& row, int32_t dtype) {
  Buffers& b = buffers();
  b.fill(dtype);
  const double bytes = static_cast<double>(dtype_bytes(dtype, kCount));
  run(state, {bytes, 0}, bytes / limit(GATUN_LIMIT_READ, active_tier()), [&] {
    double sum;
    return optimizer::run_gradient_norm(row.tier, dtype, kCount, b.g.get(), 1, &sum) == GATUN_OK;
  });
}

std::string name_of(const char* row, const std::string& what, int32_t dtype) {
  return std::string(row) + "/" + what + (dtype == GATUN_F32 ? "f32" : "bf16");
}

}  // namespace

void register_optimizer() {
  for (const KernelRow<optimizer::Kernel>& row : optimizer::table()) {
    if (!tier_supported(row.tier)) continue;
    for (const Rule& rule : kRuleNames) {
      for (const int32_t dtype : {GATUN_F32, GATUN_BF16}) {
        benchmark::RegisterBenchmark(name_of(row.name, std::string(rule.name) + "/", dtype).c_str(), step, row,
                                     rule.rule, dtype)
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
  for (const KernelRow<optimizer::SquaresKernel>& row : optimizer::squares_table()) {
    if (!tier_supported(row.tier)) continue;
    for (const int32_t dtype : {GATUN_F32, GATUN_BF16}) {
      benchmark::RegisterBenchmark(name_of(row.name, "", dtype).c_str(), sum_squares, row, dtype)
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace gatun::bench
