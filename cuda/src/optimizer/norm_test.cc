// Norms against those of the CPU's kernels, bit for bit: gatun_cuda_gradient_norm, and steps with max_update_norm.
#include "optimizer/device_step.h"
#include "optimizer/make_job.h"
#include "shapes.h"

namespace gatun::cuda::optimizer {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

double norm_on_cpu(int32_t dtype, int64_t count, const void* g) {
  const int64_t part = part_of(count, 1024);
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += part) {
    total += scalar::optimizer_squares_scalar.sum(dtype, g, begin, std::min(count, begin + part));
  }
  return total;
}

double norm_on_device(int32_t dtype, int64_t count, const Bytes& g, int64_t offset) {
  DeviceBuffer<uint8_t> from(g, offset * dtype_bytes(dtype, 1));
  DeviceBuffer<double> sum(1);
  int64_t bytes = -1;
  EXPECT_EQ(gatun_cuda_gradient_norm_workspace_bytes(dtype, count, &bytes), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_LE(bytes, 16384);
  DeviceBuffer<uint8_t> workspace(bytes);
  EXPECT_EQ(gatun_cuda_gradient_norm(dtype, count, from.data(), sum.data(), workspace.data(), bytes, nullptr), GATUN_OK)
      << gatun_cuda_last_error();
  return sum.copy()[0];
}

void compare_norms(int32_t dtype, const std::vector<float>& values, int64_t offset = 0) {
  const Bytes g = test::from_floats(values, dtype);
  const int64_t count = static_cast<int64_t>(values.size());
  const double expected = norm_on_cpu(dtype, count, g.data()), actual = norm_on_device(dtype, count, g, offset);
  ASSERT_TRUE(actual == expected || (std::isnan(actual) && std::isnan(expected)))
      << dtype_name(dtype) << ", " << count << ": " << actual << ", expected " << expected;
}

TEST(GradientNorm, EverySizeAndType) {
  Rng rng(1);
  int64_t cases = 0;
  for (const int32_t dtype : kFloats) {
    for (const int64_t count : {0, 1, 31, 32, 33, 511, 512, 513, 1023, 1024, 1025, 2049, 5000, 34000}) {
      change_conditions(cases++);
      compare_norms(dtype, rng.normals(count), rng.integer(0, 3));
      if (HasFatalFailure()) return;
    }
  }
}

// More than one chunk a part, and more than a turn of them.
TEST(GradientNorm, ManyChunks) {
  Rng rng(2);
  change_conditions(1);
  compare_norms(GATUN_BF16, rng.normals(513 * 1024 + 5));
  change_conditions(2);
  std::vector<float> g(512 * 1024 * 34);
  for (size_t i = 0; i < g.size(); ++i) g[i] = static_cast<float>(i % 1021) - 300.5f;
  compare_norms(GATUN_BF16, g);
}

// Squares that f32 does not hold, or holds with few digits; in one chunk, and beside others.
TEST(GradientNorm, AnyMagnitude) {
  Rng rng(3);
  int64_t cases = 0;
  for (const int32_t dtype : {GATUN_F32, GATUN_BF16}) {
    for (int exponent = -149; exponent <= 127; exponent += 12) {
      change_conditions(cases++);
      const float scale = std::ldexp(1.0f, exponent);
      std::vector<float> g;
      for (int i = 0; i < 1500; ++i) g.push_back(scale * rng.uniform(-1, 1));
      compare_norms(dtype, g);
      g.assign(1100, 0);
      g[rng.pick<size_t>({0, 7, 31, 32, 39, 1099})] = scale;
      compare_norms(dtype, g);
      if (HasFatalFailure()) return;
    }
    compare_norms(dtype, std::vector<float>(1300, 0x1.fep127f));
  }
  compare_norms(GATUN_F16, std::vector<float>(1300, 65504.0f));
  compare_norms(GATUN_F16, std::vector<float>(1300, 0x1p-24f));
}

TEST(GradientNorm, NanAndInfinity) {
  Rng rng(4);
  for (const int32_t dtype : kFloats) {
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      std::vector<float> g = rng.normals(1500);
      g[rng.pick<size_t>({0, 77, 1023, 1024, 1499})] = bad;
      compare_norms(dtype, g);
      if (HasFatalFailure()) return;
    }
  }
}

// The CPU's kernels of the scalar tier, by state.
const gatun::optimizer::Kernel& scalar_kernel(int32_t state) {
  switch (state) {
    case GATUN_STATE_DYNAMIC8:
      return scalar::optimizer_dynamic8_scalar;
    case GATUN_STATE_F8E4M3:
      return scalar::optimizer_f8e4m3_scalar;
    case GATUN_STATE_DYNAMIC4:
      return scalar::optimizer_dynamic4_scalar;
    default:
      return scalar::optimizer_f32_scalar;
  }
}

