// Kernels of the avx512 tier.
#include "attention/tile.h"

namespace gatun::GATUN_ISA {

const attention::Kernel attention_f32_avx512 = attention_kernel<FloatKeys<F32Rows>, F32Values, F32Weights>();
const attention::Kernel attention_bf16_avx512 = attention_kernel<FloatKeys<F32Rows>, F32Values, F32Weights>();
const attention::Kernel attention_f16_avx512 = attention_kernel<FloatKeys<F32Rows>, F32Values, F32Weights>();

}  // namespace gatun::GATUN_ISA
