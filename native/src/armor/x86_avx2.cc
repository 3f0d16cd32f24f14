// Kernels of the avx2 tier.
#include "armor/tile.h"

namespace gatun::GATUN_ISA {

const armor::Kernel armor_f32_avx2 = armor_kernel();

}  // namespace gatun::GATUN_ISA
