// Loops of the avx2 tier.
#include "limits/tile.h"

namespace gatun::GATUN_ISA {

const limits::Kernel limits_int8_dot_avx2 = kTile<Int8Dot>;
const limits::Kernel limits_fma_avx2 = kTile<Fma>;
const limits::Kernel limits_move_avx2 = kMove<false>;
const limits::Kernel limits_stream_avx2 = kMove<true>;
const limits::Kernel limits_update_avx2 = kUpdate;

}  // namespace gatun::GATUN_ISA
