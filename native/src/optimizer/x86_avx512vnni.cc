// Kernels of the avx512vnni tier: its byte permutes look up 256 values in registers.
#include "optimizer/tile.h"
#include "optimizer/tile_tree8.h"

namespace gatun::GATUN_ISA {

const optimizer::Kernel optimizer_dynamic8_avx512vnni = kernel_of<Tree8State>();

}  // namespace gatun::GATUN_ISA
