#include "bench.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

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

void set_counters(benchmark::State& state, const Work& work, double limit_seconds, double seconds) {
  state.counters["GOP/s"] = work.operations / seconds * 1e-9;
  state.counters["GB/s"] = work.bytes / seconds * 1e-9;
  state.counters["limit%"] = 100 * limit_seconds / seconds;
}

}  // namespace gatun::bench

int main(int count, char** arguments) {
  gatun::bench::register_gguf();
  gatun::bench::register_qmatmul();
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 2;
  if (benchmark::RunSpecifiedBenchmarks() == 0) return 1;
  benchmark::Shutdown();
  return 0;
}
