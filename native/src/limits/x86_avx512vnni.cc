// Loops of the avx512vnni tier: vpdpbusd and vdpbf16ps. The others are those of avx512.
#include "limits/tile.h"

namespace gatun::GATUN_ISA {

const limits::Kernel limits_int8_dot_avx512vnni = kTile<Int8Dot>;
const limits::Kernel limits_bf16_dot_avx512vnni = kTile<Bf16Dot>;

}  // namespace gatun::GATUN_ISA
