// Kernels of the avx512vnni tier.
#include "attention/tile.h"

namespace gatun::GATUN_ISA {

const attention::Kernel attention_bf16_avx512vnni = attention_kernel<FloatKeys<Bf16Rows>, Bf16Values, Bf16Weights>();
const attention::Kernel attention_i8_f32_avx512vnni = attention_kernel<Int8Keys, Bf16Values, Bf16Weights>();
const attention::Kernel attention_i8_bf16_avx512vnni = attention_kernel<Int8Keys, Bf16Values, Bf16Weights>();
const attention::Kernel attention_i8_f16_avx512vnni = attention_kernel<Int8Keys, Bf16Values, Bf16Weights>();

}  // namespace gatun::GATUN_ISA
