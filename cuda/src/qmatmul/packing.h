// Packing weights on the device: from the planes of gatun_quantize to the packed form (form.h).
#pragma once

#include <cstdint>

#include "base/packed.h"
#include "gatun/cuda_quantize.h"
#include "qmatmul/form.h"

namespace gatun::cuda::qmatmul {

struct PackJob {
  Form form;
  PackedHeader header;
  int32_t code_bits;  // in the plane of codes: 2, 4, 6 or 8
  int64_t row_bytes;  // of that plane
  const uint8_t* codes;
  const void* scales;
  const void* zero_points;
  uint8_t* packed;
  gatun_cuda_faults* faults;  // value: of a code; block: of a scale or zero point
};

struct Book {
  float values[256];
};

// Writes all of the packed form, and the least faults there are, to `faults`, which hold -1 before.
int32_t run_pack(const PackJob& job, const Book& book, void* stream);

}  // namespace gatun::cuda::qmatmul
