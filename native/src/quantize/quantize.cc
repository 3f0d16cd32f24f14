// The C entry points: check, select, call.
#include "gatun/quantize.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "quantize/books.h"
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

int32_t not_allowed(const char* name, int32_t value, const char* value_name, const char* allowed) {
  return fail(GATUN_INVALID_ARGUMENT, "params.%s = %d (%s); allowed: %s", name, value, value_name, allowed);
}

template <class... Dtypes>
bool is_one_of(int32_t dtype, Dtypes... dtypes) {
  return ((dtype == dtypes) || ...);
}

bool is_float(int32_t codes) {
  return is_one_of(codes, GATUN_F8E4M3, GATUN_F8E5M2, GATUN_F6E3M2, GATUN_F6E2M3, GATUN_F4E2M1);
}

// What a code is and which zero points go with it.
int32_t check_codes(const gatun_quantize_params& p) {
  const char* const codes = dtype_name(p.code_dtype);
  if (!is_float(p.code_dtype) && !is_one_of(p.code_dtype, GATUN_I8, GATUN_U8, GATUN_U4, GATUN_U2)) {
    return not_allowed("code_dtype", p.code_dtype, codes, "I8, U8, U4, U2, F8E4M3, F8E5M2, F6E3M2, F6E2M3, F4E2M1");
  }
  GATUN_TRY(check_range(p.book, GATUN_BOOK_NONE, GATUN_BOOK_LINEAR_UNSIGNED, "params.book"));
  GATUN_TRY(check_range(p.zero_point, GATUN_ZERO_NONE, GATUN_ZERO_FLOAT, "params.zero_point"));
  if (p.book != GATUN_BOOK_NONE) {
    const bool small = is_one_of(p.book, GATUN_BOOK_NF4, GATUN_BOOK_FP4), any = p.book == GATUN_BOOK_GIVEN;
    if (!is_one_of(p.code_dtype, GATUN_U4, GATUN_U8) || (!any && small != (p.code_dtype == GATUN_U4))) {
      return fail(GATUN_INVALID_ARGUMENT, "params.code_dtype = %d (%s) with params.book = %d; allowed: %s",
                  p.code_dtype, codes, p.book,
                  any     ? "U4, U8"
                  : small ? "U4"
                          : "U8");
    }
  }
  const bool none = p.book != GATUN_BOOK_NONE || !is_one_of(p.code_dtype, GATUN_U8, GATUN_U4, GATUN_U2);
  if (none && p.zero_point != GATUN_ZERO_NONE) {
    return fail(GATUN_INVALID_ARGUMENT, "params.zero_point = %d with %s codes%s; allowed: 0 (none)", p.zero_point,
                codes, p.book != GATUN_BOOK_NONE ? " of a code book" : "");
  }
  if (!none && p.code_dtype == GATUN_U8 && p.zero_point == GATUN_ZERO_NONE) {
    return fail(GATUN_INVALID_ARGUMENT,
                "params.zero_point = 0 (none) with U8 codes; allowed: 1 (integer), 2 (float), or a params.book");
  }
  return GATUN_OK;
}

int32_t check_scales(const gatun_quantize_params& p) {
  const bool floats = is_float(p.code_dtype), nibble_floats = p.code_dtype == GATUN_F4E2M1;
  const bool book = p.book != GATUN_BOOK_NONE;
  if (!is_one_of(p.scale_dtype, GATUN_F32) && !(p.scale_dtype == GATUN_F16 && !book) &&
      !(p.scale_dtype == GATUN_E8M0 && floats) && !(p.scale_dtype == GATUN_F8E4M3 && nibble_floats)) {
    return fail(GATUN_INVALID_ARGUMENT, "params.scale_dtype = %d (%s) with %s codes%s; allowed: %s", p.scale_dtype,
                dtype_name(p.scale_dtype), dtype_name(p.code_dtype), book ? " of a code book" : "",
                book            ? "F32"
                : nibble_floats ? "F32, F16, E8M0, F8E4M3"
                : floats        ? "F32, F16, E8M0"
                                : "F32, F16");
  }
  const bool two_levels = p.scale_dtype == GATUN_F8E4M3;
  if (two_levels ? !(p.tensor_scale > 0 && std::isfinite(p.tensor_scale)) : p.tensor_scale != 1) {
    return fail(GATUN_INVALID_ARGUMENT, "params.tensor_scale = %g with %s scales; allowed: %s", double{p.tensor_scale},
                dtype_name(p.scale_dtype), two_levels ? "finite values above 0" : "1");
  }
  return GATUN_OK;
}

