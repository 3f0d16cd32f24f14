// What a block of the kernels that make codes has of k or v.
#pragma once

#include <cstdint>

#include "attention/device_codes.h"
#include "attention/device_rows.h"

namespace gatun::cuda::attention {

// Units of kUnitKeys keys have a block each: units of a head, kv heads, batch items unless there are offsets, the first
// fastest. False if block_x() has none.
struct Unit {
  Item item;
  int64_t head;   // of k and v
  int32_t first;  // key
};
GATUN_DEVICE bool unit_of_block(const Job& job, Unit* unit) {
  const int64_t all = quotient(block_x(), job.codes.k_units), item = quotient(all, job.kv_heads);
  Part part = {item, block_x() - all * job.codes.k_units};
  if (job.in.kv_offsets != nullptr) part = part_of(job, job.in.kv_offsets, job.kv_length, kUnitKeys, part.index);
  unit->item = item_of(job, part.item);
  unit->head = all - item * job.kv_heads;
  if (part.index < 0 || part.index * kUnitKeys >= unit->item.keys) return false;
  unit->first = static_cast<int32_t>(part.index) * kUnitKeys;
  return true;
}

// kMeanColumns columns of k or v have a block each: parts of a head, kv heads, batch items, the first fastest.
struct Columns {
  Item item;
  int64_t head;
  int column;  // of the lane, perhaps beyond the last
};
GATUN_DEVICE Columns columns_of_block(const Job& job, int64_t columns) {
  const int64_t parts = (columns + kMeanColumns - 1) / kMeanColumns, all = quotient(block_x(), parts);
  const int64_t item = quotient(all, job.kv_heads);
  return {item_of(job, item), all - item * job.kv_heads,
          static_cast<int>(block_x() - all * parts) * kMeanColumns + lane()};
}

}  // namespace gatun::cuda::attention
