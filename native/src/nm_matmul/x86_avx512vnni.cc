#include "nm_matmul/multiply_bf16.h"
#include "nm_matmul/tile.h"

namespace gatun::GATUN_ISA {

const nm_matmul::Kernel nm_matmul_bf16_bf16_f32_16x16x2_avx512vnni = kernel<MultiplyBf16, PairValues>();
const nm_matmul::Kernel nm_matmul_i8_i8_f32_16x16x4_avx512vnni = kernel<MultiplyI8, CodeValues<false>>();
const nm_matmul::Kernel nm_matmul_i8_u4_f32_16x16x4_avx512vnni = kernel<MultiplyI8, CodeValues<true>>();

}  // namespace gatun::GATUN_ISA
