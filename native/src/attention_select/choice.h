// The best blocks of a row, and the best lines of a head.
#pragma once

#include "attention_select/call.h"

namespace gatun::attention_select {

// 64-bit keys that sort ascending to: the larger value first, NaN before all, then the lower index.
uint64_t order_key(float value, int64_t index);
inline int64_t index_of(uint64_t key) { return static_cast<int64_t>(key & 0xffffffff); }

// The map of a row of blocks of the item, key_blocks bytes, from its scores (gatun_attention_choose). `order` has room
// for key_blocks keys.
void choose_row(const Call& call, const Item& item, int64_t block, float amount, const float* scores, uint64_t* order,
                uint8_t* map);

// Sets keep_first and keep_diagonal, where they are allowed.
void mark_forced(const Call& call, const Item& item, int64_t block, uint8_t* map);

}  // namespace gatun::attention_select