// How scales and codes are made: not a matter of dequantize.
int32_t check_rules(const gatun_quantize_params& p) {
  GATUN_TRY(check_range(p.scale_rule, GATUN_SCALE_DEFAULT, GATUN_SCALE_EVEN, "params.scale_rule"));
  GATUN_TRY(check_range(p.rounding, GATUN_ROUND_NEAREST, GATUN_ROUND_GIVEN, "params.rounding"));
  const bool integers = is_one_of(p.code_dtype, GATUN_I8, GATUN_U4, GATUN_U2) && p.zero_point == GATUN_ZERO_NONE &&
                        p.book == GATUN_BOOK_NONE;
  const bool powers = p.scale_dtype == GATUN_E8M0;
  if (!is_one_of(p.scale_rule, GATUN_SCALE_DEFAULT, GATUN_SCALE_GIVEN) &&
      !(integers && is_one_of(p.scale_rule, GATUN_SCALE_FULL_RANGE, GATUN_SCALE_NO_CLIPPING)) &&
      !(powers && p.scale_rule >= GATUN_SCALE_FLOOR)) {
    return fail(GATUN_INVALID_ARGUMENT,
                "params.scale_rule = %d with %s codes%s and %s scales; allowed: 0 (default), 1 (given)%s", p.scale_rule,
                dtype_name(p.code_dtype), p.zero_point != GATUN_ZERO_NONE ? " with zero points" : "",
                dtype_name(p.scale_dtype),
                integers ? ", 2 (full range), 3 (no clipping)"
                : powers ? ", 4 (floor), 5 (ceil), 6 (rceil), 7 (even)"
                         : "");
  }
  return GATUN_OK;
}

int32_t check_shape(const gatun_quantize_params& p, bool dequantize) {
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.rows, 0, INT64_MAX, "params.rows"));
  GATUN_TRY(check_range(p.depth, 0, INT64_MAX, "params.depth"));
  if (p.group != p.depth && (p.group < 16 || p.group > p.depth)) {
    return fail(GATUN_INVALID_ARGUMENT, "params.group = %lld with params.depth = %lld; allowed: 16..depth, or depth",
                LongLong{p.group}, LongLong{p.depth});
  }
  const bool bytes = is_one_of(p.code_dtype, GATUN_F8E4M3, GATUN_F8E5M2);
  if (p.group_rows < 1 || (p.group_rows > 1 && (!bytes || p.group_rows > p.rows))) {
    return fail(GATUN_INVALID_ARGUMENT,
                "params.group_rows = %lld with params.rows = %lld and %s codes; allowed: 1, with F8 codes up to rows",
                LongLong{p.group_rows}, LongLong{p.rows}, dtype_name(p.code_dtype));
  }
  if (dequantize) {
    GATUN_TRY(check_range(p.x_column_stride, 1, 1, "params.x_column_stride"));
    return check_row_stride(p.rows, p.depth, p.x_row_stride, "params.x_row_stride");
  }
  GATUN_TRY(check_range(p.x_column_stride, 1, INT64_MAX, "params.x_column_stride"));
  return check_range(p.x_row_stride, 0, INT64_MAX, "params.x_row_stride");
}

int32_t check_params(const gatun_quantize_params* params, bool dequantize) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  if (!is_one_of(params->x_dtype, GATUN_F32, GATUN_F16, GATUN_BF16)) {
    return not_allowed("x_dtype", params->x_dtype, dtype_name(params->x_dtype), "F32, F16, BF16");
  }
  GATUN_TRY(check_codes(*params));
  GATUN_TRY(check_scales(*params));
  if (!dequantize) GATUN_TRY(check_rules(*params));
  return check_shape(*params, dequantize);
}

struct Buffer {
  const char* name;
  const void* address;
  int64_t rows, columns, row_stride, column_stride;
  int32_t dtype;
  int64_t bytes;
};

int64_t blocks_of(int64_t count, int64_t block) { return count == 0 ? 0 : (count - 1) / block + 1; }

