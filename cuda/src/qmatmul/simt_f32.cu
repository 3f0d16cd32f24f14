// The universal kernels of f32 (simt.h).
#include "qmatmul/simt.h"

namespace gatun::cuda::qmatmul {

int32_t run_qmatmul_f32_simt_sm80(const Job& job, void* stream) {
  constexpr const char* kName = "qmatmul_f32_simt_sm80";
  switch (value_instance(job.kind)) {
    case Codes::u4:
      return simt::run_codes<Codes::u4, simt::Floats>(kName, job, stream);
    case Codes::u2:
      return simt::run_codes<Codes::u2, simt::Floats>(kName, job, stream);
    case Codes::u8:
      return simt::run_codes<Codes::u8, simt::Floats>(kName, job, stream);
    case Codes::f4e2m1:
      return simt::run_codes<Codes::f4e2m1, simt::Floats>(kName, job, stream);
    case Codes::book4:
      return simt::run_codes<Codes::book4, simt::Floats>(kName, job, stream);
    case Codes::book8:
      return simt::run_codes<Codes::book8, simt::Floats>(kName, job, stream);
    default:
      return simt::run_codes<Codes::f8e4m3, simt::Floats>(kName, job, stream);
  }
}

}  // namespace gatun::cuda::qmatmul
