// Kernels of the avxvnni tier: vpdpbusd on 256-bit registers, for precise mode on three digits a number.
#include "qmatmul/tile_i8.h"

namespace gatun::GATUN_ISA {

const qmatmul::Kernel qmatmul_i8_u4_f32_4x16x512_avxvnni = {pack_rows_i8<1>, multiply_i8<NibbleWeights, 1>, 1, 1,
                                                            1 << 20};
const qmatmul::Kernel qmatmul_i8_u8_f32_4x16x512_avxvnni = {pack_rows_i8<1>, multiply_i8<ByteWeights, 1>, 1, 1,
                                                            1 << 20};
const qmatmul::Kernel qmatmul_f32_u4_f32_1x16x512_avxvnni = {pack_rows_i8<3>, multiply_i8<NibbleWeights, 3>, 3, 3,
                                                             1 << 19};
const qmatmul::Kernel qmatmul_f32_u8_f32_1x16x512_avxvnni = {pack_rows_i8<3>, multiply_i8<ByteWeights, 3>, 3, 3,
                                                             1 << 19};

}  // namespace gatun::GATUN_ISA
