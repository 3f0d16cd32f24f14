// Kernels of the avx512 tier.
#include "quantize/tile.h"

namespace gatun::GATUN_ISA {

const quantize::QuantizeKernel quantize_f32_i8_avx512 = {largest_magnitude<f32>, quantize_units<f32, i8>};
const quantize::QuantizeKernel quantize_f32_u8_avx512 = {largest_magnitude<f32>, quantize_units<f32, u8>};
const quantize::QuantizeKernel quantize_f32_u4_avx512 = {largest_magnitude<f32>, quantize_units<f32, u4>};
const quantize::QuantizeKernel quantize_f16_i8_avx512 = {largest_magnitude<f16>, quantize_units<f16, i8>};
const quantize::QuantizeKernel quantize_f16_u8_avx512 = {largest_magnitude<f16>, quantize_units<f16, u8>};
const quantize::QuantizeKernel quantize_f16_u4_avx512 = {largest_magnitude<f16>, quantize_units<f16, u4>};
const quantize::QuantizeKernel quantize_bf16_i8_avx512 = {largest_magnitude<bf16>, quantize_units<bf16, i8>};
const quantize::QuantizeKernel quantize_bf16_u8_avx512 = {largest_magnitude<bf16>, quantize_units<bf16, u8>};
const quantize::QuantizeKernel quantize_bf16_u4_avx512 = {largest_magnitude<bf16>, quantize_units<bf16, u4>};

const quantize::DequantizeKernel dequantize_i8_f32_avx512 = {dequantize_units<i8, f32>};
const quantize::DequantizeKernel dequantize_i8_f16_avx512 = {dequantize_units<i8, f16>};
const quantize::DequantizeKernel dequantize_i8_bf16_avx512 = {dequantize_units<i8, bf16>};
const quantize::DequantizeKernel dequantize_u8_f32_avx512 = {dequantize_units<u8, f32>};
const quantize::DequantizeKernel dequantize_u8_f16_avx512 = {dequantize_units<u8, f16>};
const quantize::DequantizeKernel dequantize_u8_bf16_avx512 = {dequantize_units<u8, bf16>};
const quantize::DequantizeKernel dequantize_u4_f32_avx512 = {dequantize_units<u4, f32>};
const quantize::DequantizeKernel dequantize_u4_f16_avx512 = {dequantize_units<u4, f16>};
const quantize::DequantizeKernel dequantize_u4_bf16_avx512 = {dequantize_units<u4, bf16>};

}  // namespace gatun::GATUN_ISA
