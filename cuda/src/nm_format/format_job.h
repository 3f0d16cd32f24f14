// What kernels of the canonical form get, and their launches. Plain data.
#pragma once

#include <cstdint>

#include "gatun/cuda_nm_format.h"

namespace gatun::cuda::nm_format {

struct FormatJob {
  int32_t n, m;
  int32_t index_bits;
  int32_t value_dtype;
  int32_t score;  // gatun_prune_score
  int64_t columns, depth, vector, vectors;
  int64_t groups, slots;                                 // of a row
  int64_t dense_row, values_row, indices_row, mask_row;  // bytes
  int64_t zero_group, zero_groups;                       // of a row
  const uint8_t* dense;
  const uint8_t* mask;         // or null
  const uint8_t* zero_points;  // or null
  const float* norms;
  const float* scores;
  uint8_t* values;
  uint8_t* indices;
  gatun_cuda_nm_format_faults* faults;
};

// What is kept is what the mask says, or without one what is not 0; the best by their scores; the best tiles of 4 x 4.
int32_t run_compress(const FormatJob& job, void* stream);
int32_t run_prune(const FormatJob& job, void* stream);
int32_t run_prune_transposable(const FormatJob& job, void* stream);

// From job.values and job.indices to `dense`.
int32_t run_decompress(const FormatJob& job, uint8_t* dense, void* stream);

}  // namespace gatun::cuda::nm_format
