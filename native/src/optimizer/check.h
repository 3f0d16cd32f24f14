// What the entry points refuse, with a status and a message.
#pragma once

#include "base/check.h"
#include "gatun/optimizer.h"

namespace gatun::optimizer {

// The arguments in memory, as in gatun_optimizer_step.
struct Arguments {
  void* p;
  const void* g;
  void* state1;
  float* scales1;
  void* state2;
  float* scales2;
};

// Rows of state 1 and of state 2 that a rule has.
int64_t rows_of_state1(int32_t rule);
int64_t rows_of_state2(int32_t rule);

// The dtype of the elements of a state.
int32_t state_dtype(int32_t state);

int32_t check_params(const gatun_optimizer_params* params);
int32_t check_arguments(const gatun_optimizer_params& params, const Arguments& arguments);

// The arguments as check_buffers takes them. INVALID_ARGUMENT for what has to be null.
inline constexpr int kBuffers = 6;
int32_t list_buffers(const gatun_optimizer_params& params, const Arguments& arguments, Buffer* list);

// Those of gatun_gradient_norm.
int32_t check_gradients(int32_t dtype, int64_t count, int32_t threads);
inline constexpr int kGradientBuffers = 2;
void list_gradient_buffers(int32_t dtype, int64_t count, const void* g, const double* sum_of_squares, Buffer* list);

}  // namespace gatun::optimizer
