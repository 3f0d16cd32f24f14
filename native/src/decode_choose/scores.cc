// gatun_decode_scores: each thread sums the weights of a stretch of keys, one row of logits after the other.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/parallel.h"
#include "decode_choose/check.h"
#include "decode_choose/table.h"

namespace gatun::decode_choose {
namespace {

// Logits for which waking another thread pays.
constexpr int64_t kGrain = 32 * 1024;
constexpr int64_t kStretch = 1024;  // keys

}  // namespace

int32_t scores(Tier limit, const gatun_decode_scores_params* params, const float* logits, const float* lse,
               const int64_t* lengths, float* scores) {
  gatun_decode_scores_params p;
  int64_t longest;
  GATUN_TRY(check_scores(params, logits, lse, lengths, scores, &p, &longest));
  if (longest == 0 || p.heads == 0) return GATUN_OK;
  const Kernel& kernel = *table().select(GATUN_F32, GATUN_F32, limit).kernel;
  const int64_t stretches = blocks_of(longest, kStretch), shared = p.query_heads / p.heads;
  const double work = static_cast<double>(p.batch) * static_cast<double>(p.query_heads) *
                      static_cast<double>(p.query_length) * static_cast<double>(longest);
  const int64_t items = p.batch * p.heads * stretches;
  const int32_t threads = useful_threads(p.threads, items, static_cast<int64_t>(std::min(work, 0x1p60)), kGrain);
  parallel_for(items, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t item = i / stretches / p.heads, head = i / stretches % p.heads, first = i % stretches * kStretch;
      const int64_t length = length_of(lengths, item * p.table_heads + (p.table_heads == 1 ? 0 : head), longest);
      const int64_t count = std::min(kStretch, length - first);
      if (count <= 0) continue;
      float sums[kStretch] = {};
      for (int64_t h = head * shared; h < (head + 1) * shared; ++h) {
        for (int64_t row = 0; row < p.query_length; ++row) {
          const float sum = lse[item * p.lse_batch_stride + h * p.lse_head_stride + row];
          if (sum == -INFINITY) continue;
          kernel.add_weights(
              logits + item * p.logits_batch_stride + h * p.logits_head_stride + row * p.logits_row_stride + first, sum,
              count, sums);
        }
      }
      float* const to = scores + item * p.scores_batch_stride + head * p.scores_head_stride + first;
      if (p.accumulate == 0) {
        std::copy_n(sums, count, to);
      } else {
        for (int64_t j = 0; j < count; ++j) to[j] += sums[j];
      }
    }
  });
  return GATUN_OK;
}

}  // namespace gatun::decode_choose

using namespace gatun;

int32_t gatun_decode_scores(const gatun_decode_scores_params* params, const float* logits, const float* lse,
                            const int64_t* lengths, float* scores) {
  return decode_choose::scores(active_tier(), params, logits, lse, lengths, scores);
}
