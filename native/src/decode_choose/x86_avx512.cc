// The kernel of the avx512 tier.
#include "decode_choose/tile.h"

namespace gatun::GATUN_ISA {

const decode_choose::Kernel decode_scores_avx512 = {add_weights};

}  // namespace gatun::GATUN_ISA
