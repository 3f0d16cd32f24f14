#include "base/tensor_map.h"

#include "base/check.h"
#include "base/status.h"

namespace gatun::cuda {

int32_t make_tensor_map(TensorMap* map, const void* global, int32_t element_bytes, int64_t rows, int64_t columns,
                        int64_t row_stride_bytes, int32_t box_rows, int32_t box_columns, int32_t swizzle) {
  constexpr int64_t kMostElements = int64_t{1} << 32, kMostStride = (int64_t{1} << 40) - 16;
  constexpr int32_t kMostBox = 256;
  GATUN_TRY(check_not_null(map, "map"));
  GATUN_TRY(check_not_null(global, "global"));
  GATUN_TRY(check_aligned(global, 16, "global"));
  GATUN_TRY(check_range(element_bytes, 1, 2, "element_bytes"));
  GATUN_TRY(check_range(rows, 1, kMostElements, "rows"));
  GATUN_TRY(check_range(columns, 1, kMostElements, "columns"));
  GATUN_TRY(check_range(row_stride_bytes, columns * element_bytes, kMostStride, "row_stride_bytes"));
  GATUN_TRY(check_range(box_rows, 1, kMostBox, "box_rows"));
  GATUN_TRY(check_range(box_columns, 1, kMostBox, "box_columns"));
  if (row_stride_bytes % 16 != 0) {
    return fail(GATUN_INVALID_ARGUMENT, "row_stride_bytes = %lld; allowed: a multiple of 16",
                static_cast<long long>(row_stride_bytes));
  }
  if (swizzle != 0 && swizzle != 32 && swizzle != 64 && swizzle != 128) {
    return fail(GATUN_INVALID_ARGUMENT, "swizzle = %d; allowed: 0, 32, 64, 128", swizzle);
  }
  const int32_t box_bytes = box_columns * element_bytes;
  if (box_bytes % 16 != 0 || (swizzle != 0 && box_bytes > swizzle)) {
    return fail(GATUN_INVALID_ARGUMENT, "box_columns = %d of %d bytes; allowed: a multiple of 16 bytes%s", box_columns,
                element_bytes, swizzle == 0 ? "" : ", at most the swizzle");
  }
  return encode_tensor_map({global, rows, columns, row_stride_bytes, element_bytes, box_rows, box_columns, swizzle},
                           map);
}

}  // namespace gatun::cuda
