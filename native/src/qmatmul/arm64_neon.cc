// Kernels of the neon tier: 8-bit dots by smull, addp and sadalp, on weights less 128 where they have 8 bits.
#include "qmatmul/tile_f32.h"
#include "qmatmul/tile_i8.h"

namespace gatun::GATUN_ISA {

const qmatmul::Kernel qmatmul_i8_u4_f32_4x16x512_neon = kernel_i8<NibbleWeights, 1>();
const qmatmul::Kernel qmatmul_i8_u8_f32_4x16x512_neon = kernel_i8<ByteWeights, 1>();
const qmatmul::Kernel qmatmul_i8_t4_f32_4x16x512_neon = kernel_i8<LookupWeights, 1>();
const qmatmul::Kernel qmatmul_f32_u4_f32_4x16x128_neon = kernel_f32<Stored::u4>();
const qmatmul::Kernel qmatmul_f32_u8_f32_4x16x128_neon = kernel_f32<Stored::u8>();
const qmatmul::Kernel qmatmul_f32_t4_f32_4x16x128_neon = kernel_f32<Stored::t4>();
const qmatmul::Kernel qmatmul_f32_b4_f32_4x16x128_neon = kernel_f32<Stored::b4>();
const qmatmul::Kernel qmatmul_f32_b8_f32_4x16x128_neon = kernel_f32<Stored::b8>();
const qmatmul::Kernel qmatmul_bf16_b4_f32_4x16x128_neon = kernel_rounded<Stored::b4>();
const qmatmul::Kernel qmatmul_bf16_b8_f32_4x16x128_neon = kernel_rounded<Stored::b8>();

}  // namespace gatun::GATUN_ISA
