// The kernel of the avx2 tier.
#include "decode_choose/tile.h"

namespace gatun::GATUN_ISA {

const decode_choose::Kernel decode_scores_avx2 = {add_weights};

}  // namespace gatun::GATUN_ISA
