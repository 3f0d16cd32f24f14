// The table of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "base/table.h"
#include "gatun/kv_cache.h"
#include "kv_cache/kernel.h"

namespace gatun::kv_cache {

// from and to: the dtype.
KernelTable<Kernel> table();

// As in gatun/kv_cache.h, with kernels of `limit` and lower tiers.
int32_t write(Tier limit, const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
              const int64_t* slots, void* pages, void* scales, void* zeros);
int32_t read(Tier limit, const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* pages,
             const void* scales, const void* zeros, const int64_t* slots, void* x);

}  // namespace gatun::kv_cache
