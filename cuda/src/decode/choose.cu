// The attention that keys get, and the pages that are kept for it.
//
// Scores: a thread does a key. Choice: a block does a row of scores. Its threads count the pages that come before a
// place in the order of base/order_key.h, of which one bit after the other is found from the highest on; then each
// has pages that follow each other, and their place among the kept ones is how many its predecessors keep.
#include <cmath>

#include "base/quotient.h"
#include "decode/choose.h"
#include "ptx/launch.h"
#include "ptx/number.h"
#include "ptx/warp.h"

namespace gatun::cuda::decode {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1 << 16;

GATUN_KERNEL(kThreads, 4) add_scores(GATUN_GRID_CONSTANT ScoresJob job) {
  const gatun_decode_scores_params& p = job.params;
  const int64_t shared = p.query_heads / p.heads;
  for (int64_t row = block_y(); row < p.batch * p.heads; row += kMostBlocks - 1) {
    const int64_t b = quotient(row, p.heads), g = row - b * p.heads;
    const int64_t given = job.lengths[b * p.table_heads + (p.table_heads > 1 ? g : 0)];
    const int64_t length = given < job.most_keys ? given : job.most_keys;
    for (int64_t j = block_x() * kThreads + thread_index(); j < length; j += blocks_x() * kThreads) {
      float sum = 0;
      for (int64_t h = g * shared; h < (g + 1) * shared; ++h) {
        for (int64_t i = 0; i < p.query_length; ++i) {
          const float lse = job.lse[b * p.lse_batch_stride + h * p.lse_head_stride + i];
          if (lse == as_float(0xff800000)) continue;
          const float logit =
              job.logits[b * p.logits_batch_stride + h * p.logits_head_stride + i * p.logits_row_stride + j];
          sum += expf(logit - lse);
        }
      }
      float* const to = job.scores + b * p.scores_batch_stride + g * p.scores_head_stride + j;
      *to = p.accumulate != 0 ? *to + sum : sum;
    }
  }
}

// Less is better: the larger score, NaN before all, both zeros the same.
GATUN_DEVICE uint32_t place_of(float score) {
  const uint32_t bits = as_bits(score);
  if (score != score) return 0;
  if (score == 0) return 0x7fffffff;
  return bits >> 31 != 0 ? bits : ~bits & 0x7fffffff;
}

// The sum of all threads' numbers, and of those before the thread.
struct Sums {
  int64_t before, all;
};
GATUN_DEVICE Sums sum_of_threads(int64_t own) {
  int64_t* const numbers = reinterpret_cast<int64_t*>(shared_memory());
  int64_t sum = own;  // of the warp's threads up to this one
  for (int step = 1; step < 32; step *= 2) {
    const int64_t other = shuffle(sum, lane() >= step ? lane() - step : lane());
    if (lane() >= step) sum += other;
  }
  block_barrier();  // the numbers of the sums before have been read
  if (lane() == 31) numbers[warp()] = sum;
  block_barrier();
  Sums sums = {sum - own, 0};
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w < warp()) sums.before += numbers[w];
    sums.all += numbers[w];
  }
  return sums;
}

GATUN_KERNEL(kThreads, 4) choose(GATUN_GRID_CONSTANT ChooseJob job) {
  const gatun_decode_choose_params& p = job.params;
  const int64_t b = quotient(block_x(), p.heads), g = block_x() - b * p.heads;
  const int64_t table_row = b * p.table_heads + (p.table_heads > 1 ? g : 0), given = job.lengths[table_row];
  const int64_t length = given < 0 ? 0 : given < job.most_keys ? given : job.most_keys;
  const int64_t pages = length == 0 ? 0 : quotient(length - 1, p.page_size) + 1;
  const int64_t count = pages < p.budget ? pages : p.budget;
  const float* const scores = job.scores + b * p.scores_batch_stride + g * p.scores_head_stride;

  const int64_t last = p.keep_last < count ? p.keep_last : count;
  const int64_t first = p.keep_first < count - last ? p.keep_first : count - last;
  const int64_t end = pages - last;
  int64_t wanted = count - last - first;  // of first .. end - 1
  // The place of the worst of them, and how many of those that are there.
  uint32_t worst = 0;
  if (wanted > 0) {
    for (int bit = 31; bit >= 0; --bit) {
      const uint32_t middle = worst | 1u << bit;
      int64_t better = 0;
      for (int64_t i = first + thread_index(); i < end; i += kThreads) {
        const uint32_t place = place_of(scores[i]);
        better += place >= worst && place < middle ? 1 : 0;
      }
      better = sum_of_threads(better).all;
      if (better <= wanted) {
        wanted -= better;
        worst = middle;
      }
      if (wanted == 0) break;  // all before that place, none at it
    }
  }
  // Of pages at that place, the first ones are kept.
  const int64_t each = (pages + kThreads - 1) / kThreads, begin = thread_index() * each;
  const int64_t stop = begin + each < pages ? begin + each : pages;
  const auto among = [&](int64_t i) { return i >= first && i < end && count - last - first > 0; };
  int64_t equal = 0;
  for (int64_t i = begin; i < stop; ++i) equal += among(i) && place_of(scores[i]) == worst ? 1 : 0;
  const int64_t equal_before = sum_of_threads(equal).before;
  const auto for_kept = [&](auto visit) {
    int64_t equals = equal_before;
    for (int64_t i = begin; i < stop; ++i) {
      bool kept = i < first || i >= end;
      if (!kept && among(i)) {
        const uint32_t place = place_of(scores[i]);
        kept = place < worst || (place == worst && equals < wanted);
        equals += place == worst ? 1 : 0;
      }
      if (kept) visit(i);
    }
  };
  int64_t kept = 0;
  for_kept([&](int64_t) { ++kept; });
  int32_t* to = job.chosen + block_x() * p.chosen_stride + sum_of_threads(kept).before;
  const int32_t* const table = job.table + table_row * p.table_stride;
  for_kept([&](int64_t i) { *to++ = table[i]; });
  // The pages that are left out are full.
  if (thread_index() == 0) {
    job.chosen_lengths[block_x()] = count == 0 ? 0 : length - (pages - count) * p.page_size;
  }
}

}  // namespace

int32_t run_scores(const ScoresJob& job, void* stream) {
  const int64_t rows = job.params.batch * job.params.heads, blocks = (job.most_keys + kThreads - 1) / kThreads;
  return launch("decode_scores", add_scores,
                {blocks < 256 ? blocks : 256, rows < kMostBlocks ? rows : kMostBlocks - 1, 1, kThreads, 0}, stream,
                job);
}

int32_t run_choose(const ChooseJob& job, void* stream) {
  return launch("decode_choose", choose, {job.params.batch * job.params.heads, 1, 1, kThreads, kThreads / 32 * 8},
                stream, job);
}

}  // namespace gatun::cuda::decode
