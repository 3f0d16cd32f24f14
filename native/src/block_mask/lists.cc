#include "block_mask/lists.h"

#include <algorithm>

#include "base/check.h"
#include "base/status.h"

namespace gatun::block_mask {
namespace {

using LongLong = long long;

// The blocks of one row.
struct Range {
  const int32_t* blocks;
  int64_t begin, end;  // in the list of all rows
  int64_t size() const { return end - begin; }
};

int32_t check_offsets(const int64_t* offsets, const int32_t* blocks, int64_t count, const char* name, int64_t row,
                      Range* range) {
  const int64_t begin = offsets[row], end = offsets[row + 1];
  if (begin < 0 || end < begin || end > count) {
    return fail(GATUN_INVALID_ARGUMENT,
                "%s_offsets[%lld] = %lld after %lld; allowed: ascending offsets up to %s_count = %lld", name,
                LongLong{row} + 1, LongLong{end}, LongLong{begin}, name, LongLong{count});
  }
  *range = {blocks, begin, end};
  return GATUN_OK;
}

// Where blocks do not ascend or leave their range.
__attribute__((cold)) int32_t refuse(const Range& range, int64_t key_blocks, const char* name, int64_t row) {
  int64_t above = -1;
  for (int64_t i = range.begin; i < range.end; ++i) {
    const int64_t block = range.blocks[i];
    if (block < 0 || block >= key_blocks) {
      return fail(GATUN_INVALID_ARGUMENT, "%s_blocks[%lld] = %lld in row %lld; allowed: 0..%lld, its blocks of keys",
                  name, LongLong{i}, LongLong{block}, LongLong{row}, LongLong{key_blocks} - 1);
    }
    if (block <= above) {
      return fail(GATUN_INVALID_ARGUMENT, "%s_blocks[%lld] = %lld after %lld in row %lld; allowed: ascending blocks",
                  name, LongLong{i}, LongLong{block}, LongLong{above}, LongLong{row});
    }
    above = block;
  }
  return fail(GATUN_INVALID_ARGUMENT, "%s_blocks changed during the call, in row %lld", name, LongLong{row});
}

int32_t check_ascending(const Range& range, int64_t key_blocks, const char* name, int64_t row) {
  if (range.size() == 0) return GATUN_OK;
  // Ascending from 0 on, below what the last one has to be: without branches, so in vectors.
  const int32_t* const blocks = range.blocks + range.begin;
  const int64_t size = range.size();
  const int32_t first = blocks[0], last = blocks[size - 1];
  int32_t wrong = first < 0 || last >= key_blocks;
  for (int64_t i = 1; i < size; ++i) wrong |= blocks[i] <= blocks[i - 1];
  return wrong == 0 ? GATUN_OK : refuse(range, key_blocks, name, row);
}

// The place in `many` of a block that is in `few`, too, or -1; both ascend.
int64_t common_block(const Range& few, const Range& many) {
  const int32_t *a = few.blocks + few.begin, *const a_end = few.blocks + few.end;
  const int32_t *b = many.blocks + many.begin, *const b_end = many.blocks + many.end;
  if (few.size() < many.size() / 8) {  // the diagonal beside full blocks
    for (; a != a_end; ++a) {
      b = std::lower_bound(b, b_end, *a);
      if (b == b_end) break;
      if (*b == *a) return b - many.blocks;
    }
    return -1;
  }
  while (a != a_end && b != b_end) {
    const int32_t x = *a, y = *b;
    if (x == y) return b - many.blocks;
    a += x < y;
    b += y < x;
  }
  return -1;
}

int32_t check_disjoint_lists(const Range& full, const Range& partial, int64_t row) {
  if (full.size() == 0 || partial.size() == 0) return GATUN_OK;
  const bool few_partial = partial.size() <= full.size();
  const int64_t place = few_partial ? common_block(partial, full) : common_block(full, partial);
  if (place < 0) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT,
              "%s_blocks[%lld] = %d in row %lld is in %s_blocks, too; allowed: each block in one list",
              few_partial ? "full" : "partial", LongLong{place}, (few_partial ? full : partial).blocks[place],
              LongLong{row}, few_partial ? "partial" : "full");
}

}  // namespace

int32_t check_lists(const Lists& lists, int64_t rows, const char* name) {
  GATUN_TRY(check_range(rows, 0, INT64_MAX - 1, name));
  GATUN_TRY(check_range(lists.full_count, 0, INT64_MAX, "full_count"));
  GATUN_TRY(check_range(lists.partial_count, 0, INT64_MAX, "partial_count"));
  Buffer buffers[] = {{"full_offsets", lists.full_offsets, 1, rows + 1, 0, 8, false},
                      {"full_blocks", lists.full_blocks, 1, lists.full_count, 0, 4, false},
                      {"partial_offsets", lists.partial_offsets, 1, rows + 1, 0, 8, false},
                      {"partial_blocks", lists.partial_blocks, 1, lists.partial_count, 0, 4, false}};
  GATUN_TRY(check_buffers(buffers));
  GATUN_TRY(check_range(lists.full_offsets[0], 0, 0, "full_offsets[0]"));
  return check_range(lists.partial_offsets[0], 0, 0, "partial_offsets[0]");
}

int32_t check_rows(const Lists& lists, int64_t begin, int64_t end, int64_t key_blocks) {
  for (int64_t row = begin; row < end; ++row) {
    Range full, partial;
    GATUN_TRY(check_offsets(lists.full_offsets, lists.full_blocks, lists.full_count, "full", row, &full));
    GATUN_TRY(
        check_offsets(lists.partial_offsets, lists.partial_blocks, lists.partial_count, "partial", row, &partial));
    GATUN_TRY(check_ascending(full, key_blocks, "full", row));
    GATUN_TRY(check_ascending(partial, key_blocks, "partial", row));
    GATUN_TRY(check_disjoint_lists(full, partial, row));
  }
  return GATUN_OK;
}

}  // namespace gatun::block_mask
