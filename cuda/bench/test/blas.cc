// What the bench calls of cuBLAS, on the CPU and from the definition of a BLAS product, so that the way it is called is
// tested without a GPU: column-major matrices, c [m, n] = op(a) [m, k] * op(b) [k, n].
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

extern "C" {

__attribute__((visibility("default"))) int32_t cublasCreate_v2(void** handle) {
  static int the_handle;
  *handle = &the_handle;
  return 0;
}
__attribute__((visibility("default"))) int32_t cublasDestroy_v2(void*) { return 0; }
__attribute__((visibility("default"))) int32_t cublasSetStream_v2(void*, void*) { return 0; }
__attribute__((visibility("default"))) int32_t cublasSetWorkspace_v2(void*, void*, size_t) { return 0; }
__attribute__((visibility("default"))) int32_t cublasGetVersion_v2(void*, int* version) {
  *version = 130102;
  return 0;
}

// CUDA_R_16BF is 14, CUBLAS_COMPUTE_32F 68; CUBLAS_OP_T is 1.
__attribute__((visibility("default"))) int32_t cublasGemmEx(void*, int32_t transpose_a, int32_t transpose_b, int m,
                                                            int n, int k, const void* alpha, const void* a,
                                                            int32_t a_type, int lda, const void* b, int32_t b_type,
                                                            int ldb, const void* beta, void* c, int32_t c_type, int ldc,
                                                            int32_t compute, int32_t) {
  if (a_type != 14 || b_type != 14 || c_type != 14 || compute != 68) return 15;
  if (lda < (transpose_a == 1 ? k : m) || ldb < (transpose_b == 1 ? n : k) || ldc < m) return 7;
  if (*static_cast<const float*>(alpha) != 1 || *static_cast<const float*>(beta) != 0) return 7;
  const auto* const left = static_cast<const uint16_t*>(a);
  const auto* const right = static_cast<const uint16_t*>(b);
  for (int column = 0; column < n; ++column) {
    for (int row = 0; row < m; ++row) {
      double sum = 0;
      for (int i = 0; i < k; ++i) {
        const uint16_t x = transpose_a == 1 ? left[int64_t{row} * lda + i] : left[int64_t{i} * lda + row];
        const uint16_t y = transpose_b == 1 ? right[int64_t{i} * ldb + column] : right[int64_t{column} * ldb + i];
        sum += double{gatun::bf16_to_f32(x)} * double{gatun::bf16_to_f32(y)};
      }
      static_cast<uint16_t*>(c)[int64_t{column} * ldc + row] = gatun::f32_to_bf16(static_cast<float>(sum));
    }
  }
  return 0;
}

}  // extern "C"
