// sm80_tiled in f16.
#include "qmatmul/sm80_tiled.h"

namespace gatun::cuda::qmatmul {

int32_t run_qmatmul_f16_m128n128_sm80(const Job& job, void* stream) {
  return run_instance<Arithmetic::f16>(job, [&](auto codes) {
    return tiled::run_codes<decltype(codes)::value, Arithmetic::f16>(job, "qmatmul_f16_m128n128_sm80", stream);
  });
}

}  // namespace gatun::cuda::qmatmul
