// The kernel of the neon tier.
#include "decode_choose/tile.h"

namespace gatun::GATUN_ISA {

const decode_choose::Kernel decode_scores_neon = {add_weights};

}  // namespace gatun::GATUN_ISA
