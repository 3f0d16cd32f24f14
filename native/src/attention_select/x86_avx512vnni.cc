// Kernels of the avx512vnni tier: products of bf16 pairs.
#include "attention_select/tile_bf16.h"

namespace gatun::GATUN_ISA {

const attention_select::Kernel attention_select_bf16_avx512vnni = {pool_rows<bf16>, widen_rows<bf16>,   largest_of,
                                                                   scale_logits,    exponentiate_row,   add_scaled_row,
                                                                   pack_key_groups, multiply_key_groups};

}  // namespace gatun::GATUN_ISA
