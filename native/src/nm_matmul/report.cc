// What sparse storage costs and gains: the report, and the choice between sparse and dense at packing. Both must say
// the same on every tier, as packed bytes do, so they reckon with costs that were measured once (bench/NOTES.md).
#include <algorithm>

#include "base/check.h"
#include "base/dtype.h"
#include "base/text.h"
#include "nm_matmul/layout.h"

namespace gatun::nm_matmul {
namespace {

// Costs on the tier avx512vnni of an AMD EPYC 9004, in units of those of a weight that is stored dense.
struct Costs {
  // Up to so many rows of x, the way of the weights from memory takes longer than the arithmetic on them.
  int64_t few_rows;
  double byte;  // with few rows: what taking weights apart adds to the way of a byte
  double kept;  // of a kept weight with many rows: what 2:4 showed between 8 and 512
};
Costs costs_of(const gatun_nm_weights& w) {
  switch (w.value_dtype) {
    case GATUN_F32:
    case GATUN_F16:
      return {4, 1.0, 1.4};
    case GATUN_BF16:
      return {4, 1.0, 1.5};
    case GATUN_U4:
      return {1, 1.2, 1.8};
    default:
      return {1, 1.0, 1.5};
  }
}

// The expected time of sparse kernels in units of dense ones.
struct Times {
  int64_t sparse_bytes, dense_bytes;
  Costs costs;
  double few_rows, many_rows;

  explicit Times(const gatun_nm_weights& w)
      : sparse_bytes(Layout(w, false).panel_bytes()),
        dense_bytes(Layout(w, true).panel_bytes()),
        costs(costs_of(w)),
        few_rows(1.0),
        many_rows(costs.kept * w.n / w.m) {
    if (dense_bytes > 0) few_rows = costs.byte * static_cast<double>(sparse_bytes) / static_cast<double>(dense_bytes);
  }
};

}  // namespace

bool stores_dense(const gatun_nm_weights& w) {
  if (w.dense == GATUN_NM_DENSE_NEVER) return false;
  const Times times(w);
  const bool few = times.few_rows > 1, many = times.many_rows > 1;
  return w.rows == 0 ? few && many : w.rows <= times.costs.few_rows ? few : many;
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
  out.add("  one row: %.2f, %s (%lld bytes are read, of dense weights %lld, each at %.1f times the cost)\n",
          times.few_rows, verdict(times.few_rows), static_cast<long long>(times.sparse_bytes),
          static_cast<long long>(times.dense_bytes), times.costs.byte);
  out.add("  many rows: %.2f, %s (%d of %d weights are multiplied, each at %.1f times the cost)\n", times.many_rows,
          verdict(times.many_rows), w.n, w.m, times.costs.kept);
  if (w.dense == GATUN_NM_DENSE_NEVER) {
    out.add("  packed sparse: dense is not allowed (weights.dense = NEVER)\n");
  } else if (w.rows == 0) {
    out.add("  packed %s: for any number of rows, dense must be faster for one and for many\n",
            dense ? "dense" : "sparse");
  } else {
    out.add("  packed %s: %lld rows are expected, which count as %s (from %lld on)\n", dense ? "dense" : "sparse",
            static_cast<long long>(w.rows), w.rows > times.costs.few_rows ? "many" : "one",
            static_cast<long long>(times.costs.few_rows + 1));
  }
  GATUN_TRY(out.copy_to(text, capacity));
  *slower = (times.few_rows > 1 ? 1 : 0) | (times.many_rows > 1 ? 2 : 0) | (dense ? 4 : 0);
  return GATUN_OK;
}
