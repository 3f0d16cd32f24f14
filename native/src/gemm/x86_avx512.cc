// Kernels of the avx512 tier.
#include "gemm/tile.h"

namespace gatun::GATUN_ISA {

const gemm::Kernel gemm_f32_6x64x1_avx512 = {multiply_dense};

}  // namespace gatun::GATUN_ISA
