// Kernels of the dotprod tier.
#include "attention/tile.h"

namespace gatun::GATUN_ISA {

const attention::Kernel attention_i8_f32_dotprod = attention_kernel<Int8Keys, F32Values, F32Weights>();
const attention::Kernel attention_i8_bf16_dotprod = attention_kernel<Int8Keys, F32Values, F32Weights>();
const attention::Kernel attention_i8_f16_dotprod = attention_kernel<Int8Keys, F32Values, F32Weights>();

}  // namespace gatun::GATUN_ISA
