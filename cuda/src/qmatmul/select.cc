#include "qmatmul/select.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"

namespace gatun::cuda::qmatmul {

#define GATUN_QMATMUL_KERNEL(name, ...) int32_t run_##name(const Job& job, void* stream);
#include "qmatmul/device_kernels.inc"
#undef GATUN_QMATMUL_KERNEL

namespace {

using LongLong = long long;

constexpr KernelRow kTable[] = {
#define GATUN_QMATMUL_KERNEL(name, modes, arithmetic, codes, zero_points, rows, capabilities, group_multiple,        \
                             block_columns, block_rows, least_blocks, part_depth, wanted_blocks, sums)               \
  {#name,         modes,      Arithmetic::arithmetic, codes,      zero_points,   rows, capabilities, group_multiple, \
   block_columns, block_rows, least_blocks,           part_depth, wanted_blocks, sums, run_##name},
#include "qmatmul/device_kernels.inc"
#undef GATUN_QMATMUL_KERNEL
};

// int32 holds the sum of so many products of 8 bits by 7, with that of x times a zero point taken off.
constexpr int64_t kMostIntegerGroup = 32768;

bool is_int8(int32_t mode) { return mode == GATUN_QMATMUL_INT8_ROW || mode == GATUN_QMATMUL_INT8_GROUP; }

const char* mode_name(int32_t mode) {
  static const char* const kNames[] = {"INT8_ROW", "INT8_GROUP", "PRECISE", "BF16", "F16"};
  return kNames[mode];
}

const char* codes_name(Codes codes) {
  static const char* const kNames[] = {"U4",     "U2",     "I8",     "U8",           "F8E4M3",       "F8E5M2",
                                       "F6E3M2", "F6E2M3", "F4E2M1", "a book of 16", "a book of 256"};
  return kNames[static_cast<int32_t>(codes)];
}

Arithmetic rounding_of(int32_t mode) {
  return mode == GATUN_QMATMUL_F16    ? Arithmetic::f16
         : mode == GATUN_QMATMUL_BF16 ? Arithmetic::bf16
         : is_int8(mode)              ? Arithmetic::i8
                                      : Arithmetic::f32;
}

// Whether the kernel's products leave something out that sums of x make up for.
bool needs_sums(const Form& form, const KernelRow& row) {
  if (row.sums == kNoSums) return false;
  if (form.zero_point == GATUN_ZERO_FLOAT) return true;
  return row.sums == kAllSums && row.arithmetic == Arithmetic::i8 &&
         (form.zero_point == GATUN_ZERO_INTEGER || zero_code(form.codes) != 0);
}

int64_t blocks_on(const KernelRow& row, const Problem& problem) {
  return blocks_of(problem.form.columns, row.block_columns) * blocks_of(problem.params.rows, row.block_rows);
}

}  // namespace

KernelRows<KernelRow> kernel_rows() { return {kTable, static_cast<int>(sizeof(kTable) / sizeof(kTable[0]))}; }

int32_t check_mode(const Form& form, int32_t mode) {
  if (!is_int8(mode) || is_linear(form.codes)) return GATUN_OK;
  return fail(GATUN_UNSUPPORTED, "params.mode = %d (%s) with codes %s; allowed: PRECISE (2), BF16 (3), F16 (4)", mode,
              mode_name(mode), codes_name(form.codes));
}

const char* why_not(const KernelRow& row, const Problem& problem, const Device& device) {
  const Form& form = problem.form;
  if ((row.modes >> problem.params.mode & 1) == 0) return "another mode";
  if ((row.codes & bit(form.codes)) == 0) return "other codes";
  if (form.zero_point > row.zero_points) return "other zero points";
  if (!row.capabilities.contains(device.major * 10 + device.minor)) return "another compute capability";
  if (!row.rows.contains(problem.params.rows)) return "another number of rows";
  if (form.groups > 1 && form.group % row.group_multiple != 0) return "groups of another size";
  if (blocks_on(row, problem) < row.least_blocks) return "more blocks";
  const bool i8 = row.arithmetic == Arithmetic::i8;
  if (row.sums == kAllSums && i8 && form.group > kMostIntegerGroup) return "groups that int32 holds the sum of";
  if (row.sums == kOffsetSums && i8 && form.codes == Codes::u8 && form.zero_point == GATUN_ZERO_INTEGER)
    return "codes that fit into int8 without their zero point";
  return row.group_multiple > 1 && exceeds_tiles(form) ? "smaller extents" : nullptr;
}

const KernelRow& select(const Problem& problem, const Device& device) {
  return kernel_rows().first_that_takes([&](const KernelRow& row) { return why_not(row, problem, device); });
}

Plan plan_on(const KernelRow& row, const Problem& problem) {
  const Form& form = problem.form;
  const gatun_qmatmul_params& params = problem.params;
  Plan plan = {};
  plan.kernel = &row;
  plan.scales_of_groups = params.mode == GATUN_QMATMUL_INT8_GROUP;
  plan.has_sums = needs_sums(form, row);
  const bool whole = form.groups == 1 && plan.has_sums;
  const Split split = split_depth({form.units, unit_depth(form.codes), form.group, form.groups, blocks_on(row, problem),
                                   row.wanted_blocks, whole ? 0 : row.part_depth});
  const int64_t scales = row.arithmetic != Arithmetic::i8 ? 0 : plan.scales_of_groups ? form.groups : 1;
  plan_product(extents_of(problem), {row.arithmetic, rounding_of(params.mode), scales, plan.has_sums ? form.groups : 0},
               split, &plan);
  return plan;
}

namespace {

Job job_of(const Plan& plan, const Problem& problem, const Memory& memory) {
  const Form& form = problem.form;
  Job job = {};
  describe_product(problem, plan, memory, form.factor, &job);
  job.codes = memory.packed + form.codes_at;
  job.scales = memory.packed + form.scales_at;
  job.offsets = memory.packed + form.offsets_at;
  job.book = reinterpret_cast<const float*>(memory.packed + form.book_at);
  job.kind = form.codes;
  job.zero_point = form.zero_point;
  return job;
}

}  // namespace

int32_t run_plan(const Plan& plan, const Problem& problem, const Memory& memory, void* stream) {
  const Form& form = problem.form;
  const gatun_qmatmul_params& params = problem.params;
  Job job = job_of(plan, problem, memory);
  if (form.depth == 0) {  // the sum of nothing
    job.parts = 0;
    return run_finish(job, stream);
  }
  const bool own = plan.may_use_x && reinterpret_cast<uintptr_t>(memory.x) % 16 == 0;
  PrepareJob prepare = {memory.x,
                        params.x_dtype,
                        params.x_row_stride,
                        params.rows,
                        form.depth,
                        form.padded_depth,
                        form.group,
                        form.groups,
                        plan.kernel->arithmetic,
                        plan.rounding,
                        plan.scales_of_groups,
                        false,
                        own ? nullptr : memory.workspace + plan.x_at,
                        nullptr,
                        nullptr};
  job.x = {own ? memory.x : prepare.x, own ? params.x_row_stride : form.padded_depth, nullptr, nullptr,
           plan.scales_of_groups};
  if (plan.kernel->arithmetic == Arithmetic::i8) {
    prepare.scales = reinterpret_cast<float*>(memory.workspace + plan.scales_at);
    job.x.scales = prepare.scales;
  }
  if (plan.has_sums) {
    prepare.sums = memory.workspace + plan.sums_at;
    job.x.sums = prepare.sums;
  }
  GATUN_TRY(run_prepare(prepare, stream));
  GATUN_TRY(plan.kernel->run(job, stream));
  return plan.parts > 1 ? run_finish(job, stream) : GATUN_OK;
}

void explain(const Plan& plan, const Problem& problem, const Device& device, Text& out) {
  const gatun_qmatmul_params& params = problem.params;
  const Form& form = problem.form;
  out.add("qmatmul of %lld rows, %lld columns, depth %lld, codes %s, mode %s, on compute capability %d.%d\n",
          LongLong{params.rows}, LongLong{form.columns}, LongLong{form.depth}, codes_name(form.codes),
          mode_name(params.mode), device.major, device.minor);
  explain_product(plan, problem, device, kernel_rows(), unit_depth(form.codes), out);
}

}  // namespace gatun::cuda::qmatmul
