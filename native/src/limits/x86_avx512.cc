// Loops of the avx512 tier.
#include "limits/tile.h"

namespace gatun::GATUN_ISA {

const limits::Kernel limits_int8_dot_avx512 = kTile<Int8Dot>;
const limits::Kernel limits_fma_avx512 = kTile<Fma>;
const limits::Kernel limits_move_avx512 = kMove<false>;
const limits::Kernel limits_stream_avx512 = kMove<true>;
const limits::Kernel limits_update_avx512 = kUpdate;

}  // namespace gatun::GATUN_ISA
