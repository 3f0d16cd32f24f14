// The best blocks of a row, and the best lines of a head.
#pragma once

#include "attention_select/call.h"

namespace gatun::attention_select {

// The map of a row of blocks of the item, key_blocks bytes, from its scores (gatun_attention_choose). `order` has room
// for key_blocks keys.
void choose_row(const Call& call, const Item& item, int64_t block, float amount, const float* scores, uint64_t* order,
                uint8_t* map);

// Sets keep_first and keep_diagonal, where they are allowed.
void mark_forced(const Call& call, const Item& item, int64_t block, uint8_t* map);

}  // namespace gatun::attention_select
