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
  const Split whole = {1, of.units};
  if (of.part_depth == 0 || of.units == 0) return whole;
  // Units after which a group and, for x, kDepthMultiple elements end.
  int64_t step = kDepthMultiple / of.unit_depth;
  if (of.groups > 1) {
    const int64_t multiples = of.group / std::gcd(of.group, int64_t{kDepthMultiple});  // of kDepthMultiple
    if (multiples >= of.units) return whole;
    step *= multiples;
  }
  const int64_t wanted = std::min(kMostParts, blocks_of(of.wanted_blocks, std::max<int64_t>(of.blocks, 1)));
  const int64_t units = std::max(blocks_of(of.part_depth, of.unit_depth), blocks_of(of.units, wanted));
  const int64_t units_a_part = blocks_of(units, step) * step;
  const int64_t parts = blocks_of(of.units, units_a_part);
  return parts == 1 ? whole : Split{static_cast<int32_t>(parts), units_a_part};
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
