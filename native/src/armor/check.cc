#include "armor/check.h"

#include "armor/blocks.h"
#include "base/dtype.h"
#include "base/nm.h"
#include "base/parallel.h"
#include "base/status.h"

namespace gatun::armor {
namespace {

// The floats of a block-diagonal matrix, in *floats: less than 2^60.
int32_t check_blocks(int64_t size, int64_t block, const char* name, int64_t* floats) {
  const int64_t largest = std::min(size, block);
  if (size > (int64_t{1} << 60) / std::max<int64_t>(1, largest)) {
    return fail(GATUN_INVALID_ARGUMENT, "%s: blocks of %lld x %lld on a diagonal of %lld exceed 2^62 bytes", name,
                static_cast<long long>(largest), static_cast<long long>(largest), static_cast<long long>(size));
  }
  *floats = Blocks{size, std::max<int64_t>(1, largest)}.floats();
  return GATUN_OK;
}

}  // namespace

int32_t check_matmul(const gatun_nm_matmul_params* params, int64_t block, const void* x, const float* right,
                     const void* packed, int64_t packed_bytes, const float* left, const float* bias,
                     const void* residual, const void* y) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  const gatun_nm_matmul_params& p = *params;
  GATUN_TRY(check_dtype(p.x_dtype, {GATUN_F32, GATUN_BF16}, "params.x_dtype"));
  GATUN_TRY(check_dtype(p.y_dtype, {GATUN_F32, GATUN_BF16}, "params.y_dtype"));
  GATUN_TRY(check_range(p.mode, GATUN_NM_F32, GATUN_NM_INT8, "params.mode"));
  GATUN_TRY(check_range(p.activation, GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_SILU, "params.activation"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.rows, 0, INT64_MAX, "params.rows"));
  GATUN_TRY(check_range(p.columns, 0, INT64_MAX, "params.columns"));
  GATUN_TRY(check_range(p.depth, 0, INT64_MAX, "params.depth"));
  GATUN_TRY(check_row_stride(p.rows, p.depth, p.x_row_stride, "params.x_row_stride"));
  GATUN_TRY(check_row_stride(p.rows, p.columns, p.y_row_stride, "params.y_row_stride"));
  if (residual != nullptr) {
    GATUN_TRY(check_row_stride(p.rows, p.columns, p.residual_row_stride, "params.residual_row_stride"));
  }
  GATUN_TRY(check_range(p.column_begin, 0, 0, "params.column_begin"));
  GATUN_TRY(check_range(p.column_end, p.columns, p.columns, "params.column_end"));
  GATUN_TRY(check_range(block, 1, INT64_MAX, "block"));
  GATUN_TRY(check_range(packed_bytes, 0, INT64_MAX, "packed_bytes"));
  int64_t left_floats, right_floats;
  GATUN_TRY(check_blocks(p.columns, block, "left", &left_floats));
  GATUN_TRY(check_blocks(p.depth, block, "right", &right_floats));
  const int64_t element = dtype_bytes(p.y_dtype, 1);
  Buffer buffers[] = {
      {"y", y, p.rows, p.columns, p.y_row_stride, element, true},
      {"residual", residual, residual != nullptr ? p.rows : 0, p.columns, p.residual_row_stride, element, false},
      {"x", x, p.rows, p.depth, p.x_row_stride, dtype_bytes(p.x_dtype, 1), false},
      {"right", right, 1, right_floats, right_floats, 4, false},
      {"packed", packed, 1, packed_bytes, packed_bytes, 1, false},
      {"left", left, 1, left_floats, left_floats, 4, false},
      {"bias", bias, bias != nullptr, p.columns, p.columns, 4, false}};
  return check_buffers(buffers, &buffers[0], &buffers[1]);
}

int32_t check_fit(const gatun_armor_fit_params* params, const float* w, const float* norms, const float* left,
                  const float* values, const uint8_t* indices, const float* right, const double* losses) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  const gatun_armor_fit_params& p = *params;
  GATUN_TRY(check_nm(p.n, p.m, "params"));
  GATUN_TRY(check_range(p.rounds, 0, INT32_MAX, "params.rounds"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.reserved, 0, 0, "params.reserved"));
  GATUN_TRY(check_range(p.columns, 0, INT64_MAX, "params.columns"));
  GATUN_TRY(check_range(p.depth, 0, INT64_MAX - 31, "params.depth"));
  GATUN_TRY(check_range(p.block, 1, INT64_MAX, "params.block"));
  int64_t left_floats, right_floats;
  GATUN_TRY(check_blocks(p.columns, p.block, "left", &left_floats));
  GATUN_TRY(check_blocks(p.depth, p.block, "right", &right_floats));
  const int64_t kept = blocks_of(p.depth, p.m) * p.n, index_bytes = index_row_bytes(kept, p.m);
  const int64_t loss_count = losses != nullptr ? int64_t{p.rounds} + 1 : 0;
  Buffer buffers[] = {{"left", left, 1, left_floats, left_floats, 4, true},
                      {"values", values, p.columns, kept, kept, 4, true},
                      {"indices", indices, p.columns, index_bytes, index_bytes, 1, true},
                      {"right", right, 1, right_floats, right_floats, 4, true},
                      {"losses", losses, 1, loss_count, loss_count, 8, true},
                      {"w", w, p.columns, p.depth, p.depth, 4, false},
                      {"norms", norms, norms != nullptr, p.depth, p.depth, 4, false}};
  return check_buffers(buffers);
}

}  // namespace gatun::armor
