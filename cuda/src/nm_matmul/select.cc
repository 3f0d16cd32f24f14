#include "nm_matmul/select.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"
#include "gatun/quantize.h"
#include "qmatmul/prepare.h"

namespace gatun::cuda::nm_matmul {

#define GATUN_NM_KERNEL(name, ...) int32_t run_##name(const SparseJob& job, void* stream);
#include "nm_matmul/sparse_kernels.inc"
#undef GATUN_NM_KERNEL

namespace {

using LongLong = long long;

constexpr KernelRow kTable[] = {
#define GATUN_NM_KERNEL(name, modes, arithmetic, values, fragments, rows, capabilities, group_multiple, block_columns, \
                        block_rows, part_depth, wanted_blocks, shared_bytes)                                           \
  {#name,      modes,         Arithmetic::arithmetic, values,        fragments,                                        \
   rows,       capabilities,  group_multiple,         block_columns, block_rows,                                       \
   part_depth, wanted_blocks, shared_bytes,           run_##name},
#include "nm_matmul/sparse_kernels.inc"
#undef GATUN_NM_KERNEL
};

// int32 holds the sum of so many products of 8 bits.
constexpr int64_t kMostIntegerGroup = 1 << 17;

const char* mode_name(int32_t mode) {
  static const char* const kNames[] = {"F32", "BF16", "INT8", "F16"};
  return kNames[mode];
}

Arithmetic rounding_of(int32_t mode) {
  return mode == GATUN_NM_F16    ? Arithmetic::f16
         : mode == GATUN_NM_BF16 ? Arithmetic::bf16
         : mode == GATUN_NM_INT8 ? Arithmetic::i8
                                 : Arithmetic::f32;
}

}  // namespace

KernelRows<KernelRow> kernel_rows() { return {kTable, static_cast<int>(sizeof(kTable) / sizeof(kTable[0]))}; }

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
  return qmatmul::exceeds_tiles(form) ? "smaller extents" : nullptr;
}

const KernelRow& select(const Problem& problem, const Device& device) {
  return kernel_rows().first_that_takes([&](const KernelRow& row) { return why_not(row, problem, device); });
}

Plan plan_on(const KernelRow& row, const Problem& problem) {
  const Form& form = problem.form;
  const gatun_nm_matmul_params& params = problem.params;
  Plan plan = {};
  plan.kernel = &row;
  const qmatmul::Split split =
      qmatmul::split_depth({form.units, kUnitDepth, form.group, form.groups,
                            blocks_of(form.columns, row.block_columns) * blocks_of(params.rows, row.block_rows),
                            row.wanted_blocks, row.part_depth});
  qmatmul::plan_product(qmatmul::extents_of(problem),
                        {row.arithmetic, rounding_of(params.mode), row.arithmetic == Arithmetic::i8 ? 1 : 0, 0}, split,
                        &plan);
  return plan;
}

namespace {

SparseJob job_of(const Plan& plan, const Problem& problem, const Memory& memory) {
  const Form& form = problem.form;
  SparseJob sparse = {};
  sparse.order = form.order;
  sparse.value_dtype = form.value_dtype;
  sparse.list_slots = form.list_slots;
  sparse.list_bytes = static_cast<int32_t>(form.list_bytes());
  sparse.unit_bytes = static_cast<int32_t>(form.unit_bytes);
  qmatmul::Job& job = sparse.product;
  qmatmul::describe_product(problem, plan, memory, 1.0f, &job);
  job.codes = memory.packed + form.units_at;
  job.scales = memory.packed + form.scales_at;
  job.offsets = memory.packed + form.zeros_at;
  job.kind = form.value_dtype == GATUN_U4 ? qmatmul::Codes::u4 : qmatmul::Codes::i8;
  job.zero_point = form.zero_points ? GATUN_ZERO_INTEGER : GATUN_ZERO_NONE;
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
  qmatmul::explain_product(plan, problem, device, kernel_rows(), kUnitDepth, out);
}

}  // namespace gatun::cuda::nm_matmul
