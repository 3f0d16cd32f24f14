#include "attention_select/scores.h"

#include <cmath>
#include <limits>

#include "base/status.h"

namespace gatun::attention_select {

int32_t score_blocks(const Call& call, Sink& sink) {
  bool good = true;
  switch (call.s.kind) {
    case GATUN_SELECT_ANTIDIAGONAL:
      good = score_antidiagonal(call, sink);
      break;
    case GATUN_SELECT_PROXY:
      good = score_proxy(call, sink);
      break;
    case GATUN_SELECT_MASS:
      good = score_mass(call, sink);
      break;
    default:
      good = score_means(call, sink);
  }
  return good ? GATUN_OK : fail(GATUN_OUT_OF_RESOURCES, "no memory for the scores of blocks");
}

float exponentiate_seen(const Kernel& kernel, const Seen& seen, float scale, float cap, float* logits) {
  float most = -std::numeric_limits<float>::infinity(), sum = 0;
  seen.for_each([&](int64_t first, int64_t last) {
    kernel.scale(logits + first, last - first, scale, cap);
    const float largest = kernel.largest(logits + first, last - first);
    if (!(largest <= most) && !std::isnan(most)) most = largest;
  });
  seen.for_each([&](int64_t first, int64_t last) { sum += kernel.exponentiate(logits + first, last - first, most); });
  return 1 / sum;
}

double all_products(const Call& call) {
  return static_cast<double>(call.heads()) * static_cast<double>(call.p.query_length) *
         static_cast<double>(call.p.kv_length) * static_cast<double>(call.p.head_size) / (call.p.causal != 0 ? 2 : 1);
}

}  // namespace gatun::attention_select
