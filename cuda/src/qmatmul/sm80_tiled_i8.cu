// sm80_tiled in int8.
#include "qmatmul/sm80_tiled.h"

namespace gatun::cuda::qmatmul {

int32_t run_sm80_tiled_i8(const Job& job, void* stream) {
  return run_instance<Arithmetic::i8>(job, [&](auto codes) {
    return tiled::run_codes<decltype(codes)::value, Arithmetic::i8>(job, "qmatmul_i8_sm80_tiled", stream);
  });
}

}  // namespace gatun::cuda::qmatmul
