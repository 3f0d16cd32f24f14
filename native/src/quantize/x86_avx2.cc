// Kernels of the avx2 tier.
#include "quantize/tile.h"

namespace gatun::GATUN_ISA {

const quantize::Kernel quantize_i8_avx2 = linear_kernel<i8>();
const quantize::Kernel quantize_u8_avx2 = linear_kernel<u8>();
const quantize::Kernel quantize_u4_avx2 = linear_kernel<u4>();
const quantize::Kernel quantize_u2_avx2 = linear_kernel<u2>();

}  // namespace gatun::GATUN_ISA
