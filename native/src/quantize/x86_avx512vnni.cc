// Kernels of the avx512vnni tier: its byte permutes look up 256 values in registers.
#include "quantize/tile_scaled.h"

namespace gatun::GATUN_ISA {

const quantize::Kernel quantize_book8_avx512vnni = kernel_of<Scaled<book8>>();

}  // namespace gatun::GATUN_ISA
