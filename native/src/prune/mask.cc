// The C entry points on masks alone.
#include "prune/mask.h"

#include <cstring>

#include "base/check.h"
#include "base/parallel.h"
#include "base/status.h"
#include "gatun/prune.h"
#include "prune/pattern.h"
#include "prune/table.h"

namespace gatun::prune {
namespace {

// From so many bytes on, more than stay in caches, y is written past them: memory that is not read before it is written
// saves a third of the traffic.
constexpr int64_t kStreamBytes = int64_t{16} << 20;

int32_t apply(Tier limit, int32_t dtype, int64_t rows, int64_t depth, int64_t x_row_stride, const void* x,
              const uint8_t* mask, int32_t threads, int64_t y_row_stride, void* y) {
  GATUN_TRY(check_dtype(dtype, {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U8}, "dtype"));
  GATUN_TRY(check_range(rows, 0, INT64_MAX, "rows"));
  GATUN_TRY(check_range(depth, 0, INT64_MAX, "depth"));
  GATUN_TRY(check_row_stride(rows, depth, x_row_stride, "x_row_stride"));
  GATUN_TRY(check_row_stride(rows, depth, y_row_stride, "y_row_stride"));
  GATUN_TRY(check_range(threads, 0, kMaxThreads, "threads"));
  const int64_t element = dtype_bytes(dtype, 1), row_bytes = mask_bytes(depth);
  Buffer buffers[] = {{"y", y, rows, depth, y_row_stride, element, true},
                      {"x", x, rows, depth, x_row_stride, element, false},
                      {"mask", mask, rows, row_bytes, row_bytes, 1, false}};
  GATUN_TRY(check_buffers(buffers, buffers, buffers + 1));
  if (rows == 0 || depth == 0) return GATUN_OK;
  const int64_t bytes = rows * depth * element;
  const MaskJob job = {x, mask, y, depth, x_row_stride, y_row_stride, x != y && bytes >= kStreamBytes};
  const MaskKernel& kernel = *mask_table().select(mask_key(dtype), mask_key(dtype), limit).kernel;
  parallel_for(rows, useful_threads(threads, rows, bytes, kGrainBytes),
               [&](int64_t begin, int64_t end) { kernel.apply(job, begin, end); });
  return GATUN_OK;
}

}  // namespace

int32_t check_mask(int64_t rows, int64_t depth, const uint8_t* mask) {
  if (depth % 8 == 0) return GATUN_OK;
  const int64_t row_bytes = mask_bytes(depth);
  for (int64_t row = 0; row < rows; ++row) {
    const uint8_t last = mask[row * row_bytes + row_bytes - 1];
    if (last >> depth % 8 != 0) {
      return fail(GATUN_INVALID_ARGUMENT, "mask: the last byte of row %lld is 0x%02x; allowed: 0 in the upper %d bits",
                  LongLong{row}, last, static_cast<int>(8 - depth % 8));
    }
  }
  return GATUN_OK;
}

}  // namespace gatun::prune

using namespace gatun;

int32_t gatun_mask_apply(int32_t dtype, int64_t rows, int64_t depth, int64_t x_row_stride, const void* x,
                         const uint8_t* mask, int32_t threads, int64_t y_row_stride, void* y) {
  return prune::apply(active_tier(), dtype, rows, depth, x_row_stride, x, mask, threads, y_row_stride, y);
}

int32_t gatun_mask_count(int64_t rows, int64_t depth, const uint8_t* mask, int64_t* ones) {
  GATUN_TRY(check_range(rows, 0, INT64_MAX, "rows"));
  GATUN_TRY(check_range(depth, 0, INT64_MAX, "depth"));
  const int64_t row_bytes = prune::mask_bytes(depth);
  Buffer buffers[] = {{"mask", mask, rows, row_bytes, row_bytes, 1, false}};
  GATUN_TRY(check_buffers(buffers));
  GATUN_TRY(check_not_null(ones, "ones"));
  GATUN_TRY(check_aligned(ones, 8, "ones"));
  if (rows == 0 || depth == 0) {
    *ones = 0;
    return GATUN_OK;
  }
  GATUN_TRY(prune::check_mask(rows, depth, mask));
  int64_t count = 0;
  const int64_t bytes = rows * row_bytes, whole = bytes / 8 * 8;
  for (int64_t at = 0; at < whole; at += 8) {
    uint64_t word;
    std::memcpy(&word, mask + at, 8);
    count += __builtin_popcountll(word);
  }
  for (int64_t at = whole; at < bytes; ++at) count += __builtin_popcount(mask[at]);
  *ones = count;
  return GATUN_OK;
}
