/*
 * Block masks: which blocks of keys each block of queries sees.
 *
 * A row of the mask is a (batch item, head, query block); rows are in that order, the query block fastest. Row r lists
 * its blocks of keys twice, as compressed sparse rows:
 *
 *   full     full_blocks[full_offsets[r] .. full_offsets[r + 1]): seen whole
 *   partial  partial_blocks[partial_offsets[r] .. partial_offsets[r + 1]): element by element, if there are bits
 *
 * Offsets are int64 [rows + 1] from 0 on, blocks int32; each list ascends strictly, and no block is in both. Block b is
 * keys b * key_block .. (b + 1) * key_block - 1 of the batch item, the last one perhaps fewer.
 *
 * partial_bits has query_block rows of key_block / 8 bytes for each partial block: bit j % 8 of byte j / 8 of row i,
 * the lowest first, is 1 where query i of the block sees key j. Bits beyond the lengths are ignored.
 *
 * What causal masks and windows hide is hidden in blocks of either kind, so a mask need not say it again.
 */
#ifndef GATUN_BLOCK_MASK_H
#define GATUN_BLOCK_MASK_H

#include <stdint.h>

#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Checks a mask of `rows` rows: INVALID_ARGUMENT, with row and place, unless offsets start at 0, ascend and end at most
 * at the counts, and lists ascend strictly within 0 .. key_blocks - 1 and are disjoint. O(its length).
 */
GATUN_API int32_t gatun_block_mask_check(int64_t rows, int64_t key_blocks, const int64_t* full_offsets,
                                         const int32_t* full_blocks, int64_t full_count, const int64_t* partial_offsets,
                                         const int32_t* partial_blocks, int64_t partial_count);

/*
 * The lists of a map, u8 [rows, key_blocks], 0 not seen, 1 full, 2 partial. First with null blocks: offsets are
 * written, whose last elements are the counts; then with blocks, of which the counts say how many there is room for.
 * INVALID_ARGUMENT for any other byte, with its place, or if there is not enough room.
 */
GATUN_API int32_t gatun_block_mask_from_map(int64_t rows, int64_t key_blocks, const uint8_t* map, int64_t* full_offsets,
                                            int32_t* full_blocks, int64_t full_count, int64_t* partial_offsets,
                                            int32_t* partial_blocks, int64_t partial_count);

#ifdef __cplusplus
}
#endif

#endif