int32_t zero_point_dtype(const gatun_quantize_params& p) {
  return p.zero_point == GATUN_ZERO_FLOAT ? GATUN_F32 : GATUN_U8;
}

// An argument that is null without its purpose.
int32_t check_absent(bool present, const void* address, const char* name, const char* why) {
  if (present || address == nullptr) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s is not null; allowed: null, since %s", name, why);
}

int32_t check_buffers(const Job& job, const gatun_quantize_params& p, const float* code_book) {
  const bool book = p.book == GATUN_BOOK_GIVEN, round_up = job.round_up != nullptr;
  const int64_t code_columns = dtype_bytes(p.code_dtype, job.depth), blocks = blocks_of(job.rows, job.group_rows);
  Buffer buffers[] = {
      {"x", job.x, job.rows, job.depth, job.x_row_stride, job.x_column_stride, p.x_dtype, 0},
      {"code_book", code_book, book ? 1 : 0, p.code_dtype == GATUN_U4 ? 16 : 256, 0, 1, GATUN_F32, 0},
      {"round_up", job.round_up, round_up ? job.rows : 0, job.depth, job.depth, 1, GATUN_U8, 0},
      {"codes", job.codes, job.rows, code_columns, code_columns, 1, GATUN_U8, 0},
      {"scales", job.scales, blocks, job.groups, job.groups, 1, p.scale_dtype, 0},
      {"zero_points", job.zero_points, blocks, p.zero_point != GATUN_ZERO_NONE ? job.groups : 0, job.groups, 1,
       zero_point_dtype(p), 0},
  };
  for (Buffer& b : buffers) {
    const int64_t element = dtype_bytes(b.dtype, 1);
    GATUN_TRY(check_extent(b.rows, b.columns, b.row_stride, b.column_stride, element * 8, b.name, &b.bytes));
    if (b.bytes > 0) {
      GATUN_TRY(check_not_null(b.address, b.name));
      GATUN_TRY(check_aligned(b.address, element, b.name));
    }
    for (const Buffer* other = buffers; other != &b; ++other) {
      GATUN_TRY(check_disjoint(b.address, b.bytes, b.name, other->address, other->bytes, other->name));
    }
  }
  GATUN_TRY(check_absent(book, code_book, "code_book", "params.book is not 1 (given)"));
  return check_absent(p.zero_point != GATUN_ZERO_NONE, job.zero_points, "zero_points", "params.zero_point = 0");
}

// round_up comes with given rounding, and only then.
int32_t check_round_up(const gatun_quantize_params& p, const void* round_up) {
  GATUN_TRY(check_absent(p.rounding == GATUN_ROUND_GIVEN, round_up, "round_up", "params.rounding is not 2 (given)"));
  if (p.rounding == GATUN_ROUND_GIVEN && p.rows > 0 && p.depth > 0) return check_not_null(round_up, "round_up");
  return GATUN_OK;
}

// Whether the output had better bypass the caches. Of a checked job: its sizes in bytes do not overflow.
bool worth_streaming(const gatun_quantize_params& p, int32_t output) {
  return p.rows * dtype_bytes(output, p.depth) >= kStreamBytes;
}

