// The definition of gatun_qmatmul, as slowly and plainly as it reads: the oracle of the tests.
#pragma once

#include <cstdint>
#include <vector>

#include "gatun/qmatmul.h"

namespace gatun::qmatmul {

// Weights as gatun_quantize writes them.
struct ReferenceWeights {
  gatun_qmatmul_weights description;
  const void* codes;
  const void* scales;
  const void* zero_points;
};

struct Reference {
  std::vector<double> y;          // [rows][column_end - column_begin], not rounded to the output type
  std::vector<double> activated;  // the same without the residual
  // What the f32 arithmetic may add and round: sum of |terms| of the product, |bias| and |residual| included.
  std::vector<double> magnitude;
  // In precise mode, what a kernel that reads x in fixed point may be off by: 1.01 * 2^-23 times the largest |x| of a
  // piece, taken as 2^-104 at least, times the piece's sum of |w|; summed over the pieces.
  std::vector<double> fixed_point;
};

// Activations are quantized with the f32 operations of the header; sums are exact integers; everything else is double.
Reference reference(const gatun_qmatmul_params& params, const void* x, const ReferenceWeights& weights,
                    const float* bias, const void* residual);

}  // namespace gatun::qmatmul
