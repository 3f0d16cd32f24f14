// sm80_sparse in int8.
#include "nm_matmul/sm80_sparse.h"

namespace gatun::cuda::nm_matmul {

int32_t run_nm_matmul_sparse_i8_m16n128_sm80(const SparseJob& job, void* stream) {
  return run_shape<Few<SparseBytes>>(job, "nm_matmul_sparse_i8_m16n128_sm80", stream);
}

int32_t run_nm_matmul_sparse_i8_m128n128_sm80(const SparseJob& job, void* stream) {
  return run_shape<Many<SparseBytes>>(job, "nm_matmul_sparse_i8_m128n128_sm80", stream);
}

int32_t run_nm_matmul_sparse_i8_m192n256_sm80(const SparseJob& job, void* stream) {
  return run_shape<Wide<SparseBytes>>(job, "nm_matmul_sparse_i8_m192n256_sm80", stream);
}

int32_t run_nm_matmul_decoded_i8_m16n128_sm80(const SparseJob& job, void* stream) {
  return run_shape<Few<Decoded<Arithmetic::i8>>>(job, "nm_matmul_decoded_i8_m16n128_sm80", stream);
}

int32_t run_nm_matmul_decoded_i8_m128n128_sm80(const SparseJob& job, void* stream) {
  return run_shape<Many<Decoded<Arithmetic::i8>>>(job, "nm_matmul_decoded_i8_m128n128_sm80", stream);
}

}  // namespace gatun::cuda::nm_matmul
