// The universal kernels of int8 (simt.h).
#include "qmatmul/simt.h"

namespace gatun::cuda::qmatmul {

int32_t run_qmatmul_i8_simt_sm80(const Job& job, void* stream) {
  constexpr const char* kName = "qmatmul_i8_simt_sm80";
  switch (job.kind) {
    case Codes::u4:
      return simt::run_codes<Codes::u4, simt::Integers>(kName, job, stream);
    case Codes::u2:
      return simt::run_codes<Codes::u2, simt::Integers>(kName, job, stream);
    case Codes::i8:
      return simt::run_codes<Codes::i8, simt::Integers>(kName, job, stream);
    default:
      return simt::run_codes<Codes::u8, simt::Integers>(kName, job, stream);
  }
}

}  // namespace gatun::cuda::qmatmul
