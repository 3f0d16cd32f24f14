// The checks of selections whose arrays are at hand.
#include "attention/check.h"

#include "attention/tensor.h"
#include "attention_select/call.h"
#include "attention_select/selection.h"
#include "base/status.h"

namespace gatun::attention_select {
namespace {

// Each item's blocks fit the map.
int32_t check_all_blocks(const Call& call) {
  for (int64_t b = 0; b < (call.ragged() ? call.p.batch : std::min<int64_t>(call.p.batch, 1)); ++b) {
    const Item item = call.item(b);
    GATUN_TRY(check_blocks(call.p, call.s, item.queries(), item.keys(), b));
  }
  return GATUN_OK;
}

}  // namespace

int32_t read_structs(const Arguments& a, Call* call) { return read_structs(a, &call->p, &call->s); }

int32_t check_map_size(const Call& call, const char* name, int64_t* count) {
  return check_map_size(call.p, call.s, name, count);
}

int32_t no_memory() { return fail(GATUN_OUT_OF_RESOURCES, "no memory for the selection of blocks"); }

int32_t Call::read(Tier limit, const Arguments& a) {
  kernel = table().select(p.dtype, GATUN_F32, limit).kernel;
  gemm = &gemm::kernel_of(limit);
  q_ = static_cast<const uint8_t*>(a.q);
  k_ = static_cast<const uint8_t*>(a.k);
  lse = a.lse;
  attention::settle(
      {{p.batch, &p.q_batch_stride}, {p.query_heads, &p.q_head_stride}, {p.query_length, &p.q_row_stride}});
  attention::settle({{p.batch, &p.k_batch_stride}, {p.kv_heads, &p.k_head_stride}, {p.kv_length, &p.k_row_stride}});
  if (a.budgets != nullptr) {
    budgets_.assign(a.budgets, a.budgets + heads());
    budgets = budgets_.data();
    for (int64_t i = 0; i < heads(); ++i) GATUN_TRY(check_amount(budgets[i], "budgets", i));
  }
  if (a.q_offsets == nullptr) return GATUN_OK;
  q_offsets_.assign(a.q_offsets, a.q_offsets + p.batch + 1);
  kv_offsets_.assign(a.kv_offsets, a.kv_offsets + p.batch + 1);
  GATUN_TRY(attention::check_offsets(q_offsets_.data(), p.batch, p.query_length, "q_offsets", "params.query_length"));
  return attention::check_offsets(kv_offsets_.data(), p.batch, p.kv_length, "kv_offsets", "params.kv_length");
}

int32_t check_call(Tier limit, const Arguments& a, const Uses& uses, const Buffer* outputs, int output_count,
                   Call* call) {
  CheckedArguments checked;
  GATUN_TRY(check_arguments(call->p, call->s, a, uses, outputs, output_count, &checked));
  GATUN_TRY(call->read(limit, a));
  return uses.map ? check_all_blocks(*call) : GATUN_OK;
}

}  // namespace gatun::attention_select
