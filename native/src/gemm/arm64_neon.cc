// Kernels of the neon tier.
#include "gemm/tile.h"

namespace gatun::GATUN_ISA {

const gemm::Kernel gemm_f32_6x16x1_neon = {multiply_dense};

}  // namespace gatun::GATUN_ISA
