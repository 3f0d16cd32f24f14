// Kernels of the neon tier.
#include "nm_format/tile_prune.h"

namespace gatun::GATUN_ISA {

const nm_format::Kernel nm_format_f32_neon = {compress_vectors<Words>, prune_rows<f32, Words>};
const nm_format::Kernel nm_format_f16_neon = {compress_vectors<Halves>, prune_rows<f16, Halves>};
const nm_format::Kernel nm_format_bf16_neon = {compress_vectors<Halves>, prune_rows<bf16, Halves>};
const nm_format::Kernel nm_format_i8_neon = {compress_vectors<CodesOf8>, nullptr};
const nm_format::Kernel nm_format_u4_neon = {compress_vectors<CodesOf4>, nullptr};

}  // namespace gatun::GATUN_ISA
