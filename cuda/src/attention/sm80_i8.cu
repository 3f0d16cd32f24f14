// The kernels of sm80_tile.h whose codes are int8 and whose values are bf16.
#include "attention/sm80_tile.h"

namespace gatun::cuda::attention {

int32_t run_attention_i8_m128n64_sm80(const Job& job, void* stream) {
  return sm80::run<true, true, 64>("attention_i8_m128n64_sm80", job, stream);
}

int32_t run_attention_i8_m128n48_sm80(const Job& job, void* stream) {
  return sm80::run<true, true, 128>("attention_i8_m128n48_sm80", job, stream);
}

int32_t run_attention_i8_m64n32_sm80(const Job& job, void* stream) {
  return sm80::run<true, true, 256>("attention_i8_m64n32_sm80", job, stream);
}

}  // namespace gatun::cuda::attention
