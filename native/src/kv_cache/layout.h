// What a gatun_kv_layout says: its checks, and those of the pool in memory.
#pragma once

#include "base/check.h"
#include "base/dtype.h"
#include "gatun/kv_cache.h"

namespace gatun::kv_cache {

// Of a row of values or codes.
inline int64_t row_bytes(const gatun_kv_layout& layout) { return dtype_bytes(layout.dtype, layout.size); }

// Of a page's rows of scales, and the scales of one.
inline int64_t scale_rows(const gatun_kv_layout& layout) {
  if (layout.scaling == GATUN_KV_UNSCALED) return 0;
  return layout.scaling == GATUN_KV_PER_TOKEN ? layout.page_size : layout.page_size / layout.group;
}
inline int64_t scales_of_row(const gatun_kv_layout& layout) {
  if (layout.scaling == GATUN_KV_UNSCALED) return 0;
  return layout.scaling == GATUN_KV_PER_TOKEN ? blocks_of(layout.size, layout.group) : layout.size;
}

// Copies the caller's struct, the argument `name`, then checks of the copy what it says alone: everything, but that the
// strides fit into memory. Strides along which nothing lies further on, and those of scales if there are none, become
// 0.
int32_t check_layout(const gatun_kv_layout* given, const char* name, gatun_kv_layout* layout);

// What messages call the arguments of a pool.
struct PoolNames {
  const char *layout, *rows, *scales, *zeros;
  const char* strides[3];
  const char* scale_strides[3];
};
#define GATUN_KV_POOL_NAMES(layout, rows, scales, zeros)                 \
  {layout,                                                               \
   rows,                                                                 \
   scales,                                                               \
   zeros,                                                                \
   {layout ".page_stride", layout ".head_stride", layout ".row_stride"}, \
   {layout ".scale_page_stride", layout ".scale_head_stride", layout ".scale_row_stride"}}

// Nulls and extents of a pool with a checked layout, as three arrays for check_buffers: of an output, rows are apart.
int32_t check_pool(const gatun_kv_layout& layout, const PoolNames& names, const void* rows, const void* scales,
                   const void* zeros, bool output, Buffer* buffers);

}  // namespace gatun::kv_cache
