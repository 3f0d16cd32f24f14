#include "bench.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <random>
#include <utility>

#include "base/huge_pages.h"
#include "gatun/gatun.h"

namespace gatun::bench {

double limit(gatun_limit kind, Tier tier) {
  constexpr double kSeconds = 0.5;
  static std::map<std::pair<gatun_limit, Tier>, double> measured;
  double& best = measured[{kind, tier}];
  double median;
  if (best == 0 && gatun_limits_measure(kind, tier_name(tier), 1, 1, 1, kSeconds, &best, &median) != GATUN_OK) {
    std::fprintf(stderr, "gatun_bench: %s\n", gatun_limits_last_error());
    std::exit(1);
  }
  return best;
}

Memory allocate(int64_t bytes) {
  constexpr int64_t kPage = int64_t{2} << 20;
  Memory memory(
      static_cast<uint8_t*>(std::aligned_alloc(kPage, static_cast<size_t>((bytes + kPage - 1) / kPage * kPage))),
      &std::free);
  if (memory == nullptr) throw std::bad_alloc();
  prefer_huge_pages(memory.get(), bytes);
  return memory;
}

std::vector<float> normal_values(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (float& value : values) value = normal(random);
  return values;
}

void Copies::rotate(int64_t rows) {
  constexpr int64_t kRotatedBytes = int64_t{512} << 20, kMaxRotatedRows = 16;
  count_ = rows > kMaxRotatedRows ? 1 : static_cast<size_t>((kRotatedBytes + bytes_ - 1) / bytes_);
  while (copies_.size() < count_) {
    copies_.push_back(allocate(bytes_));
    std::memcpy(copies_.back().get(), first(), static_cast<size_t>(bytes_));
  }
}

void set_counters(benchmark::State& state, const Work& work, double limit_seconds, double seconds) {
  state.counters["GOP/s"] = work.operations / seconds * 1e-9;
  state.counters["GB/s"] = work.bytes / seconds * 1e-9;
  state.counters["limit%"] = 100 * limit_seconds / seconds;
}

}  // namespace gatun::bench

int main(int count, char** arguments) {
  gatun::bench::register_attention();
  gatun::bench::register_decode();
  gatun::bench::register_gguf();
  gatun::bench::register_nm_backward();
  gatun::bench::register_nm_format();
  gatun::bench::register_nm_matmul();
  gatun::bench::register_optimizer();
  gatun::bench::register_prune();
  gatun::bench::register_qmatmul();
  gatun::bench::register_quantize();
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 2;
  if (benchmark::RunSpecifiedBenchmarks() == 0) return 1;
  benchmark::Shutdown();
  return 0;
}
