// Kernels of the avx512 tier.
#include "decode/loop.h"
#include "decode/rows.h"

namespace gatun::GATUN_ISA {

const decode::KeyKernel decode_keys_f32_avx512 = key_kernel<FloatKeys<f32>>("f32");
const decode::KeyKernel decode_keys_bf16_avx512 = key_kernel<FloatKeys<bf16>>("f32");
const decode::KeyKernel decode_keys_f16_avx512 = key_kernel<FloatKeys<f16>>("f32");
const decode::KeyKernel decode_keys_f8e4m3_avx512 = key_kernel<FloatKeys<f8e4m3>>("f32");
const decode::KeyKernel decode_keys_f8e5m2_avx512 = key_kernel<FloatKeys<f8e5m2>>("f32");

const decode::ValueKernel decode_values_f32_avx512 = value_kernel<FloatValues<f32>>("f32");
const decode::ValueKernel decode_values_bf16_avx512 = value_kernel<FloatValues<bf16>>("f32");
const decode::ValueKernel decode_values_f16_avx512 = value_kernel<FloatValues<f16>>("f32");
const decode::ValueKernel decode_values_f8e4m3_avx512 = value_kernel<FloatValues<f8e4m3>>("f32");
const decode::ValueKernel decode_values_f8e5m2_avx512 = value_kernel<FloatValues<f8e5m2>>("f32");

const decode::Loop decode_loop_avx512 = kLoop;

}  // namespace gatun::GATUN_ISA
