/*
 * Fused optimizer steps on parameters, gradients and state in one pass over memory; state in f32 or in blocks of 8 or 4
 * bits.
 *
 * A step takes a tensor of `count` parameters p with gradients g and changes p and the state s in place. It computes in
 * f32: state is dequantized, the rule applied, p rounded once to its dtype, and the new state, unrounded, quantized
 * again. So a step on quantized state is, bit for bit, gatun_dequantize of the state, the step on f32 state, and
 * gatun_quantize of the new one, but that a value of state 1 in DYNAMIC8 below -2^-60 times its scale never
 * becomes 0, but the negative code next to it (the sign is what LION and momentum live on). All results are the same,
 * bit for bit, on every tier and for any number of threads, but for which NaN a NaN is.
 *
 * With t = step, gs = gradient_scale, G the gradient and g = gs G; constants are made in f64 and rounded once:
 *
 *   rule      state   new state and parameter
 *   ADAM      m v     m = b1 m + ((1 - b1) gs) G    v = b2 v + ((sqrt(1 - b2) gs) G)^2
 *                     p = (p - a m / (sqrt(v) + e)) (1 - lr wd),  a = lr c2 / c1,  e = epsilon c2,
 *                     c1 = 1 - b1^t,  c2 = sqrt(1 - b2^t)
 *   ADEMAMIX  m n v   m and v as ADAM    n = b3 n + ((1 - b3) gs) G
 *                     p = (p - lr (m / c1 + alpha n) / (sqrt(v) / c2 + epsilon)) (1 - lr wd)
 *   MOMENTUM  m       h = g + wd p    m = h if t = 1, else b1 m + h    p -= lr m
 *   RMSPROP   v       h = g + wd p    v = b1 v + (sqrt(1 - b1) h)^2    p -= lr h / (sqrt(v) + epsilon)
 *   ADAGRAD   v       h = g + wd p    v += h^2    p -= lr h / (sqrt(v) + epsilon)
 *   LION      m       p = p (1 - lr wd) - lr sign(b1 m + ((1 - b1) gs) G)    m = b2 m + ((1 - b2) gs) G;  sign(0) = 0
 *
 * ADAM is AdamW: its weight decay is decoupled; ADEMAMIX and LION the same. With max_update_norm = u > 0, lr times the
 * update is multiplied by min(1, u ||p|| / ||update||), where the update is what lr multiplies and norms are those of
 * the tensor before the step: LAMB is ADAM with u = 1, LARS is MOMENTUM with 0.02. The factor is 1 if a norm is 0 or
 * not finite.
 *
 * An element whose new state is not finite (NaN or infinity in its gradient or old state, or a square beyond f32), or
 * whose new v is negative, keeps its p, and its state becomes 0. With epsilon = 0, p becomes NaN where all gradients
 * were 0, as the formula says.
 *
 * State 1 is [count], of ADEMAMIX [2, count] (m, n); state 2 is v of ADAM and ADEMAMIX [count]; other rules have none.
 * Quantized state is cut into blocks of `block` elements (the last one of a row may be shorter), each with a scale:
 *
 *   state      codes of state 1, of state 2     scale, f32 [ceil(count / block)] a row  bytes an element, block 256
 *   F32        f32                              none                                   4
 *   DYNAMIC8   GATUN_BOOK_DYNAMIC,              absmax                                 1.02
 *              GATUN_BOOK_DYNAMIC_UNSIGNED
 *   F8E4M3     F8E4M3                           absmax / 448                           1.02
 *   DYNAMIC4   two a byte, the first one in     absmax                                 0.53 (block 128)
 *              the high four bits (unlike U4):
 *              0, +-0.0055, +-0.0325, +-0.0775, +-0.2125, +-0.4375, +-0.6625, +-0.8875, 1 in ascending order;
 *              (i + 1) / 16 (0.0325 and 0.2125 are 0x1.0a3d72p-5 and 0x1.b33332p-3, as f32 arithmetic makes them)
 *
 * State of zeros is all bits 0, in every format. DYNAMIC8 is what bitsandbytes 0.44 and later keeps with blocks of 256,
 * before with 2048; F8E4M3 with blocks of 256 and DYNAMIC4 with 128 is torchao's.
 *
 * Sources: Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization"; bitsandbytes 0.50 (rules, layouts); Li
 * et al. 2023, "Memory Efficient Optimizers with 4-bit States", and torchao (4-bit and FP8 state, stochastic rounding);
 * Pagliardini et al. 2024 (AdEMAMix); Chen et al. 2023 (Lion); You et al. 2017, 2020 (LARS, LAMB).
 */
