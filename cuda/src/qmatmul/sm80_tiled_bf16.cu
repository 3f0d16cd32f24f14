// sm80_tiled in bf16.
#include "qmatmul/sm80_tiled.h"

namespace gatun::cuda::qmatmul {

int32_t run_qmatmul_bf16_m128n128_sm80(const Job& job, void* stream) {
  return run_instance<Arithmetic::bf16>(job, [&](auto codes) {
    return tiled::run_codes<decltype(codes)::value, Arithmetic::bf16>(job, "qmatmul_bf16_m128n128_sm80", stream);
  });
}

}  // namespace gatun::cuda::qmatmul
