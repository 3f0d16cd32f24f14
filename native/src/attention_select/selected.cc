// Attention over the blocks that a selection chooses, in one call.
#include "attention/check.h"
#include "attention/table.h"
#include "attention_select/products.h"
#include "attention_select/selection.h"
#include "attention_select/table.h"
#include "gatun/block_mask.h"

namespace gatun::attention_select {
namespace {

// A map as lists of full blocks; there are no partial ones. In the memory of the calling thread.
struct ChosenBlocks {
  int64_t *offsets, *none;  // [rows + 1]
  int32_t* blocks;

  int32_t read(const uint8_t* map, int64_t rows, int64_t key_blocks) {
    offsets = get<int64_t>(thread_memory().offsets, 2 * (rows + 1));
    if (offsets == nullptr) return no_memory();
    none = offsets + rows + 1;
    GATUN_TRY(gatun_block_mask_from_map(rows, key_blocks, map, offsets, nullptr, 0, none, nullptr, 0));
    const int64_t count = offsets[rows];
    blocks = get<int32_t>(thread_memory().blocks, count);
    if (blocks == nullptr) return no_memory();
    return gatun_block_mask_from_map(rows, key_blocks, map, offsets, blocks, count, none, nullptr, 0);
  }
};

void measure_density(const Call& call, const int64_t* offsets, float* density) {
  for (int64_t b = 0; b < call.p.batch; ++b) {
    const Item item = call.item(b);
    int64_t allowed = 0;
    for (int64_t a = 0; a < call.query_blocks(item); ++a) allowed += call.allowed(item, a).count();
    for (int64_t head = b * call.p.query_heads; head < (b + 1) * call.p.query_heads; ++head) {
      const int64_t kept = offsets[(head + 1) * call.p.query_blocks] - offsets[head * call.p.query_blocks];
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
  Params p = call.p;
  p.query_block = p.key_block = p.mask_batch = p.mask_heads = p.query_blocks = p.full_count = p.partial_count = 0;
  const Buffer output = output_of("density", density, heads, 4);
  GATUN_TRY(attention::check(p, inputs, out, lse, density == nullptr ? nullptr : &output));
  attention::Inputs read = inputs;
  read.q_offsets = call.q_offsets();
  read.kv_offsets = call.kv_offsets();
  if (count == 0) {  // no queries or no keys: there is nothing to leave out
    GATUN_TRY(attention::run(limit, &p, read, out, lse));
    if (density != nullptr) std::fill_n(density, heads, 0.0f);
    return GATUN_OK;
  }
  uint8_t* const map = get<uint8_t>(thread_memory().map, count);
  if (map == nullptr) return no_memory();
  GATUN_TRY(select_into(call, map));
  ChosenBlocks chosen;
  GATUN_TRY(chosen.read(map, heads * call.p.query_blocks, call.s.key_blocks));
  p.query_block = call.p.query_block;
  p.key_block = call.p.key_block;
  p.mask_batch = p.batch;
  p.mask_heads = p.query_heads;
  p.query_blocks = call.p.query_blocks;
  p.full_count = chosen.offsets[heads * p.query_blocks];
  read.full_offsets = chosen.offsets;
  read.full_blocks = chosen.blocks;
  read.partial_offsets = chosen.none;
  GATUN_TRY(attention::run(limit, &p, read, out, lse));
  if (density != nullptr) measure_density(call, chosen.offsets, density);
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
