// Loops of the dotprod tier: sdot. The others are those of neon.
#include "limits/tile.h"

namespace gatun::GATUN_ISA {

const limits::Kernel limits_int8_dot_dotprod = kTile<Int8Dot>;

}  // namespace gatun::GATUN_ISA
