// Kernels of the avx512 tier.
#include "nm_backward/tile.h"

namespace gatun::GATUN_ISA {

const nm_backward::Kernel nm_backward_f32_avx512 = nm_backward_kernel();

}  // namespace gatun::GATUN_ISA
