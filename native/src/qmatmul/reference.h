// The definition of gatun_qmatmul, as slowly and plainly as it reads: the oracle of the tests.
#pragma once

#include <cstdint>
#include <vector>

#include "gatun/qmatmul.h"

namespace gatun::qmatmul {

// Weights as gatun_quantize or gatun_gguf_quantize write them.
struct ReferenceWeights {
  gatun_qmatmul_weights description;
  const void* codes;
  const void* scales;
  const void* zero_points;
  const float* code_book = nullptr;  // of GATUN_BOOK_GIVEN
  const void* blocks = nullptr;      // with a gguf_type, instead of all others
};

// Scales of rows that are quantized already, as gatun_qmatmul_scaled takes them.
struct ReferenceScales {
  const float* at = nullptr;
  int64_t group = 0;
  int64_t row_stride = 0;
};

struct Reference {
  std::vector<double> y;          // [rows][column_end - column_begin], not rounded to the output type
  std::vector<double> activated;  // the same without the residual
  // What the f32 arithmetic may add and round: sum of |terms| of the product, |bias| and |residual| included. A weight
  // with an offset counts as two terms.
  std::vector<double> magnitude;
  // In precise mode, what a kernel that reads x in fixed point may be off by: 1.01 * 2^-23 times the largest |x| of a
  // piece, taken as 2^-104 at least, times the piece's sum of |w|; summed over the pieces.
  // In mode BF16, what it costs that subnormals, of factors and of a piece's sums, may count as zeros: 2^-126 times
  // |weight| + |its scale|, summed.
  std::vector<double> fixed_point;
};

// A weight is product + offset; the offset is 0 but with float zero points and GGUF types with minimums. In mode BF16
// the product has the code's value rounded to bf16, and its scale is told.
struct ReferenceTerm {
  double product, offset;
  double scale = 0;
};
ReferenceTerm reference_weight(const ReferenceWeights& weights, int32_t mode, int64_t n, int64_t k);

// Element i of a GGUF block.
ReferenceTerm reference_gguf(int32_t type, const uint8_t* block, int i);

// What references of other products share. An element of x, y or a residual; x[begin, end) as the integer codes of
// INT8_ROW, and their scale; gatun_activation of v.
double reference_element(const void* values, int32_t dtype, int64_t index);
double reference_quantize(std::vector<double>& x, int64_t begin, int64_t end);
double reference_activate(double v, int32_t activation);

// Activations are quantized, or rounded to bf16, with the operations of the header; everything else is double.
Reference reference(const gatun_qmatmul_params& params, const void* x, const ReferenceWeights& weights,
                    const float* bias, const void* residual, const ReferenceScales& x_scales = {});

}  // namespace gatun::qmatmul
