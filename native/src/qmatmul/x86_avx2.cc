// Kernels of the avx2 tier: 8-bit dots by vpmaddubsw + vpmaddwd, on weights' magnitudes where they have 8 bits.
#include "qmatmul/tile_f32.h"
#include "qmatmul/tile_i8.h"

namespace gatun::GATUN_ISA {

const qmatmul::Kernel qmatmul_i8_u4_f32_4x16x512_avx2 = {pack_rows_i8<1>, multiply_i8<NibbleWeights, 1>, 1, 1, 1 << 20};
const qmatmul::Kernel qmatmul_i8_u8_f32_4x16x512_avx2 = {pack_rows_i8<1>, multiply_i8<ByteWeights, 1>, 1, 1, 1 << 20};
const qmatmul::Kernel qmatmul_f32_u4_f32_4x16x128_avx2 = {pack_rows_f32, multiply_f32<true>, 4, 0, 1 << 17};
const qmatmul::Kernel qmatmul_f32_u8_f32_4x16x128_avx2 = {pack_rows_f32, multiply_f32<false>, 4, 0, 1 << 17};

}  // namespace gatun::GATUN_ISA
