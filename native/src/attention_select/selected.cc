// Attention over the blocks that a selection chooses, in one call.
#include "attention/check.h"
#include "attention/table.h"
#include "attention_select/selection.h"
#include "attention_select/table.h"
#include "gatun/block_mask.h"

namespace gatun::attention_select {
namespace {

// A map as lists of full blocks; there are no partial ones.
struct ChosenBlocks {
  std::vector<int64_t> offsets, none;
  std::vector<int32_t> blocks;

  int32_t read(const std::vector<uint8_t>& map, int64_t rows, int64_t key_blocks) {
    offsets.resize(static_cast<size_t>(rows) + 1);
    none.resize(offsets.size());
    GATUN_TRY(
        gatun_block_mask_from_map(rows, key_blocks, map.data(), offsets.data(), nullptr, 0, none.data(), nullptr, 0));
    blocks.resize(static_cast<size_t>(offsets.back()));
    if (blocks.empty()) return GATUN_OK;
    return gatun_block_mask_from_map(rows, key_blocks, map.data(), offsets.data(), blocks.data(), offsets.back(),
                                     none.data(), nullptr, 0);
  }
};

void measure_density(const Call& call, const ChosenBlocks& chosen, float* density) {
  for (int64_t b = 0; b < call.p.batch; ++b) {
    const Item item = call.item(b);
    int64_t allowed = 0;
    for (int64_t a = 0; a < call.query_blocks(item); ++a) allowed += call.allowed(item, a).count();
    for (int64_t head = b * call.p.query_heads; head < (b + 1) * call.p.query_heads; ++head) {
      const size_t row = static_cast<size_t>(head * call.p.query_blocks);
      const int64_t kept = chosen.offsets[row + static_cast<size_t>(call.p.query_blocks)] - chosen.offsets[row];
      density[head] = allowed == 0 ? 0 : static_cast<float>(kept) / static_cast<float>(allowed);
    }
  }
}

}  // namespace

int32_t selected(Tier limit, const Params* params, const Selection* selection, const float* budgets,
                 const float* lse_before, const attention::Inputs& inputs, void* out, float* lse, float* density) {
  const Arguments a = {params, selection, inputs.q, inputs.k, inputs.q_offsets, inputs.kv_offsets, lse_before, budgets};
  Call call;
  GATUN_TRY(read_structs(a, &call));
  int64_t count, heads;
  GATUN_TRY(check_select(limit, a, nullptr, &call, &count));
  GATUN_TRY(check_product(call.p, 1, 1, "density", &heads));
  // All else of the attention, before the selection takes its time.
  Params dense = call.p;
  dense.query_block = dense.key_block = dense.mask_batch = dense.mask_heads = dense.query_blocks = 0;
  dense.full_count = dense.partial_count = 0;
  const Buffer output = output_of("density", density, heads, 4);
  GATUN_TRY(attention::check(&dense, inputs, out, lse, density == nullptr ? nullptr : &output));
  std::vector<uint8_t> map(static_cast<size_t>(count));
  if (count > 0) GATUN_TRY(select_into(call, map.data()));
  ChosenBlocks chosen;
  GATUN_TRY(chosen.read(map, count == 0 ? 0 : count / call.s.key_blocks, call.s.key_blocks));
  // Without rows of blocks there are no queries, or no keys for them; lists have a row for each query block anyway.
  const size_t rows = static_cast<size_t>(call.heads() * call.p.query_blocks);
  if (count == 0) {
    chosen.offsets.assign(rows + 1, 0);
    chosen.none.assign(rows + 1, 0);
  }
  Params p = call.p;
  p.mask_batch = p.batch;
  p.mask_heads = p.query_heads;
  p.full_count = static_cast<int64_t>(chosen.blocks.size());
  p.partial_count = 0;
  attention::Inputs with_mask = inputs;
  with_mask.full_offsets = chosen.offsets.data();
  with_mask.full_blocks = chosen.blocks.data();
  with_mask.partial_offsets = chosen.none.data();
  with_mask.partial_blocks = nullptr;
  with_mask.partial_bits = nullptr;
  GATUN_TRY(attention::run(limit, &p, with_mask, out, lse));
  if (density != nullptr) measure_density(call, chosen, density);
  return GATUN_OK;
}

}  // namespace gatun::attention_select

using namespace gatun;

int32_t gatun_attention_selected(const gatun_attention_params* params, const gatun_selection_params* selection,
                                 const float* budgets, const void* q, const void* k, const void* v,
                                 const int64_t* q_offsets, const int64_t* kv_offsets, const float* slopes,
                                 const float* sinks, const float* correction, const float* lse_before, void* out,
                                 float* lse, float* density) {
  attention::Inputs inputs = {};
  inputs.q = q;
  inputs.k = k;
  inputs.v = v;
  inputs.q_offsets = q_offsets;
  inputs.kv_offsets = kv_offsets;
  inputs.slopes = slopes;
  inputs.sinks = sinks;
  inputs.correction = correction;
  return attention_select::or_no_memory([&] {
    return attention_select::selected(active_tier(), params, selection, budgets, lse_before, inputs, out, lse, density);
  });
}
