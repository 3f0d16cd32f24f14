// The kernel of the scalar tier.
#include "decode_choose/tile.h"

namespace gatun::GATUN_ISA {

const decode_choose::Kernel decode_scores_scalar = {add_weights};

}  // namespace gatun::GATUN_ISA
