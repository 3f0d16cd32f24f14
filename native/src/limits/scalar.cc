// Loops of the scalar tier.
#include "limits/tile.h"

namespace gatun::GATUN_ISA {

const limits::Kernel limits_int8_dot_scalar = kTile<Int8Dot>;
const limits::Kernel limits_fma_scalar = kTile<Fma>;
const limits::Kernel limits_move_scalar = kMove<false>;
const limits::Kernel limits_stream_scalar = kMove<true>;
const limits::Kernel limits_update_scalar = kUpdate;

}  // namespace gatun::GATUN_ISA
