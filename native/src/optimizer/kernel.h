// What the entry hands to a kernel, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "gatun/optimizer.h"

namespace gatun::quantize {
struct Book;
}

namespace gatun::optimizer {

inline constexpr int kRules = 6;
inline constexpr int kMostStates = 3;
inline constexpr int64_t kLeastBlock = 128, kMostBlock = 2048;

// A row of state: of `count` elements. Plane k of a rule: rows of state 1, then state 2.
struct Plane {
  void* codes;                 // f32, or codes
  float* scales;               // one a block; null if the state is f32
  const quantize::Book* book;  // the values of codes; null if they are no indices
};

// Numbers that the rules share, as optimizer.h names them.
struct Constants {
  float gradient_scale, weight_decay;
  float beta1, beta2, beta3, alpha, epsilon;
  float rest1, rest2, rest3;  // 1 - beta1, .., times the gradient's scale
  float root1, root2;         // sqrt(1 - beta1); sqrt(1 - beta2) times the gradient's scale
  float first, second;        // 1 / c1, 1 / c2
  float rate;                 // what the rule's update is multiplied by
  float decay;                // 1 - lr wd where that is decoupled, otherwise 1
  bool raw_gradient;
  bool starts;  // MOMENTUM at step 1, which takes no part of its old state
};

struct Job {
  void* p;
  const void* g;
  Plane planes[kMostStates];
  Constants constants;
  int64_t count;
  int64_t block;  // elements; of f32 state, too
  uint64_t seed;
  int32_t p_dtype;
  bool stochastic;
};

// Sums of squares.
struct Squares {
  double p, update;
};

struct Kernel {
  // By gatun_optimizer_rule. Steps blocks [begin, end).
  void (*step[kRules])(const Job& job, int64_t begin, int64_t end);
  // What a step of blocks [begin, end) would have to do: the sums of their p and of the rule's updates.
  Squares (*measure[kRules])(const Job& job, int64_t begin, int64_t end);
};

// The sum of squares of elements [begin, end) of a dtype.
struct SquaresKernel {
  double (*sum)(int32_t dtype, const void* x, int64_t begin, int64_t end);
};

#define GATUN_OPTIMIZER_KERNEL(name, isa, state) \
  }                                              \
  namespace gatun::isa {                         \
  extern const optimizer::Kernel name;           \
  }                                              \
  namespace gatun::optimizer {
#define GATUN_SQUARES_KERNEL(name, isa)       \
  }                                           \
  namespace gatun::isa {                      \
  extern const optimizer::SquaresKernel name; \
  }                                           \
  namespace gatun::optimizer {
#include "optimizer/kernels.inc"
#undef GATUN_OPTIMIZER_KERNEL
#undef GATUN_SQUARES_KERNEL

}  // namespace gatun::optimizer
