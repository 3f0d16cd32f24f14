// sm80_few in f16.
#include "qmatmul/sm80_few.h"

namespace gatun::cuda::qmatmul {

int32_t run_qmatmul_f16_m16n32_sm80(const Job& job, void* stream) {
  return run_instance<Arithmetic::f16>(job, [&](auto codes) {
    return few::run_codes<decltype(codes)::value, Arithmetic::f16>(job, "qmatmul_f16_m16n32_sm80", stream);
  });
}

}  // namespace gatun::cuda::qmatmul
