// Kernels of the neon tier.
#include "optimizer/tile.h"

namespace gatun::GATUN_ISA {

const optimizer::Kernel optimizer_f32_neon = kernel_of<F32State>();
const optimizer::Kernel optimizer_dynamic8_neon = kernel_of<Dynamic8State>();
const optimizer::Kernel optimizer_f8e4m3_neon = kernel_of<Fp8State>();
const optimizer::Kernel optimizer_dynamic4_neon = kernel_of<Dynamic4State>();
const optimizer::SquaresKernel optimizer_squares_neon = {squares_of};

}  // namespace gatun::GATUN_ISA
