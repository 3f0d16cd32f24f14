// What the entry hands to a kernel, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::nm_format {

// Sizes as in layout.h. Rows of all arrays lie side by side.
struct Job {
  const uint8_t* dense;
  const uint8_t* mask;  // compress: or null, and what is not 0 is kept
  const float* norms;   // prune: or null, as is the next one: then scores are magnitudes
  const float* scores;
  const uint8_t* zero_points;  // of U4, or null
  uint8_t* values;
  uint8_t* indices;
  int64_t columns, depth, vector;
  int64_t groups;
  int64_t dense_row, values_row, indices_row, mask_row;
  int64_t zero_group, zero_groups;  // weights that share a zero point; such groups of a row
  int32_t n, m;
  bool stream;  // whether the values are so many that they had better bypass the caches
};

struct Kernel {
  // Compresses vectors [begin, end). False if a group keeps more than n: the outputs are unspecified then.
  bool (*compress)(const Job& job, int64_t begin, int64_t end);
  // Prunes rows [begin, end) with vector 1 and compresses them. False if a score is NaN: likewise. Null for codes.
  bool (*prune)(const Job& job, int64_t begin, int64_t end);
};

#define GATUN_NM_FORMAT_KERNEL(name, isa, dtype) \
  }                                              \
  namespace gatun::isa {                         \
  extern const nm_format::Kernel name;           \
  }                                              \
  namespace gatun::nm_format {
#include "nm_format/kernels.inc"
#undef GATUN_NM_FORMAT_KERNEL

}  // namespace gatun::nm_format
