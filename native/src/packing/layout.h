// What gatun_packing_params say: which planes there are, where their elements lie, how many bytes they take.
#pragma once

#include <cstdint>

#include "gatun/packing.h"
#include "packing/plane.h"

namespace gatun::packing {

// Where floats of (column, group) lie, in elements.
struct Strides {
  int64_t column, group;
};

// What the packed zero points are.
enum class ZeroPoints { none, codes, floats };

struct Layout {
  int bits;
  int code_bias, zero_bias;  // Gatun's code = (packed code + bias) modulo 2^bits; so of integer zero points
  int64_t groups;
  int64_t padded_depth;  // of packed_codes; beyond the depth codes of 0
  Plane packed_codes, codes;
  Strides packed_floats, floats;  // of scales and float zero points
  ZeroPoints packed_zeros;
  Plane packed_zero_codes, zero_codes;
  int64_t packed_codes_bytes, packed_scales_bytes, packed_zeros_bytes;
  int64_t codes_bytes, scales_bytes, zeros_bytes;
};

// Checks the parameters.
int32_t layout_of(const gatun_packing_params* params, Layout* layout);

}  // namespace gatun::packing
