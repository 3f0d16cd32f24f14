// The C entry points: check, put on the stream.
#include "gatun/cuda_attention_select.h"

#include <initializer_list>

#include "attention/check.h"
#include "attention/device_mask.h"
#include "attention/device_select.h"
#include "attention_select/selection_plan.h"
#include "base/check.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/text.h"
#include "base/workspace.h"

namespace gatun::cuda::attention_select {
namespace {

using namespace gatun::attention_select;
using LongLong = long long;

constexpr int64_t kMostBlocks = INT32_MAX;

int32_t check_most(int64_t value, int64_t most, const char* name) {
  if (value <= most) return GATUN_OK;
  return fail(GATUN_UNSUPPORTED, "%s = %lld; allowed: up to %lld", name, LongLong{value}, LongLong{most});
}

bool by_mass(const Selection& s) { return s.keep != GATUN_KEEP_FRACTION; }

// A call: what is read of it first, and what of the library's limits depends on it.
struct Call {
  Params p;
  Selection s;
  Uses uses;
  DeviceScope scope;

  int32_t read(const Arguments& a) {
    GATUN_TRY(read_structs(a, &p, &s));
    GATUN_TRY(check_most(p.query_length, cuda::attention::kMostLength, "params.query_length"));
    return check_most(p.kv_length, cuda::attention::kMostLength, "params.kv_length");
  }

  int32_t check_limits(const Uses& used) {
    uses = used;
    GATUN_TRY(check_selection(p, s, uses));
    if (uses.map) {
      int64_t count;
      GATUN_TRY(check_map_size(p, s, "map", &count));
      if (count > 0) {
        GATUN_TRY(check_most(p.batch * p.query_heads * p.query_blocks, kMostBlocks, "batch * heads * query_blocks"));
        GATUN_TRY(check_most(p.batch * p.query_heads * s.key_blocks, kMostBlocks, "batch * heads * key_blocks"));
      }
    }
    if (uses.choice && by_mass(s)) GATUN_TRY(check_most(s.key_blocks, kMostSorted, "selection.key_blocks"));
    if (uses.budget) {
      GATUN_TRY(check_most(blocks_of(p.kv_length, p.key_block), kMostSorted, "blocks of params.kv_length"));
    }
    return GATUN_OK;
  }

  // All arguments; `outputs` are arrays, the last one is the workspace if there is one.
  int32_t check(const Arguments& a, std::initializer_list<Buffer> outputs, void* stream) {
    if (uses.map && a.q_offsets == nullptr && p.batch > 0) {
      GATUN_TRY(check_blocks(p, s, p.query_length, p.kv_length, 0));
    }
    CheckedArguments checked;
    GATUN_TRY(check_arguments(p, s, a, uses, outputs.begin(), static_cast<int>(outputs.size()), &checked));
    GATUN_TRY(scope.enter(stream));
    for (int i = 0; i < checked.count; ++i) {
      const Buffer& buffer = checked.buffers[i];
      GATUN_TRY(check_device_memory(scope.device().index, buffer.address, buffer.bytes, buffer.name));
    }
    return GATUN_OK;
  }
  int32_t check_room(const void* workspace, int64_t bytes, int64_t needed) const {
    return check_workspace(scope.device().index, workspace, bytes, needed);
  }

