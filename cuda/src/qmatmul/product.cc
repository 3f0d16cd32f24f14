#include "qmatmul/product.h"

#include <algorithm>
#include <numeric>

#include "base/workspace.h"

namespace gatun::cuda::qmatmul {
namespace {

constexpr int64_t kMostParts = 64;

int64_t element_bytes(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::f32 ? 4 : arithmetic == Arithmetic::i8 ? 1 : 2;
}

// The type of an x that needs no preparing; 0 if there is none.
int32_t own_dtype(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::f32    ? GATUN_F32
         : arithmetic == Arithmetic::f16  ? GATUN_F16
         : arithmetic == Arithmetic::bf16 ? GATUN_BF16
                                          : 0;
}

}  // namespace

Split split_depth(const Splitting& of) {
  Split best = {1, of.units};
  if (of.part_depth == 0 || of.blocks >= of.wanted_blocks) return best;
  // Units after which a group and, for x, kDepthMultiple elements end.
  int64_t step = kDepthMultiple / of.unit_depth;
  if (of.groups > 1) {
    const int64_t multiples = of.group / std::gcd(of.group, int64_t{kDepthMultiple});  // of kDepthMultiple
    if (multiples >= of.units) return best;
    step *= multiples;
  }
  int64_t least = of.units * of.unit_depth;
  for (int64_t wanted = 2; wanted <= kMostParts; ++wanted) {
    const int64_t units = blocks_of(blocks_of(of.units, wanted), step) * step, depth = units * of.unit_depth;
    if (depth < of.part_depth) break;
    const int64_t parts = blocks_of(of.units, units);
    const int64_t time = blocks_of(of.blocks * parts, of.wanted_blocks) * (depth + of.part_depth / 2);
    if (time >= least) continue;
    least = time;
    best = {static_cast<int32_t>(parts), units};
  }
  return best;
}

void plan_product(const Extents& extents, const Preparing& preparing, const Split& split, ProductPlan* plan) {
  const auto [rows, depth, padded_depth, padded_columns, x_row_stride, x_dtype] = extents;
  const int64_t element = element_bytes(preparing.arithmetic);
  plan->rounding = preparing.rounding;
  plan->may_use_x = preparing.arithmetic == preparing.rounding && x_dtype == own_dtype(preparing.arithmetic) &&
                    depth == padded_depth && (rows < 2 || x_row_stride * element % 16 == 0);
  plan->parts = split.parts;
  plan->units_a_part = split.units_a_part;
  WorkspaceParts parts;
  plan->x_at = parts.take(rows * padded_depth * element);
  plan->scales_at = parts.take(rows * preparing.scales * 4);
  plan->sums_at = parts.take(rows * preparing.sums * 4);
  plan->partial_at = parts.take(split.parts > 1 ? split.parts * rows * padded_columns * 4 : 0);
  plan->workspace_bytes = parts.bytes();
}

}  // namespace gatun::cuda::qmatmul
