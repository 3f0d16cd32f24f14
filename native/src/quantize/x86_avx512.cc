// Kernels of the avx512 tier.
#include "quantize/tile.h"

namespace gatun::GATUN_ISA {

const quantize::Kernel quantize_i8_avx512 = linear_kernel<i8>();
const quantize::Kernel quantize_u8_avx512 = linear_kernel<u8>();
const quantize::Kernel quantize_u4_avx512 = linear_kernel<u4>();
const quantize::Kernel quantize_u2_avx512 = linear_kernel<u2>();

}  // namespace gatun::GATUN_ISA
