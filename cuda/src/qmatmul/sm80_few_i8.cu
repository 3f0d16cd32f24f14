// sm80_few in int8.
#include "qmatmul/sm80_few.h"

namespace gatun::cuda::qmatmul {

int32_t run_sm80_few_i8(const Job& job, void* stream) {
  return run_instance<Arithmetic::i8>(job, [&](auto codes) {
    return few::run_codes<decltype(codes)::value, Arithmetic::i8>(job, "qmatmul_i8_sm80_few", stream);
  });
}

}  // namespace gatun::cuda::qmatmul
