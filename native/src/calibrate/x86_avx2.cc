// Kernels of the avx2 tier.
#include "calibrate/tile.h"

namespace gatun::GATUN_ISA {

const calibrate::Kernel calibrate_f32_avx2 = calibrate_kernel<f32>();
const calibrate::Kernel calibrate_f16_avx2 = calibrate_kernel<f16>();
const calibrate::Kernel calibrate_bf16_avx2 = calibrate_kernel<bf16>();
const calibrate::CodeKernel requantize_i8_avx2 = requantize_kernel<i8>();
const calibrate::CodeKernel requantize_u8_avx2 = requantize_kernel<u8>();

}  // namespace gatun::GATUN_ISA
