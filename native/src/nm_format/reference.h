// The canonical form straight from its definition, bit by bit: what the op is compared with. Of checked arguments.
#pragma once

#include <cstdint>
#include <vector>

#include "gatun/nm_format.h"

namespace gatun::nm_format {

struct Canonical {
  bool valid;  // false: a group keeps more than n
  std::vector<uint8_t> values, indices;
};

// `mask` null: what is not 0 in any row of a vector. `zero_points` may be null.
Canonical reference_compress(const gatun_nm_format& format, const uint8_t* dense, const uint8_t* mask,
                             const uint8_t* zero_points);

std::vector<uint8_t> reference_decompress(const gatun_nm_format& format, const uint8_t* values, const uint8_t* indices,
                                          const uint8_t* zero_points);

std::vector<uint8_t> reference_mask(const gatun_nm_format& format, const uint8_t* indices);

// Whether indices are what gatun_nm_check accepts.
bool reference_check(const gatun_nm_format& format, const uint8_t* indices);

// The metadata of sm80: words in the order of CUTLASS's reorder_meta(), of which each is put where the formulas say.
std::vector<uint8_t> reference_sm80(const gatun_nm_format& format, const uint8_t* indices);

}  // namespace gatun::nm_format
