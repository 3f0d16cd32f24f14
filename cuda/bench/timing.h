// How contenders are timed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device.h"

namespace gatun::bench {

struct Summary {
  double median = 0, min = 0, max = 0;
};

// Of at least one sample.
Summary summarize(std::vector<double> samples);

// How long to measure.
struct Effort {
  int rounds;             // in each of which every contender has its turn
  double batch_seconds;   // of calls that are timed together
  double round_seconds;   // of one contender
  int64_t least_samples;  // of a round
};

// A call, whose turns use different memory, so that nothing is found in a cache that a call before has left there.
struct Contender {
  std::string impl;
  std::string kernel;
  std::string timed;  // what is inside the time
  int64_t turns;
  Call call;
};

// So many copies of `bytes` bytes are several times the cache.
int64_t turns_for(int64_t bytes, int64_t cache_bytes);

// Seconds of a call of each contender.
std::vector<Summary> time_side_by_side(const std::vector<Contender>& contenders, const Effort& effort);

}  // namespace gatun::bench
