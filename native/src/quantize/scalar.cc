// Kernels of the scalar tier.
#include "quantize/tile.h"

namespace gatun::GATUN_ISA {

const quantize::Kernel quantize_i8_scalar = linear_kernel<i8>();
const quantize::Kernel quantize_u8_scalar = linear_kernel<u8>();
const quantize::Kernel quantize_u4_scalar = linear_kernel<u4>();
const quantize::Kernel quantize_u2_scalar = linear_kernel<u2>();

}  // namespace gatun::GATUN_ISA
