#include "optimizer/make_job.h"

#include <cmath>

#include "base/dtype.h"
#include "gatun/quantize.h"
#include "quantize/books.h"

namespace gatun::optimizer {
namespace {

bool decays_apart(int32_t rule) { return rule == GATUN_ADAM || rule == GATUN_ADEMAMIX || rule == GATUN_LION; }

struct Corrections {
  double c1, c2;
};
Corrections corrections_of(const gatun_optimizer_params& p) {
  const double t = static_cast<double>(p.step);
  return {1 - std::pow(double{p.beta1}, t), std::sqrt(1 - std::pow(double{p.beta2}, t))};
}

const quantize::Book* book_of(int32_t state, bool second) {
  if (state == GATUN_STATE_DYNAMIC8) {
    return &quantize::built_in_book(second ? GATUN_BOOK_DYNAMIC_UNSIGNED : GATUN_BOOK_DYNAMIC);
  }
  return state == GATUN_STATE_DYNAMIC4 ? &quantize::state4_book(!second) : nullptr;
}

Constants constants_of(const gatun_optimizer_params& p) {
  const auto [c1, c2] = corrections_of(p);
  const double rate = p.learning_rate, scale = p.gradient_scale;
  const bool adam = p.rule == GATUN_ADAM, apart = decays_apart(p.rule);
  const auto rest = [&](float beta) { return static_cast<float>((1 - double{beta}) * scale); };
  Constants c{};
  c.gradient_scale = p.gradient_scale;
  c.weight_decay = apart ? 0 : p.weight_decay;
  c.beta1 = p.beta1;
  c.beta2 = p.beta2;
  c.beta3 = p.beta3;
  c.rest1 = rest(p.beta1);
  c.rest2 = rest(p.beta2);
  c.rest3 = rest(p.beta3);
  c.root1 = static_cast<float>(std::sqrt(1 - double{p.beta1}));
  c.root2 = static_cast<float>(std::sqrt(1 - double{p.beta2}) * scale);
  c.alpha = p.alpha;
  c.epsilon = adam ? static_cast<float>(double{p.epsilon} * c2) : p.epsilon;
  c.first = static_cast<float>(1 / c1);
  c.second = static_cast<float>(1 / c2);
  c.rate = static_cast<float>(rate_of(p));
  c.decay = apart ? static_cast<float>(1 - rate * double{p.weight_decay}) : 1;
  c.raw_gradient = p.raw_gradient == 1;
  c.starts = p.step == 1;
  return c;
}

}  // namespace

double rate_of(const gatun_optimizer_params& p) {
  const auto [c1, c2] = corrections_of(p);
  return p.rule == GATUN_ADAM ? double{p.learning_rate} * c2 / c1 : double{p.learning_rate};
}

Job job_of(const gatun_optimizer_params& p, const Arguments& a) {
  Job job{};
  job.p = a.p;
  job.g = a.g;
  job.constants = constants_of(p);
  job.count = p.count;
  job.block = block_of(p);
  job.seed = static_cast<uint64_t>(p.seed);
  job.p_dtype = p.p_dtype;
  job.stochastic = p.rounding == GATUN_PARAMETER_STOCHASTIC;
  const int64_t row_bytes = dtype_bytes(state_dtype(p.state), p.count), blocks = blocks_of(p.count, job.block);
  const int64_t rows = rows_of_state1(p.rule);
  for (int64_t row = 0; row < rows; ++row) {
    job.planes[row] = {static_cast<uint8_t*>(a.state1) + row * row_bytes,
                       a.scales1 == nullptr ? nullptr : a.scales1 + row * blocks, book_of(p.state, false)};
  }
  if (rows_of_state2(p.rule) > 0) job.planes[rows] = {a.state2, a.scales2, book_of(p.state, true)};
  return job;
}

NormLimit norm_limit_of(const gatun_optimizer_params& p) {
  const auto [c1, c2] = corrections_of(p);
  return {p.rule == GATUN_ADAM ? c2 / c1 : 1, double{p.max_update_norm}, rate_of(p)};
}

}  // namespace gatun::optimizer
