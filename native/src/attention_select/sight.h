// Which keys the rows of a batch item may see: causal and windows as intervals.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "gatun/attention.h"

namespace gatun::attention_select {

// [0, sinks) and [begin, end), sinks <= begin; in keys, or in units of several keys.
struct Seen {
  int64_t sinks, begin, end;

  int64_t count() const { return sinks + end - begin; }
  bool holds(int64_t i) const { return i < sinks || (i >= begin && i < end); }
  // visit(first, last): the intervals that are not empty.
  template <class Visit>
  void for_each(Visit visit) const {
    if (sinks > 0) visit(int64_t{0}, sinks);
    if (end > begin) visit(begin, end);
  }
};

struct Sight {
  int64_t queries, keys;
  int64_t left, right;  // keys before and after its own that a query sees
  int64_t sink_keys;

  Sight(const gatun_attention_params& p, int64_t query_rows, int64_t key_rows) : queries(query_rows), keys(key_rows) {
    const int64_t all = int64_t{1} << 61;  // more than positions differ
    left = p.window_left < 0 ? all : std::min(p.window_left, all);
    right = p.window_right < 0 ? all : std::min(p.window_right, all);
    if (p.causal != 0) right = 0;
    sink_keys = std::min(p.sink_keys, keys);
  }

  int64_t position(int64_t i) const { return i + keys - queries; }

  // What rows [first, last), at least one, see together: a key, or a unit of which some row sees some key. A row's
  // interval begins and ends one further on than that of the row before.
  Seen of(int64_t first, int64_t last, int64_t unit = 1) const {
    const int64_t end = std::clamp<int64_t>(position(last - 1) + right + 1, 0, keys);
    const int64_t begin = std::clamp<int64_t>(position(first) - left, 0, end);
    const int64_t end_unit = blocks_of(end, unit), begin_unit = begin == end ? end_unit : begin / unit;
    return {std::min(blocks_of(std::min(sink_keys, end), unit), begin_unit), begin_unit, end_unit};
  }
};

}  // namespace gatun::attention_select
