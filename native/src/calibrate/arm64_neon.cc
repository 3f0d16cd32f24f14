// Kernels of the neon tier.
#include "calibrate/tile.h"

namespace gatun::GATUN_ISA {

const calibrate::Kernel calibrate_f32_neon = calibrate_kernel<f32>();
const calibrate::Kernel calibrate_f16_neon = calibrate_kernel<f16>();
const calibrate::Kernel calibrate_bf16_neon = calibrate_kernel<bf16>();
const calibrate::CodeKernel requantize_i8_neon = requantize_kernel<i8>();
const calibrate::CodeKernel requantize_u8_neon = requantize_kernel<u8>();

}  // namespace gatun::GATUN_ISA
