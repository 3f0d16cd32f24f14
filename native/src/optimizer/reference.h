// Optimizer steps straight from gatun/optimizer.h, one element at a time: what kernels are compared with. Tensors are
// those of the entry, valid.
#pragma once

#include <cstdint>
#include <vector>

#include "gatun/optimizer.h"
#include "gatun/quantize.h"

namespace gatun::optimizer {

// Usual parameters of a second step on one thread. The block is for quantized state.
gatun_optimizer_params step_params(int32_t rule, int32_t p_dtype, int32_t state, int64_t count, int64_t block = 256);

// Each operation in f32 as the definition orders it, state through the references of quantize: the bits of every
// kernel, but of p with max_update_norm, whose factor comes from sums of no particular order: p is left as it was.
void reference_step(const gatun_optimizer_params& params, void* p, const void* g, void* state1, float* scales1,
                    void* state2, float* scales2);

// State of one argument in f32: rows of count elements.
std::vector<float> reference_state(const gatun_optimizer_params& params, const void* state, const float* scales,
                                   bool second);
// The other way.
void reference_store_state(const gatun_optimizer_params& params, const std::vector<float>& values, void* state,
                           float* scales, bool second);

// How quantize sees a quantized state argument of so many rows, but that DYNAMIC4 has the halves of its bytes
// exchanged.
gatun_quantize_params reference_quantize_params(const gatun_optimizer_params& params, int64_t rows, bool second);
// The code book of DYNAMIC4. Two of its numbers are not the f32 nearest to the decimal fraction.
std::vector<float> reference_book4(bool second);

// A result in double, and how far from it f32 arithmetic may come. The error is infinite where rounding decides about
// the result: a state at the end of f32's range, a divisor that may vanish.
struct Expected {
  double value, error;

  // Whether `actual`, of a float dtype, is an f32 within the error, rounded to the dtype as `rounding` says
  // (gatun_parameter_rounding).
  bool allows(float actual, int32_t dtype, int32_t rounding) const;
};

// A step in double. State is f32 (see reference_state): of a step on quantized state, that before it is quantized.
struct ExpectedStep {
  std::vector<Expected> p, state1, state2;
  Expected factor;  // of max_update_norm
};
ExpectedStep reference_bounds(const gatun_optimizer_params& params, const void* p, const void* g,
                              const std::vector<float>& state1, const std::vector<float>& state2);

// The sum of squares in double.
double reference_sum_of_squares(int32_t dtype, int64_t count, const void* g);

// Bytes of a row of state, and scales of it.
int64_t state_row_bytes(const gatun_optimizer_params& params);
int64_t state_row_scales(const gatun_optimizer_params& params);

}  // namespace gatun::optimizer
