#include "self_test/self_test.h"

#include <cmath>

#include "decode_choose/reference.h"
#include "decode_choose/table.h"

namespace gatun::decode_choose {
namespace {

// The bound of tile.h.
bool agrees(Tier tier, int64_t length) {
  constexpr int64_t kQueries = 3;
  float logits[kQueries * 100], scores[100];
  SmallValues values;
  for (float& logit : logits) logit = 8 * values.next();
  const float lse[kQueries] = {7, -INFINITY, 9};
  gatun_decode_scores_params p{};
  p.struct_size = sizeof(p);
  p.threads = 1;
  p.batch = p.query_heads = p.heads = p.table_heads = 1;
  p.query_length = kQueries;
  p.logits_row_stride = length;
  if (decode_choose::scores(tier, &p, logits, lse, &length, scores) != GATUN_OK) return false;
  for (int64_t j = 0; j < length; ++j) {
    double magnitude;
    const double expected = reference_score(p, logits, lse, 0, 0, j, &magnitude);
    const double allowed = 0x1p-21 * expected + 0x1p-23 * magnitude + 0x1p-120;
    if (!(std::fabs(static_cast<double>(scores[j]) - expected) <= allowed)) return false;
  }
  return true;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (const int64_t length : {int64_t{7}, int64_t{64}, int64_t{99}}) {
      ++cases;
      wrong += !agrees(tier, length);
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::decode_choose
