// Kernels of the neon tier.
#include "attention/tile.h"

namespace gatun::GATUN_ISA {

const attention::Kernel attention_f32_neon = attention_kernel<FloatKeys<F32Rows>, F32Values, F32Weights>();
const attention::Kernel attention_bf16_neon = attention_kernel<FloatKeys<F32Rows>, F32Values, F32Weights>();
const attention::Kernel attention_f16_neon = attention_kernel<FloatKeys<F32Rows>, F32Values, F32Weights>();
const attention::Kernel attention_i8_f32_neon = attention_kernel<Int8Keys, F32Values, F32Weights>();
const attention::Kernel attention_i8_bf16_neon = attention_kernel<Int8Keys, F32Values, F32Weights>();
const attention::Kernel attention_i8_f16_neon = attention_kernel<Int8Keys, F32Values, F32Weights>();

}  // namespace gatun::GATUN_ISA