// A step of those kernels; the factor of the rate goes to *factor.
Tensors step_on_cpu(const gatun_optimizer_params& params, Tensors tensors, double* factor) {
  call_in_place(params, tensors, [&](void* p, const void* g, void* s1, float* c1, void* s2, float* c2) {
    gatun::optimizer::Job job = job_of(params, {p, g, s1, c1, s2, c2});
    const gatun::optimizer::Kernel& kernel = scalar_kernel(params.state);
    const int64_t blocks = blocks_of(params.count, job.block), part = part_of(blocks, 1);
    Squares total = {0, 0};
    for (int64_t begin = 0; begin < blocks; begin += part) {
      const Squares sums = kernel.measure[params.rule](job, begin, std::min(blocks, begin + part));
      total.p += sums.p;
      total.update += sums.update;
    }
    const NormLimit limit = norm_limit_of(params);
    const double norm = std::sqrt(total.p), update = std::fabs(limit.unit) * std::sqrt(total.update);
    const bool limited = norm > 0 && update > 0 && std::isfinite(norm) && std::isfinite(update);
    *factor = limited ? std::min(1.0, limit.most * norm / update) : 1;
    job.constants.rate = static_cast<float>(limit.rate * *factor);
    kernel.step[params.rule](job, 0, blocks);
  });
  return tensors;
}

TEST(UpdateNorm, EveryRuleStateAndType) {
  Rng rng(5);
  int64_t cases = 0, limited = 0, unlimited = 0;
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      for (const int64_t count : {int64_t{0}, rng.integer(1, 130), rng.integer(300, 1100), int64_t{5003}}) {
        change_conditions(cases++);
        const int64_t block = rng.pick<int64_t>({128, 256, 1152, 2048});
        gatun_optimizer_params params = step_params(rule, kFloats[rng.integer(0, 2)], state, count, block);
        params.max_update_norm = rng.pick<float>({1.0f, 0.02f, 1e-6f, 1e6f});
        params.weight_decay = rng.integer(0, 1) == 0 ? 0 : 0.1f;
        params.raw_gradient = (rule == GATUN_RMSPROP || rule == GATUN_ADAGRAD) && rng.integer(0, 1) == 0;
        if (params.p_dtype == GATUN_BF16) params.rounding = GATUN_PARAMETER_STOCHASTIC;
        Tensors before = normal_tensors(params, rng);
        if (params.p_dtype == GATUN_F32 && count > 500) {
          // Chunks whose squares leave f32, one of p and one of the gradient that is not finite.
          std::vector<float> p = floats_of(before.p), g = floats_of(before.g);
          for (int i = 0; i < 200; ++i) p[static_cast<size_t>(i)] *= 0x1p70f;
          g[static_cast<size_t>(rng.integer(0, 499))] = kNan;
          before.p = bytes_of(p);
          before.g = bytes_of(g);
        }
        double factor = 0;
        const Tensors expected = step_on_cpu(params, before, &factor);
        ASSERT_TRUE(same(params, step_on_device(params, before, rng.integer(0, 1)), expected)) << describe(params);
        (factor == 1 ? unlimited : limited) += 1;
      }
    }
  }
  EXPECT_GT(limited, 20);
  EXPECT_GT(unlimited, 20);
}

// More blocks than parts, more than a turn of them in each.
TEST(UpdateNorm, ManyBlocks) {
  Rng rng(6);
  change_conditions(1);
  gatun_optimizer_params params = step_params(GATUN_LION, GATUN_BF16, GATUN_STATE_F8E4M3, 128 * 513 + 77, 128);
  params.max_update_norm = 1e-3f;
  const Tensors before = normal_tensors(params, rng);
  double factor = 0;
  const Tensors expected = step_on_cpu(params, before, &factor);
  EXPECT_LT(factor, 1);
  EXPECT_TRUE(same(params, step_on_device(params, before), expected));
}

// A tensor of zeros, an update of zeros, or one that is not finite has no limit.
TEST(UpdateNorm, OfNothing) {
  for (const int32_t rule : kAllRules) {
    gatun_optimizer_params params = step_params(rule, GATUN_F32, GATUN_STATE_F32, 20);
    params.max_update_norm = 0.02f;
    params.weight_decay = 0;
    const std::vector<float> state1(static_cast<size_t>(20 * rows_of_state1(rule)));
    const std::vector<float> state2(static_cast<size_t>(20 * rows_of_state2(rule)));
    for (const auto& [p, g, epsilon] : {std::tuple{0.0f, 2.0f, 1e-8f}, {2.0f, 0.0f, 1e-8f}, {2.0f, 0.0f, 0.0f}}) {
      params.epsilon = epsilon;
      const Tensors before = make_tensors(params, std::vector<float>(20, p), std::vector<float>(20, g), state1, state2);
      double factor = 0;
      const Tensors expected = step_on_cpu(params, before, &factor);
      EXPECT_EQ(factor, 1);
      EXPECT_TRUE(same(params, step_on_device(params, before), expected)) << describe(params);
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::optimizer
