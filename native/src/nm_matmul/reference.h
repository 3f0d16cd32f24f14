// The definition of gatun_nm_matmul on the canonical form, as slowly and plainly as it reads: the oracle of the tests.
#pragma once

#include <cstdint>
#include <vector>

#include "gatun/nm_matmul.h"

namespace gatun::nm_matmul {

// Weights in the canonical form (gatun/nm_format.h).
struct ReferenceWeights {
  gatun_nm_weights description;
  const void* values;
  const uint8_t* indices;
  const void* scales = nullptr;
  const uint8_t* zero_points = nullptr;
};

// A kept weight: its depth, and in the mode F32 the number as f32 holds it; otherwise exact.
struct ReferenceWeight {
  int64_t depth;  // may lie beyond the matrix's
  double value;
};
ReferenceWeight reference_weight(const ReferenceWeights& weights, int32_t mode, int64_t column, int64_t slot);

// The weights as a matrix [columns, depth] with zeros.
std::vector<double> reference_matrix(const ReferenceWeights& weights, int32_t mode);

struct Reference {
  std::vector<double> y;          // [rows][column_end - column_begin], not rounded to the output type
  std::vector<double> activated;  // the same without the residual
  std::vector<double> magnitude;  // sum of |terms| of the product, |bias| and |residual| included
  // What it may cost that numbers below 2^-126 count as zeros (BF16), or have fewer bits (F32, INT8).
  std::vector<double> small;
};

// Activations are quantized, or rounded to bf16, with the operations of the header; everything else is double. `dense`:
// weights that are stored dense, whose zeros are multiplied in the modes F32 and BF16.
Reference reference(const gatun_nm_matmul_params& params, const void* x, const ReferenceWeights& weights,
                    const float* bias, const void* residual, bool dense = false);

// Rounded steps of the f32 sums, for the bound of the header: 2^-23 (steps + 8) magnitude.
double reference_steps(const gatun_nm_weights& weights, int32_t mode, bool dense = false);

}  // namespace gatun::nm_matmul
