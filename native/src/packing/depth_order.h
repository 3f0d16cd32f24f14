// The order of the depth under act_order, and back. Arrays have depth elements; neither function writes anything unless
// the input is right.
#pragma once

#include <cstdint>

namespace gatun::packing {

// The stable order by group: permutation[j] is the j-th k. Null: group_index must be k / group. INVALID_ARGUMENT, with
// the index, if a group is out of range or has another number of elements than `group`, the last one the rest.
int32_t sort_by_group(const int32_t* group_index, int64_t depth, int64_t group, int32_t* permutation);

// inverse[permutation[j]] = j. INVALID_ARGUMENT, with the index, if `permutation` is none; `inverse` is unspecified
// then.
int32_t invert(const int32_t* permutation, int64_t depth, int32_t* inverse);

// group_index[permutation[j]] = j / group; a null permutation is the order as it is.
void groups_of(const int32_t* permutation, int64_t depth, int64_t group, int32_t* group_index);

}  // namespace gatun::packing
