#include "attention_select/choice.h"

#include <cmath>
#include <cstring>

#include "base/order_key.h"

namespace gatun::attention_select {

void mark_forced(const Call& call, const Item& item, int64_t block, uint8_t* map) {
  const Seen allowed = call.allowed(item, block);
  if (call.s.keep_first != 0 && allowed.holds(0)) map[0] = 1;
  if (call.s.keep_diagonal == 0) return;
  const int64_t last_row = std::min((block + 1) * call.p.query_block, item.queries()) - 1;
  const int64_t first = std::max<int64_t>(item.sight.position(block * call.p.query_block), 0);
  const int64_t last = item.sight.position(last_row);  // below the item's keys
  for (int64_t c = first / call.p.key_block; last >= 0 && c <= last / call.p.key_block; ++c) {
    if (allowed.holds(c)) map[c] = 1;
  }
}

void choose_row(const Call& call, const Item& item, int64_t block, float amount, const float* scores, uint64_t* order,
                uint8_t* map) {
  std::memset(map, 0, static_cast<size_t>(call.s.key_blocks));
  const Seen allowed = call.allowed(item, block);
  mark_forced(call, item, block, map);
  int64_t kept = 0, others = 0;
  double mass = 0;
  allowed.for_each([&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      const float score = scores[c];
      if (!(score < INFINITY)) {  // NaN, too
        map[c] = 1;
        continue;
      }
      if (map[c] != 0) {
        ++kept;
        mass += double{score};
      } else {
        order[others++] = order_key(score, c);
      }
    }
  });
  if (call.s.keep == GATUN_KEEP_FRACTION) {
    const int64_t wanted = static_cast<int64_t>(amount * static_cast<float>(allowed.count()));
    const int64_t more = std::clamp<int64_t>(std::max<int64_t>(wanted, 1) - kept, 0, others);
    if (more < others) std::nth_element(order, order + more, order + others);
    for (int64_t i = 0; i < more; ++i) map[index_of(order[i])] = 1;
    return;
  }
  std::sort(order, order + others);
  double sum = mass;  // in the order of the mass, or all of it would not be all
  for (int64_t i = 0; i < others; ++i) sum += double{scores[index_of(order[i])]};
  const double goal = double{amount} * sum;
  for (int64_t i = 0; i < others; ++i) {
    const double score = double{scores[index_of(order[i])]};
    const bool enough = call.s.keep == GATUN_KEEP_MASS ? mass >= goal : mass + score > goal;
    if (enough && kept > 0) return;
    map[index_of(order[i])] = 1;
    mass += score;
    ++kept;
  }
}

}  // namespace gatun::attention_select
