// Kernels of the neon tier.
#include "kv_cache/tile.h"

namespace gatun::GATUN_ISA {

const kv_cache::Kernel kv_cache_bf16_neon = {widen_halves<bf16>, narrow_halves<bf16>};
const kv_cache::Kernel kv_cache_f16_neon = {widen_halves<f16>, narrow_halves<f16>};
const kv_cache::Kernel kv_cache_f8e4m3_neon = {widen_bytes<f8e4m3>, narrow_bytes<f8e4m3>};
const kv_cache::Kernel kv_cache_f8e5m2_neon = {widen_bytes<f8e5m2>, narrow_bytes<f8e5m2>};

}  // namespace gatun::GATUN_ISA
