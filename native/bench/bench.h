// What the benchmarks of the ops share.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/cpu.h"
#include "limits/limits.h"

namespace gatun::bench {

// Bytes or operations a second of one thread, measured when first asked for.
double limit(gatun_limit kind, Tier tier);

// Memory in huge pages where the system has them, as small ones cost a third of its speed.
using Memory = std::unique_ptr<uint8_t, decltype(&std::free)>;
Memory allocate(int64_t bytes);

// The layers of a model that products are measured on, and rows of x.
struct Layer {
  int64_t columns, depth;
};
inline constexpr Layer kLayers[] = {{14336, 4096}, {4096, 4096}};
inline constexpr int64_t kRows[] = {1, 8, 128, 512};

// A packed form, and copies of it: with few rows of x, calls take turns on more of them than caches hold.
class Copies {
 public:
  explicit Copies(int64_t bytes) : bytes_(bytes) { copies_.push_back(allocate(bytes)); }
  uint8_t* first() { return copies_[0].get(); }
  // Prepares for this many rows.
  void rotate(int64_t rows);
  const uint8_t* next() { return copies_[turn_++ % count_].get(); }

 private:
  int64_t bytes_;
  size_t count_ = 1, turn_ = 0;
  std::vector<Memory> copies_;
};

// Weights as described. Those of the last benchmark are kept: benchmarks of the same weights follow each other.
template <class Weights, class Description>
Weights& of_last_benchmark(const Description& wanted) {
  static std::unique_ptr<Weights> kept;
  if (kept == nullptr || std::memcmp(&kept->description(), &wanted, sizeof(wanted)) != 0) {
    kept.reset();
    kept = std::make_unique<Weights>(wanted);
  }
  return *kept;
}

// Of the normal distribution, the same ones every time.
std::vector<float> normal_values(int64_t count);

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
void register_attention();
void register_decode();
void register_gguf();
void register_nm_backward();
void register_nm_format();
void register_nm_matmul();
void register_optimizer();
void register_prune();
void register_qmatmul();
void register_quantize();

}  // namespace gatun::bench
