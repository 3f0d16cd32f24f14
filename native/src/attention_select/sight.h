// Which keys the rows of a batch item may see: causal and windows as intervals. Devices use it, too.
#pragma once

#include <cstdint>

#include "gatun/attention.h"

namespace gatun::attention_select {

// By value: references would be memory to devices.
constexpr int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t between(int64_t x, int64_t low, int64_t high) { return x < low ? low : lesser(x, high); }

// Units of `unit` elements, the last one perhaps smaller, that cover `count` of them.
constexpr int64_t units_of(int64_t count, int64_t unit) { return (count + unit - 1) / unit; }

// [0, sinks) and [begin, end), sinks <= begin; in keys, or in units of several keys.
struct Seen {
  int64_t sinks, begin, end;

  constexpr int64_t count() const { return sinks + end - begin; }
  constexpr bool holds(int64_t i) const { return i < sinks || (i >= begin && i < end); }
  // visit(first, last): the intervals that are not empty.
  template <class Visit>
  constexpr void for_each(Visit visit) const {
    if (sinks > 0) visit(int64_t{0}, sinks);
    if (end > begin) visit(begin, end);
  }
};

struct Sight {
  int64_t queries, keys;
  int64_t left, right;  // keys before and after its own that a query sees
  int64_t sink_keys;

  constexpr Sight(const gatun_attention_params& p, int64_t query_rows, int64_t key_rows)
      : queries(query_rows),
        keys(key_rows),
        left(limited(p.window_left)),
        right(p.causal != 0 ? 0 : limited(p.window_right)),
        sink_keys(lesser(p.sink_keys, key_rows)) {}

  constexpr int64_t position(int64_t i) const { return i + keys - queries; }

  // What rows [first, last), at least one, see together: a key, or a unit of which some row sees some key. A row's
  // interval begins and ends one further on than that of the row before.
  constexpr Seen of(int64_t first, int64_t last, int64_t unit = 1) const {
    const int64_t end = between(position(last - 1) + right + 1, 0, keys);
    const int64_t begin = between(position(first) - left, 0, end);
    const int64_t end_unit = units_of(end, unit), begin_unit = begin == end ? end_unit : begin / unit;
    return {lesser(units_of(lesser(sink_keys, end), unit), begin_unit), begin_unit, end_unit};
  }

 private:
  static constexpr int64_t limited(int64_t window) {
    constexpr int64_t kAll = int64_t{1} << 61;  // more than positions differ
    return window < 0 ? kAll : lesser(window, kAll);
  }
};

}  // namespace gatun::attention_select
