// What the tests of attention share: a problem of the CPU's tests on a device, by a given row of the table or by the
// entry point.
#pragma once

#include <memory>
#include <vector>

#include "attention/device_select.h"
#include "attention/test_problem.h"
#include "device_buffer.h"
#include "gatun/cuda_attention.h"
#if defined(GATUN_EMULATED)
#include "settings.h"
#endif

namespace gatun::cuda::attention {

using gatun::attention::describe;
using gatun::attention::Inputs;
using gatun::attention::Kind;
using gatun::attention::kKinds;
using gatun::attention::kMaskKinds;
using gatun::attention::kOrders;
using gatun::attention::kOtherKinds;
using gatun::attention::MaskKind;
using gatun::attention::Order;
using gatun::attention::Outputs;
using gatun::attention::Problem;
using gatun::attention::Spec;
using gatun::attention::spec_of;
using gatun::test::DeviceBuffer;
using gatun::test::Rng;

// Kinds of the CPU, and that of devices alone, whose results fp8_problem.h checks.
inline std::vector<Kind> device_kinds() {
  std::vector<Kind> kinds(std::begin(kKinds), std::end(kKinds));
  kinds.push_back({GATUN_BF16, GATUN_F32, GATUN_ATTENTION_INT8_FP8});
  return kinds;
}

// With what devices round besides the CPU: exponentials to f16.
inline Spec device_spec(const Kind& kind, int64_t query_length, int64_t kv_length) {
  Spec spec = spec_of(kind, query_length, kv_length);
  if (kind.dtype == GATUN_F16 && kind.mode == GATUN_ATTENTION_EXACT) spec.rounded = 0x1p-11 + 0x1p-17;
  return spec;
}

inline Device device_of_tests() {
  Device device = {};
  EXPECT_EQ(describe_device(0, &device), GATUN_OK) << gatun_last_error();
  return device;
}

// The rows of the table that take these params on the device.
inline std::vector<const KernelRow*> rows_for(const gatun_attention_params& params, bool ragged = false) {
  std::vector<const KernelRow*> rows;
  const Device device = device_of_tests();
  for (const KernelRow& row : kernel_rows()) {
    if (why_not(row, params, ragged, device) == nullptr) rows.push_back(&row);
  }
  return rows;
}

// By a row of the table, or by the entry point without; with a row also what it left in its workspace.
inline void call(const Problem& problem, const KernelRow* row, Outputs* outputs, std::vector<uint8_t>* left = nullptr) {
  const Spec& spec = const_cast<Problem&>(problem).spec();
  const gatun_attention_params p = problem.params();
  const int64_t element = dtype_bytes(spec.out_dtype, 1);
  std::vector<std::unique_ptr<DeviceBuffer<uint8_t>>> buffers;
  const Inputs in = problem.copied([&](const void* data, int64_t bytes, int64_t offset) -> const void* {
    const uint8_t* const from = static_cast<const uint8_t*>(data);
    buffers.push_back(std::make_unique<DeviceBuffer<uint8_t>>(std::vector<uint8_t>(from, from + bytes), offset));
    return buffers.back()->data();
  });
  DeviceBuffer<uint8_t> out(problem.out_elements() * element, spec.offset * element);
  DeviceBuffer<float> lse(problem.lse_elements(), spec.offset);
  const Outputs before = {out.copy(), lse.copy()};
  void* const out_at = spec.values ? out.data() : nullptr;
  float* const lse_at = spec.lse ? lse.data() : nullptr;
  const bool ragged = !spec.q_offsets.empty();
  if (row != nullptr) {
    const Plan plan = plan_on(*row, p, ragged);
    DeviceBuffer<uint8_t> workspace(plan.workspace_bytes);
    if (plan.blocks > 0) {
      ASSERT_EQ(run_plan(plan, p, in, out_at, lse_at, workspace.data(), nullptr), GATUN_OK) << gatun_last_error();
    }
    if (left != nullptr) *left = workspace.copy();
  } else {
    int64_t bytes = 0;
    ASSERT_EQ(gatun_cuda_attention_workspace_bytes(&p, ragged, 0, &bytes), GATUN_OK) << gatun_last_error();
    DeviceBuffer<uint8_t> workspace(bytes);
    ASSERT_EQ(
        gatun_cuda_attention(&p, in.q, in.k, in.v, in.q_offsets, in.kv_offsets, in.slopes, in.sinks, in.correction,
                             in.full_offsets, in.full_blocks, in.partial_offsets, in.partial_blocks, in.partial_bits,
                             out_at, lse_at, workspace.data(), bytes, nullptr),
        GATUN_OK)
        << gatun_last_error();
  }
  *outputs = {out.copy(), lse.copy()};
  problem.check_gaps(before, *outputs);
}

inline void compare(const Problem& problem, const KernelRow* row) {
  SCOPED_TRACE(testing::Message() << (row != nullptr ? row->name : "the entry point") << ", "
                                  << describe(const_cast<Problem&>(problem).spec()));
  Outputs outputs;
  ASSERT_NO_FATAL_FAILURE(call(problem, row, &outputs));
  problem.check(outputs);
}

// The rows of the table that take it; that for everything, which is always the last, on every fourth problem of others.
inline void compare_rows(const Spec& spec, Rng& rng) {
  static int problems = 0;
  const Problem problem(spec, rng);
  const std::vector<const KernelRow*> rows = rows_for(problem.params(), !spec.q_offsets.empty());
  const bool all = rows.size() == 1 || ++problems % 4 == 0;
  for (size_t i = 0; i < rows.size() - (all ? 0 : 1); ++i) {
    ASSERT_NO_FATAL_FAILURE(compare(problem, rows[i]));
  }
}

// of() under every order and effects of the emulator, or once on a device.
template <class Of>
void in_every_order(Of of) {
#if defined(GATUN_EMULATED)
  using namespace gatun::emulator;
  for (const emulator::Order order : {emulator::Order::up, emulator::Order::down, emulator::Order::shuffled}) {
    for (const Effects effects : {Effects::last, Effects::first}) {
      settings().order = order;
      settings().effects = effects;
      SCOPED_TRACE(testing::Message() << "order " << static_cast<int>(order) << ", effects "
                                      << static_cast<int>(effects));
      of();
    }
  }
  settings() = Settings();
#else
  of();
#endif
}

// The next of the six ways to run on the emulator, for tests that go through them as they go through problems.
inline void next_way() {
#if defined(GATUN_EMULATED)
  static int way = 0;
  way = (way + 1) % 6;
  emulator::settings().order = static_cast<emulator::Order>(way % 3);
  emulator::settings().effects = static_cast<emulator::Effects>(way / 3);
#endif
}

}  // namespace gatun::cuda::attention
