// Kernels of the avx512vnni tier: vpdpbusd on 512-bit registers. The f32 kernels are those of avx512.
#include "qmatmul/tile_i8.h"

namespace gatun::GATUN_ISA {

const qmatmul::Kernel qmatmul_i8_u4_f32_4x64x512_avx512vnni = {pack_rows_i8, multiply_i8<NibbleWeights>, 1, 1};
const qmatmul::Kernel qmatmul_i8_u8_f32_4x64x512_avx512vnni = {pack_rows_i8, multiply_i8<ByteWeights>, 1, 1};

}  // namespace gatun::GATUN_ISA
