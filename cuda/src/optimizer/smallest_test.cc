// A small tensor of each kind of kernel: short enough for valgrind.
#include "optimizer/device_step.h"

namespace gatun::cuda::optimizer {
namespace {

TEST(SmallestOfEachKernel, IsRight) {
  Rng rng(9);
  for (const int32_t state : kStates) {
    for (const int32_t rule : {GATUN_ADAM, GATUN_ADEMAMIX, GATUN_LION}) {
      const gatun_optimizer_params params = step_params(rule, kFloats[rng.integer(0, 2)], state, 389, 384);
      compare(params, normal_tensors(params, rng), rng.integer(0, 1));
    }
  }
}

TEST(SmallestOfEachKernel, Norms) {
  Rng rng(10);
  for (const int32_t state : kStates) {
    gatun_optimizer_params params = step_params(GATUN_ADAM, GATUN_F32, state, 133, 128);
    params.max_update_norm = 1e6f;  // no limit
    const Tensors before = normal_tensors(params, rng), after = step_on_device(params, before);
    params.max_update_norm = 0;
    EXPECT_TRUE(same(params, after, step_of_reference(params, before)));
  }
  const Bytes g = bytes_of(std::vector<float>(1030, 2.0f));
  DeviceBuffer<uint8_t> from(g), workspace(16384);
  DeviceBuffer<double> sum(1);
  EXPECT_EQ(gatun_cuda_gradient_norm(GATUN_F32, 1030, from.data(), sum.data(), workspace.data(), 16384, nullptr),
            GATUN_OK);
  EXPECT_EQ(sum.copy()[0], 4120);
}

}  // namespace
}  // namespace gatun::cuda::optimizer
