// Kernels of the neon tier.
#include "attention_merge/tile.h"

namespace gatun::GATUN_ISA {

const attention_merge::Kernel attention_merge_f32_neon = {blend_row<f32>};
const attention_merge::Kernel attention_merge_bf16_neon = {blend_row<bf16>};
const attention_merge::Kernel attention_merge_f16_neon = {blend_row<f16>};

}  // namespace gatun::GATUN_ISA
