#include "attention/device_select.h"

#include <algorithm>
#include <utility>

#include "attention/device_codes.h"
#include "attention/device_matrix.h"
#include "attention/tensor.h"
#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"
#include "base/workspace.h"

namespace gatun::cuda::attention {

#define GATUN_ATTENTION_KERNEL(name, ...) int32_t run_##name(const Job& job, void* stream);
#include "attention/device_kernels.inc"
#undef GATUN_ATTENTION_KERNEL

namespace {

using Params = gatun_attention_params;
using LongLong = long long;

constexpr KernelRow kRows[] = {
#define GATUN_ATTENTION_KERNEL(name, dtypes, modes, capabilities, sizes, tile_rows, masked_rows, halves, whole) \
  {#name, dtypes, modes, capabilities, sizes, tile_rows, masked_rows, halves, whole, run_##name},
#include "attention/device_kernels.inc"
#undef GATUN_ATTENTION_KERNEL
};

// What kernels and their workspaces count by: batch items, or all of them together, and rows of their heads.
struct Counts {
  int64_t items, q_rows, k_rows;
};

constexpr int64_t kNoMemory = WorkspaceParts::kNoMemory;
constexpr int64_t kMostFp8Size = 128;
constexpr const char* kModeTexts[] = {"", " in INT8", " in INT8_FP8"};

// Whether tiles of tile_rows queries are worth it, and each lies in one row of the mask.
bool fills_tiles(const KernelRow& row, const Params& p) {
  return p.query_block == 0 ? p.query_length > row.tile_rows / 2 : p.query_block == row.tile_rows;
}

int64_t largest_size(const Params& p) { return std::max(p.head_size, p.value_size); }

// Of numbers that are not negative; beyond any memory it stays kNoMemory.
int64_t product(std::initializer_list<int64_t> factors) {
  int64_t result = 1;
  for (const int64_t factor : factors) {
    if (__builtin_mul_overflow(result, factor, &result) || result > kNoMemory) return kNoMemory;
  }
  return result;
}

Counts counts_of(const Params& p, bool ragged) {
  const int64_t items = ragged ? std::min<int64_t>(p.batch, 1) : p.batch;
  return {items, product({items, p.query_heads, p.query_length}), product({items, p.kv_heads, p.kv_length})};
}

int32_t window_of(int64_t window) {
  return static_cast<int32_t>(window < 0 || window > kMostLength ? kMostLength : window);
}

// Whether rows of 16-bit elements begin at multiples of `bytes`.
bool is_aligned(const void* data, std::initializer_list<int64_t> strides, uintptr_t bytes) {
  uintptr_t all = reinterpret_cast<uintptr_t>(data);
  for (const int64_t stride : strides) all |= static_cast<uintptr_t>(stride) * 2;
  return all % bytes == 0;
}
bool is_aligned(const Strided& x) { return is_aligned(x.data, {x.batch_stride, x.head_stride, x.row_stride}, 16); }

// Rows of codes or copies, without gaps: [batch, heads, rows, columns], with offsets [heads, rows, columns].
Strided packed(const uint8_t* data, int64_t heads, int64_t rows, int64_t columns) {
  return {data, heads * rows * columns, rows * columns, columns};
}

// Strides along which nothing lies further on, or that offsets replace, are 0: as good as aligned ones. The one row of
// a head that has no more is as far from the next as it is long.
Params settled(const Params& given, bool ragged) {
  using gatun::attention::settle;
  Params p = given;
  const auto clear = [](int64_t size, std::initializer_list<int64_t*> strides) {
    for (int64_t* const stride : strides) settle({{size, stride}});
  };
  clear(ragged ? 1 : p.batch,
        {&p.q_batch_stride, &p.k_batch_stride, &p.v_batch_stride, &p.out_batch_stride, &p.lse_batch_stride});
  clear(p.query_heads, {&p.q_head_stride, &p.out_head_stride, &p.lse_head_stride});
  clear(p.kv_heads, {&p.k_head_stride, &p.v_head_stride});
  if (p.query_length < 2) {
    p.q_row_stride = p.head_size;
    p.out_row_stride = p.value_size;
  }
  if (p.kv_length < 2) {
    p.k_row_stride = p.head_size;
    p.v_row_stride = p.value_size;
  }
  return p;
}

// Whether q, k and v are what kernels of whole tiles take, as far as strides say it.
bool are_matrices(const Params& given, bool ragged) {
  const Params p = settled(given, ragged);
  const int64_t items = ragged ? 1 : p.batch;
  Matrix matrix;
  return as_matrix({nullptr, p.q_batch_stride, p.q_head_stride, p.q_row_stride}, items, p.query_heads, p.query_length,
                   p.head_size, &matrix) &&
         as_matrix({nullptr, p.k_batch_stride, p.k_head_stride, p.k_row_stride}, items, p.kv_heads, p.kv_length,
                   p.head_size, &matrix) &&
         as_matrix({nullptr, p.v_batch_stride, p.v_head_stride, p.v_row_stride}, items, p.kv_heads, p.kv_length,
                   p.value_size, &matrix);
}

int32_t too_large(const Params& p, int64_t count, const char* what, const char* most) {
  return fail(GATUN_UNSUPPORTED,
              "params.batch = %lld, query_heads = %lld, kv_heads = %lld and lengths of %lld and %lld take %lld %s; "
              "allowed: up to %s",
              LongLong{p.batch}, LongLong{p.query_heads}, LongLong{p.kv_heads}, LongLong{p.query_length},
              LongLong{p.kv_length}, LongLong{count}, what, most);
}

}  // namespace

Rule rule_of(const Params& p, bool slopes) {
  constexpr double kLog2e = 1.4426950408889634, kMost = 0x1.fffffep127, kLeast = 0x1p-126;
  Rule rule = {};
  const bool capped = p.soft_cap > 0 && double{p.soft_cap} * kLog2e < kMost;  // beyond, logits are what they are
  rule.scale = capped ? p.scale : static_cast<float>(std::clamp(double{p.scale} * kLog2e, -kMost, kMost));
  rule.inverse_cap = capped ? static_cast<float>(1 / std::max(double{p.soft_cap}, kLeast)) : 0;
  rule.cap = capped ? static_cast<float>(double{p.soft_cap} * kLog2e) : 0;
  rule.simple = !capped && !slopes && double{rule.scale} >= kLeast;
  return rule;
}

KernelRows<KernelRow> kernel_rows() { return {kRows, static_cast<int>(sizeof(kRows) / sizeof(kRows[0]))}; }

const char* why_not(const KernelRow& row, const Params& p, bool ragged, const Device& device) {
  if ((row.dtypes >> p.dtype & 1) == 0) return "another dtype";
  if ((row.modes >> p.mode & 1) == 0) return "another mode";
  if (!row.capabilities.contains(device.major * 10 + device.minor)) return "another compute capability";
  if (!row.sizes.contains(largest_size(p))) return "another head size";
  if (row.whole && p.head_size != p.value_size) return "one size for all";
  if (row.whole && !fills_tiles(row, p)) return "more queries, or blocks of them";
  if (row.whole && (p.kv_length == 0 || !are_matrices(p, ragged))) {
    return "keys, and rows 16 n bytes apart of which each batch item and head lies whole rows, or some columns, on";
  }
  return nullptr;
}

const KernelRow& select(const Params& p, bool ragged, const Device& device) {
  return kernel_rows().first_that_takes([&](const KernelRow& row) { return why_not(row, p, ragged, device); });
}

Plan plan_on(const KernelRow& row, const Params& p, bool ragged) {
  Plan plan = {};
  plan.kernel = &row;
  plan.ragged = ragged;
  plan.tile_rows = fills_tiles(row, p) ? row.tile_rows : row.masked_rows;
  plan.tiles = ragged ? p.query_length / plan.tile_rows + p.batch : blocks_of(p.query_length, plan.tile_rows);
  const auto [items, q_rows, k_rows] = counts_of(p, ragged);
  plan.blocks = product({items, p.query_heads, plan.tiles});
  WorkspaceParts parts;
  plan.largest_grid = p.query_length == 0 ? 0 : plan.blocks;
  plan.spoiled_at = parts.take(row.halves ? plan.blocks : 0);
  if (has_codes(p.mode)) {
    const bool fp8 = p.mode == GATUN_ATTENTION_INT8_FP8;
    const int64_t size = fp8 ? largest_size(p) : p.head_size;
    plan.columns = size <= 64 ? 64 : size <= 128 ? 128 : 256;
    plan.k_units = ragged ? p.kv_length / kUnitKeys + p.batch : blocks_of(p.kv_length, kUnitKeys);
    plan.q_codes_at = parts.take(product({q_rows, plan.columns}));
    plan.k_codes_at = parts.take(product({k_rows, plan.columns}));
    plan.q_scales_at = parts.take(product({q_rows, 4}));
    plan.q_offsets_at = parts.take(product({q_rows, 4}));
    plan.k_scales_at = parts.take(product({items, p.kv_heads, plan.k_units, 4}));
    plan.mean_at = parts.take(product({p.batch, p.kv_heads, p.head_size, 4}));
    const bool copied = row.halves && p.dtype != GATUN_BF16;
    const int64_t units = product({items, p.kv_heads, plan.k_units});
    plan.values_at = parts.take(fp8      ? product({units, kUnitKeys, plan.columns})
                                : copied ? product({k_rows, p.value_size, 2})
                                         : 0);
    const int64_t channels = fp8 ? product({p.batch, p.kv_heads, p.value_size, 4}) : 0;
    plan.v_mean_at = parts.take(channels);
    plan.v_scales_at = parts.take(channels);
    if (plan.largest_grid > 0) {
      const int64_t copied_rows = copied ? k_rows : 0;
      const int64_t parts_of_head = blocks_of(fp8 ? largest_size(p) : p.head_size, kMeanColumns);
      plan.largest_grid =
          std::max({plan.largest_grid, blocks_of(q_rows, kRowsOfBlock), blocks_of(copied_rows, kRowsOfBlock), units,
                    product({p.batch, p.kv_heads, parts_of_head})});
    }
  }
  plan.workspace_bytes = parts.bytes();
  return plan;
}

int32_t check_plan(const Plan& plan, const Params& p, const Device& device) {
  if (p.mode == GATUN_ATTENTION_INT8_FP8) {
    for (const auto& [name, size] : {std::pair{"head_size", p.head_size}, {"value_size", p.value_size}}) {
      if (size <= kMostFp8Size) continue;
      return fail(GATUN_UNSUPPORTED, "params.%s = %lld in mode INT8_FP8; allowed: up to %lld", name, LongLong{size},
                  LongLong{kMostFp8Size});
    }
    if (why_not(*plan.kernel, p, plan.ragged, device) != nullptr) {
      return fail(GATUN_UNSUPPORTED,
                  "params.mode = %d (INT8_FP8) on compute capability %d.%d; allowed: 9.0, or another mode", p.mode,
                  device.major, device.minor);
    }
    const Counts counts = counts_of(p, plan.ragged);
    const int64_t rows = std::max(counts.q_rows, counts.k_rows);
    if (rows > kMostMatrixRows) return too_large(p, rows, "rows of q or of k in mode INT8_FP8", "2^31 - 257");
  }
  return plan.largest_grid <= INT32_MAX ? GATUN_OK : too_large(p, plan.largest_grid, "blocks of threads", "2^31 - 1");
}

int32_t run_plan(const Plan& plan, const Params& params, const gatun::attention::Inputs& in, void* out, float* lse,
                 uint8_t* workspace, void* stream) {
  const Params p = settled(params, plan.ragged);
  Job job = {};
  job.batch = p.batch;
  job.query_heads = p.query_heads;
  job.kv_heads = p.kv_heads;
  job.group = p.query_heads / p.kv_heads;
  job.query_length = static_cast<int32_t>(p.query_length);
  job.kv_length = static_cast<int32_t>(p.kv_length);
  job.head_size = static_cast<int32_t>(p.head_size);
  job.value_size = static_cast<int32_t>(p.value_size);
  job.dtype = p.dtype;
  job.out_dtype = p.out_dtype;
  job.q = {in.q, p.q_batch_stride, p.q_head_stride, p.q_row_stride};
  job.k = {in.k, p.k_batch_stride, p.k_head_stride, p.k_row_stride};
  job.v = job.values = {in.v, p.v_batch_stride, p.v_head_stride, p.v_row_stride};
  job.in = in;
  job.out = out;
  job.lse = lse;
  job.out_batch_stride = p.out_batch_stride;
  job.out_head_stride = p.out_head_stride;
  job.out_row_stride = p.out_row_stride;
  job.lse_batch_stride = p.lse_batch_stride;
  job.lse_head_stride = p.lse_head_stride;
  job.rule = rule_of(p, in.slopes != nullptr);
  job.causal = p.causal;
  job.left = window_of(p.window_left);
  job.right = window_of(p.window_right);
  job.sink_keys = window_of(p.sink_keys);
  job.query_block = static_cast<int32_t>(p.query_block);
  job.key_block = static_cast<int32_t>(p.key_block);
  job.mask_batch = p.mask_batch;
  job.mask_heads = p.mask_heads;
  job.query_blocks = p.query_blocks;
  job.full_count = p.full_count;
  job.partial_count = p.partial_count;
  job.tile_rows = plan.tile_rows;
  job.tiles = plan.tiles;
  job.blocks = plan.blocks;
  job.spoiled = workspace + plan.spoiled_at;
  if (has_codes(p.mode)) {
    const auto floats = [&](int64_t at) { return reinterpret_cast<float*>(workspace + at); };
    job.codes = {packed(workspace + plan.q_codes_at, p.query_heads, p.query_length, plan.columns),
                 packed(workspace + plan.k_codes_at, p.kv_heads, p.kv_length, plan.columns),
                 floats(plan.q_scales_at),
                 floats(plan.q_offsets_at),
                 floats(plan.k_scales_at),
                 floats(plan.mean_at),
                 plan.columns,
                 plan.k_units,
                 workspace + plan.values_at,
                 floats(plan.v_mean_at),
                 floats(plan.v_scales_at)};
    const bool copied = plan.kernel->halves && p.dtype != GATUN_BF16;
    if (copied) job.values = packed(workspace + plan.values_at, p.kv_heads, p.kv_length, p.value_size);
    GATUN_TRY(run_quantize(job, copied && in.v != nullptr, stream));
    if (p.mode == GATUN_ATTENTION_INT8_FP8 && in.v != nullptr) GATUN_TRY(run_quantize_values(job, stream));
  }
  job.aligned_q = has_codes(p.mode) || is_aligned(job.q);
  job.aligned_k = has_codes(p.mode) || is_aligned(job.k);
  job.aligned_v = is_aligned(job.values);
  job.pairs = is_aligned(out, {p.out_batch_stride, p.out_head_stride, p.out_row_stride}, 4);
  GATUN_TRY(plan.kernel->run(job, stream));
  return plan.kernel->halves && out != nullptr ? run_again(job, stream) : GATUN_OK;
}

void explain(const Plan& plan, const Params& p, const Device& device, Text& out) {
  out.add("attention of %s%s, %lld x %lld query heads of %lld, %lld queries, %lld keys, head sizes %lld and %lld, ",
          dtype_name(p.dtype), kModeTexts[p.mode], LongLong{p.batch}, LongLong{p.query_heads}, LongLong{p.kv_heads},
          LongLong{p.query_length}, LongLong{p.kv_length}, LongLong{p.head_size}, LongLong{p.value_size});
  if (p.query_block > 0) {
    out.add("blocks of %lld x %lld, ", LongLong{p.query_block}, LongLong{p.key_block});
  }
  out.add("on compute capability %d.%d\n", device.major, device.minor);
  if (plan.blocks == 0) {
    out.add("  nothing to do\n");
    return;
  }
  if (has_codes(p.mode)) {
    out.add("  means of keys, codes of q and k%s are made before\n",
            p.mode == GATUN_ATTENTION_INT8_FP8             ? ", means and codes of v"
            : plan.kernel->halves && p.dtype != GATUN_BF16 ? ", v in bf16"
                                                           : "");
  }
  for (const KernelRow& row : kRows) {
    if (&row == plan.kernel) break;
    if (const char* why = why_not(row, p, plan.ragged, device))
      out.add("  passed over %s: it takes %s\n", row.name, why);
  }
  out.add("  kernel %s, %lld blocks of %d queries", plan.kernel->name, LongLong{plan.blocks}, plan.tile_rows);
  if (plan.kernel->halves) {
    out.add(
        "%s, again for what NaN or infinity of v may have spoiled",
        plan.kernel->whole ? " (or the next one for lse alone, or where q, k and v are not aligned to 16 bytes)" : "");
  }
  out.add("; workspace: %lld bytes\n", LongLong{plan.workspace_bytes});
}

}  // namespace gatun::cuda::attention
