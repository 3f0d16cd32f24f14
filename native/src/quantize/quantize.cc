// The C entry points: check, select, call.
#include "gatun/quantize.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "quantize/reference.h"
#include "quantize/table.h"
#include "simd/float_mode.h"

namespace gatun::quantize {
namespace {

using LongLong = long long;

// Bytes of x for which waking another thread pays.
constexpr int64_t kGrainBytes = 128 * 1024;

int32_t check_types(const gatun_quantize_params& p) {
  if (p.x_dtype != GATUN_F32 && p.x_dtype != GATUN_F16 && p.x_dtype != GATUN_BF16) {
    return fail(GATUN_INVALID_ARGUMENT, "params.x_dtype = %d (%s); allowed: F32, F16, BF16", p.x_dtype,
                dtype_name(p.x_dtype));
  }
  if (p.code_dtype != GATUN_I8 && p.code_dtype != GATUN_U8 && p.code_dtype != GATUN_U4) {
    return fail(GATUN_INVALID_ARGUMENT, "params.code_dtype = %d (%s); allowed: I8, U8, U4", p.code_dtype,
                dtype_name(p.code_dtype));
  }
  if (p.scale_dtype != GATUN_F32 && p.scale_dtype != GATUN_F16) {
    return fail(GATUN_INVALID_ARGUMENT, "params.scale_dtype = %d (%s); allowed: F32, F16", p.scale_dtype,
                dtype_name(p.scale_dtype));
  }
  GATUN_TRY(check_range(p.asymmetric, 0, 1, "params.asymmetric"));
  if (p.code_dtype != GATUN_U4 && (p.asymmetric == 1) != (p.code_dtype == GATUN_U8)) {
    return fail(GATUN_INVALID_ARGUMENT,
                "params.asymmetric = %d with %s codes; allowed: 0 with I8, 1 with U8, both with U4", p.asymmetric,
                dtype_name(p.code_dtype));
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
  if (dequantize) {
    GATUN_TRY(check_range(p.x_column_stride, 1, 1, "params.x_column_stride"));
    return check_row_stride(p.rows, p.depth, p.x_row_stride, "params.x_row_stride");
  }
  GATUN_TRY(check_range(p.x_column_stride, 1, INT64_MAX, "params.x_column_stride"));
  return check_range(p.x_row_stride, 0, INT64_MAX, "params.x_row_stride");
}

struct Buffer {
  const char* name;
  const void* address;
  int64_t rows, columns, row_stride, column_stride;
  int32_t dtype;
  int64_t bytes;
};

int32_t check_buffers(const Job& job, const gatun_quantize_params& p) {
  const int64_t code_columns = dtype_bytes(p.code_dtype, job.depth);
  Buffer buffers[] = {
      {"x", job.x, job.rows, job.depth, job.x_row_stride, job.x_column_stride, p.x_dtype, 0},
      {"codes", job.codes, job.rows, code_columns, code_columns, 1, GATUN_U8, 0},
      {"scales", job.scales, job.rows, job.groups, job.groups, 1, p.scale_dtype, 0},
      {"zero_points", job.zero_points, job.rows, p.asymmetric ? job.groups : 0, job.groups, 1, GATUN_U8, 0},
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
  if (!p.asymmetric && job.zero_points != nullptr) {
    return fail(GATUN_INVALID_ARGUMENT, "zero_points is not null; allowed: null, since params.asymmetric = 0");
  }
  return GATUN_OK;
}

int32_t check_params(const gatun_quantize_params* params, bool dequantize) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  GATUN_TRY(check_types(*params));
  return check_shape(*params, dequantize);
}

Job job_of(const gatun_quantize_params& p, void* x, void* codes, void* scales, void* zero_points) {
  return {x,
          codes,
          scales,
          static_cast<uint8_t*>(zero_points),
          p.rows,
          p.depth,
          p.group,
          p.depth == 0 ? 0 : (p.depth - 1) / p.group + 1,
          p.x_row_stride,
          p.x_column_stride,
          p.x_column_stride == 1 ? 1 : kBatch,
          p.scale_dtype == GATUN_F16};
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
  const int64_t row_blocks = (job.rows + job.unit_rows - 1) / job.unit_rows;
  const bool shared_bytes = p.code_dtype == GATUN_U4 && job.group % 2 != 0 && job.groups > 1;
  Split split{row_blocks * (shared_bytes ? 1 : job.groups), shared_bytes ? job.groups : 1, 1};
  split.threads = useful_threads(p.threads, split.parts, job.rows * dtype_bytes(p.x_dtype, job.depth), kGrainBytes);
  return split;
}

// Calls body(begin, end) for ranges of units.
template <class Body>
void for_units(const Split& split, Body body) {
  parallel_for(split.parts, split.threads,
               [&](int64_t begin, int64_t end) { body(begin * split.units, end * split.units); });
}

// A magnitude up to which no scale overflows, whatever the group; beyond it the definition decides.
float safe_magnitude(const gatun_quantize_params& p) {
  const float largest_scale = p.scale_dtype == GATUN_F16 ? 65504.0f : 0x1p120f;
  return largest_scale * (p.code_dtype == GATUN_I8 ? 127.0f : p.code_dtype == GATUN_U8 ? 127.5f : 7.5f);
}

// INVALID_ARGUMENT if a value is NaN or infinite or a scale overflows. Lines of x are scanned along their memory,
// which for a transposed matrix means columns.
int32_t check_values(const QuantizeKernel& kernel, const Job& job, const gatun_quantize_params& p, int32_t threads) {
  constexpr int64_t kBlock = 16384;
  const bool down = p.x_column_stride != 1 && p.x_row_stride == 1;
  const int64_t lines = down ? p.depth : p.rows, length = down ? p.rows : p.depth;
  const int64_t line_stride = down ? p.x_column_stride : p.x_row_stride, stride = down ? 1 : p.x_column_stride;
  const int64_t blocks = (length + kBlock - 1) / kBlock, element = dtype_bytes(p.x_dtype, 1);
  const float safe = safe_magnitude(p);
  std::atomic<bool> suspicious{false};
  parallel_for(lines * blocks, threads, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const int64_t first = index % blocks * kBlock, count = std::min(kBlock, length - first);
      const int64_t at = index / blocks * line_stride + first * stride;
      const float largest = kernel.largest_magnitude(static_cast<const char*>(job.x) + at * element, count, stride);
      if (largest > safe) suspicious = true;
    }
  });
  if (!suspicious) return GATUN_OK;
  const DefaultFloatMode mode;  // as in a loop's body
  return reference_check(p, job.x);
}

}  // namespace

