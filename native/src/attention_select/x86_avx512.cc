// Kernels of the avx512 tier.
#include "attention_select/tile.h"

namespace gatun::GATUN_ISA {

const attention_select::Kernel attention_select_f32_avx512 = kSelectKernel<f32>;
const attention_select::Kernel attention_select_bf16_avx512 = kSelectKernel<bf16>;
const attention_select::Kernel attention_select_f16_avx512 = kSelectKernel<f16>;

}  // namespace gatun::GATUN_ISA
