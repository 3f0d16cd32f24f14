#include "qmatmul/select.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"

namespace gatun::cuda::qmatmul {

#define GATUN_QMATMUL_KERNEL(name, ...) int32_t run_##name(const Job& job, void* stream);
#include "qmatmul/device_kernels.inc"
#undef GATUN_QMATMUL_KERNEL

namespace {

using LongLong = long long;

constexpr KernelRow kRows[] = {
#define GATUN_QMATMUL_KERNEL(name, modes, arithmetic, codes, zero_points, rows, capabilities, group_multiple,        \
                             block_columns, block_rows, least_blocks, part_depth, wanted_blocks, sums)               \
  {#name,         modes,      Arithmetic::arithmetic, codes,      zero_points,   rows, capabilities, group_multiple, \
   block_columns, block_rows, least_blocks,           part_depth, wanted_blocks, sums, run_##name},
#include "qmatmul/device_kernels.inc"
#undef GATUN_QMATMUL_KERNEL
};
constexpr int kRowCount = static_cast<int>(sizeof(kRows) / sizeof(kRows[0]));

constexpr int64_t kMostParts = 64;
// int32 holds the sum of so many products of 8 bits by 7, with that of x times a zero point taken off.
constexpr int64_t kMostIntegerGroup = 32768;
// Kernels of matrix instructions, which want groups of whole instructions, count in 32 bits and find groups by a
// multiplication that is exact up to 2^39 (GroupOf in tile_mma.h).
constexpr int64_t kMostExtent = INT32_MAX - kDepthMultiple, kMostDepthByGroup = int64_t{1} << 39;

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

const char* arithmetic_name(Arithmetic arithmetic) {
  static const char* const kNames[] = {"f16", "bf16", "int8", "f32"};
  return kNames[static_cast<int32_t>(arithmetic)];
}

Arithmetic rounding_of(int32_t mode) {
  return mode == GATUN_QMATMUL_F16    ? Arithmetic::f16
         : mode == GATUN_QMATMUL_BF16 ? Arithmetic::bf16
         : is_int8(mode)              ? Arithmetic::i8
                                      : Arithmetic::f32;
}

int64_t element_bytes(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::f32 ? 4 : arithmetic == Arithmetic::i8 ? 1 : 2;
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

Split split_depth(const Splitting& of) {
  const Split whole = {1, of.units};
  if (of.part_depth == 0 || of.units == 0) return whole;
  // Units after which a group and, for x, kDepthMultiple elements end.
  int64_t step = kDepthMultiple / of.unit_depth;
  if (of.groups > 1) {
    const int64_t multiples = of.group / std::gcd(of.group, int64_t{kDepthMultiple});  // of kDepthMultiple
    if (multiples >= of.units) return whole;
    step *= multiples;
  }
  const int64_t wanted = std::min(kMostParts, blocks_of(of.wanted_blocks, std::max<int64_t>(of.blocks, 1)));
  const int64_t units = std::max(blocks_of(of.part_depth, of.unit_depth), blocks_of(of.units, wanted));
  const int64_t units_a_part = blocks_of(units, step) * step;
  const int64_t parts = blocks_of(of.units, units_a_part);
  return parts == 1 ? whole : Split{static_cast<int32_t>(parts), units_a_part};
}

KernelRows kernel_rows() { return {kRows, kRowCount}; }

const KernelRow* find_kernel(const char* name) {
  for (const KernelRow& row : kRows) {
    if (std::strcmp(row.name, name) == 0) return &row;
  }
  return nullptr;
}

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
  const bool exact = form.groups <= 1 || form.depth <= kMostDepthByGroup / form.group;
  if (row.group_multiple > 1 && (form.depth > kMostExtent || form.columns > kMostExtent || !exact))
    return "smaller extents";
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
  const gatun_qmatmul_params& params = problem.params;
  Plan plan = {};
  plan.kernel = &row;
  plan.rounding = rounding_of(params.mode);
  plan.scales_of_groups = params.mode == GATUN_QMATMUL_INT8_GROUP;
  plan.has_sums = needs_sums(form, row);
  const int32_t own_dtype = row.arithmetic != plan.rounding      ? 0
                            : row.arithmetic == Arithmetic::f32  ? GATUN_F32
                            : row.arithmetic == Arithmetic::f16  ? GATUN_F16
                            : row.arithmetic == Arithmetic::bf16 ? GATUN_BF16
                                                                 : 0;
  plan.may_use_x = params.x_dtype == own_dtype && form.depth == form.padded_depth &&
                   (params.rows < 2 || params.x_row_stride * element_bytes(row.arithmetic) % 16 == 0);
  const bool whole = form.groups == 1 && plan.has_sums;
  const Split split = split_depth({form.units, unit_depth(form.codes), form.group, form.groups, blocks_on(row, problem),
                                   row.wanted_blocks, whole ? 0 : row.part_depth});
  plan.parts = split.parts;
  plan.units_a_part = split.units_a_part;
  int64_t used = 0;
  const auto take = [&used](int64_t bytes) {
    const int64_t at = used;
    used += blocks_of(bytes, kPartAlignment) * kPartAlignment;
    return at;
  };
  plan.x_at = take(params.rows * form.padded_depth * element_bytes(row.arithmetic));
  plan.scales_at =
      take(row.arithmetic != Arithmetic::i8 ? 0 : params.rows * (plan.scales_of_groups ? form.groups : 1) * 4);
  plan.sums_at = take(plan.has_sums ? params.rows * form.groups * 4 : 0);
  plan.partial_at = take(plan.parts > 1 ? plan.parts * params.rows * form.padded_columns() * 4 : 0);
  plan.workspace_bytes = used;
  return plan;
}

namespace {

Job job_of(const Plan& plan, const Problem& problem, const Memory& memory) {
  const Form& form = problem.form;
  const gatun_qmatmul_params& params = problem.params;
  Job job = {};
  job.codes = memory.packed + form.codes_at;
  job.scales = memory.packed + form.scales_at;
  job.offsets = memory.packed + form.offsets_at;
  job.book = reinterpret_cast<const float*>(memory.packed + form.book_at);
  job.finish = {memory.y,
                memory.bias,
                memory.residual,
                params.y_row_stride,
                params.residual_row_stride,
                params.column_begin,
                params.column_end,
                params.y_dtype,
                params.activation,
                form.factor};
  job.rows = params.rows;
  job.columns = form.columns;
  job.padded_columns = form.padded_columns();
  job.depth = form.depth;
  job.group = form.group;
  job.groups = form.groups;
  job.units = form.units;
  job.strip_begin = params.column_begin / kStripColumns;
  job.strip_end = blocks_of(params.column_end, kStripColumns);
  job.kind = form.codes;
  job.scale_dtype = form.scale_dtype;
  job.zero_point = form.zero_point;
  job.rounding = plan.rounding;
  job.partial = plan.parts > 1 ? reinterpret_cast<float*>(memory.workspace + plan.partial_at) : nullptr;
  job.parts = plan.parts;
  job.units_a_part = plan.units_a_part;
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
    out.add(", depth in %d parts of %lld, which finish adds", plan.parts,
            LongLong{plan.units_a_part * unit_depth(form.codes)});
  }
  out.add("; workspace: %lld bytes\n", LongLong{plan.workspace_bytes});
}

}  // namespace gatun::cuda::qmatmul
