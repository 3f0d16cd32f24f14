#include "nm_matmul/select.h"

#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"

namespace gatun::cuda::nm_matmul {

#define GATUN_NM_KERNEL(name, ...) int32_t run_##name(const SparseJob& job, void* stream);
#include "nm_matmul/sparse_kernels.inc"
#undef GATUN_NM_KERNEL

namespace {

using LongLong = long long;

constexpr KernelRow kRows[] = {
#define GATUN_NM_KERNEL(name, modes, arithmetic, values, fragments, rows, capabilities, group_multiple, block_columns, \
                        block_rows, part_depth, wanted_blocks, shared_bytes)                                           \
  {#name,      modes,         Arithmetic::arithmetic, values,        fragments,                                        \
   rows,       capabilities,  group_multiple,         block_columns, block_rows,                                       \
   part_depth, wanted_blocks, shared_bytes,           run_##name},
#include "nm_matmul/sparse_kernels.inc"
#undef GATUN_NM_KERNEL
};
constexpr int kRowCount = static_cast<int>(sizeof(kRows) / sizeof(kRows[0]));

// int32 holds the sum of so many products of 8 bits.
constexpr int64_t kMostIntegerGroup = 1 << 17;
// Kernels of matrix instructions count in 32 bits and find groups by a multiplication that is exact up to 2^39 (GroupOf
// in qmatmul/tile_mma.h).
constexpr int64_t kMostExtent = INT32_MAX - kDepthMultiple, kMostDepthByGroup = int64_t{1} << 39;

const char* mode_name(int32_t mode) {
  static const char* const kNames[] = {"F32", "BF16", "INT8", "F16"};
  return kNames[mode];
}

const char* arithmetic_name(Arithmetic arithmetic) {
  static const char* const kNames[] = {"f16", "bf16", "int8", "f32"};
  return kNames[static_cast<int32_t>(arithmetic)];
}

Arithmetic rounding_of(int32_t mode) {
  return mode == GATUN_NM_F16    ? Arithmetic::f16
         : mode == GATUN_NM_BF16 ? Arithmetic::bf16
         : mode == GATUN_NM_INT8 ? Arithmetic::i8
                                 : Arithmetic::f32;
}

int64_t element_bytes(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::f32 ? 4 : arithmetic == Arithmetic::i8 ? 1 : 2;
}

}  // namespace

KernelRows kernel_rows() { return {kRows, kRowCount}; }

const KernelRow* find_kernel(const char* name) {
  for (const KernelRow& row : kRows) {
    if (std::strcmp(row.name, name) == 0) return &row;
  }
  return nullptr;
}

int32_t check_mode(const Form& form, int32_t mode) {
  const bool taken = mode == GATUN_NM_F32 || (mode == GATUN_NM_F16 && form.value_dtype == GATUN_F16) ||
                     (mode == GATUN_NM_BF16 && form.value_dtype == GATUN_BF16) || form.scaled;
  if (taken) return GATUN_OK;
  return fail(GATUN_UNSUPPORTED, "params.mode = %d (%s) with %s values; allowed: F32 (0)%s", mode, mode_name(mode),
              dtype_name(form.value_dtype),
              form.value_dtype == GATUN_F16    ? ", F16 (3)"
              : form.value_dtype == GATUN_BF16 ? ", BF16 (1)"
                                               : "");
}

const char* why_not(const KernelRow& row, const Problem& problem, const Device& device) {
  const Form& form = problem.form;
  if ((row.modes >> problem.params.mode & 1) == 0) return "another mode";
  if ((row.values >> form.value_dtype & 1) == 0) return "other values";
  if (row.fragments && form.order == Order::lists) return "2:4";
  if (!row.capabilities.contains(device.major * 10 + device.minor)) return "another compute capability";
  if (!row.rows.contains(problem.params.rows)) return "another number of rows";
  if (device.shared_bytes < row.shared_bytes) return "more shared memory";
  if (form.groups > 1 && (row.group_multiple == 0 || form.group % row.group_multiple != 0)) {
    return row.group_multiple == 0 ? "a single group" : "groups of another size";
  }
  if (row.group_multiple == 1) return nullptr;
  if (row.arithmetic == Arithmetic::i8 && form.group > kMostIntegerGroup) return "groups that int32 holds the sum of";
  const bool exact = form.groups <= 1 || form.depth <= kMostDepthByGroup / form.group;
  if (form.depth > kMostExtent || form.columns > kMostExtent || !exact) return "smaller extents";
  return nullptr;
}

const KernelRow& select(const Problem& problem, const Device& device) {
  for (const KernelRow& row : kRows) {
    if (why_not(row, problem, device) == nullptr) return row;
  }
  return kRows[kRowCount - 1];  // of a device without kernels, which entry points refuse before
}

Plan plan_on(const KernelRow& row, const Problem& problem) {
  const Form& form = problem.form;
  const gatun_nm_matmul_params& params = problem.params;
  Plan plan = {};
  plan.kernel = &row;
  plan.rounding = rounding_of(params.mode);
  const int32_t own_dtype = row.arithmetic != plan.rounding      ? 0
                            : row.arithmetic == Arithmetic::f32  ? GATUN_F32
                            : row.arithmetic == Arithmetic::f16  ? GATUN_F16
                            : row.arithmetic == Arithmetic::bf16 ? GATUN_BF16
                                                                 : 0;
  plan.may_use_x = params.x_dtype == own_dtype && form.depth == form.padded_depth &&
                   (params.rows < 2 || params.x_row_stride * element_bytes(row.arithmetic) % 16 == 0);
  const qmatmul::Split split =
      qmatmul::split_depth({form.units, kUnitDepth, form.group, form.groups,
                            blocks_of(form.columns, row.block_columns) * blocks_of(params.rows, row.block_rows),
                            row.wanted_blocks, row.part_depth});
  plan.parts = split.parts;
  plan.units_a_part = split.units_a_part;
  int64_t used = 0;
  const auto take = [&used](int64_t bytes) {
    const int64_t at = used;
    used += blocks_of(bytes, kPartAlignment) * kPartAlignment;
    return at;
  };
  plan.x_at = take(params.rows * form.padded_depth * element_bytes(row.arithmetic));
  plan.scales_at = take(row.arithmetic == Arithmetic::i8 ? params.rows * 4 : 0);
  plan.partial_at = take(plan.parts > 1 ? plan.parts * params.rows * form.padded_columns() * 4 : 0);
  plan.workspace_bytes = used;
  return plan;
}

namespace {

SparseJob job_of(const Plan& plan, const Problem& problem, const Memory& memory) {
  const Form& form = problem.form;
  const gatun_nm_matmul_params& params = problem.params;
  SparseJob sparse = {};
  sparse.order = form.order;
  sparse.value_dtype = form.value_dtype;
  sparse.list_slots = form.list_slots;
  sparse.list_bytes = static_cast<int32_t>(form.list_bytes());
  sparse.unit_bytes = static_cast<int32_t>(form.unit_bytes);
  qmatmul::Job& job = sparse.product;
  job.codes = memory.packed + form.units_at;
  job.scales = memory.packed + form.scales_at;
  job.offsets = memory.packed + form.zeros_at;
  job.finish = {memory.y,
                memory.bias,
                memory.residual,
                params.y_row_stride,
                params.residual_row_stride,
                params.column_begin,
                params.column_end,
                params.y_dtype,
                params.activation,
                1.0f};
  job.rows = params.rows;
  job.columns = form.columns;
  job.padded_columns = form.padded_columns();
  job.depth = form.depth;
  job.group = form.group;
  job.groups = form.groups;
  job.units = form.units;
  job.strip_begin = params.column_begin / kStripColumns;
  job.strip_end = blocks_of(params.column_end, kStripColumns);
  job.kind = form.value_dtype == GATUN_U4 ? qmatmul::Codes::u4 : qmatmul::Codes::i8;
  job.scale_dtype = form.scale_dtype;
  job.zero_point = form.zero_points ? GATUN_ZERO_INTEGER : GATUN_ZERO_NONE;
  job.rounding = plan.rounding;
  job.partial = plan.parts > 1 ? reinterpret_cast<float*>(memory.workspace + plan.partial_at) : nullptr;
  job.parts = plan.parts;
  job.units_a_part = plan.units_a_part;
  return sparse;
}

}  // namespace

int32_t run_plan(const Plan& plan, const Problem& problem, const Memory& memory, void* stream) {
  const Form& form = problem.form;
  const gatun_nm_matmul_params& params = problem.params;
  SparseJob sparse = job_of(plan, problem, memory);
  qmatmul::Job& job = sparse.product;
  if (form.depth == 0) {  // the sum of nothing
    job.parts = 0;
    return qmatmul::run_finish(job, stream);
  }
  const bool own = plan.may_use_x && reinterpret_cast<uintptr_t>(memory.x) % 16 == 0;
  const bool codes = plan.kernel->arithmetic == Arithmetic::i8;
  float* const scales = codes ? reinterpret_cast<float*>(memory.workspace + plan.scales_at) : nullptr;
  if (own) {
    job.x = {memory.x, params.x_row_stride, nullptr, nullptr, false};
  } else {
    job.x = {memory.workspace + plan.x_at, form.padded_depth, scales, nullptr, false};
    GATUN_TRY(qmatmul::run_prepare(
        {memory.x, params.x_dtype, params.x_row_stride, params.rows, form.depth, form.padded_depth, form.depth, 1,
         plan.kernel->arithmetic, plan.rounding, false, true, memory.workspace + plan.x_at, scales, nullptr},
        stream));
  }
  GATUN_TRY(plan.kernel->run(sparse, stream));
  return plan.parts > 1 ? qmatmul::run_finish(job, stream) : GATUN_OK;
}

void explain(const Plan& plan, const Problem& problem, const Device& device, Text& out) {
  const gatun_nm_matmul_params& params = problem.params;
  const Form& form = problem.form;
  out.add("nm_matmul of %lld rows, %lld columns, depth %lld, %d:%d %s, mode %s, on compute capability %d.%d\n",
          LongLong{params.rows}, LongLong{form.columns}, LongLong{form.depth}, form.n, form.m,
          dtype_name(form.value_dtype), mode_name(params.mode), device.major, device.minor);
  if (params.rows == 0 || params.column_begin == params.column_end) {
    out.add("  nothing to do\n");
    return;
  }
  if (form.depth == 0) {
    out.add("  finish: no depth, y is made of bias and residual alone\n");
    return;
  }
  if (plan.may_use_x) {
    out.add("  x is read as it is, if its address is a multiple of 16, else copied\n");
  } else {
    out.add("  x is prepared as %s%s%s\n", arithmetic_name(plan.kernel->arithmetic),
            plan.rounding != plan.kernel->arithmetic ? ", rounded to " : "",
            plan.rounding != plan.kernel->arithmetic ? arithmetic_name(plan.rounding) : "");
  }
  for (const KernelRow& row : kRows) {
    if (&row == plan.kernel) break;
    if (const char* why = why_not(row, problem, device)) out.add("  passed over %s: it takes %s\n", row.name, why);
  }
  out.add("  kernel %s", plan.kernel->name);
  if (plan.parts > 1) {
    out.add(", depth in %d parts of %lld, which finish adds", plan.parts, LongLong{plan.units_a_part * kUnitDepth});
  }
  out.add("; workspace: %lld bytes\n", LongLong{plan.workspace_bytes});
}

}  // namespace gatun::cuda::nm_matmul
