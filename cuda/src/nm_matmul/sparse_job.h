// What kernels of a product with sparse weights get. Plain data: the parameter of every kernel.
#pragma once

#include <cstdint>

#include "nm_matmul/form.h"
#include "qmatmul/job.h"

namespace gatun::cuda::nm_matmul {

using qmatmul::Arithmetic;

struct SparseJob {
  // Units are those of form.h; of x, int8 codes lie in the order of depth; `kind` says what zero there is without zero
  // points: that of u4, or none.
  qmatmul::Job product;
  Order order;
  int32_t value_dtype;
  int32_t list_slots, list_bytes, unit_bytes;
};

}  // namespace gatun::cuda::nm_matmul
