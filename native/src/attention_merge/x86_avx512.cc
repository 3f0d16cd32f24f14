// Kernels of the avx512 tier.
#include "attention_merge/tile.h"

namespace gatun::GATUN_ISA {

const attention_merge::Kernel attention_merge_f32_avx512 = {blend_row<f32>};
const attention_merge::Kernel attention_merge_bf16_avx512 = {blend_row<bf16>};
const attention_merge::Kernel attention_merge_f16_avx512 = {blend_row<f16>};

}  // namespace gatun::GATUN_ISA
