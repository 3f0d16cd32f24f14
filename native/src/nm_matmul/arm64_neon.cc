#include "nm_matmul/tile_rows.h"

namespace gatun::GATUN_ISA {

const nm_matmul::Kernel nm_matmul_f32_f32_f32_16x4x1_neon = kernel_rows<FloatValues<f32>>();
const nm_matmul::Kernel nm_matmul_f32_f16_f32_16x4x1_neon = kernel_rows<FloatValues<f16>>();
const nm_matmul::Kernel nm_matmul_f32_bf16_f32_16x4x1_neon = kernel_rows<WidenedBf16Values>();
const nm_matmul::Kernel nm_matmul_f32_i8_f32_16x4x1_neon = kernel_rows<DequantizedValues<false>>();
const nm_matmul::Kernel nm_matmul_f32_u4_f32_16x4x1_neon = kernel_rows<DequantizedValues<true>>();
const nm_matmul::Kernel nm_matmul_f32_f32_f32_8x8x1_neon = kernel<MultiplyF32, FloatValues<f32>>();
const nm_matmul::Kernel nm_matmul_f32_f16_f32_8x8x1_neon = kernel<MultiplyF32, FloatValues<f16>>();
const nm_matmul::Kernel nm_matmul_f32_bf16_f32_8x8x1_neon = kernel<MultiplyF32, WidenedBf16Values>();
const nm_matmul::Kernel nm_matmul_f32_i8_f32_8x8x1_neon = kernel<MultiplyF32, DequantizedValues<false>>();
const nm_matmul::Kernel nm_matmul_f32_u4_f32_8x8x1_neon = kernel<MultiplyF32, DequantizedValues<true>>();
const nm_matmul::Kernel nm_matmul_bf16_bf16_f32_8x8x1_neon = kernel<MultiplyF32, WidenedBf16Values, PackRoundedF32>();
const nm_matmul::Kernel nm_matmul_i8_i8_f32_8x8x4_neon = kernel<MultiplyI8, CodeValues<false>>();
const nm_matmul::Kernel nm_matmul_i8_u4_f32_8x8x4_neon = kernel<MultiplyI8, CodeValues<true>>();

}  // namespace gatun::GATUN_ISA
