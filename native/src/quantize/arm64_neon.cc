// Kernels of the neon tier.
#include "quantize/tile_linear.h"
#include "quantize/tile_scaled.h"

namespace gatun::GATUN_ISA {

const quantize::Kernel quantize_i8_neon = kernel_of<Linear<i8>>();
const quantize::Kernel quantize_u8_neon = kernel_of<Linear<u8>>();
const quantize::Kernel quantize_u4_neon = kernel_of<Linear<u4>>();
const quantize::Kernel quantize_u2_neon = kernel_of<Linear<u2>>();
const quantize::Kernel quantize_f8e4m3_neon = kernel_of<Scaled<f8e4m3>>();
const quantize::Kernel quantize_f8e5m2_neon = kernel_of<Scaled<f8e5m2>>();
const quantize::Kernel quantize_f6e3m2_neon = kernel_of<Scaled<f6e3m2>>();
const quantize::Kernel quantize_f6e2m3_neon = kernel_of<Scaled<f6e2m3>>();
const quantize::Kernel quantize_f4e2m1_neon = kernel_of<Scaled<f4e2m1>>();
const quantize::Kernel quantize_book8_neon = kernel_of<Scaled<book8>>();
const quantize::Kernel quantize_book4_neon = kernel_of<Scaled<book4>>();

}  // namespace gatun::GATUN_ISA