  Items items(const Arguments& a) const { return {p, s, a.q_offsets, a.kv_offsets}; }
};

Values values_of(const Arguments& a) { return {a.q, a.k, a.lse, a.budgets}; }

Buffer workspace_of(const void* workspace, int64_t bytes) { return {"workspace", workspace, 1, bytes, bytes, 1, true}; }

Uses uses_of_selection(const Selection& s) {
  return s.kind == GATUN_SELECT_VERTICAL_SLASH ? kLinesAndDraw : kScoresAndChoice;
}

// A question about params: what is said of the kind, for a device that has kernels.
int32_t read_question(const Params* params, const Selection* selection, int32_t ragged, int32_t device, bool choice,
                      Call* call, Device* known) {
  const Arguments a = {params, selection, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  GATUN_TRY(call->read(a));
  GATUN_TRY(check_range(call->s.kind, GATUN_SELECT_MEANS, GATUN_SELECT_MASS, "selection.kind"));
  GATUN_TRY(check_range(ragged, 0, 1, "ragged"));
  const bool lines = call->s.kind == GATUN_SELECT_VERTICAL_SLASH;
  GATUN_TRY(call->check_limits(lines ? kLinesAndDraw : choice ? kScoresAndChoice : kScores));
  return describe_supported(device, known);
}

// Attention over chosen blocks: the parts of its workspace, and its params with a mask.
struct SelectedPlan {
  Params p;
  cuda::attention::Plan attention;
  int64_t rows, count;
  int64_t map_at, offsets_at[2], blocks_at, selection_at, attention_at, workspace_bytes;

  SelectedPlan(const Params& params, const Selection& s, bool ragged, const Device& device) : p(params) {
    rows = p.batch * p.query_heads * p.query_blocks;
    count = rows * s.key_blocks;
    p.mask_batch = p.batch;
    p.mask_heads = p.query_heads;
    p.full_count = count;
    p.partial_count = 0;
    if (count == 0) p.query_block = p.key_block = p.mask_batch = p.mask_heads = p.query_blocks = 0;
    attention = cuda::attention::plan_on(cuda::attention::select(p, ragged, device), p, ragged);
    WorkspaceParts parts;
    map_at = parts.take(count);
    for (int64_t& at : offsets_at) at = parts.take(count > 0 ? (rows + 1) * 8 : 0);
    blocks_at = parts.take(count * 4);
    selection_at = parts.take(count > 0 ? selection_bytes(params, s, ragged) : 0);
    attention_at = parts.take(attention.workspace_bytes);
    workspace_bytes = parts.bytes();
  }
};

}  // namespace
}  // namespace gatun::cuda::attention_select

using namespace gatun;
using namespace gatun::cuda;
using namespace gatun::cuda::attention_select;
using gatun::attention_select::Arguments;
using gatun::attention_select::output_of;

int32_t gatun_cuda_attention_select_workspace_bytes(const gatun_attention_params* params,
                                                    const gatun_selection_params* selection, int32_t ragged,
                                                    int32_t device, int64_t* bytes) {
  Call call;
  Device known;
  GATUN_TRY(read_question(params, selection, ragged, device, false, &call, &known));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = selection_bytes(call.p, call.s, ragged != 0);
  return GATUN_OK;
}

int32_t gatun_cuda_attention_lines_workspace_bytes(const gatun_attention_params* params,
                                                   const gatun_selection_params* selection, int32_t ragged,
                                                   int32_t device, int64_t* bytes) {
  const Arguments a = {params, selection, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  Call call;
  Device known;
  GATUN_TRY(call.read(a));
  GATUN_TRY(check_range(ragged, 0, 1, "ragged"));
  GATUN_TRY(call.check_limits(gatun::attention_select::kLines));
  GATUN_TRY(describe_supported(device, &known));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = plan_lines(call.p, call.s, ragged != 0).workspace_bytes;
  return GATUN_OK;
}

int32_t gatun_cuda_attention_selected_workspace_bytes(const gatun_attention_params* params,
                                                      const gatun_selection_params* selection, int32_t ragged,
                                                      int32_t device, int64_t* bytes) {
  Call call;
  Device known;
  GATUN_TRY(read_question(params, selection, ragged, device, true, &call, &known));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  const SelectedPlan plan(call.p, call.s, ragged != 0, known);
  GATUN_TRY(cuda::attention::check_plan(plan.attention, plan.p, known));
  *bytes = plan.workspace_bytes;
  return GATUN_OK;
}

int32_t gatun_cuda_attention_scores(const gatun_attention_params* params, const gatun_selection_params* selection,
                                    const void* q, const void* k, const int64_t* q_offsets, const int64_t* kv_offsets,
                                    const float* lse, float* scores, void* workspace, int64_t workspace_bytes,
                                    void* stream) {
  const Arguments a = {params, selection, q, k, q_offsets, kv_offsets, lse, nullptr};
  Call call;
  GATUN_TRY(call.read(a));
  GATUN_TRY(gatun::attention_select::check_scores_kind(call.p, call.s, a));
  GATUN_TRY(call.check_limits(gatun::attention_select::kScores));
  const int64_t count = call.p.batch * call.p.query_heads * call.p.query_blocks * call.s.key_blocks;
  const ScoresPlan plan = plan_scores(call.p, call.s);
  GATUN_TRY(
      call.check(a, {output_of("scores", scores, count, 4), workspace_of(workspace, plan.workspace_bytes)}, stream));
  GATUN_TRY(call.check_room(workspace, workspace_bytes, plan.workspace_bytes));
  if (count == 0) return GATUN_OK;
  return run_scores(plan, call.items(a), values_of(a), scores, nullptr, static_cast<uint8_t*>(workspace), stream);
}

int32_t gatun_cuda_attention_choose(const gatun_attention_params* params, const gatun_selection_params* selection,
                                    const int64_t* q_offsets, const int64_t* kv_offsets, const float* scores,
                                    const float* budgets, uint8_t* map, void* stream) {
  const Arguments a = {params, selection, nullptr, nullptr, q_offsets, kv_offsets, nullptr, budgets};
  Call call;
  GATUN_TRY(call.read(a));
  GATUN_TRY(call.check_limits(gatun::attention_select::kChoice));
  const int64_t count = call.p.batch * call.p.query_heads * call.p.query_blocks * call.s.key_blocks;
  GATUN_TRY(call.check(a, {output_of("map", map, count, 1), {"scores", scores, 1, count, 0, 4, false}}, stream));
  return count == 0 ? GATUN_OK : run_choice(call.items(a), scores, budgets, map, stream);
}

int32_t gatun_cuda_attention_lines(const gatun_attention_params* params, const gatun_selection_params* selection,
                                   const void* q, const void* k, const int64_t* q_offsets, const int64_t* kv_offsets,
                                   float* columns, float* diagonals, void* workspace, int64_t workspace_bytes,
                                   void* stream) {
  const Arguments a = {params, selection, q, k, q_offsets, kv_offsets, nullptr, nullptr};
  Call call;
  GATUN_TRY(call.read(a));
  GATUN_TRY(call.check_limits(gatun::attention_select::kLines));
  int64_t count;
  GATUN_TRY(gatun::attention_select::check_sums(call.p, q_offsets != nullptr, &count));
  const LinesPlan plan = plan_lines(call.p, call.s, q_offsets != nullptr);
  GATUN_TRY(call.check(a,
                       {output_of("columns", columns, count, 4), output_of("diagonals", diagonals, count, 4),
                        workspace_of(workspace, plan.workspace_bytes)},
                       stream));
  GATUN_TRY(call.check_room(workspace, workspace_bytes, plan.workspace_bytes));
  if (count == 0) return GATUN_OK;
  return run_sums(plan, call.items(a), values_of(a), columns, diagonals, static_cast<uint8_t*>(workspace), stream);
}

int32_t gatun_cuda_attention_vertical_slash(const gatun_attention_params* params,
                                            const gatun_selection_params* selection, const int64_t* q_offsets,
                                            const int64_t* kv_offsets, const float* columns, const float* diagonals,
                                            uint8_t* map, void* workspace, int64_t workspace_bytes, void* stream) {
  const Arguments a = {params, selection, nullptr, nullptr, q_offsets, kv_offsets, nullptr, nullptr};
  Call call;
  GATUN_TRY(call.read(a));
  GATUN_TRY(gatun::attention_select::check_both_lines(columns, diagonals));
  GATUN_TRY(call.check_limits(gatun::attention_select::kDraw));
  GATUN_TRY(check_range(call.s.last_queries, 1, 1024, "selection.last_queries"));
  int64_t sums;
  GATUN_TRY(gatun::attention_select::check_sums(call.p, q_offsets != nullptr, &sums));
  if (columns == nullptr) sums = 0;
  const int64_t count = call.p.batch * call.p.query_heads * call.p.query_blocks * call.s.key_blocks;
  const LinesPlan plan = plan_lines(call.p, call.s, q_offsets != nullptr);
  GATUN_TRY(call.check(a,
                       {output_of("map", map, count, 1),
                        {"columns", columns, 1, sums, 0, 4, false},
                        {"diagonals", diagonals, 1, sums, 0, 4, false},
                        workspace_of(workspace, plan.workspace_bytes)},
                       stream));
  GATUN_TRY(call.check_room(workspace, workspace_bytes, plan.workspace_bytes));
  if (count == 0) return GATUN_OK;
  return run_map(plan, call.items(a), columns, diagonals, map, static_cast<uint8_t*>(workspace), stream);
}

int32_t gatun_cuda_attention_budgets(const gatun_attention_params* params, const gatun_selection_params* selection,
                                     const void* q, const void* k, const int64_t* q_offsets, const int64_t* kv_offsets,
                                     float* budgets, void* workspace, int64_t workspace_bytes, void* stream) {
  const Arguments a = {params, selection, q, k, q_offsets, kv_offsets, nullptr, nullptr};
  Call call;
  GATUN_TRY(call.read(a));
  GATUN_TRY(call.check_limits(gatun::attention_select::kBudgets));
  int64_t count, sums;
  GATUN_TRY(gatun::attention_select::check_product(call.p, 1, 1, "budgets", &count));
  GATUN_TRY(gatun::attention_select::check_sums(call.p, q_offsets != nullptr, &sums));
  const LinesPlan plan = plan_lines(call.p, call.s, q_offsets != nullptr);
  GATUN_TRY(
      call.check(a, {output_of("budgets", budgets, count, 4), workspace_of(workspace, plan.workspace_bytes)}, stream));
  GATUN_TRY(call.check_room(workspace, workspace_bytes, plan.workspace_bytes));
  if (count == 0) return GATUN_OK;
  float* const columns = reinterpret_cast<float*>(static_cast<uint8_t*>(workspace) + plan.sums_at[0]);
  const Items items = call.items(a);
  if (sums > 0) {
    GATUN_TRY(run_sums(plan, items, values_of(a), columns, nullptr, static_cast<uint8_t*>(workspace), stream));
  }
  return run_budgets(items, columns, budgets, stream);
}

int32_t gatun_cuda_attention_select(const gatun_attention_params* params, const gatun_selection_params* selection,
                                    const float* budgets, const void* q, const void* k, const int64_t* q_offsets,
                                    const int64_t* kv_offsets, const float* lse_before, uint8_t* map, void* workspace,
                                    int64_t workspace_bytes, void* stream) {
  const Arguments a = {params, selection, q, k, q_offsets, kv_offsets, lse_before, budgets};
  Call call;
  GATUN_TRY(call.read(a));
  GATUN_TRY(gatun::attention_select::check_select_kind(call.p, call.s, a));
  GATUN_TRY(call.check_limits(uses_of_selection(call.s)));
  const int64_t count = call.p.batch * call.p.query_heads * call.p.query_blocks * call.s.key_blocks;
  const int64_t needed = selection_bytes(call.p, call.s, q_offsets != nullptr);
  GATUN_TRY(call.check(a, {output_of("map", map, count, 1), workspace_of(workspace, needed)}, stream));
  GATUN_TRY(call.check_room(workspace, workspace_bytes, needed));
  if (count == 0) return GATUN_OK;
  return run_selection(call.items(a), values_of(a), map, static_cast<uint8_t*>(workspace), stream);
}

int32_t gatun_cuda_attention_selected(const gatun_attention_params* params, const gatun_selection_params* selection,
                                      const float* budgets, const void* q, const void* k, const void* v,
                                      const int64_t* q_offsets, const int64_t* kv_offsets, const float* slopes,
                                      const float* sinks, const float* correction, const float* lse_before, void* out,
                                      float* lse, float* density, void* workspace, int64_t workspace_bytes,
                                      void* stream) {
  const Arguments a = {params, selection, q, k, q_offsets, kv_offsets, lse_before, budgets};
  Call call;
  GATUN_TRY(call.read(a));
  GATUN_TRY(gatun::attention_select::check_select_kind(call.p, call.s, a));
  GATUN_TRY(call.check_limits(uses_of_selection(call.s)));
  int64_t heads;
  GATUN_TRY(gatun::attention_select::check_product(call.p, 1, 1, "density", &heads));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  const bool ragged = q_offsets != nullptr;
  const SelectedPlan plan(call.p, call.s, ragged, scope.device());
  GATUN_TRY(cuda::attention::check_plan(plan.attention, plan.p, scope.device()));
  const Buffer density_array = output_of("density", density, density != nullptr ? heads : 0, 4);
  const Buffer room = workspace_of(workspace, plan.workspace_bytes);
  GATUN_TRY(call.check(a, {density_array, room}, stream));
  GATUN_TRY(call.check_room(workspace, workspace_bytes, plan.workspace_bytes));
  // All of the attention but its mask.
  gatun::attention::Inputs in = {};
  in.q = q;
  in.k = k;
  in.v = v;
  in.q_offsets = q_offsets;
  in.kv_offsets = kv_offsets;
  in.slopes = slopes;
  in.sinks = sinks;
  in.correction = correction;
  gatun_attention_params dense = call.p;
  dense.query_block = dense.key_block = dense.mask_batch = dense.mask_heads = dense.query_blocks = 0;
  dense.full_count = dense.partial_count = 0;
  gatun::attention::Arguments arguments;
  GATUN_TRY(gatun::attention::check_arguments(dense, in, out, lse, &room, &arguments));
  for (int i = 0; i < arguments.count; ++i) {
    const Buffer& buffer = arguments.buffers[i];
    GATUN_TRY(check_device_memory(scope.device().index, buffer.address, buffer.bytes, buffer.name));
  }
  if (density != nullptr) {
    GATUN_TRY(gatun::attention::check_arguments(dense, in, out, lse, &density_array, &arguments));
  }

  uint8_t* const memory = static_cast<uint8_t*>(workspace);
  int64_t* const offsets[2] = {reinterpret_cast<int64_t*>(memory + plan.offsets_at[0]),
                               reinterpret_cast<int64_t*>(memory + plan.offsets_at[1])};
  if (plan.count > 0) {
    uint8_t* const map = memory + plan.map_at;
    int32_t* const blocks = reinterpret_cast<int32_t*>(memory + plan.blocks_at);
    GATUN_TRY(run_selection(call.items(a), values_of(a), map, memory + plan.selection_at, stream));
    GATUN_TRY(cuda::attention::run_from_map({map,
                                             plan.rows,
                                             static_cast<int32_t>(call.s.key_blocks),
                                             {offsets[0], offsets[1]},
                                             {blocks, nullptr},
                                             {plan.count, 0}},
                                            stream));
    in.full_offsets = offsets[0];
    in.full_blocks = blocks;
    in.partial_offsets = offsets[1];
  }
  if (plan.attention.blocks > 0 && call.p.query_length > 0) {
    GATUN_TRY(cuda::attention::run_plan(plan.attention, plan.p, in, out, lse, memory + plan.attention_at, stream));
  }
  if (density == nullptr || heads == 0) return GATUN_OK;
  if (plan.count == 0) return fill_async(density, 0, heads * 4, stream);
  return run_density(call.items(a), offsets[0], density, stream);
}

int32_t gatun_cuda_attention_select_explain(const gatun_attention_params* params,
                                            const gatun_selection_params* selection, int32_t ragged, int32_t device,
                                            char* text, int64_t capacity) {
  Call call;
  Device known;
  GATUN_TRY(read_question(params, selection, ragged, device, false, &call, &known));
  Text out;
  explain(call.p, call.s, ragged != 0, out);
  return out.copy_to(text, capacity);
}
