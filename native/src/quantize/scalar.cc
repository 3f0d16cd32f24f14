// Kernels of the scalar tier.
#include "quantize/tile_amax.h"

namespace gatun::GATUN_ISA {

const quantize::Kernel quantize_i8_scalar = linear_kernel<i8>();
const quantize::Kernel quantize_u8_scalar = linear_kernel<u8>();
const quantize::Kernel quantize_u4_scalar = linear_kernel<u4>();
const quantize::Kernel quantize_u2_scalar = linear_kernel<u2>();
const quantize::Kernel quantize_f8e4m3_scalar = scaled_kernel<f8e4m3>();
const quantize::Kernel quantize_f8e5m2_scalar = scaled_kernel<f8e5m2>();
const quantize::Kernel quantize_f6e3m2_scalar = scaled_kernel<f6e3m2>();
const quantize::Kernel quantize_f6e2m3_scalar = scaled_kernel<f6e2m3>();
const quantize::Kernel quantize_f4e2m1_scalar = scaled_kernel<f4e2m1>();
const quantize::Kernel quantize_book8_scalar = scaled_kernel<book8>();
const quantize::Kernel quantize_book4_scalar = scaled_kernel<book4>();

}  // namespace gatun::GATUN_ISA
