// The C entry points: check, select, call.
#include "gatun/optimizer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "optimizer/check.h"
#include "optimizer/make_job.h"
#include "optimizer/table.h"
#include "simd/float_mode.h"

namespace gatun::optimizer {
namespace {

using LongLong = long long;

// Bytes of p and g for which waking another thread pays.
constexpr int64_t kGrainBytes = 64 * 1024;

int32_t threads_of(const gatun_optimizer_params& p, int64_t blocks) {
  return useful_threads(p.threads, blocks, 2 * dtype_bytes(p.p_dtype, p.count), kGrainBytes);
}

// Adds sum(begin, end) of parts of [0, count), cut at multiples of `unit`, in ascending order.
template <class Sum>
auto ordered_sum(int64_t count, int64_t unit, int32_t threads, Sum sum) {
  const int64_t part = part_of(count, unit), parts = parts_of(count, unit);
  decltype(sum(count, count)) partial[kMostParts], total{};
  parallel_for(parts, std::max(1, static_cast<int32_t>(std::min<int64_t>(threads, parts))),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) partial[i] = sum(i * part, std::min(count, (i + 1) * part));
               });
  for (int64_t i = 0; i < parts; ++i) total += partial[i];
  return total;
}

struct Norms : Squares {
  Norms& operator+=(const Norms& other) {
    p += other.p;
    update += other.update;
    return *this;
  }
};

// What the rate is multiplied by, so that the update keeps to its largest norm.
double trust(const gatun_optimizer_params& params, const Kernel& kernel, const Job& job, int64_t blocks,
             int32_t threads) {
  const Norms norms = ordered_sum(blocks, 1, threads, [&](int64_t begin, int64_t end) {
    return Norms{kernel.measure[params.rule](job, begin, end)};
  });
  const NormLimit limit = norm_limit_of(params);
  const double p = std::sqrt(norms.p), update = std::fabs(limit.unit) * std::sqrt(norms.update);
  if (!(p > 0) || !(update > 0) || !std::isfinite(p) || !std::isfinite(update)) return 1;
  return std::min(1.0, limit.most * p / update);
}

}  // namespace

int32_t run_step(Tier limit, const gatun_optimizer_params* params, void* p, const void* g, void* state1, float* scales1,
                 void* state2, float* scales2) {
  GATUN_TRY(check_params(params));
  const Arguments arguments{p, g, state1, scales1, state2, scales2};
  GATUN_TRY(check_arguments(*params, arguments));
  if (params->count == 0) return GATUN_OK;
  const DefaultFloatMode mode;  // as in a loop's body
  Job job = job_of(*params, arguments);
  const Kernel& kernel = *table().select(params->state, params->state, limit).kernel;
  const int64_t blocks = blocks_of(job.count, job.block);
  const int32_t threads = threads_of(*params, blocks);
  if (params->max_update_norm > 0) {
    const double factor = trust(*params, kernel, job, blocks, threads);
    job.constants.rate = static_cast<float>(rate_of(*params) * factor);
  }
  parallel_for(blocks, threads, [&](int64_t begin, int64_t end) { kernel.step[params->rule](job, begin, end); });
  return GATUN_OK;
}

int32_t run_gradient_norm(Tier limit, int32_t dtype, int64_t count, const void* g, int32_t threads,
                          double* sum_of_squares) {
  GATUN_TRY(check_gradients(dtype, count, threads));
  Buffer buffers[kGradientBuffers];
  list_gradient_buffers(dtype, count, g, sum_of_squares, buffers);
  GATUN_TRY(check_buffers(buffers));
  constexpr int64_t kUnit = 1024;  // a chunk of squares.h
  const SquaresKernel& kernel = *squares_table().select(0, 0, limit).kernel;
  const DefaultFloatMode mode;
  *sum_of_squares = ordered_sum(
      count, kUnit, useful_threads(threads, blocks_of(count, kUnit), dtype_bytes(dtype, count), kGrainBytes),
      [&](int64_t begin, int64_t end) { return kernel.sum(dtype, g, begin, end); });
  return GATUN_OK;
}

}  // namespace gatun::optimizer

using namespace gatun;
using namespace gatun::optimizer;

int32_t gatun_optimizer_step(const gatun_optimizer_params* params, void* p, const void* g, void* state1, float* scales1,
                             void* state2, float* scales2) {
  return run_step(active_tier(), params, p, g, state1, scales1, state2, scales2);
}

int32_t gatun_gradient_norm(int32_t dtype, int64_t count, const void* g, int32_t threads, double* sum_of_squares) {
  return run_gradient_norm(active_tier(), dtype, count, g, threads, sum_of_squares);
}

int32_t gatun_optimizer_explain(const gatun_optimizer_params* params, char* text, int64_t capacity) {
  constexpr const char* kRuleNames[kRules] = {"ADAM", "ADEMAMIX", "MOMENTUM", "RMSPROP", "ADAGRAD", "LION"};
  constexpr const char* kStateNames[] = {"F32", "DYNAMIC8", "F8E4M3", "DYNAMIC4"};
  GATUN_TRY(check_params(params));
  const gatun_optimizer_params& p = *params;
  int64_t bytes;
  GATUN_TRY(check_extent(1, p.count, p.count, 1, dtype_bytes(p.p_dtype, 1) * 8, "p", &bytes));
  const KernelRow<Kernel>& chosen = table().select(p.state, p.state, active_tier());
  Text out;
  out.add("%s: the best kernel for %s state on tier %s, p and g in %s\n", chosen.name, kStateNames[p.state],
          tier_name(active_tier()), dtype_name(p.p_dtype));
  for (const KernelRow<Kernel>* row = table().begin(); row != &chosen; ++row) {
    if (row->from == p.state) table().explain_passed_over(*row, out);
  }
  const int64_t block = block_of(p), blocks = blocks_of(p.count, block);
  const int32_t threads = threads_of(p, blocks);
  out.add("  %s of %lld elements", kRuleNames[p.rule], LongLong{p.count});
  if (p.state != GATUN_STATE_F32) {
    out.add(", blocks of %lld: %lld scales a row of state", LongLong{block}, LongLong{blocks});
  }
  out.add(", on %d thread%s\n", threads, threads == 1 ? "" : "s");
  if (p.state == GATUN_STATE_DYNAMIC8 && chosen.tier != Tier::avx512vnni) {
    out.add(
        "  without look-ups of bytes in registers (avx512vnni) the new state's codes are searched in memory, which "
        "takes"
        " several times as long as F32 or F8E4M3 state\n");
  }
  if (p.max_update_norm > 0) out.add("  p, g and the state are read twice, for the norm of the update\n");
  return out.copy_to(text, capacity);
}