int32_t run_quantize(Tier limit, const gatun_quantize_params* params, const void* x, void* codes, void* scales,
                     void* zero_points) {
  GATUN_TRY(check_params(params, false));
  const Job job = job_of(*params, const_cast<void*>(x), codes, scales, zero_points);
  GATUN_TRY(check_buffers(job, *params));
  if (job.rows == 0 || job.depth == 0) return GATUN_OK;
  const QuantizeKernel& kernel = *quantize_table().select(params->x_dtype, params->code_dtype, limit).kernel;
  const Split split = split_of(job, *params);
  GATUN_TRY(check_values(kernel, job, *params, split.threads));
  for_units(split, [&](int64_t begin, int64_t end) { kernel.run(job, begin, end); });
  return GATUN_OK;
}

int32_t run_dequantize(Tier limit, const gatun_quantize_params* params, const void* codes, const void* scales,
                       const void* zero_points, void* x) {
  GATUN_TRY(check_params(params, true));
  const Job job =
      job_of(*params, x, const_cast<void*>(codes), const_cast<void*>(scales), const_cast<void*>(zero_points));
  GATUN_TRY(check_buffers(job, *params));
  const DequantizeKernel& kernel = *dequantize_table().select(params->code_dtype, params->x_dtype, limit).kernel;
  for_units(split_of(job, *params), [&](int64_t begin, int64_t end) { kernel.run(job, begin, end); });
  return GATUN_OK;
}

}  // namespace gatun::quantize

using namespace gatun;
using namespace gatun::quantize;

int32_t gatun_quantize(const gatun_quantize_params* params, const void* x, void* codes, void* scales,
                       void* zero_points) {
  return run_quantize(active_tier(), params, x, codes, scales, zero_points);
}

int32_t gatun_dequantize(const gatun_quantize_params* params, const void* codes, const void* scales,
                         const void* zero_points, void* x) {
  return run_dequantize(active_tier(), params, codes, scales, zero_points, x);
}

int32_t gatun_quantize_explain(const gatun_quantize_params* params, char* text, int64_t capacity) {
  GATUN_TRY(check_params(params, false));
  const Job job = job_of(*params, nullptr, nullptr, nullptr, nullptr);
  int64_t bytes;
  GATUN_TRY(check_extent(job.rows, job.depth, std::max(job.depth, job.x_row_stride), job.x_column_stride,
                         dtype_bytes(params->x_dtype, 1) * 8, "x", &bytes));
  const Split split = split_of(job, *params);
  Text out;
  quantize_table().explain("values", params->x_dtype, "codes", params->code_dtype, out);
  out.add("  x is read twice: every value is checked before codes are written\n");
  if (job.x_column_stride != 1) {
    out.add("  columns are %lld elements apart: blocks of %lld rows are copied together first, which is slower\n",
            LongLong{job.x_column_stride}, LongLong{job.unit_rows});
  }
  dequantize_table().explain("codes", params->code_dtype, "values", params->x_dtype, out);
  out.add("%lld rows of %lld groups in %lld parts on %d thread%s\n", LongLong{job.rows}, LongLong{job.groups},
          LongLong{split.parts}, split.threads, split.threads == 1 ? "" : "s");
  return out.copy_to(text, capacity);
}
