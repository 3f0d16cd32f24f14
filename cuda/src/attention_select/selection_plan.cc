#include "attention_select/selection_plan.h"

#include <algorithm>

#include "attention/device_select.h"
#include "attention/tensor.h"
#include "base/check.h"
#include "base/dtype.h"
#include "base/runtime.h"
#include "base/workspace.h"

namespace gatun::cuda::attention_select {
namespace {

constexpr int64_t kMemoryAtOnce = int64_t{64} << 20, kNoMemory = WorkspaceParts::kNoMemory;

// Of numbers that are not negative; beyond any memory it stays kNoMemory.
int64_t product(std::initializer_list<int64_t> factors) {
  int64_t result = 1;
  for (const int64_t factor : factors) {
    if (__builtin_mul_overflow(result, factor, &result) || result > kNoMemory) return kNoMemory;
  }
  return result;
}

template <class T>
T* part(uint8_t* workspace, int64_t at) {
  return reinterpret_cast<T*>(workspace + at);
}

Operand operand(const void* data, int32_t dtype, int64_t batch_stride, int64_t head_stride, int64_t row_stride,
                bool of_blocks = false) {
  const auto aligned = [&](int64_t stride) { return dtype_bytes(dtype, stride) % 16 == 0; };
  const bool all = reinterpret_cast<uintptr_t>(data) % 16 == 0 && aligned(batch_stride) && aligned(head_stride) &&
                   aligned(row_stride);
  return {data, batch_stride, head_stride, row_stride, dtype, of_blocks, all};
}

// q and k as they are; strides along which nothing lies further on are 0.
struct Operands {
  Operand q, k;
};
Operands operands_of(const Items& items, const Values& values) {
  Params p = items.p;
  if (items.q_offsets != nullptr) p.q_batch_stride = p.k_batch_stride = 0;
  gatun::attention::settle(
      {{p.batch, &p.q_batch_stride}, {p.query_heads, &p.q_head_stride}, {p.query_length, &p.q_row_stride}});
  gatun::attention::settle(
      {{p.batch, &p.k_batch_stride}, {p.kv_heads, &p.k_head_stride}, {p.kv_length, &p.k_row_stride}});
  return {operand(values.q, p.dtype, p.q_batch_stride, p.q_head_stride, p.q_row_stride),
          operand(values.k, p.dtype, p.k_batch_stride, p.k_head_stride, p.k_row_stride)};
}

// As it is without a cap, of the mean of `phases` products.
cuda::attention::Rule rule_of(const Params& params, int32_t phases, bool capped) {
  Params p = params;
  p.scale /= static_cast<float>(phases);
  if (!capped) p.soft_cap = 0;
  return cuda::attention::rule_of(p, false);
}

// The means of blocks take the place of q and k.
int32_t pool(const ScoresPlan& plan, const Items& items, uint8_t* workspace, Operands* operands, void* stream) {
  const Params& p = items.p;
  const auto pooled = [&](Operand* x, bool of_keys, int64_t heads, int64_t rows, int64_t blocks, int64_t means_at,
                          int64_t similar_at) {
    float* const means = part<float>(workspace, means_at);
    GATUN_TRY(run_means({items, *x, of_keys, heads, rows, blocks, means, workspace + similar_at}, stream));
    *x = operand(means, GATUN_F32, heads * blocks * p.head_size, blocks * p.head_size, p.head_size, true);
    return int32_t{GATUN_OK};
  };
  GATUN_TRY(
      pooled(&operands->q, false, p.query_heads, p.query_block, p.query_blocks, plan.q_at, plan.similar_queries_at));
  return pooled(&operands->k, true, p.kv_heads, p.key_block, items.s.key_blocks, plan.k_at, plan.similar_keys_at);
}

// The means of heads do.
int32_t average(const ScoresPlan& plan, const Items& items, uint8_t* workspace, Operands* operands, void* stream) {
  const Params& p = items.p;
  const int64_t batches = items.q_offsets != nullptr ? std::min<int64_t>(p.batch, 1) : p.batch;
  const auto averaged = [&](Operand* x, int64_t rows, int64_t ratio, int64_t at) {
    GATUN_TRY(run_average({*x, workspace + at, batches, plan.heads, rows, p.head_size, plan.sharing, ratio}, stream));
    *x = operand(workspace + at, p.dtype, plan.heads * rows * p.head_size, rows * p.head_size, p.head_size);
    return int32_t{GATUN_OK};
  };
  GATUN_TRY(averaged(&operands->q, p.query_length, 1, plan.q_at));
  return averaged(&operands->k, p.kv_length, p.query_heads / p.kv_heads, plan.k_at);
}

bool only_forced(const Selection& s) { return s.verticals <= s.forced_verticals && s.slashes <= s.forced_slashes; }

}  // namespace

ScoresPlan plan_scores(const Params& p, const Selection& s) {
  ScoresPlan plan = {};
  const bool means = s.kind == GATUN_SELECT_MEANS, proxy = s.kind == GATUN_SELECT_PROXY;
  plan.phases = s.kind == GATUN_SELECT_ANTIDIAGONAL ? s.stride : 1;
  plan.query_unit = means ? static_cast<int32_t>(p.query_block) : plan.phases;
  plan.key_unit = means ? static_cast<int32_t>(p.key_block) : plan.phases;
  plan.rows_of_block = static_cast<int32_t>(p.query_block) / plan.query_unit;
  plan.block_columns = static_cast<int32_t>(p.key_block) / plan.key_unit;
  plan.tile_blocks = static_cast<int32_t>(std::clamp<int64_t>(p.query_blocks, 1, kTile / plan.rows_of_block));
  plan.tile_columns = kTile / plan.block_columns * plan.block_columns;
  plan.sharing = proxy && p.query_heads > 0 ? p.query_heads / s.proxy_heads : 1;
  plan.heads = p.query_heads / plan.sharing;
  plan.row_tiles = blocks_of(p.query_blocks, plan.tile_blocks);
  plan.column_tiles = blocks_of(s.key_blocks, plan.tile_columns / plan.block_columns);
  plan.units = product({p.batch, plan.heads, plan.row_tiles});
  const int64_t tile_rows = plan.tile_blocks * plan.rows_of_block;
  const int64_t unit_bytes = product({tile_rows, s.key_blocks, means ? 4 : 8});
  const int64_t rows_bytes = product({plan.sharing, plan.tile_blocks, s.key_blocks, 4});
  plan.units_at_once = std::clamp<int64_t>(kMemoryAtOnce / std::max<int64_t>(unit_bytes + rows_bytes, 1), 1,
                                           std::max<int64_t>(plan.units, 1));
  WorkspaceParts parts;
  plan.results_at = parts.take(product({plan.units_at_once, unit_bytes}));
  plan.rows_at = parts.take(product({plan.units_at_once, rows_bytes}));
  if (means) {
    plan.q_at = parts.take(product({p.batch, p.query_heads, p.query_blocks, p.head_size, 4}));
    plan.k_at = parts.take(product({p.batch, p.kv_heads, s.key_blocks, p.head_size, 4}));
    plan.similar_queries_at = parts.take(product({p.batch, p.query_heads, p.query_blocks}));
    plan.similar_keys_at = parts.take(product({p.batch, p.kv_heads, s.key_blocks}));
  }
  if (proxy) {
    const int64_t element = dtype_bytes(p.dtype, 1);
    plan.q_at = parts.take(product({p.batch, plan.heads, p.query_length, p.head_size, element}));
    plan.k_at = parts.take(product({p.batch, plan.heads, p.kv_length, p.head_size, element}));
  }
  plan.workspace_bytes = parts.bytes();
  return plan;
}

LinesPlan plan_lines(const Params& p, const Selection& s, bool ragged) {
  LinesPlan plan = {};
  const int64_t rows = std::min(s.last_queries, p.query_length);
  plan.tile_rows = static_cast<int32_t>(std::clamp<int64_t>(rows, 1, kTile));
  plan.row_tiles = blocks_of(rows, plan.tile_rows);
  plan.column_tiles = blocks_of(p.kv_length, kTile);
  plan.heads = product({p.batch, p.query_heads});
  const int64_t head_rows = plan.row_tiles * plan.tile_rows, head_bytes = product({head_rows, p.kv_length, 4});
  plan.heads_at_once =
      std::clamp<int64_t>(kMemoryAtOnce / std::max<int64_t>(head_bytes, 1), 1, std::max<int64_t>(plan.heads, 1));
  plan.words = ragged ? p.kv_length / 32 + p.batch : blocks_of(p.kv_length, 32);
  const int64_t items = ragged ? std::min<int64_t>(p.batch, 1) : p.batch;
  WorkspaceParts parts;
  plan.logits_at = parts.take(product({plan.heads_at_once, head_bytes}));
  plan.stats_at = parts.take(product({plan.heads_at_once, head_rows, 8}));
  for (int i = 0; i < 2; ++i) {
    plan.sums_at[i] = parts.take(product({items, p.query_heads, p.kv_length, 4}));
    plan.chosen_at[i] = parts.take(product({items, p.query_heads, plan.words, 4}));
  }
  plan.workspace_bytes = parts.bytes();
  return plan;
}

int32_t run_scores(const ScoresPlan& plan, const Items& items, const Values& values, float* scores, uint8_t* map,
                   uint8_t* workspace, void* stream) {
  const Params& p = items.p;
  const Selection& s = items.s;
  const bool means = s.kind == GATUN_SELECT_MEANS;
  Operands operands = operands_of(items, values);
  if (means) GATUN_TRY(pool(plan, items, workspace, &operands, stream));
  if (s.kind == GATUN_SELECT_PROXY) GATUN_TRY(average(plan, items, workspace, &operands, stream));

  ProductJob products = {};
  products.items = items;
  products.q = operands.q;
  products.k = operands.k;
  products.rule = rule_of(p, plan.phases, s.kind == GATUN_SELECT_MASS);
  products.phases = plan.phases;
  products.query_unit = plan.query_unit;
  products.key_unit = plan.key_unit;
  products.tile_rows = plan.tile_blocks * plan.rows_of_block;
  products.tile_columns = plan.tile_columns;
  products.block_columns = plan.block_columns;
  products.heads = plan.heads;
  products.group = s.kind == GATUN_SELECT_PROXY ? 1 : p.query_heads / p.kv_heads;
  products.row_tiles = plan.row_tiles;
  products.column_tiles = plan.column_tiles;
  products.width = s.key_blocks;
  if (means) {
    products.logits = part<float>(workspace, plan.results_at);
  } else {
    products.parts = part<Part>(workspace, plan.results_at);
  }

  RowsJob rows = {};
  rows.items = items;
  rows.kind = s.kind;
  rows.rows_of_block = plan.rows_of_block;
  rows.tile_rows = products.tile_rows;
  rows.tile_blocks = plan.tile_blocks;
  rows.sharing = plan.sharing;
  rows.row_tiles = plan.row_tiles;
  rows.logits = products.logits;
  rows.parts = products.parts;
  rows.similar_queries = workspace + plan.similar_queries_at;
  rows.similar_keys = workspace + plan.similar_keys_at;
  rows.query_stride = p.query_blocks;
  rows.key_stride = s.key_blocks;
  rows.lse = values.lse;
  rows.scores = scores;
  rows.row_memory = part<float>(workspace, plan.rows_at);
  rows.budgets = values.budgets;
  rows.map = map;
  for (int64_t first = 0; first < plan.units; first += plan.units_at_once) {
    products.first_unit = rows.first_unit = first;
    products.units = rows.units = std::min(plan.units_at_once, plan.units - first);
    GATUN_TRY(run_products(products, stream));
    GATUN_TRY(run_rows(rows, stream));
  }
  return GATUN_OK;
}

int32_t run_choice(const Items& items, const float* scores, const float* budgets, uint8_t* map, void* stream) {
  RowsJob rows = {};
  rows.items = items;
  rows.kind = -1;
  rows.rows_of_block = rows.tile_rows = rows.tile_blocks = 1;
  rows.sharing = 1;
  rows.row_tiles = items.p.query_blocks;
  rows.units = items.p.batch * items.p.query_heads * items.p.query_blocks;
  rows.scores = const_cast<float*>(scores);  // which are not written
  rows.budgets = budgets;
  rows.map = map;
  return run_rows(rows, stream);
}

int32_t run_sums(const LinesPlan& plan, const Items& items, const Values& values, float* columns, float* diagonals,
                 uint8_t* workspace, void* stream) {
  const Params& p = items.p;
  const bool ragged = items.q_offsets != nullptr;
  const int64_t bytes = (ragged ? std::min<int64_t>(p.batch, 1) : p.batch) * p.query_heads * p.kv_length * 4;
  if (ragged || plan.row_tiles == 0) {  // keys between items; of no queries
    GATUN_TRY(fill_async(columns, 0, bytes, stream));
    if (diagonals != nullptr) GATUN_TRY(fill_async(diagonals, 0, bytes, stream));
  }
  const Operands operands = operands_of(items, values);
  ProductJob products = {};
  products.items = items;
  products.q = operands.q;
  products.k = operands.k;
  products.rule = rule_of(p, 1, true);
  products.phases = products.query_unit = products.key_unit = 1;
  products.last_queries = static_cast<int32_t>(items.s.last_queries);
  products.tile_rows = plan.tile_rows;
  products.tile_columns = kTile;
  products.heads = p.query_heads;
  products.group = p.query_heads / p.kv_heads;
  products.row_tiles = plan.row_tiles;
  products.column_tiles = plan.column_tiles;
  products.width = p.kv_length;
  products.logits = part<float>(workspace, plan.logits_at);
  LinesJob lines = {};
  lines.items = items;
  lines.rows = static_cast<int32_t>(plan.row_tiles) * plan.tile_rows;
  lines.logits = products.logits;
  lines.stats = part<Part>(workspace, plan.stats_at);
  lines.columns = columns;
  lines.diagonals = diagonals;
  for (lines.first = 0; plan.row_tiles > 0 && lines.first < plan.heads; lines.first += plan.heads_at_once) {
    lines.heads = std::min(plan.heads_at_once, plan.heads - lines.first);
    products.first_unit = lines.first * plan.row_tiles;
    products.units = lines.heads * plan.row_tiles;
    GATUN_TRY(run_products(products, stream));
    GATUN_TRY(run_lines(lines, stream));
  }
  return GATUN_OK;
}

int32_t run_map(const LinesPlan& plan, const Items& items, const float* columns, const float* diagonals, uint8_t* map,
                uint8_t* workspace, void* stream) {
  const auto chosen = [&](int i) { return part<uint32_t>(workspace, plan.chosen_at[i]); };
  return run_draw({items, {columns, diagonals}, {chosen(0), chosen(1)}, plan.words, map}, stream);
}

int64_t selection_bytes(const Params& p, const Selection& s, bool ragged) {
  return s.kind == GATUN_SELECT_VERTICAL_SLASH ? plan_lines(p, s, ragged).workspace_bytes
                                               : plan_scores(p, s).workspace_bytes;
}

int32_t run_selection(const Items& items, const Values& values, uint8_t* map, uint8_t* workspace, void* stream) {
  const Params& p = items.p;
  if (items.s.kind != GATUN_SELECT_VERTICAL_SLASH) {
    return run_scores(plan_scores(p, items.s), items, values, nullptr, map, workspace, stream);
  }
  const LinesPlan plan = plan_lines(p, items.s, items.q_offsets != nullptr);
  if (only_forced(items.s)) return run_map(plan, items, nullptr, nullptr, map, workspace, stream);
  float* const sums[2] = {part<float>(workspace, plan.sums_at[0]), part<float>(workspace, plan.sums_at[1])};
  GATUN_TRY(run_sums(plan, items, values, sums[0], sums[1], workspace, stream));
  return run_map(plan, items, sums[0], sums[1], map, workspace, stream);
}

void explain(const Params& p, const Selection& s, bool ragged, Text& out) {
  using LongLong = long long;
  constexpr const char* kKinds[] = {"MEANS", "ANTIDIAGONAL", "VERTICAL_SLASH", "PROXY", "MASS"};
  const bool means = s.kind == GATUN_SELECT_MEANS;
  const char* const dtype = means || p.dtype == GATUN_F32 ? "f32" : p.dtype == GATUN_F16 ? "f16" : "bf16";
  out.add("%s: ", kKinds[s.kind]);
  if (means) out.add("select_means_sm80 of q and of k, ");
  if (s.kind == GATUN_SELECT_PROXY) out.add("select_average_sm80 of q and of k, ");
  if (s.kind == GATUN_SELECT_VERTICAL_SLASH) {
    const LinesPlan plan = plan_lines(p, s, ragged);
    if (!only_forced(s)) {
      out.add("select_%s_m128n128_sm80, select_line_stats_sm80 and select_line_sums_sm80, %lld times; ", dtype,
              LongLong{blocks_of(plan.heads, plan.heads_at_once)});
    }
    out.add("select_choose_lines_sm80, select_draw_sm80\n");
  } else {
    const ScoresPlan plan = plan_scores(p, s);
    out.add("select_%s_m128n128_sm80 and select_rows_sm80, %lld times\n", dtype,
            LongLong{blocks_of(plan.units, plan.units_at_once)});
  }
  out.add("  products %s; workspace %lld bytes\n",
          dtype[0] == 'f' && dtype[1] == '3' ? "by fma" : "by mma.sync, with f32 sums",
          LongLong{selection_bytes(p, s, ragged)});
}

}  // namespace gatun::cuda::attention_select
