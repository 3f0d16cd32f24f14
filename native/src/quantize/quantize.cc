// The C entry points: check, select, call.
#include "gatun/quantize.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "quantize/books.h"
#include "quantize/check.h"
#include "quantize/reference.h"
#include "quantize/table.h"
#include "simd/float_mode.h"

namespace gatun::quantize {
namespace {

using LongLong = long long;

// Bytes of x for which waking another thread pays.
constexpr int64_t kGrainBytes = 128 * 1024;
// Bytes of output from which on it bypasses the caches: nobody finds all of it there again, and a line that is not
// read before it is written saves a third of the traffic of a copy.
constexpr int64_t kStreamBytes = int64_t{16} << 20;
// Values of a block that is not scanned and encoded by one thread: more than stay in a second-level cache.
constexpr int64_t kLargeBlock = int64_t{1} << 17;
// Values of a piece of a group whose scale is known.
constexpr int64_t kPiece = 2048;

// Whether the output had better bypass the caches. Of checked arguments: their sizes in bytes do not overflow.
bool worth_streaming(const gatun_quantize_params& p, int32_t output) {
  return p.rows > 0 && p.depth > 0 && p.rows * dtype_bytes(output, p.depth) >= kStreamBytes;
}

// Whether blocks do not stay in a cache between scanning and encoding.
bool has_large_blocks(const gatun_quantize_params& p) {
  return p.rows > 0 && p.depth > 0 && p.group >= (kLargeBlock - 1) / p.group_rows + 1;
}

// Cuts groups, whose scales are made or will be before the rest, into pieces. Rows of one block that are strided stay
// together where blocks consist of such units.
void cut(Job* job) {
  const bool bands = job->x_column_stride > 1 && (job->group_rows % kBatch == 0 || job->group_rows == job->rows);
  job->unit_rows = bands && job->group_rows > 1 ? kBatch : 1;
  job->piece = std::min(job->group, kPiece);
  job->pieces = blocks_of(job->group, job->piece);
}

Job job_of(const gatun_quantize_params& p, bool dequantize, const Buffers& buffers) {
  Job job{};
  job.x = const_cast<void*>(buffers.x);
  job.codes = const_cast<void*>(buffers.codes);
  job.scales = const_cast<void*>(buffers.scales);
  job.zero_points = const_cast<void*>(buffers.zero_points);
  job.round_up = static_cast<const uint8_t*>(buffers.round_up);
  job.rows = p.rows;
  job.depth = p.depth;
  job.group = p.group;
  job.groups = blocks_of(p.depth, p.group);
  job.x_row_stride = p.rows > 1 ? p.x_row_stride : 0;  // strides that lead nowhere may be any
  job.x_column_stride = p.depth > 1 ? p.x_column_stride : 1;
  job.group_rows = p.group_rows;
  job.unit_rows = p.group_rows > 1 ? p.group_rows : job.x_column_stride == 1 ? 1 : kBatch;
  job.piece = job.group;
  job.pieces = 1;
  job.seed = static_cast<uint64_t>(p.seed);
  job.tensor_scale = p.tensor_scale;
  job.x_dtype = p.x_dtype;
  job.zero_point = p.zero_point;
  job.scale_dtype = p.scale_dtype;
  job.scale_rule =
      p.scale_rule == GATUN_SCALE_DEFAULT && p.scale_dtype == GATUN_E8M0 ? int{GATUN_SCALE_FLOOR} : p.scale_rule;
  job.rounding = p.rounding;
  job.fixed = dequantize || p.scale_rule == GATUN_SCALE_GIVEN;
  job.stream = dequantize ? p.x_dtype == GATUN_F32 && worth_streaming(p, GATUN_F32) : worth_streaming(p, p.code_dtype);
  if (dequantize || has_large_blocks(p)) cut(&job);
  return job;
}

const KernelRow<Kernel>& kernel_of(const gatun_quantize_params& p, Tier limit) {
  return table().select(p.code_dtype, p.book == GATUN_BOOK_NONE ? kNumber : kBook, limit);
}

// The code book of a job: a built-in one, or `given` made of the argument. Dequantization needs the values alone.
int32_t prepare_book(const gatun_quantize_params& p, const float* code_book, bool dequantize, Book* given, Job* job) {
  if (p.book == GATUN_BOOK_NONE) return GATUN_OK;
  job->book = given;
  const DefaultFloatMode mode;  // as in a loop's body
  if (p.book != GATUN_BOOK_GIVEN) {
    job->book = &built_in_book(p.book);
    return GATUN_OK;
  }
  const int32_t count = p.code_dtype == GATUN_U4 ? 16 : 256;
  GATUN_TRY(check_code_book(code_book, count));
  if (dequantize) {
    std::copy(code_book, code_book + count, given->values);
  } else {
    make_book(code_book, count, given);
  }
  return GATUN_OK;
}

// The work in parts that threads may take apart from each other: units, or all units of a row where neighbouring groups
// share a byte.
struct Split {
  int64_t parts;
  int64_t units;  // of a part
  int32_t threads;
};

Split split_of(const Job& job, const gatun_quantize_params& p) {
  if (job.rows == 0 || job.depth == 0) return {0, 1, 1};  // the other size may be any
  const int64_t row_blocks = blocks_of(job.rows, job.unit_rows);
  const int64_t bytes_of_four = dtype_bytes(p.code_dtype, 4);
  const int64_t shared_by = bytes_of_four == 4 ? 1 : bytes_of_four == 2 ? 2 : 4;  // codes that fill whole bytes
  const bool shared_bytes = job.group % shared_by != 0 && job.groups > 1;
  const int64_t units = job.groups * job.pieces;  // of a row
  Split split{row_blocks * (shared_bytes ? 1 : units), shared_bytes ? units : 1, 1};
  split.threads = useful_threads(p.threads, split.parts, job.rows * dtype_bytes(p.x_dtype, job.depth), kGrainBytes);
  return split;
}

// Calls body(begin, end) for ranges of units.
template <class Body>
void for_units(const Split& split, Body body) {
  parallel_for(split.parts, split.threads,
               [&](int64_t begin, int64_t end) { body(begin * split.units, end * split.units); });
}

// Makes the scales of blocks that do not stay in a cache until they are encoded: all threads scan a block together.
// False as Kernel::make_scale.
bool make_large_scales(const Kernel& kernel, const gatun_quantize_params& p, Job* job) {
  const int64_t width = job->groups * job->pieces;  // units of a row of units
  for (int64_t row = 0; row < job->rows; row += job->group_rows) {
    const int64_t rows = std::min(job->group_rows, job->rows - row);
    const int64_t units = blocks_of(rows, job->unit_rows) * job->pieces;
    const int32_t threads = useful_threads(p.threads, units, rows * dtype_bytes(p.x_dtype, job->group), kGrainBytes);
    for (int64_t group = 0; group < job->groups; ++group) {
      const int64_t first = row / job->unit_rows * width + group * job->pieces;
      std::atomic<int32_t> low{INT32_MAX}, high{INT32_MIN};
      parallel_for(units, threads, [&](int64_t begin, int64_t end) {
        Range range{INT32_MAX, INT32_MIN};
        for (int64_t i = begin; i < end;) {
          const int64_t band = i / job->pieces, stop = std::min(end, (band + 1) * job->pieces);
          const int64_t unit = first + band * width - band * job->pieces;
          const Range part = kernel.scan(*job, unit + i, unit + stop);
          range = {std::min(range.low, part.low), std::max(range.high, part.high)};
          i = stop;
        }
        for (int32_t seen = low; range.low < seen && !low.compare_exchange_weak(seen, range.low);) {
        }
        for (int32_t seen = high; range.high > seen && !high.compare_exchange_weak(seen, range.high);) {
        }
      });
      if (!kernel.make_scale(*job, row, group, {low, high})) return false;
    }
  }
  job->fixed = job->scanned = true;
  return true;
}

}  // namespace

int32_t run_quantize(Tier limit, const gatun_quantize_params* params, const void* x, const float* code_book,
                     const void* round_up, void* codes, void* scales, void* zero_points) {
  GATUN_TRY(check_params(params, false));
  const Buffers buffers{x, code_book, round_up, codes, scales, zero_points};
  GATUN_TRY(check_buffers(*params, false, buffers));
  Job job = job_of(*params, false, buffers);
  Book given;
  GATUN_TRY(prepare_book(*params, code_book, false, &given, &job));
  if (job.rows == 0 || job.depth == 0) return GATUN_OK;
  const Kernel& kernel = *kernel_of(*params, limit).kernel;
  std::atomic<bool> failed{!job.fixed && has_large_blocks(*params) && !make_large_scales(kernel, *params, &job)};
  if (!failed) {
    for_units(split_of(job, *params), [&](int64_t begin, int64_t end) {
      if (!kernel.quantize(job, begin, end)) failed = true;
    });
  }
  if (!failed) return GATUN_OK;
  const DefaultFloatMode mode;  // as in a loop's body
  GATUN_TRY(reference_check(*params, x, scales, zero_points));
  return fail(GATUN_INTERNAL, "a kernel found a value that is not finite, its reference found none");
}

int32_t run_dequantize(Tier limit, const gatun_quantize_params* params, const float* code_book, const void* codes,
                       const void* scales, const void* zero_points, void* x) {
  GATUN_TRY(check_params(params, true));
  const Buffers buffers{x, code_book, nullptr, codes, scales, zero_points};
  GATUN_TRY(check_buffers(*params, true, buffers));
  Job job = job_of(*params, true, buffers);
  Book given;
  GATUN_TRY(prepare_book(*params, code_book, true, &given, &job));
  if (job.rows == 0 || job.depth == 0) return GATUN_OK;
  const Kernel& kernel = *kernel_of(*params, limit).kernel;
  for_units(split_of(job, *params), [&](int64_t begin, int64_t end) { kernel.dequantize(job, begin, end); });
  return GATUN_OK;
}

}  // namespace gatun::quantize

