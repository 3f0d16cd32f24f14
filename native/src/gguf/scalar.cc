// Kernels of the scalar tier.
#include "gguf/tile.h"

namespace gatun::GATUN_ISA {

const gguf::Kernel gguf_q4_0_scalar = kernel<q4_0>();
const gguf::Kernel gguf_q4_1_scalar = kernel<q4_1>();
const gguf::Kernel gguf_q5_0_scalar = kernel<q5_0>();
const gguf::Kernel gguf_q5_1_scalar = kernel<q5_1>();
const gguf::Kernel gguf_q8_0_scalar = kernel<q8_0>();
const gguf::Kernel gguf_q2_k_scalar = kernel<q2_k>();
const gguf::Kernel gguf_q3_k_scalar = kernel<q3_k>();
const gguf::Kernel gguf_q4_k_scalar = kernel<q4_k>();
const gguf::Kernel gguf_q5_k_scalar = kernel<q5_k>();
const gguf::Kernel gguf_q6_k_scalar = kernel<q6_k>();
const gguf::Kernel gguf_iq4_nl_scalar = kernel<iq4_nl>();
const gguf::Kernel gguf_iq4_xs_scalar = kernel<iq4_xs>();
const gguf::Kernel gguf_mxfp4_scalar = kernel<mxfp4>();

}  // namespace gatun::GATUN_ISA
