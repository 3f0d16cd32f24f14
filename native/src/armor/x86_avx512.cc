// Kernels of the avx512 tier.
#include "armor/tile.h"

namespace gatun::GATUN_ISA {

const armor::Kernel armor_f32_avx512 = armor_kernel();

}  // namespace gatun::GATUN_ISA
