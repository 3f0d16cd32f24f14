// What sparse storage costs and gains: the report, and the choice between sparse and dense at packing. Both must say
// the same on every tier, as packed bytes do, so they reckon with costs that were measured once (bench/NOTES.md).
#include <algorithm>

#include "base/check.h"
#include "base/dtype.h"
#include "base/text.h"
#include "nm_matmul/layout.h"

namespace gatun::nm_matmul {
namespace {

// Up to so many rows of x, the way of the weights from memory takes longer than the arithmetic on them.
constexpr int64_t kFewRows = 4;

// The time that a kept weight takes with many rows of x, in units of a weight's that is stored dense, on the tier
// avx512vnni of an AMD EPYC 9004: what 2:4 showed between 8 and 512 rows. Nibbles cost the most: taking them apart is
// shared by few rows.
double cost_of_kept(const gatun_nm_weights& w) {
  switch (w.value_dtype) {
    case GATUN_F32:
    case GATUN_F16:
      return 1.4;
    case GATUN_U4:
      return 1.8;
    default:
      return 1.5;
  }
}

// The expected time of sparse kernels in units of dense ones.
struct Times {
  int64_t sparse_bytes, dense_bytes;
  double one_row, many_rows;

  explicit Times(const gatun_nm_weights& w)
      : sparse_bytes(Layout(w, false).panel_bytes()),
        dense_bytes(Layout(w, true).panel_bytes()),
        one_row(dense_bytes == 0 ? 1.0 : static_cast<double>(sparse_bytes) / static_cast<double>(dense_bytes)),
        many_rows(cost_of_kept(w) * w.n / w.m) {}
};

}  // namespace

bool stores_dense(const gatun_nm_weights& w) {
  if (w.dense == GATUN_NM_DENSE_NEVER) return false;
  const Times times(w);
  const bool few = times.one_row > 1, many = times.many_rows > 1;
  return w.rows == 0 ? few && many : w.rows <= kFewRows ? few : many;
}

}  // namespace gatun::nm_matmul

using namespace gatun;
using namespace gatun::nm_matmul;

int32_t gatun_nm_report(const gatun_nm_weights* weights, int32_t* slower, char* text, int64_t capacity) {
  GATUN_TRY(check_weights(weights, "weights"));
  GATUN_TRY(check_not_null(slower, "slower"));
  const gatun_nm_weights w = *weights;
  const Times times(w);
  const bool dense = stores_dense(w);
  const auto verdict = [](double time) { return time > 1 ? "slower than dense" : "no slower than dense"; };
  Text out;
  out.add("%d:%d %s weights [%lld, %lld], in units of the time of dense weights:\n", w.n, w.m,
          dtype_name(w.value_dtype), static_cast<long long>(w.columns), static_cast<long long>(w.depth));
  out.add("  one row: %.2f, %s (%lld bytes are read, of dense weights %lld)\n", times.one_row, verdict(times.one_row),
          static_cast<long long>(times.sparse_bytes), static_cast<long long>(times.dense_bytes));
  out.add("  many rows: %.2f, %s (%d of %d weights are multiplied, each at %.2f times the cost)\n", times.many_rows,
          verdict(times.many_rows), w.n, w.m, cost_of_kept(w));
  if (w.dense == GATUN_NM_DENSE_NEVER) {
    out.add("  packed sparse: dense is not allowed (weights.dense = NEVER)\n");
  } else if (w.rows == 0) {
    out.add("  packed %s: for any number of rows, dense must be faster for one and for many\n",
            dense ? "dense" : "sparse");
  } else {
    out.add("  packed %s: %lld rows are expected, which count as %s (from %lld on)\n", dense ? "dense" : "sparse",
            static_cast<long long>(w.rows), w.rows > kFewRows ? "many" : "one", static_cast<long long>(kFewRows + 1));
  }
  GATUN_TRY(out.copy_to(text, capacity));
  *slower = (times.one_row > 1 ? 1 : 0) | (times.many_rows > 1 ? 2 : 0) | (dense ? 4 : 0);
  return GATUN_OK;
}