#ifndef GATUN_OPTIMIZER_H
#define GATUN_OPTIMIZER_H

#include <stdint.h>

#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_optimizer_rule {
  GATUN_ADAM = 0,
  GATUN_ADEMAMIX = 1,
  GATUN_MOMENTUM = 2,
  GATUN_RMSPROP = 3,
  GATUN_ADAGRAD = 4,
  GATUN_LION = 5
};

enum gatun_optimizer_state {
  GATUN_STATE_F32 = 0,
  GATUN_STATE_DYNAMIC8 = 1,
  GATUN_STATE_F8E4M3 = 2,
  GATUN_STATE_DYNAMIC4 = 3
};

enum gatun_parameter_rounding {
  GATUN_PARAMETER_NEAREST = 0, /* ties to even */
  /*
   * BF16: away from 0 with a probability in proportion to the distance from the neighbour nearer to 0, in parts of
   * 2^-16. The 16 random bits come from the seed and the element's index alone; vary the seed from step to step.
   */
  GATUN_PARAMETER_STOCHASTIC = 1
};

typedef struct gatun_optimizer_params {
  uint32_t struct_size;  /* sizeof(gatun_optimizer_params) */
  int32_t rule;          /* gatun_optimizer_rule */
  int32_t p_dtype;       /* F32, F16 or BF16: of p and g */
  int32_t state;         /* gatun_optimizer_state */
  int32_t rounding;      /* gatun_parameter_rounding; STOCHASTIC with BF16 only */
  int32_t raw_gradient;  /* 1: RMSPROP and ADAGRAD move p by the gradient as it came, neither scaled nor with wd p, as
                            bitsandbytes' 8-bit kernels do; else 0 */
  int32_t threads;       /* 0 = gatun_threads(); 1 = only the calling thread */
  float learning_rate;   /* lr; all floats are finite */
  float beta1;           /* 0..1; c1 and c2 are 0, and p NaN, with a 1 in ADAM and ADEMAMIX */
  float beta2;           /* 0..1 */
  float beta3;           /* 0..1; ADEMAMIX */
  float alpha;           /* ADEMAMIX */
  float epsilon;         /* >= 0 */
  float weight_decay;    /* wd, >= 0 */
  float gradient_scale;  /* 1 / loss scale, times the factor of clipping */
  float max_update_norm; /* >= 0; 0 = no limit */
  int64_t step;          /* t, >= 1 */
  int64_t count;         /* >= 0 */
  int64_t block;         /* a multiple of 128, 128..2048; F32 state: 0 */
  int64_t seed;          /* of stochastic rounding */
} gatun_optimizer_params;

/*
 * p and g of p_dtype [count]; state and scales as above, null where there are none. Outputs are p, states and scales;
 * they overlap nothing. O(count); p, g and states are read twice with max_update_norm.
 */
GATUN_API int32_t gatun_optimizer_step(const gatun_optimizer_params* params, void* p, const void* g, void* state1,
                                       float* scales1, void* state2, float* scales2);

/*
 * The sum of the squares of count gradients of a dtype F32, F16 or BF16, for the norm of all tensors of a model, with a
 * relative error below 2^-18. Infinity or NaN if a gradient is. It is the same for any number of threads and on every
 * tier.
 */
GATUN_API int32_t gatun_gradient_norm(int32_t dtype, int64_t count, const void* g, int32_t threads,
                                      double* sum_of_squares);

/* Which kernels these parameters select and why, for a person. INVALID_ARGUMENT if too small; 1024 bytes always do. */
GATUN_API int32_t gatun_optimizer_explain(const gatun_optimizer_params* params, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
