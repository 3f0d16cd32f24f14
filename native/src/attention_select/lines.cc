#include "attention_select/lines.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "attention_select/choice.h"
#include "base/order_key.h"

namespace gatun::attention_select {
namespace {

int64_t first_of_last(const Call& call, const Item& item) {
  return std::max<int64_t>(item.queries() - call.s.last_queries, 0);
}

// The indices of the `wanted` best of n sums, the first `forced` among them; only those where sums is null. Returns how
// many, in `chosen`, which has room for n.
int64_t best_of(const float* sums, int64_t n, int64_t wanted, int64_t forced, uint64_t* chosen) {
  forced = std::min(forced, n);
  for (int64_t i = 0; i < forced; ++i) chosen[i] = static_cast<uint64_t>(i);
  if (sums == nullptr) return forced;
  const int64_t count = std::clamp(wanted, forced, n);
  for (int64_t i = forced; i < n; ++i) chosen[i] = order_key(sums[i], i);
  if (count > forced && count < n) std::nth_element(chosen + forced, chosen + count, chosen + n);
  for (int64_t i = forced; i < count; ++i) chosen[i] = static_cast<uint64_t>(index_of(chosen[i]));
  return count;
}

}  // namespace

bool sum_lines(const Call& call, const Item& item, int64_t head, Products& products, float* columns, float* diagonals) {
  const int64_t keys = item.keys(), first = first_of_last(call, item), last = item.queries();
  std::memset(columns, 0, static_cast<size_t>(keys) * sizeof(float));
  if (diagonals != nullptr) std::memset(diagonals, 0, static_cast<size_t>(keys) * sizeof(float));
  if (first == last || keys == 0) return true;
  const int64_t width = logits_stride(keys);
  float* const logits = get<float>(thread_memory().logits, (last - first) * width);
  float* const backwards = get<float>(thread_memory().sums, keys);  // of diagonal t at keys - 1 - t
  Seen* const seen = get<Seen>(thread_memory().rows, last - first);
  if (logits == nullptr || backwards == nullptr || seen == nullptr) return false;
  for (int64_t i = first; i < last; ++i) seen[i - first] = products.seen(i);
  if (!products.take_queries(head, first, last) || !products.multiply(seen, logits, width)) return false;
  std::memset(backwards, 0, static_cast<size_t>(keys) * sizeof(float));
  for (int64_t i = first; i < last; ++i) {
    const Seen& row_seen = seen[i - first];
    float* const row = logits + (i - first) * width;
    if (row_seen.count() == 0) continue;
    const float share = exponentiate_seen(*call.kernel, row_seen, call.p.scale, call.p.soft_cap, row);
    const int64_t position = item.sight.position(i);
    row_seen.for_each([&](int64_t begin, int64_t end) {
      call.kernel->add_scaled(columns + begin, row + begin, end - begin, share);
      const int64_t past = std::min(end, position + 1);
      if (begin >= past) return;
      call.kernel->add_scaled(backwards + (keys - 1 - position) + begin, row + begin, past - begin, share);
    });
  }
  for (int64_t t = 0; diagonals != nullptr && t < keys; ++t) diagonals[t] = backwards[keys - 1 - t];
  return true;
}

void draw_lines(const Call& call, const Item& item, const float* columns, const float* diagonals, uint64_t* order,
                uint8_t* map) {
  const int64_t width = call.s.key_blocks, rows = call.query_blocks(item), keys = item.keys();
  std::memset(map, 0, static_cast<size_t>(call.p.query_blocks * width));
  if (rows == 0 || keys == 0) return;
  // The columns in the first row, from where each row takes what it may see.
  const int64_t verticals = best_of(columns, keys, call.s.verticals, call.s.forced_verticals, order);
  for (int64_t i = 0; i < verticals; ++i) map[static_cast<int64_t>(order[i]) / call.p.key_block] = 1;
  const int64_t slashes = best_of(diagonals, keys, call.s.slashes, call.s.forced_slashes, order);
  for (int64_t a = rows - 1; a >= 0; --a) {
    uint8_t* const row = map + a * width;
    const Seen allowed = call.allowed(item, a);
    for (int64_t c = 0; c < width; ++c) row[c] = map[c] != 0 && allowed.holds(c);
    const int64_t last_row = std::min((a + 1) * call.p.query_block, item.queries()) - 1;
    const int64_t first = item.sight.position(a * call.p.query_block), last = item.sight.position(last_row);
    for (int64_t i = 0; i < slashes; ++i) {
      const int64_t t = static_cast<int64_t>(order[i]);
      if (last < t) continue;
      for (int64_t c = std::max<int64_t>(first - t, 0) / call.p.key_block; c <= (last - t) / call.p.key_block; ++c) {
        if (allowed.holds(c)) row[c] = 1;
      }
    }
    mark_forced(call, item, a, row);
  }
}

float budget_of(const Call& call, const Item& item, const float* columns, double* sums) {
  const int64_t first = first_of_last(call, item);
  if (first == item.queries() || item.keys() == 0) return 1;
  const Seen allowed = item.sight.of(first, item.queries(), call.p.key_block);
  int64_t count = 0;
  allowed.for_each([&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      double mass = 0;
      for (int64_t j = c * call.p.key_block; j < std::min((c + 1) * call.p.key_block, item.keys()); ++j) {
        mass += double{columns[j]};
      }
      sums[count++] = mass;
    }
  });
  // In the order in which blocks are taken: an amount of 1 is reached.
  const auto total = [&] { return std::accumulate(sums, sums + count, 0.0); };
  if (count == 0 || !std::isfinite(total())) return 1;
  std::sort(sums, sums + count, std::greater<double>());
  const double sum = total();
  const double goal = double{call.s.amount} * sum;
  double mass = 0;
  int64_t kept = 0;
  while (kept < count && mass < goal) mass += sums[kept++];
  return static_cast<float>(kept) / static_cast<float>(count);
}

}  // namespace gatun::attention_select
