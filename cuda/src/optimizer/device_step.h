// What the tests share: steps on a device beside those of the CPU, bit for bit.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "device_buffer.h"
#include "gatun/cuda.h"
#include "gatun/cuda_optimizer.h"
#include "optimizer/test_step.h"  // of the CPU: params and tensors

#if defined(GATUN_EMULATED)
#include "settings.h"
#endif

namespace gatun::cuda::optimizer {

using namespace gatun::optimizer;
using test::DeviceBuffer;

// Which threads run first, when effects come, and how many blocks of threads there are, changes from case to case.
inline void change_conditions(int64_t number) {
#if defined(GATUN_EMULATED)
  emulator::settings().order = static_cast<emulator::Order>(number % 3);
  emulator::settings().effects = static_cast<emulator::Effects>(number / 3 % 2);
  emulator::settings().seed = static_cast<uint64_t>(number);
  emulator::settings().device.multiprocessors = number % 5 == 0 ? 1 : 4;
#else
  (void)number;
#endif
}

// The step of the entry on a device, with arrays that begin `offset` elements after what is aligned to 256 bytes.
inline Tensors step_on_device(const gatun_optimizer_params& params, const Tensors& given, int64_t offset = 0) {
  const int64_t element = dtype_bytes(params.p_dtype, 1), state = params.state == GATUN_STATE_F32 ? 4 : 1;
  DeviceBuffer<uint8_t> p(given.p, offset * element), g(given.g, offset * element);
  DeviceBuffer<uint8_t> state1(given.state1, offset * state), state2(given.state2, offset * state);
  DeviceBuffer<uint8_t> scales1(given.scales1, offset * 4), scales2(given.scales2, offset * 4);
  int64_t bytes = -1;
  EXPECT_EQ(gatun_cuda_optimizer_workspace_bytes(&params, &bytes), GATUN_OK) << gatun_cuda_last_error();
  DeviceBuffer<uint8_t> workspace(bytes);
  call_with(params, p, g, state1, scales1, state2, scales2,
            [&](void* to, const void* from, void* s1, float* c1, void* s2, float* c2) {
              EXPECT_EQ(gatun_cuda_optimizer_step(&params, to, from, s1, c1, s2, c2, workspace.data(), bytes, nullptr),
                        GATUN_OK)
                  << gatun_cuda_last_error();
            });
  return {p.copy(), g.copy(), state1.copy(), scales1.copy(), state2.copy(), scales2.copy()};
}

// One step of both.
inline void compare(const gatun_optimizer_params& params, const Tensors& before, int64_t offset = 0) {
  SCOPED_TRACE(describe(params));
  const Tensors after = step_on_device(params, before, offset), expected = step_of_reference(params, before);
  ASSERT_TRUE(same(params, after, expected));
  ASSERT_TRUE(test::identical(after.g, before.g));
}

}  // namespace gatun::cuda::optimizer
