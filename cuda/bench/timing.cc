#include "timing.h"

#include <algorithm>
#include <cmath>

namespace gatun::bench {
namespace {

constexpr int64_t kTimesTheCache = 4, kMostTurns = 64, kMostCalls = 500, kMostSamples = 200;

int64_t clamp(double value, int64_t least, int64_t most) {
  return value < static_cast<double>(least) ? least : value > static_cast<double>(most) ? most : std::llround(value);
}

}  // namespace

Summary summarize(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const size_t half = samples.size() / 2;
  const double median = samples.size() % 2 == 1 ? samples[half] : (samples[half - 1] + samples[half]) / 2;
  return {median, samples.front(), samples.back()};
}

int64_t turns_for(int64_t bytes, int64_t cache_bytes) {
  return clamp(std::ceil(static_cast<double>(kTimesTheCache * cache_bytes) / static_cast<double>(bytes)), 2,
               kMostTurns);
}

std::vector<Summary> time_side_by_side(const std::vector<Contender>& contenders, const Effort& effort) {
  std::vector<std::unique_ptr<Batches>> batches;
  std::vector<int64_t> samples;
  for (const Contender& contender : contenders) {
    // Each turn once, not captured, so that code is loaded and memory touched; then how long a call takes.
    for (int64_t turn = 0; turn < contender.turns; ++turn) contender.call(turn);
    wait();
    Batches trial(contender.call, contender.turns, contender.turns);
    const double call = summarize(trial.seconds(3)).min;
    const int64_t calls = clamp(std::ceil(effort.batch_seconds / call), 1, kMostCalls);
    batches.push_back(std::make_unique<Batches>(contender.call, calls, contender.turns));
    samples.push_back(
        clamp(effort.round_seconds / (call * static_cast<double>(calls)), effort.least_samples, kMostSamples));
  }
  std::vector<std::vector<double>> all(contenders.size());
  for (int round = 0; round < effort.rounds; ++round) {
    for (size_t i = 0; i < contenders.size(); ++i) {
      const std::vector<double> seconds = batches[i]->seconds(samples[i]);
      all[i].insert(all[i].end(), seconds.begin(), seconds.end());
    }
  }
  std::vector<Summary> result;
  for (const std::vector<double>& seconds : all) result.push_back(summarize(seconds));
  return result;
}

}  // namespace gatun::bench
