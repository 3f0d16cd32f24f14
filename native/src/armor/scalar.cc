// Kernels of the scalar tier.
#include "armor/tile.h"

namespace gatun::GATUN_ISA {

const armor::Kernel armor_f32_scalar = armor_kernel();

}  // namespace gatun::GATUN_ISA
