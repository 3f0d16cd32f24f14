// Kernels of the avx512vnni tier.
#include "decode/code_keys.h"
#include "decode/code_values.h"
#include "decode/floats.h"
#include "decode/rows.h"

namespace gatun::GATUN_ISA {

const decode::KeyKernel decode_keys_bf16_bf16_avx512vnni = key_kernel<Bf16Keys>("bf16");
const decode::KeyKernel decode_keys_i8_i8_avx512vnni = key_kernel<CodeKeys<I8Codes, 1>>("int8");
const decode::KeyKernel decode_keys_i8_i15_avx512vnni = key_kernel<CodeKeys<I8Codes, 2>>("two int8");
const decode::KeyKernel decode_keys_u4_i8_avx512vnni = key_kernel<CodeKeys<U4Codes, 1>>("int8");
const decode::KeyKernel decode_keys_u4_i15_avx512vnni = key_kernel<CodeKeys<U4Codes, 2>>("two int8");
const decode::KeyKernel decode_keys_u2_i8_avx512vnni = key_kernel<CodeKeys<U2Codes, 1>>("int8");
const decode::KeyKernel decode_keys_u2_i15_avx512vnni = key_kernel<CodeKeys<U2Codes, 2>>("two int8");

const decode::ValueKernel decode_values_bf16_bf16_avx512vnni = value_kernel<Bf16Values>("bf16");
const decode::ValueKernel decode_values_i8_avx512vnni = value_kernel<CodeValues<I8Codes>>("two int8");
const decode::ValueKernel decode_values_u4_avx512vnni = value_kernel<CodeValues<U4Codes>>("two int8");
const decode::ValueKernel decode_values_u2_avx512vnni = value_kernel<CodeValues<U2Codes>>("two int8");

}  // namespace gatun::GATUN_ISA
