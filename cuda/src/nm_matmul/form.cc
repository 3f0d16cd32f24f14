#include "nm_matmul/form.h"

#include "base/check.h"
#include "nm_matmul/layout.h"

namespace gatun::cuda::nm_matmul {
namespace {

int64_t aligned(int64_t bytes) { return blocks_of(bytes, kPartAlignment) * kPartAlignment; }

Order order_of(const gatun_nm_weights& w) {
  if (w.n != 2 || w.m != 4 || w.value_dtype == GATUN_F32) return Order::lists;
  return w.value_dtype == GATUN_I8 ? Order::fragments8 : Order::fragments16;
}

}  // namespace

int32_t form_of(const gatun_nm_weights* weights, Form* form) {
  GATUN_TRY(gatun::nm_matmul::check_weights(weights, "weights"));
  Form f = {};
  f.order = order_of(*weights);
  f.n = weights->n;
  f.m = weights->m;
  f.vector = weights->vector;
  f.value_dtype = weights->value_dtype;
  f.scaled = weights->scale_dtype != 0;
  f.scale_dtype = f.scaled ? weights->scale_dtype : int32_t{GATUN_F32};
  f.zero_points = weights->zero_point != GATUN_ZERO_NONE;
  f.list_slots = kSegmentDepth / f.m * f.n;
  f.columns = weights->columns;
  f.depth = weights->depth;
  f.slots = blocks_of(f.depth, f.m) * f.n;
  f.group = f.scaled ? weights->group : f.depth;
  f.groups = blocks_of(f.depth, f.group);
  f.padded_depth = blocks_of(f.depth, kDepthMultiple) * kDepthMultiple;
  f.strips = blocks_of(f.columns, kStripColumns);
  f.units = f.padded_depth / kUnitDepth;
  f.unit_bytes = kMetadataBytes + kListsOfUnit * ((f.list_slots * value_bits(f.value_dtype) + 7) / 8);
  f.units_at = aligned(sizeof(Header));
  f.scales_at = f.units_at + aligned(f.strips * f.units * f.unit_bytes);
  f.zeros_at = f.scales_at + aligned(f.groups * f.padded_columns() * qmatmul::scale_bytes(f.scale_dtype));
  f.bytes = f.zeros_at + (f.zero_points ? aligned(f.groups * f.padded_columns()) : 0);
  *form = f;
  return GATUN_OK;
}

}  // namespace gatun::cuda::nm_matmul
