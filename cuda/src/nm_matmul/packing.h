// Packing weights on the device: from the canonical form (gatun/nm_format.h) to the packed one (form.h).
#pragma once

#include <cstdint>

#include "nm_matmul/form.h"

namespace gatun::cuda::nm_matmul {

struct PackJob {
  Form form;
  Header header;
  int32_t index_bits;
  int64_t value_row_bytes, index_row_bytes;
  const uint8_t* values;
  const uint8_t* indices;
  const void* scales;
  const uint8_t* zero_points;
  uint8_t* packed;
  gatun_cuda_nm_faults* faults;
};

// Writes all of the packed form, and the least faults there are, to `faults`, which hold -1 before.
int32_t run_pack(const PackJob& job, void* stream);

}  // namespace gatun::cuda::nm_matmul
