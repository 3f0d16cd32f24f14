// Kernels of the avx512vnni tier: vpdpbusd on 512-bit registers, for precise mode on three digits a number; vdpbf16ps.
#include "qmatmul/tile_bf16.h"
#include "qmatmul/tile_f32.h"
#include "qmatmul/tile_i8.h"

namespace gatun::GATUN_ISA {

const qmatmul::Kernel qmatmul_i8_u4_f32_4x64x512_avx512vnni = kernel_i8<NibbleWeights, 1>();
const qmatmul::Kernel qmatmul_i8_u8_f32_4x64x512_avx512vnni = kernel_i8<ByteWeights, 1>();
const qmatmul::Kernel qmatmul_i8_t4_f32_4x64x512_avx512vnni = kernel_i8<LookupWeights, 1>();
const qmatmul::Kernel qmatmul_f32_u4_f32_1x64x512_avx512vnni = kernel_i8<NibbleWeights, 3>();
const qmatmul::Kernel qmatmul_f32_u8_f32_1x64x512_avx512vnni = kernel_i8<ByteWeights, 3>();
const qmatmul::Kernel qmatmul_f32_t4_f32_1x64x512_avx512vnni = kernel_i8<LookupWeights, 3>();
const qmatmul::Kernel qmatmul_f32_b4_f32_4x64x128_avx512vnni = kernel_f32<Stored::b4>();
const qmatmul::Kernel qmatmul_f32_b8_f32_4x64x128_avx512vnni = kernel_f32<Stored::b8>();
const qmatmul::Kernel qmatmul_bf16_b4_f32_4x64x512_avx512vnni = kNibblesBf16;
const qmatmul::Kernel qmatmul_bf16_b8_f32_4x64x512_avx512vnni = kBytesBf16;

}  // namespace gatun::GATUN_ISA
