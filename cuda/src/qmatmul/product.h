// What products by packed weights have in common, dense ones and sparse ones (nm_matmul): the way of a call, its plan,
// and what explain says. A Problem has a form and params; read_problem's check_mode and form_of, select, plan_on,
// run_plan and explain are those of its own namespace.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "base/dtype.h"
#include "base/kernel_rows.h"
#include "base/packed.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/text.h"
#include "qmatmul/job.h"

namespace gatun::cuda::qmatmul {

// What a call reads and writes.
struct Memory {
  const void* x;
  const uint8_t* packed;
  const float* bias;
  const void* residual;
  void* y;
  uint8_t* workspace;
};

template <class Params>
bool is_empty(const Params& params) {
  return params.rows == 0 || params.column_begin == params.column_end;
}

// ---- plans ----

// Of kernels whose blocks are fewer than a device runs at once: a split of depth into parts that begin at groups and at
// multiples of kDepthMultiple, by which the rounds of blocks take least time. That is the depth of a part, and half of
// part_depth for the ends of a tile and for sums that go to memory and back, in each round.
struct Splitting {
  int64_t units, unit_depth;  // of a strip
  int64_t group, groups;
  int64_t blocks;                     // without a split
  int64_t wanted_blocks, part_depth;  // as in a KernelRow
};
struct Split {
  int32_t parts;
  int64_t units_a_part;
};
Split split_depth(const Splitting& of);

// What is decided of a product, whatever its kernel, and where the parts of the workspace lie.
struct ProductPlan {
  Arithmetic rounding;
  bool may_use_x;  // where its address is a multiple of 16
  int32_t parts;
  int64_t units_a_part;
  int64_t x_at, scales_at, sums_at, partial_at, workspace_bytes;
};

// x made ready: in which arithmetic, rounded to which, with how many scales and sums a row.
struct Preparing {
  Arithmetic arithmetic, rounding;
  int64_t scales, sums;
};
// The lengths that a plan depends on.
struct Extents {
  int64_t rows, depth, padded_depth, padded_columns;
  int64_t x_row_stride;
  int32_t x_dtype;
};
void plan_product(const Extents& extents, const Preparing& preparing, const Split& split, ProductPlan* plan);

template <class Problem>
Extents extents_of(const Problem& problem) {
  const auto& [form, params] = problem;
  return {params.rows, form.depth, form.padded_depth, form.padded_columns(), params.x_row_stride, params.x_dtype};
}

inline constexpr int64_t kMostTileRows = INT32_MAX;  // coordinates of a tensor map

// Whether a product is beyond kernels of matrix instructions, which count in 32 bits and find groups by a
// multiplication that is exact up to 2^39 (GroupOf in tile_mma.h).
template <class Form>
bool exceeds_tiles(const Form& form) {
  constexpr int64_t kMostExtent = INT32_MAX - kDepthMultiple, kMostDepthByGroup = int64_t{1} << 39;
  return form.depth > kMostExtent || form.columns > kMostExtent ||
         (form.groups > 1 && form.depth > kMostDepthByGroup / form.group);
}

// What a job has of shapes, of memory other than x and the packed parts, and of the plan.
template <class Problem>
void describe_product(const Problem& problem, const ProductPlan& plan, const Memory& memory, float factor, Job* job) {
  const auto& [form, params] = problem;
  job->finish = {memory.y,
                 memory.bias,
                 memory.residual,
                 params.y_row_stride,
                 params.residual_row_stride,
                 params.column_begin,
                 params.column_end,
                 params.y_dtype,
                 params.activation,
                 factor};
  job->rows = params.rows;
  job->columns = form.columns;
  job->padded_columns = form.padded_columns();
  job->depth = form.depth;
  job->group = form.group;
  job->groups = form.groups;
  job->units = form.units;
  job->strip_begin = params.column_begin / kStripColumns;
  job->strip_end = blocks_of(params.column_end, kStripColumns);
  job->scale_dtype = form.scale_dtype;
  job->rounding = plan.rounding;
  job->partial = plan.parts > 1 ? reinterpret_cast<float*>(memory.workspace + plan.partial_at) : nullptr;
  job->parts = plan.parts;
  job->units_a_part = plan.units_a_part;
}

// What explain says after its heading; a unit of weights is so deep.
template <class Problem, class Plan, class Rows>
void explain_product(const Plan& plan, const Problem& problem, const Device& device, const Rows& rows, int unit_depth,
                     Text& out) {
  using LongLong = long long;
  static constexpr const char* kArithmetics[] = {"f16", "bf16", "int8", "f32"};
  const auto name_of = [](Arithmetic arithmetic) { return kArithmetics[static_cast<int32_t>(arithmetic)]; };
  const auto& [form, params] = problem;
  if (is_empty(params)) {
    out.add("  nothing to do\n");
    return;
  }
  if (form.depth == 0) {
    out.add("  finish: no depth, y is made of bias and residual alone\n");
    return;
  }
  const Arithmetic arithmetic = plan.kernel->arithmetic;
  if (plan.may_use_x) {
    out.add("  x is read as it is, if its address is a multiple of 16, else copied\n");
  } else {
    out.add("  x is prepared as %s%s%s\n", name_of(arithmetic), plan.rounding != arithmetic ? ", rounded to " : "",
            plan.rounding != arithmetic ? name_of(plan.rounding) : "");
  }
  for (const auto& row : rows) {
    if (&row == plan.kernel) break;
    if (const char* why = why_not(row, problem, device)) out.add("  passed over %s: it takes %s\n", row.name, why);
  }
  out.add("  kernel %s", plan.kernel->name);
  if (plan.parts > 1) {
    out.add(", depth in %d parts of %lld, which finish adds", plan.parts, LongLong{plan.units_a_part * unit_depth});
  }
  out.add("; workspace: %lld bytes\n", LongLong{plan.workspace_bytes});
}

// ---- the way of a call ----

// Copies the caller's structs and checks what does not depend on memory or on the device.
template <class Problem, class Params, class Weights>
int32_t read_problem(const Params* given, const Weights* weights, Problem* problem) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*given), "params"));
  const Params params = *given;
  GATUN_TRY(check_dtype(params.x_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.x_dtype"));
  GATUN_TRY(check_dtype(params.y_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.y_dtype"));
  GATUN_TRY(check_range(params.mode, 0, Problem::kLastMode, "params.mode"));
  GATUN_TRY(check_range(params.activation, GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_SILU, "params.activation"));
  GATUN_TRY(check_range(params.rows, 0, INT64_MAX, "params.rows"));
  GATUN_TRY(form_of(weights, &problem->form));
  const auto& form = problem->form;
  const auto check_shape = [](int64_t own, int64_t of_weights, const char* name) -> int32_t {
    if (own == of_weights) return GATUN_OK;
    return fail(GATUN_INVALID_ARGUMENT, "params.%s = %lld; the weights have %lld", name, static_cast<long long>(own),
                static_cast<long long>(of_weights));
  };
  GATUN_TRY(check_shape(params.columns, form.columns, "columns"));
  GATUN_TRY(check_shape(params.depth, form.depth, "depth"));
  GATUN_TRY(check_range(params.column_begin, 0, form.columns, "params.column_begin"));
  GATUN_TRY(check_range(params.column_end, params.column_begin, form.columns, "params.column_end"));
  GATUN_TRY(check_row_stride(params.rows, form.depth, params.x_row_stride, "params.x_row_stride"));
  GATUN_TRY(check_row_stride(params.rows, form.columns, params.y_row_stride, "params.y_row_stride"));
  // What is made of x and y by rows has an extent that bounds the workspace, too.
  int64_t bytes;
  GATUN_TRY(check_extent(params.rows, form.padded_depth, form.padded_depth, 1, 64, "x", &bytes));
  GATUN_TRY(check_extent(params.rows, form.padded_columns(), form.padded_columns(), 1, 64 * 64, "y", &bytes));
  problem->params = params;
  return check_mode(form, params.mode);
}

template <class Problem>
int32_t check_memory(const Device& device, const Problem& problem, const Memory& memory, int64_t packed_bytes,
                     int64_t workspace_bytes) {
  const auto& [form, params] = problem;
  const int64_t x_bytes = dtype_bytes(params.x_dtype, 1), y_bytes = dtype_bytes(params.y_dtype, 1);
  if (memory.residual != nullptr) {
    GATUN_TRY(check_row_stride(params.rows, form.columns, params.residual_row_stride, "params.residual_row_stride"));
  }
  const bool biased = memory.bias != nullptr, added = memory.residual != nullptr;
  Buffer buffers[] = {
      {"x", memory.x, params.rows, form.depth, params.x_row_stride, x_bytes, false},
      {"packed", memory.packed, 1, form.bytes, form.bytes, 1, false},
      {"bias", memory.bias, biased ? 1 : 0, form.columns, form.columns, 4, false},
      {"residual", memory.residual, added ? params.rows : 0, form.columns, params.residual_row_stride, y_bytes, false},
      {"y", memory.y, params.rows, form.columns, params.y_row_stride, y_bytes, true},
      {"workspace", memory.workspace, 1, workspace_bytes, workspace_bytes, 1, true}};
  GATUN_TRY(check_packed_room(memory.packed, packed_bytes, form.bytes));
  GATUN_TRY(check_aligned(memory.packed, kPartAlignment, "packed"));
  GATUN_TRY(check_buffers(buffers, &buffers[4], &buffers[3]));
  return check_device_memory(device.index, buffers);
}

template <class Form, class Weights>
int32_t answer_packed_bytes(const Weights* weights, int64_t* bytes) {
  Form form;
  GATUN_TRY(form_of(weights, &form));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = form.bytes;
  return GATUN_OK;
}

template <class Problem, class Params, class Weights>
int32_t answer_workspace_bytes(const Params* params, const Weights* weights, int32_t device, int64_t* bytes) {
  Problem problem;
  GATUN_TRY(read_problem(params, weights, &problem));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  Device known;
  GATUN_TRY(describe_supported(device, &known));
  *bytes = is_empty(problem.params) ? 0 : plan_on(select(problem, known), problem).workspace_bytes;
  return GATUN_OK;
}

template <class Problem, class Params, class Weights>
int32_t run_product(const Params* params, const Weights* weights, const Memory& memory, int64_t packed_bytes,
                    int64_t workspace_bytes, void* stream) {
  Problem problem;
  GATUN_TRY(read_problem(params, weights, &problem));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  const Device& device = scope.device();
  using Plan = decltype(plan_on(select(problem, device), problem));
  const Plan plan = is_empty(problem.params) ? Plan{} : plan_on(select(problem, device), problem);
  GATUN_TRY(check_workspace(device.index, memory.workspace, workspace_bytes, plan.workspace_bytes));
  GATUN_TRY(check_memory(device, problem, memory, packed_bytes, plan.workspace_bytes));
  return is_empty(problem.params) ? GATUN_OK : run_plan(plan, problem, memory, stream);
}

template <class Problem, class Params, class Weights>
int32_t answer_explain(const Params* params, const Weights* weights, int32_t device, char* text, int64_t capacity) {
  Problem problem;
  GATUN_TRY(read_problem(params, weights, &problem));
  Device known;
  GATUN_TRY(describe_supported(device, &known));
  Text out;
  explain(plan_on(select(problem, known), problem), problem, known, out);
  return out.copy_to(text, capacity);
}

}  // namespace gatun::cuda::qmatmul
