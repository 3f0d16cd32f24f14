// sm80_sparse in f16.
#include "nm_matmul/sm80_sparse.h"

namespace gatun::cuda::nm_matmul {

int32_t run_nm_matmul_sparse_f16_m16n128_sm80(const SparseJob& job, void* stream) {
  constexpr const char* kName = "nm_matmul_sparse_f16_m16n128_sm80";
  return job.value_dtype == GATUN_U4 ? run_shape<Few<SparseCodes<false>>>(job, kName, stream)
                                     : run_shape<Few<SparseHalves<false>>>(job, kName, stream);
}

int32_t run_nm_matmul_sparse_f16_m128n128_sm80(const SparseJob& job, void* stream) {
  constexpr const char* kName = "nm_matmul_sparse_f16_m128n128_sm80";
  return job.value_dtype == GATUN_U4 ? run_shape<Many<SparseCodes<false>>>(job, kName, stream)
                                     : run_shape<Many<SparseHalves<false>>>(job, kName, stream);
}

int32_t run_nm_matmul_sparse_f16_m192n256_sm80(const SparseJob& job, void* stream) {
  return run_shape<Wide<SparseHalves<false>>>(job, "nm_matmul_sparse_f16_m192n256_sm80", stream);
}

int32_t run_nm_matmul_decoded_f16_m16n128_sm80(const SparseJob& job, void* stream) {
  return run_shape<Few<Decoded<Arithmetic::f16>>>(job, "nm_matmul_decoded_f16_m16n128_sm80", stream);
}

int32_t run_nm_matmul_decoded_f16_m128n128_sm80(const SparseJob& job, void* stream) {
  return run_shape<Many<Decoded<Arithmetic::f16>>>(job, "nm_matmul_decoded_f16_m128n128_sm80", stream);
}

}  // namespace gatun::cuda::nm_matmul