using namespace gatun;
using namespace gatun::quantize;

int32_t gatun_quantize(const gatun_quantize_params* params, const void* x, const float* code_book, const void* round_up,
                       void* codes, void* scales, void* zero_points) {
  return run_quantize(active_tier(), params, x, code_book, round_up, codes, scales, zero_points);
}

int32_t gatun_dequantize(const gatun_quantize_params* params, const float* code_book, const void* codes,
                         const void* scales, const void* zero_points, void* x) {
  return run_dequantize(active_tier(), params, code_book, codes, scales, zero_points, x);
}

int32_t gatun_quantize_explain(const gatun_quantize_params* params, char* text, int64_t capacity) {
  GATUN_TRY(check_params(params, false));
  int64_t bytes;
  GATUN_TRY(check_extent(params->rows, params->depth, std::max(params->depth, params->x_row_stride),
                         params->x_column_stride, dtype_bytes(params->x_dtype, 1) * 8, "x", &bytes));
  const KernelRow<Kernel>& chosen = kernel_of(*params, active_tier());
  Text out;
  out.add("%s: the best kernel for %s codes%s on tier %s, both ways, x in %s\n", chosen.name,
          dtype_name(params->code_dtype), params->book == GATUN_BOOK_NONE ? "" : " of a code book",
          tier_name(active_tier()), dtype_name(params->x_dtype));
  for (const KernelRow<Kernel>* row = table().begin(); row != &chosen; ++row) {
    if (row->converts(chosen.from, chosen.to)) table().explain_passed_over(*row, out);
  }
  const Job job = job_of(*params, false, {});
  if (job.x_column_stride != 1) {
    out.add("  columns are %lld elements apart: blocks of %lld rows are copied together first, which is slower\n",
            LongLong{job.x_column_stride}, LongLong{std::min(job.unit_rows, kBatch)});
  }
  if (!job.fixed && has_large_blocks(*params)) {
    out.add("  blocks of %lld values or more: x is read twice, by all threads\n", LongLong{kLargeBlock});
  }
  if (job.stream) out.add("  quantize writes past the caches, which the codes exceed\n");
  const Job back = job_of(*params, true, {});
  if (back.stream) out.add("  dequantize writes past the caches, which x exceeds\n");
  for (const Job* one : {&job, &back}) {
    const Split split = split_of(*one, *params);
    out.add("%s: %lld rows of %lld groups in %lld parts on %d thread%s\n", one == &job ? "quantize" : "dequantize",
            LongLong{one->rows}, LongLong{one->groups}, LongLong{split.parts}, split.threads,
            split.threads == 1 ? "" : "s");
  }
  return out.copy_to(text, capacity);
}
