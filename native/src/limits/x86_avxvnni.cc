// Loops of the avxvnni tier: vpdpbusd on 256-bit registers. The others are those of avx2.
#include "limits/tile.h"

namespace gatun::GATUN_ISA {

const limits::Kernel limits_int8_dot_avxvnni = kTile<Int8Dot>;

}  // namespace gatun::GATUN_ISA
