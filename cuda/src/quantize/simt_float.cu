// Small floats: simt.h and small_float.h have all of it.
#include "gatun/types.h"
#include "quantize/simt.h"
#include "quantize/small_float.h"

namespace gatun::cuda::quantize {

#define GATUN_CUDA_QUANTIZE(family, name, x, codes, code_dtype, is_book) \
  GATUN_KERNEL_OF_##family(name, x, codes, code_dtype, is_book)
#define GATUN_KERNEL_OF_linear(...)
#define GATUN_KERNEL_OF_float(...)
#define GATUN_KERNEL_OF_book(...)
#undef GATUN_KERNEL_OF_float
#define GATUN_KERNEL_OF_float(name, x, codes, code_dtype, is_book)                                             \
  const Kernel name = {#name,                                                                                  \
                       GATUN_##x,                                                                              \
                       GATUN_##code_dtype,                                                                     \
                       is_book,                                                                                \
                       codes::kTableBytes,                                                                     \
                       [](const Job& job, const gatun::quantize::Book* book, const Grid& grid, void* stream) { \
                         return launch_quantize<x, codes>(#name, job, book, grid, stream);                     \
                       },                                                                                      \
                       [](const Job& job, const gatun::quantize::Book* book, const Grid& grid, void* stream) { \
                         return launch_dequantize<x, codes>("de" #name, job, book, grid, stream);              \
                       }};
#include "quantize/simt_kernels.inc"

}  // namespace gatun::cuda::quantize
