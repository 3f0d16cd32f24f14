// Kernels of the scalar tier.
#include "gemm/tile.h"

namespace gatun::GATUN_ISA {

const gemm::Kernel gemm_f32_6x4x1_scalar = {multiply_dense};

}  // namespace gatun::GATUN_ISA
