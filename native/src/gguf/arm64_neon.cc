// Kernels of the neon tier.
#include "gguf/tile.h"

namespace gatun::GATUN_ISA {

const gguf::Kernel gguf_q4_0_neon = kernel<q4_0>();
const gguf::Kernel gguf_q4_1_neon = kernel<q4_1>();
const gguf::Kernel gguf_q5_0_neon = kernel<q5_0>();
const gguf::Kernel gguf_q5_1_neon = kernel<q5_1>();
const gguf::Kernel gguf_q8_0_neon = kernel<q8_0>();
const gguf::Kernel gguf_q2_k_neon = kernel<q2_k>();
const gguf::Kernel gguf_q3_k_neon = kernel<q3_k>();
const gguf::Kernel gguf_q4_k_neon = kernel<q4_k>();
const gguf::Kernel gguf_q5_k_neon = kernel<q5_k>();
const gguf::Kernel gguf_q6_k_neon = kernel<q6_k>();
const gguf::Kernel gguf_iq4_nl_neon = kernel<iq4_nl>();
const gguf::Kernel gguf_iq4_xs_neon = kernel<iq4_xs>();
const gguf::Kernel gguf_mxfp4_neon = kernel<mxfp4>();

}  // namespace gatun::GATUN_ISA
