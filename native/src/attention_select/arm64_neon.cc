// Kernels of the neon tier.
#include "attention_select/tile.h"

namespace gatun::GATUN_ISA {

const attention_select::Kernel attention_select_f32_neon = kSelectKernel<f32>;
const attention_select::Kernel attention_select_bf16_neon = kSelectKernel<bf16>;
const attention_select::Kernel attention_select_f16_neon = kSelectKernel<f16>;

}  // namespace gatun::GATUN_ISA