Job job_of(const gatun_quantize_params& p, const void* x, const void* round_up, const void* codes, const void* scales,
           const void* zero_points) {
  Job job{};
  job.x = const_cast<void*>(x);
  job.codes = const_cast<void*>(codes);
  job.scales = const_cast<void*>(scales);
  job.zero_points = const_cast<void*>(zero_points);
  job.round_up = static_cast<const uint8_t*>(round_up);
  job.rows = p.rows;
  job.depth = p.depth;
  job.group = p.group;
  job.groups = blocks_of(p.depth, p.group);
  job.x_row_stride = p.x_row_stride;
  job.x_column_stride = p.x_column_stride;
  job.group_rows = p.group_rows;
  job.unit_rows = p.group_rows > 1 ? p.group_rows : p.x_column_stride == 1 ? 1 : kBatch;
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
  job.fixed = p.scale_rule == GATUN_SCALE_GIVEN;
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
  const int64_t shared_by = is_one_of(p.code_dtype, GATUN_U4, GATUN_F4E2M1)                 ? 2
                            : is_one_of(p.code_dtype, GATUN_U2, GATUN_F6E3M2, GATUN_F6E2M3) ? 4
                                                                                            : 1;
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

// Cuts groups, whose scales are made, into pieces.
void cut(Job* job) {
  job->unit_rows = 1;
  job->piece = std::min(job->group, kPiece);
  job->pieces = blocks_of(job->group, job->piece);
}

// Makes the scales of blocks that do not stay in a cache until they are encoded: all threads scan a block together.
// False as Kernel::make_scale.
bool make_large_scales(const Kernel& kernel, const gatun_quantize_params& p, Job* job) {
  cut(job);
  for (int64_t row = 0; row < job->rows; row += job->group_rows) {
    const int64_t rows = std::min(job->group_rows, job->rows - row);
    for (int64_t group = 0; group < job->groups; ++group) {
      const int64_t units = rows * job->pieces, width = job->groups * job->pieces;
      const int64_t bytes = rows * dtype_bytes(p.x_dtype, job->group);
      std::atomic<int32_t> low{INT32_MAX}, high{INT32_MIN};
      parallel_for(units, useful_threads(p.threads, units, bytes, kGrainBytes), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end;) {
          const int64_t stop = std::min(end, (i / job->pieces + 1) * job->pieces);
          const int64_t first = (row + i / job->pieces) * width + group * job->pieces - i / job->pieces * job->pieces;
          const Range range = kernel.scan(*job, first + i, first + stop);
          for (int32_t seen = low; range.low < seen && !low.compare_exchange_weak(seen, range.low);) {
          }
          for (int32_t seen = high; range.high > seen && !high.compare_exchange_weak(seen, range.high);) {
          }
          i = stop;
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
  GATUN_TRY(check_round_up(*params, round_up));
  Job job = job_of(*params, x, round_up, codes, scales, zero_points);
  GATUN_TRY(check_buffers(job, *params, code_book));
  Book given;
  GATUN_TRY(prepare_book(*params, code_book, false, &given, &job));
  if (job.rows == 0 || job.depth == 0) return GATUN_OK;
  job.stream = worth_streaming(*params, params->code_dtype);
  const Kernel& kernel = *kernel_of(*params, limit).kernel;
  std::atomic<bool> failed{false};
  if (!job.fixed && job.group * job.group_rows >= kLargeBlock) failed = !make_large_scales(kernel, *params, &job);
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
  Job job = job_of(*params, x, nullptr, codes, scales, zero_points);
  GATUN_TRY(check_buffers(job, *params, code_book));
  Book given;
  GATUN_TRY(prepare_book(*params, code_book, true, &given, &job));
  cut(&job);
  job.stream = worth_streaming(*params, params->x_dtype);
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
  Job job = job_of(*params, nullptr, nullptr, nullptr, nullptr, nullptr);
  int64_t bytes;
  GATUN_TRY(check_extent(job.rows, job.depth, std::max(job.depth, job.x_row_stride), job.x_column_stride,
                         dtype_bytes(params->x_dtype, 1) * 8, "x", &bytes));
  const Split split = split_of(job, *params);
  const KernelRow<Kernel>& chosen = kernel_of(*params, active_tier());
  Text out;
  out.add("%s: the best kernel for %s codes%s on tier %s, both ways, x in %s\n", chosen.name,
          dtype_name(params->code_dtype), params->book == GATUN_BOOK_NONE ? "" : " of a code book",
          tier_name(active_tier()), dtype_name(params->x_dtype));
  for (const KernelRow<Kernel>* row = table().begin(); row != &chosen; ++row) {
    if (row->converts(chosen.from, chosen.to)) table().explain_passed_over(*row, out);
  }
  if (job.x_column_stride != 1) {
    out.add("  columns are %lld elements apart: blocks of %lld rows are copied together first, which is slower\n",
            LongLong{job.x_column_stride}, LongLong{std::min(job.unit_rows, kBatch)});
  }
  if (worth_streaming(*params, params->x_dtype)) out.add("  dequantize writes past the caches, which x exceeds\n");
  out.add("%lld rows of %lld groups in %lld parts on %d thread%s\n", LongLong{job.rows}, LongLong{job.groups},
          LongLong{split.parts}, split.threads, split.threads == 1 ? "" : "s");
  return out.copy_to(text, capacity);
}
