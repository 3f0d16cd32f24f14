// The kernels of sm80_tile.h in f16.
#include "attention/sm80_tile.h"

namespace gatun::cuda::attention {

int32_t run_attention_f16_m128n64_sm80(const Job& job, void* stream) {
  return sm80::run<false, false, 64>("attention_f16_m128n64_sm80", job, stream);
}

int32_t run_attention_f16_m128n48_sm80(const Job& job, void* stream) {
  return sm80::run<false, false, 128>("attention_f16_m128n48_sm80", job, stream);
}

int32_t run_attention_f16_m64n32_sm80(const Job& job, void* stream) {
  return sm80::run<false, false, 256>("attention_f16_m64n32_sm80", job, stream);
}

}  // namespace gatun::cuda::attention
