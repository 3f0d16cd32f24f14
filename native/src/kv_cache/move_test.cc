// Moving slots: as if all had been read first.
#include "gatun/gatun.h"
#include "kv_cache/test_pool.h"

namespace gatun::kv_cache {
namespace {

using test::Rng;

using Slots = std::vector<int64_t>;

// What a slot holds, of one head.
struct Row {
  std::vector<uint8_t> bytes;
  std::vector<uint16_t> scales, zeros;
};

Row take(const Pool& pool, int64_t head, int64_t slot) {
  const int64_t index = pool.scale_index(head, slot), count = scales_of_row(pool.layout);
  const auto part = [&](const uint16_t* from) {
    return from == nullptr ? std::vector<uint16_t>() : std::vector<uint16_t>(from + index, from + index + count);
  };
  return {{pool.row(head, slot), pool.row(head, slot) + row_bytes(pool.layout)}, part(pool.scales), part(pool.zeros)};
}

void put(const Pool& pool, int64_t head, int64_t slot, const Row& row) {
  std::copy(row.bytes.begin(), row.bytes.end(), pool.row(head, slot));
  const int64_t index = pool.scale_index(head, slot);
  if (pool.scales != nullptr) std::copy(row.scales.begin(), row.scales.end(), pool.scales + index);
  if (pool.zeros != nullptr) std::copy(row.zeros.begin(), row.zeros.end(), pool.zeros + index);
}

void compare(const gatun_kv_layout& l, const Slots& from, const Slots& to, uint64_t seed) {
  Memory mine(l, Rng(seed)), expected(l, Rng(seed));
  const Pool pool = expected.pool(l);
  for (int64_t head = 0; head < l.heads; ++head) {
    std::vector<Row> rows;
    for (const int64_t slot : from) rows.push_back(take(pool, head, slot));
    for (size_t t = 0; t < to.size(); ++t) put(pool, head, to[t], rows[t]);
  }
  ASSERT_EQ(gatun_kv_cache_move(&l, static_cast<int64_t>(from.size()), from.data(), to.data(), mine.rows(),
                                mine.scales(), mine.zeros()),
            GATUN_OK)
      << gatun_last_error();
  ASSERT_TRUE(Memory::same(mine, expected)) << text(l) << ", " << from.size() << " tokens";
}

// Units of slots as slots.
Slots slots_of(const Slots& units, int64_t unit) {
  Slots slots;
  for (const int64_t index : units) {
    for (int64_t i = 0; i < unit; ++i) slots.push_back(index * unit + i);
  }
  return slots;
}

std::vector<gatun_kv_layout> layouts() {
  std::vector<gatun_kv_layout> all;
  for (const Order order : {Order::heads_outside, Order::rows_outside}) {
    for (const Format& format : kValues) all.push_back(make_layout(format, 72, 0, 3, 6, 7, order, 1));
    for (const Format& format : kCodes) all.push_back(make_layout(format, 72, 16, 3, 7, 32, order, 1));
  }
  return all;
}

TEST(KvCacheMove, AnySlots) {
  Rng rng(11);
  for (const gatun_kv_layout& l : layouts()) {
    for (int i = 0; i < 8; ++i) {
      const int64_t tokens = rng.integer(0, l.pages * l.page_size);
      const Slots from = any_slots(rng, l, tokens, false), to = any_slots(rng, l, tokens, false);
      compare(l, from, to, rng.next());
    }
  }
}

// What eviction does; also the other way, and chains and swaps.
TEST(KvCacheMove, SlotsInOrder) {
  Rng rng(12);
  for (const gatun_kv_layout& l : layouts()) {
    const int64_t unit = unit_of(l), units = l.pages * l.page_size / unit;
    Slots kept, first, last;
    for (int64_t i = 0; i < units; ++i) {
      if (rng.next() & 1) kept.push_back(i);
    }
    for (size_t i = 0; i < kept.size(); ++i) {
      first.push_back(static_cast<int64_t>(i));
      last.push_back(units - static_cast<int64_t>(kept.size() - i));
    }
    compare(l, slots_of(kept, unit), slots_of(first, unit), 1);
    compare(l, slots_of(first, unit), slots_of(kept, unit), 2);
    compare(l, slots_of(kept, unit), slots_of(last, unit), 3);
    compare(l, slots_of({0, 1}, unit), slots_of({1, 0}, unit), 4);
    compare(l, slots_of({0, 1, 2, 3}, unit), slots_of({1, 2, 3, 0}, unit), 5);
    compare(l, slots_of({2, 2, 2}, unit), slots_of({3, 1, 2}, unit), 6);
    compare(l, slots_of({0}, unit), slots_of({0}, unit), 7);
  }
}

// Enough for several threads.
TEST(KvCacheMove, ManySlots) {
  Rng rng(13);
  const gatun_kv_layout l = make_layout(kCodes[3], 128, 32, 8, 30, 128);
  const Slots all = any_slots(rng, l, 30 * 128, false);
  compare(l, all, any_slots(rng, l, 30 * 128, false), 1);
  Slots from(2000), to(2000);
  std::iota(from.begin(), from.end(), 1840);
  std::iota(to.begin(), to.end(), 3);
  compare(l, from, to, 2);
}

}  // namespace
}  // namespace gatun::kv_cache
