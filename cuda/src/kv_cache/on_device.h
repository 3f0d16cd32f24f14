// A checked pool as kernels get it.
#pragma once

#include "kv_cache/pool.h"
#include "kv_cache/rows.h"

namespace gatun::cuda::kv_cache {

inline DevicePool pool_on_device(const gatun::kv_cache::Pool& pool) {
  const bool tokens = pool.layout.scaling == GATUN_KV_PER_TOKEN;
  return {pool.layout,
          pool.pages,
          pool.scales,
          pool.zeros,
          static_cast<int32_t>(gatun::kv_cache::row_bytes(pool.layout)),
          static_cast<int32_t>(gatun::kv_cache::scales_of_row(pool.layout)),
          tokens ? static_cast<int32_t>(65536 / pool.layout.group) + 1 : 0};
}

inline int64_t copy_bytes(const gatun_kv_layout& layout) {
  return gatun::kv_cache::row_bytes(layout) + 4 * gatun::kv_cache::scales_of_row(layout);
}

}  // namespace gatun::cuda::kv_cache
