// Loops of the neon tier.
#include "limits/tile.h"

namespace gatun::GATUN_ISA {

const limits::Kernel limits_int8_dot_neon = kTile<Int8Dot>;
const limits::Kernel limits_fma_neon = kTile<Fma>;
const limits::Kernel limits_move_neon = kMove<false>;
const limits::Kernel limits_stream_neon = kMove<true>;
const limits::Kernel limits_update_neon = kUpdate;

}  // namespace gatun::GATUN_ISA
