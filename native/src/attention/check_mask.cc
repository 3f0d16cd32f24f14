// The checks of a mask's shape and lists.
#include <algorithm>
#include <utility>

#include "attention/check.h"
#include "base/check.h"
#include "base/status.h"
#include "block_mask/lists.h"

namespace gatun::attention {
namespace {

using Params = gatun_attention_params;
using LongLong = long long;

int64_t length_of(const int64_t* offsets, int64_t length, int64_t item) {
  return offsets != nullptr ? offsets[item + 1] - offsets[item] : length;
}

block_mask::Lists lists_of(const Params& p, const Inputs& in) {
  return {in.full_offsets, in.full_blocks, p.full_count, in.partial_offsets, in.partial_blocks, p.partial_count};
}

}  // namespace

int32_t check_multiple(int64_t value, int64_t unit, int64_t low, int64_t high, const char* name) {
  if (value >= low && value <= high && value % unit == 0) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s = %lld; allowed: multiples of %lld in %lld..%lld", name, LongLong{value},
              LongLong{unit}, LongLong{low}, LongLong{high});
}

bool has_mask(const Inputs& in) {
  return in.full_offsets != nullptr || in.full_blocks != nullptr || in.partial_offsets != nullptr ||
         in.partial_blocks != nullptr || in.partial_bits != nullptr;
}

int32_t check_mask_params(const Params& p, const Inputs& in, int64_t* rows) {
  *rows = 0;
  if (!has_mask(in)) {
    for (const auto& [value, name] : {std::pair<int64_t, const char*>{p.query_block, "query_block"},
                                      {p.key_block, "key_block"},
                                      {p.mask_batch, "mask_batch"},
                                      {p.mask_heads, "mask_heads"},
                                      {p.query_blocks, "query_blocks"},
                                      {p.partial_count, "partial_count"},
                                      {p.full_count, "full_count"}}) {
      if (value != 0) {
        return fail(GATUN_INVALID_ARGUMENT, "params.%s = %lld without a mask; allowed: 0", name, LongLong{value});
      }
    }
    return GATUN_OK;
  }
  GATUN_TRY(check_multiple(p.query_block, 16, 16, 128, "params.query_block"));
  GATUN_TRY(check_multiple(p.key_block, 16, 16, 128, "params.key_block"));
  if (p.mask_batch != p.batch && p.mask_batch != 1) {
    return fail(GATUN_INVALID_ARGUMENT, "params.mask_batch = %lld; allowed: 1, or params.batch = %lld",
                LongLong{p.mask_batch}, LongLong{p.batch});
  }
  if (p.mask_heads != p.query_heads && p.mask_heads != 1) {
    return fail(GATUN_INVALID_ARGUMENT, "params.mask_heads = %lld; allowed: 1, or params.query_heads = %lld",
                LongLong{p.mask_heads}, LongLong{p.query_heads});
  }
  GATUN_TRY(check_range(p.query_blocks, 0, kMaxLength, "params.query_blocks"));
  int64_t heads;
  if (__builtin_mul_overflow(p.mask_batch, p.mask_heads, &heads) ||
      __builtin_mul_overflow(heads, p.query_blocks, rows) || *rows > kMaxLength) {
    return fail(GATUN_INVALID_ARGUMENT, "params: a mask of %lld x %lld x %lld rows; allowed: up to 2^60",
                LongLong{p.mask_batch}, LongLong{p.mask_heads}, LongLong{p.query_blocks});
  }
  return GATUN_OK;
}

int32_t check_query_blocks(const Params& p, int64_t queries, int64_t batch_item) {
  const int64_t needed = blocks_of(queries, p.query_block);
  if (p.query_blocks >= needed) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT,
              "params.query_blocks = %lld; allowed: at least %lld, of the %lld queries of batch item %lld",
              LongLong{p.query_blocks}, LongLong{needed}, LongLong{queries}, LongLong{batch_item});
}

// Lists that all items share have to fit each of them that has queries.
int32_t check_mask_lists(const Params& p, const Inputs& in, int64_t rows) {
  GATUN_TRY(block_mask::check_lists(lists_of(p, in), rows, "mask rows"));
  const bool shared = p.mask_batch == 1;
  const int64_t item_rows = p.mask_heads * p.query_blocks;
  int64_t least = shared ? blocks_of(in.q_offsets != nullptr ? kMaxLength : p.kv_length, p.key_block) : 0;
  const int64_t items = in.q_offsets != nullptr || !shared ? p.batch : std::min<int64_t>(p.batch, 1);
  for (int64_t b = 0; b < items; ++b) {
    const int64_t queries = length_of(in.q_offsets, p.query_length, b);
    const int64_t keys = blocks_of(length_of(in.kv_offsets, p.kv_length, b), p.key_block);
    GATUN_TRY(check_query_blocks(p, queries, b));
    if (shared) {
      if (queries > 0) least = std::min(least, keys);
    } else {
      GATUN_TRY(block_mask::check_rows(lists_of(p, in), b * item_rows, (b + 1) * item_rows, keys));
    }
  }
  return shared ? block_mask::check_rows(lists_of(p, in), 0, rows, least) : GATUN_OK;
}

}  // namespace gatun::attention
