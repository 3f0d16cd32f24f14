#include "optimizer/check.h"

#include <cmath>

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "optimizer/kernel.h"

namespace gatun::optimizer {
namespace {

int32_t check_float(float value, double low, double high, const char* name, const char* allowed) {
  if (std::isfinite(value) && double{value} >= low && double{value} <= high) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "params.%s = %g; allowed: %s", name, double{value}, allowed);
}

int32_t check_numbers(const gatun_optimizer_params& p) {
  constexpr const char *kAny = "finite numbers", *kPositive = "finite, at least 0", *kBeta = "0..1";
  constexpr double kMost = INFINITY;
  GATUN_TRY(check_float(p.learning_rate, -kMost, kMost, "learning_rate", kAny));
  GATUN_TRY(check_float(p.beta1, 0, 1, "beta1", kBeta));
  GATUN_TRY(check_float(p.beta2, 0, 1, "beta2", kBeta));
  GATUN_TRY(check_float(p.beta3, 0, 1, "beta3", kBeta));
  GATUN_TRY(check_float(p.alpha, -kMost, kMost, "alpha", kAny));
  GATUN_TRY(check_float(p.epsilon, 0, kMost, "epsilon", kPositive));
  GATUN_TRY(check_float(p.weight_decay, 0, kMost, "weight_decay", kPositive));
  GATUN_TRY(check_float(p.gradient_scale, -kMost, kMost, "gradient_scale", kAny));
  return check_float(p.max_update_norm, 0, kMost, "max_update_norm", kPositive);
}

int32_t check_block(const gatun_optimizer_params& p) {
  const bool quantized = p.state != GATUN_STATE_F32;
  if (quantized ? p.block % 128 == 0 && p.block >= 128 && p.block <= kMostBlock : p.block == 0) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "params.block = %lld with params.state = %d; allowed: %s",
              static_cast<long long>(p.block), p.state, quantized ? "multiples of 128 in 128..2048" : "0 (F32 state)");
}

}  // namespace

int64_t rows_of_state1(int32_t rule) { return rule == GATUN_ADEMAMIX ? 2 : 1; }
int64_t rows_of_state2(int32_t rule) { return rule == GATUN_ADAM || rule == GATUN_ADEMAMIX ? 1 : 0; }

int32_t state_dtype(int32_t state) {
  switch (state) {
    case GATUN_STATE_DYNAMIC8:
      return GATUN_U8;
    case GATUN_STATE_F8E4M3:
      return GATUN_F8E4M3;
    case GATUN_STATE_DYNAMIC4:
      return GATUN_U4;
    default:
      return GATUN_F32;
  }
}

int32_t check_params(const gatun_optimizer_params* params) {
  GATUN_TRY(check_not_null(params, "params"));
  const gatun_optimizer_params& p = *params;
  GATUN_TRY(check_struct_size(p.struct_size, sizeof(p), "params"));
  GATUN_TRY(check_range(p.rule, GATUN_ADAM, GATUN_LION, "params.rule"));
  GATUN_TRY(check_dtype(p.p_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.p_dtype"));
  GATUN_TRY(check_range(p.state, GATUN_STATE_F32, GATUN_STATE_DYNAMIC4, "params.state"));
  GATUN_TRY(check_range(p.rounding, GATUN_PARAMETER_NEAREST, GATUN_PARAMETER_STOCHASTIC, "params.rounding"));
  if (p.rounding == GATUN_PARAMETER_STOCHASTIC && p.p_dtype != GATUN_BF16) {
    return fail(GATUN_INVALID_ARGUMENT, "params.rounding = 1 (stochastic) with params.p_dtype = %d (%s); allowed: BF16",
                p.p_dtype, dtype_name(p.p_dtype));
  }
  GATUN_TRY(check_range(p.raw_gradient, 0, 1, "params.raw_gradient"));
  if (p.raw_gradient == 1 && p.rule != GATUN_RMSPROP && p.rule != GATUN_ADAGRAD) {
    return fail(GATUN_INVALID_ARGUMENT,
                "params.raw_gradient = 1 with params.rule = %d; allowed: 0, or rules 3 (RMSPROP), 4 (ADAGRAD)", p.rule);
  }
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_numbers(p));
  GATUN_TRY(check_range(p.step, 1, INT64_MAX, "params.step"));
  GATUN_TRY(check_range(p.count, 0, INT64_MAX, "params.count"));
  return check_block(p);
}

int32_t list_buffers(const gatun_optimizer_params& p, const Arguments& a, Buffer* list) {
  const bool second = rows_of_state2(p.rule) > 0, scales = p.state != GATUN_STATE_F32;
  GATUN_TRY(check_absent(scales, a.scales1, "scales1", "params.state = 0 (F32)"));
  GATUN_TRY(check_absent(second, a.state2, "state2", "the rule has one state"));
  GATUN_TRY(check_absent(second && scales, a.scales2, "scales2",
                         second ? "params.state = 0 (F32)" : "the rule has one state"));
  const int64_t value_bytes = dtype_bytes(p.p_dtype, 1);
  const bool nibbles = p.state == GATUN_STATE_DYNAMIC4;
  const int64_t row = nibbles ? blocks_of(p.count, 2) : p.count, element = scales ? 1 : 4;
  const int64_t blocks = scales ? blocks_of(p.count, p.block) : 0;
  const int64_t rows1 = rows_of_state1(p.rule), rows2 = rows_of_state2(p.rule);
  list[0] = {"p", a.p, 1, p.count, p.count, value_bytes, true};
  list[1] = {"g", a.g, 1, p.count, p.count, value_bytes, false};
  list[2] = {"state1", a.state1, rows1, row, row, element, true};
  list[3] = {"scales1", a.scales1, rows1, blocks, blocks, 4, true};
  list[4] = {"state2", a.state2, rows2, row, row, element, true};
  list[5] = {"scales2", a.scales2, rows2, blocks, blocks, 4, true};
  return GATUN_OK;
}

int32_t check_arguments(const gatun_optimizer_params& p, const Arguments& a) {
  Buffer buffers[kBuffers];
  GATUN_TRY(list_buffers(p, a, buffers));
  return check_buffers(buffers);
}

int32_t check_gradients(int32_t dtype, int64_t count, int32_t threads) {
  GATUN_TRY(check_dtype(dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "dtype"));
  GATUN_TRY(check_range(count, 0, INT64_MAX, "count"));
  return check_range(threads, 0, kMaxThreads, "threads");
}

void list_gradient_buffers(int32_t dtype, int64_t count, const void* g, const double* sum_of_squares, Buffer* list) {
  list[0] = {"g", g, 1, count, count, dtype_bytes(dtype, 1), false};
  list[1] = {"sum_of_squares", sum_of_squares, 1, 1, 1, sizeof(double), true};
}

}  // namespace gatun::optimizer
