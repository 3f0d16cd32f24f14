// sm80_tiled in int8.
#include "qmatmul/sm80_tiled.h"

namespace gatun::cuda::qmatmul {

int32_t run_qmatmul_i8_m128n128_sm80(const Job& job, void* stream) {
  return run_instance<Arithmetic::i8>(job, [&](auto codes) {
    return tiled::run_codes<decltype(codes)::value, Arithmetic::i8>(job, "qmatmul_i8_m128n128_sm80", stream);
  });
}

}  // namespace gatun::cuda::qmatmul
