// Kernels of the dotprod tier.
#include "decode/code_keys.h"
#include "decode/code_values.h"
#include "decode/rows.h"

namespace gatun::GATUN_ISA {

const decode::KeyKernel decode_keys_i8_i8_dotprod = key_kernel<CodeKeys<I8Codes, 1>>("int8");
const decode::KeyKernel decode_keys_i8_i15_dotprod = key_kernel<CodeKeys<I8Codes, 2>>("two int8");
const decode::KeyKernel decode_keys_u4_i8_dotprod = key_kernel<CodeKeys<U4Codes, 1>>("int8");
const decode::KeyKernel decode_keys_u4_i15_dotprod = key_kernel<CodeKeys<U4Codes, 2>>("two int8");
const decode::KeyKernel decode_keys_u2_i8_dotprod = key_kernel<CodeKeys<U2Codes, 1>>("int8");
const decode::KeyKernel decode_keys_u2_i15_dotprod = key_kernel<CodeKeys<U2Codes, 2>>("two int8");

const decode::ValueKernel decode_values_i8_dotprod = value_kernel<CodeValues<I8Codes>>("two int8");
const decode::ValueKernel decode_values_u4_dotprod = value_kernel<CodeValues<U4Codes>>("two int8");
const decode::ValueKernel decode_values_u2_dotprod = value_kernel<CodeValues<U2Codes>>("two int8");

}  // namespace gatun::GATUN_ISA
