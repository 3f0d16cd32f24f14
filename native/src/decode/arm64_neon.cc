// Kernels of the neon tier.
#include "decode/code_keys.h"
#include "decode/code_values.h"
#include "decode/loop.h"
#include "decode/rows.h"

namespace gatun::GATUN_ISA {

const decode::KeyKernel decode_keys_f32_neon = key_kernel<FloatKeys<f32>>("f32");
const decode::KeyKernel decode_keys_bf16_neon = key_kernel<FloatKeys<bf16>>("f32");
const decode::KeyKernel decode_keys_f16_neon = key_kernel<FloatKeys<f16>>("f32");
const decode::KeyKernel decode_keys_f8e4m3_neon = key_kernel<FloatKeys<f8e4m3>>("f32");
const decode::KeyKernel decode_keys_f8e5m2_neon = key_kernel<FloatKeys<f8e5m2>>("f32");
const decode::KeyKernel decode_keys_i8_i8_neon = key_kernel<CodeKeys<I8Codes, 1>>("int8");
const decode::KeyKernel decode_keys_i8_i15_neon = key_kernel<CodeKeys<I8Codes, 2>>("two int8");
const decode::KeyKernel decode_keys_u4_i8_neon = key_kernel<CodeKeys<U4Codes, 1>>("int8");
const decode::KeyKernel decode_keys_u4_i15_neon = key_kernel<CodeKeys<U4Codes, 2>>("two int8");
const decode::KeyKernel decode_keys_u2_i8_neon = key_kernel<CodeKeys<U2Codes, 1>>("int8");
const decode::KeyKernel decode_keys_u2_i15_neon = key_kernel<CodeKeys<U2Codes, 2>>("two int8");

const decode::ValueKernel decode_values_f32_neon = value_kernel<FloatValues<f32>>("f32");
const decode::ValueKernel decode_values_bf16_neon = value_kernel<FloatValues<bf16>>("f32");
const decode::ValueKernel decode_values_f16_neon = value_kernel<FloatValues<f16>>("f32");
const decode::ValueKernel decode_values_f8e4m3_neon = value_kernel<FloatValues<f8e4m3>>("f32");
const decode::ValueKernel decode_values_f8e5m2_neon = value_kernel<FloatValues<f8e5m2>>("f32");
const decode::ValueKernel decode_values_i8_neon = value_kernel<CodeValues<I8Codes>>("two int8");
const decode::ValueKernel decode_values_u4_neon = value_kernel<CodeValues<U4Codes>>("two int8");
const decode::ValueKernel decode_values_u2_neon = value_kernel<CodeValues<U2Codes>>("two int8");

const decode::Loop decode_loop_neon = kLoop;

}  // namespace gatun::GATUN_ISA
