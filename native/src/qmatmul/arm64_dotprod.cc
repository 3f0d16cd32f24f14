// Kernels of the dotprod tier: sdot, on weights less 128 where they have 8 bits; for precise mode on three digits a
// number.
#include "qmatmul/tile_i8.h"

namespace gatun::GATUN_ISA {

const qmatmul::Kernel qmatmul_i8_u4_f32_4x16x512_dotprod = kernel_i8<NibbleWeights, 1>();
const qmatmul::Kernel qmatmul_i8_u8_f32_4x16x512_dotprod = kernel_i8<ByteWeights, 1>();
const qmatmul::Kernel qmatmul_i8_t4_f32_4x16x512_dotprod = kernel_i8<LookupWeights, 1>();
const qmatmul::Kernel qmatmul_f32_u4_f32_1x16x512_dotprod = kernel_i8<NibbleWeights, 3>();
const qmatmul::Kernel qmatmul_f32_u8_f32_1x16x512_dotprod = kernel_i8<ByteWeights, 3>();
const qmatmul::Kernel qmatmul_f32_t4_f32_1x16x512_dotprod = kernel_i8<LookupWeights, 3>();

}  // namespace gatun::GATUN_ISA
