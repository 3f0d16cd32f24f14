// gatun_decode_choose: the best pages of a row are those whose keys (base/order_key.h) are up to that of the last one
// that there is a place for.
#include <algorithm>

#include "base/check.h"
#include "base/failure.h"
#include "base/order_key.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "decode_choose/check.h"

namespace gatun::decode_choose {
namespace {

using Params = gatun_decode_choose_params;

// Scores for which waking another thread pays.
constexpr int64_t kGrain = 16 * 1024;

// Of `pages` pages, more than the budget, to `chosen`, which has room for the budget. `order` has room for the pages.
void choose_row(const Params& p, const float* scores, const int32_t* table, int64_t pages, uint64_t* order,
                int32_t* chosen) {
  const int64_t last = std::min(p.keep_last, p.budget), first = std::min(p.keep_first, p.budget - last);
  const int64_t others = p.budget - last - first, end = pages - last;
  uint64_t worst = 0;
  if (others > 0) {
    for (int64_t i = first; i < end; ++i) order[i - first] = order_key(scores[i], i);
    std::nth_element(order, order + others - 1, order + (end - first));
    worst = order[others - 1];
  }
  // Scores that another thread changes could be better than the worst in more than `budget` places.
  const int32_t* const full = chosen + p.budget;
  for (int64_t i = 0; i < pages && chosen < full; ++i) {
    const bool kept = i < first || i >= end || (others > 0 && order_key(scores[i], i) <= worst);
    if (kept) *chosen++ = table[i];
  }
}

}  // namespace
}  // namespace gatun::decode_choose

using namespace gatun;

int32_t gatun_decode_choose(const gatun_decode_choose_params* params, const float* scores, const int32_t* table,
                            const int64_t* lengths, int32_t* chosen, int64_t* chosen_lengths) {
  gatun_decode_choose_params p;
  int64_t longest;
  GATUN_TRY(decode_choose::check_choose(params, scores, table, lengths, chosen, chosen_lengths, &p, &longest));
  const int64_t rows = p.batch * p.heads, most_pages = blocks_of(longest, p.page_size);
  const double work = static_cast<double>(rows) * static_cast<double>(most_pages);
  const int32_t threads =
      useful_threads(p.threads, rows, static_cast<int64_t>(std::min(work, 0x1p60)), decode_choose::kGrain);
  FirstFailure failure;
  parallel_for(rows, threads, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    auto* const order = reinterpret_cast<uint64_t*>(scratch.get(most_pages * 8));
    if (order == nullptr && most_pages > 0) {
      return failure.note(
          fail(GATUN_OUT_OF_RESOURCES, "no memory for the order of %lld pages", static_cast<long long>(most_pages)));
    }
    for (int64_t row = begin; row < end; ++row) {
      const int64_t item = row / p.heads, head = row % p.heads;
      const int64_t table_row = item * p.table_heads + (p.table_heads == 1 ? 0 : head);
      const int64_t length = decode_choose::length_of(lengths, table_row, longest);
      const int64_t pages = blocks_of(length, p.page_size);
      const int64_t count = std::min(pages, p.budget);
      // The pages that are left out are full.
      chosen_lengths[row] = count == 0 ? 0 : length - (pages - count) * p.page_size;
      if (count == 0) continue;
      const int32_t* const from = table + table_row * p.table_stride;
      int32_t* const to = chosen + row * p.chosen_stride;
      if (count == pages) {
        std::copy_n(from, pages, to);
      } else {
        decode_choose::choose_row(p, scores + item * p.scores_batch_stride + head * p.scores_head_stride, from, pages,
                                  order, to);
      }
    }
  });
  return failure.result();
}
