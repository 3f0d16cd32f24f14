// sm80_sparse in bf16.
#include "nm_matmul/sm80_sparse.h"

namespace gatun::cuda::nm_matmul {

int32_t run_nm_matmul_sparse_bf16_m16n128_sm80(const SparseJob& job, void* stream) {
  constexpr const char* kName = "nm_matmul_sparse_bf16_m16n128_sm80";
  return job.value_dtype == GATUN_U4 ? run_shape<Few<SparseCodes<true>>>(job, kName, stream)
                                     : run_shape<Few<SparseHalves<true>>>(job, kName, stream);
}

int32_t run_nm_matmul_sparse_bf16_m128n128_sm80(const SparseJob& job, void* stream) {
  constexpr const char* kName = "nm_matmul_sparse_bf16_m128n128_sm80";
  return job.value_dtype == GATUN_U4 ? run_shape<Many<SparseCodes<true>>>(job, kName, stream)
                                     : run_shape<Many<SparseHalves<true>>>(job, kName, stream);
}

int32_t run_nm_matmul_sparse_bf16_m192n256_sm80(const SparseJob& job, void* stream) {
  return run_shape<Wide<SparseHalves<true>>>(job, "nm_matmul_sparse_bf16_m192n256_sm80", stream);
}

int32_t run_nm_matmul_decoded_bf16_m16n128_sm80(const SparseJob& job, void* stream) {
  return run_shape<Few<Decoded<Arithmetic::bf16>>>(job, "nm_matmul_decoded_bf16_m16n128_sm80", stream);
}

int32_t run_nm_matmul_decoded_bf16_m128n128_sm80(const SparseJob& job, void* stream) {
  return run_shape<Many<Decoded<Arithmetic::bf16>>>(job, "nm_matmul_decoded_bf16_m128n128_sm80", stream);
}

}  // namespace gatun::cuda::nm_matmul
