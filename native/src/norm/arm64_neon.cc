// Kernels of the neon tier.
#include "norm/tile.h"

namespace gatun::GATUN_ISA {

const norm::Kernel norm_f32_f32_neon = {normalize_rows<f32, f32>};
const norm::Kernel norm_f32_bf16_neon = {normalize_rows<f32, bf16>};
const norm::Kernel norm_bf16_f32_neon = {normalize_rows<bf16, f32>};
const norm::Kernel norm_bf16_bf16_neon = {normalize_rows<bf16, bf16>};

}  // namespace gatun::GATUN_ISA
