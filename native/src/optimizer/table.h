// The tables of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "base/table.h"
#include "optimizer/kernel.h"

namespace gatun::optimizer {

// Rows by gatun_optimizer_state, from and to.
KernelTable<Kernel> table();
KernelTable<SquaresKernel> squares_table();

// As in gatun/optimizer.h, with kernels of `limit` and lower tiers.
int32_t run_step(Tier limit, const gatun_optimizer_params* params, void* p, const void* g, void* state1, float* scales1,
                 void* state2, float* scales2);
int32_t run_gradient_norm(Tier limit, int32_t dtype, int64_t count, const void* g, int32_t threads,
                          double* sum_of_squares);

}  // namespace gatun::optimizer
