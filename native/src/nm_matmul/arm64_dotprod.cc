#include "nm_matmul/tile.h"

namespace gatun::GATUN_ISA {

const nm_matmul::Kernel nm_matmul_i8_i8_f32_8x8x4_dotprod = kernel<MultiplyI8, CodeValues<false>>();
const nm_matmul::Kernel nm_matmul_i8_u4_f32_8x8x4_dotprod = kernel<MultiplyI8, CodeValues<true>>();

}  // namespace gatun::GATUN_ISA
