// Kernels of the scalar tier.
#include "attention_select/tile.h"

namespace gatun::GATUN_ISA {

const attention_select::Kernel attention_select_f32_scalar = kSelectKernel<f32>;
const attention_select::Kernel attention_select_bf16_scalar = kSelectKernel<bf16>;
const attention_select::Kernel attention_select_f16_scalar = kSelectKernel<f16>;

}  // namespace gatun::GATUN_ISA
