// The C entry points: check, select, call.
#include "gatun/norm.h"

#include <cmath>

#include "base/check.h"
#include "base/parallel.h"
#include "base/status.h"
#include "norm/table.h"

namespace gatun::norm {
namespace {

// Bytes of x for which waking another thread pays.
constexpr int64_t kGrainBytes = 128 * 1024;

int32_t check_float(int32_t dtype, const char* name) {
  if (dtype == GATUN_F32 || dtype == GATUN_BF16) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s = %d (%s); allowed: F32, BF16", name, dtype, dtype_name(dtype));
}

int32_t check_params(const gatun_norm_params* params) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  GATUN_TRY(check_range(params->kind, GATUN_NORM_LAYER, GATUN_NORM_RMS, "params.kind"));
  GATUN_TRY(check_float(params->x_dtype, "params.x_dtype"));
  GATUN_TRY(check_float(params->y_dtype, "params.y_dtype"));
  GATUN_TRY(check_range(params->threads, 0, kMaxThreads, "params.threads"));
  if (!std::isfinite(params->epsilon) || params->epsilon < 0) {
    return fail(GATUN_INVALID_ARGUMENT, "params.epsilon = %g; allowed: finite, at least 0",
                static_cast<double>(params->epsilon));
  }
  GATUN_TRY(check_range(params->rows, 0, INT64_MAX, "params.rows"));
  GATUN_TRY(check_range(params->columns, 0, INT64_MAX, "params.columns"));
  GATUN_TRY(check_row_stride(params->rows, params->columns, params->x_row_stride, "params.x_row_stride"));
  return check_row_stride(params->rows, params->columns, params->y_row_stride, "params.y_row_stride");
}

struct Buffer {
  const char* name;
  const void* address;
  int64_t rows, row_stride;
  int32_t dtype;
  int64_t bytes;
};

int32_t check_buffers(const gatun_norm_params& p, const void* x, const float* weight, const float* bias, void* y) {
  Buffer buffers[] = {{"y", y, p.rows, p.y_row_stride, p.y_dtype, 0},
                      {"x", x, p.rows, p.x_row_stride, p.x_dtype, 0},
                      {"weight", weight, weight != nullptr, p.columns, GATUN_F32, 0},
                      {"bias", bias, bias != nullptr, p.columns, GATUN_F32, 0}};
  for (Buffer& b : buffers) {
    const int64_t element = dtype_bytes(b.dtype, 1);
    GATUN_TRY(check_extent(b.rows, p.columns, b.row_stride, 1, element * 8, b.name, &b.bytes));
    if (b.bytes == 0) continue;
    GATUN_TRY(check_not_null(b.address, b.name));
    GATUN_TRY(check_aligned(b.address, element, b.name));
  }
  const auto& [out, in, factors, summands] = buffers;
  const bool in_place = x == y && p.x_dtype == p.y_dtype && (p.rows < 2 || p.x_row_stride == p.y_row_stride);
  if (!in_place) GATUN_TRY(check_disjoint(y, out.bytes, "y", x, in.bytes, "x"));
  GATUN_TRY(check_disjoint(y, out.bytes, "y", weight, factors.bytes, "weight"));
  return check_disjoint(y, out.bytes, "y", bias, summands.bytes, "bias");
}

int32_t threads_of(const gatun_norm_params& p) {
  if (p.rows == 0) return 1;  // columns may be any number
  return useful_threads(p.threads, p.rows, p.rows * dtype_bytes(p.x_dtype, p.columns), kGrainBytes);
}

}  // namespace

int32_t run(Tier limit, const gatun_norm_params* params, const void* x, const float* weight, const float* bias,
            void* y) {
  GATUN_TRY(check_params(params));
  const gatun_norm_params& p = *params;
  GATUN_TRY(check_buffers(p, x, weight, bias, y));
  if (p.columns == 0) return GATUN_OK;
  const Kernel& kernel = *table().select(p.x_dtype, p.y_dtype, limit).kernel;
  const Job job = {
      x, y, weight, bias, p.columns, p.x_row_stride, p.y_row_stride, p.epsilon, p.kind == GATUN_NORM_LAYER};
  parallel_for(p.rows, threads_of(p), [&](int64_t begin, int64_t end) { kernel.run(job, begin, end); });
  return GATUN_OK;
}

}  // namespace gatun::norm

using namespace gatun;

int32_t gatun_norm(const gatun_norm_params* params, const void* x, const float* weight, const float* bias, void* y) {
  return norm::run(active_tier(), params, x, weight, bias, y);
}

int32_t gatun_norm_explain(const gatun_norm_params* params, char* text, int64_t capacity) {
  GATUN_TRY(norm::check_params(params));
  int64_t bytes;
  GATUN_TRY(check_extent(params->rows, params->columns, params->x_row_stride, 1, dtype_bytes(params->x_dtype, 1) * 8,
                         "x", &bytes));
  Text out;
  norm::table().explain("input", params->x_dtype, "output", params->y_dtype, out);
  const int32_t threads = norm::threads_of(*params);
  out.add("  %s of %lld rows of %lld columns on %d thread%s\n",
          params->kind == GATUN_NORM_LAYER ? "LAYER, two passes for the variance," : "RMS",
          static_cast<long long>(params->rows), static_cast<long long>(params->columns), threads,
          threads == 1 ? "" : "s");
  return out.copy_to(text, capacity);
}
