// What the benchmarks of the ops share.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdlib>
#include <memory>

#include "base/cpu.h"
#include "limits/limits.h"

namespace gatun::bench {

// Bytes or operations a second of one thread, measured when first asked for.
double limit(gatun_limit kind, Tier tier);

// Memory in huge pages where the system has them, as small ones cost a third of its speed.
using Memory = std::unique_ptr<uint8_t, decltype(&std::free)>;
Memory allocate(int64_t bytes);

// The work of an iteration.
struct Work {
  double bytes;       // to read from memory at least
  double operations;  // 2 a product
};

// GOP/s, GB/s, and the shortest time that the machine allows, in percent of the time that was taken.
void set_counters(benchmark::State& state, const Work& work, double limit_seconds, double seconds);

// Runs call(), which returns whether it succeeded, in the loop of the benchmark.
template <class Call>
void run(benchmark::State& state, const Work& work, double limit_seconds, Call call) {
  const auto begin = std::chrono::steady_clock::now();
  for (auto _ : state) {
    if (!call()) return state.SkipWithError(gatun_last_error());
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  set_counters(state, work, limit_seconds, seconds / static_cast<double>(state.iterations()));
}

// Each op registers its rows.
void register_gguf();
void register_nm_backward();
void register_nm_format();
void register_optimizer();
void register_prune();
void register_qmatmul();
void register_quantize();

}  // namespace gatun::bench
