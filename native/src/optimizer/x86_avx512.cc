// Kernels of the avx512 tier.
#include "optimizer/tile.h"

namespace gatun::GATUN_ISA {

const optimizer::Kernel optimizer_f32_avx512 = kernel_of<F32State>();
const optimizer::Kernel optimizer_f8e4m3_avx512 = kernel_of<Fp8State>();
const optimizer::Kernel optimizer_dynamic4_avx512 = kernel_of<Dynamic4State>();
const optimizer::SquaresKernel optimizer_squares_avx512 = {squares_of};

}  // namespace gatun::GATUN_ISA
