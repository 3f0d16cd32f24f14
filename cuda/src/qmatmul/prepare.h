// From the caller's x to that of kernels (Prepared in job.h).
#pragma once

#include <cstdint>

#include "qmatmul/job.h"

namespace gatun::cuda::qmatmul {

struct PrepareJob {
  const void* from;
  int32_t dtype;  // F32, F16 or BF16
  int64_t from_row_stride;
  int64_t rows, depth, padded_depth;
  int64_t group, groups;
  Arithmetic to, rounding;  // f32 holds numbers rounded to `rounding`; else they are the same
  bool scales_of_groups;
  bool in_order;  // i8: not as job.h says, but in the order of depth
  void* x;        // or null, if only sums are wanted
  float* scales;  // i8
  void* sums;     // or null
};

int32_t run_prepare(const PrepareJob& job, void* stream);

}  // namespace gatun::cuda::qmatmul
