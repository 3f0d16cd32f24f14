// Kernels of the neon tier.
#include "armor/tile.h"

namespace gatun::GATUN_ISA {

const armor::Kernel armor_f32_neon = armor_kernel();

}  // namespace gatun::GATUN_ISA
