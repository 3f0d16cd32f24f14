// Kernels of the neon tier.
#include "nm_backward/tile.h"

namespace gatun::GATUN_ISA {

const nm_backward::Kernel nm_backward_f32_neon = nm_backward_kernel();

}  // namespace gatun::GATUN_ISA
