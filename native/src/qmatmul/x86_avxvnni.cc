// Kernels of the avxvnni tier: vpdpbusd on 256-bit registers.
#include "qmatmul/tile_i8.h"

namespace gatun::GATUN_ISA {

const qmatmul::Kernel qmatmul_i8_u4_f32_4x16x512_avxvnni = {pack_rows_i8, multiply_i8<NibbleWeights>, 1, 1};
const qmatmul::Kernel qmatmul_i8_u8_f32_4x16x512_avxvnni = {pack_rows_i8, multiply_i8<ByteWeights>, 1, 1};

}  // namespace gatun::GATUN_ISA
