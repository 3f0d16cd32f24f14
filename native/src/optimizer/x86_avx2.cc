// Kernels of the avx2 tier.
#include "optimizer/tile.h"

namespace gatun::GATUN_ISA {

const optimizer::Kernel optimizer_f32_avx2 = kernel_of<F32State>();
const optimizer::Kernel optimizer_dynamic8_avx2 = kernel_of<Dynamic8State>();
const optimizer::Kernel optimizer_f8e4m3_avx2 = kernel_of<Fp8State>();
const optimizer::Kernel optimizer_dynamic4_avx2 = kernel_of<Dynamic4State>();
const optimizer::SquaresKernel optimizer_squares_avx2 = {squares_of};

}  // namespace gatun::GATUN_ISA
