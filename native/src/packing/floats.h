// Scales and float zero points between Gatun's planes and packed ones: a check of all values, then a copy that cannot
// fail.
#pragma once

#include <cstdint>

#include "packing/layout.h"

namespace gatun::packing {

// A plane of floats [columns, groups] under the name of its argument.
struct Floats {
  const char* name;
  const void* data;
  int32_t dtype;
  Strides strides;
};

// From a value v, and the scale s of its block, to what is stored. Of zero points, Gatun stores what code 0 stands for.
enum class Rule {
  exact,                 // v, which the type must hold
  from_subtrahend,       // -(v * s): codes stand for (q - v) * s
  to_subtrahend,         // -(v / s)
  from_value_of_code_8,  // v - 8 s
  to_value_of_code_8     // v + 8 s
};

struct FloatCopy {
  Rule rule;
  Floats from, scales;  // scales: but for `exact`
  int32_t to_dtype;
  Strides to_strides;
};

// INVALID_ARGUMENT, with column and group, if a value is NaN or infinite, or has no finite (of `exact`, equal) result.
int32_t check_floats(const FloatCopy& copy, int64_t columns, int64_t groups);

void copy_floats(const FloatCopy& copy, int64_t columns, int64_t groups, void* to);

}  // namespace gatun::packing
