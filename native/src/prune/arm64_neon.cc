// Kernels of the neon tier.
#include "prune/tile.h"
#include "prune/tile_mask.h"

namespace gatun::GATUN_ISA {

const prune::Kernel prune_f32_mask_neon = {score_weights<f32>, largest_score<f32>, nm_rows<f32>};
const prune::Kernel prune_f16_mask_neon = {score_weights<f16>, largest_score<f16>, nm_rows<f16>};
const prune::Kernel prune_bf16_mask_neon = {score_weights<bf16>, largest_score<bf16>, nm_rows<bf16>};
const prune::MaskKernel prune_mask_x32_x32_neon = {apply_mask<4>};
const prune::MaskKernel prune_mask_x16_x16_neon = {apply_mask<2>};
const prune::MaskKernel prune_mask_x8_x8_neon = {apply_mask<1>};

}  // namespace gatun::GATUN_ISA
