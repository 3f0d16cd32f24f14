// Each check of the entry points: its status, and a message that names the argument.
#include <string>

#include "optimizer/device_step.h"

namespace gatun::cuda::optimizer {
namespace {

// A call that is right, of which each test spoils one thing.
struct Call {
  gatun_optimizer_params p = step_params(GATUN_ADAM, GATUN_BF16, GATUN_STATE_DYNAMIC8, 1000, 256);
  DeviceBuffer<uint16_t> p_buffer{std::vector<uint16_t>(1000)}, g_buffer{std::vector<uint16_t>(1000)};
  DeviceBuffer<uint8_t> state1_buffer{std::vector<uint8_t>(1000)}, state2_buffer{std::vector<uint8_t>(1000)};
  DeviceBuffer<float> scales1_buffer{std::vector<float>(4)}, scales2_buffer{std::vector<float>(4)};
  DeviceBuffer<uint8_t> workspace_buffer{1024};
  const gatun_optimizer_params* params = &p;
  void *parameters = p_buffer.data(), *state1 = state1_buffer.data(), *state2 = state2_buffer.data();
  const void* g = g_buffer.data();
  float *scales1 = scales1_buffer.data(), *scales2 = scales2_buffer.data();
  void* workspace = nullptr;
  int64_t workspace_bytes = 0;

  int32_t step() {
    return gatun_cuda_optimizer_step(params, parameters, g, state1, scales1, state2, scales2, workspace,
                                     workspace_bytes, nullptr);
  }
  void limit_norm() {
    p.max_update_norm = 1;
    workspace = workspace_buffer.data();
    workspace_bytes = 1024;
  }
};

void expect_message(int32_t status, int32_t expected, const std::string& part) {
  EXPECT_EQ(status, expected) << part;
  EXPECT_NE(std::string(gatun_cuda_last_error()).find(part), std::string::npos) << gatun_cuda_last_error();
}
void expect_refused(Call& call, const std::string& part) { expect_message(call.step(), GATUN_INVALID_ARGUMENT, part); }

TEST(Refusals, TheCallItselfIsRight) {
  Call call;
  EXPECT_EQ(call.step(), GATUN_OK) << gatun_cuda_last_error();
  call.limit_norm();
  EXPECT_EQ(call.step(), GATUN_OK) << gatun_cuda_last_error();
}

TEST(Refusals, Params) {
  Call call;
  call.params = nullptr;
  expect_refused(call, "params is null");
  call.params = &call.p;
  call.p.block = 100;
  expect_refused(call, "params.block = 100");
  call.p.block = 256;
  call.p.rule = 6;
  expect_refused(call, "params.rule = 6");
  int64_t bytes;
  expect_message(gatun_cuda_optimizer_workspace_bytes(&call.p, &bytes), GATUN_INVALID_ARGUMENT, "params.rule = 6");
  char text[1024];
  expect_message(gatun_cuda_optimizer_explain(&call.p, 0, text, sizeof(text)), GATUN_INVALID_ARGUMENT,
                 "params.rule = 6");
}

TEST(Refusals, NullAndMisaligned) {
  Call call;
  call.g = nullptr;
  expect_refused(call, "g is null");
  call.g = reinterpret_cast<uint8_t*>(call.g_buffer.data()) + 1;
  expect_refused(call, "g is at address");
  call.g = call.g_buffer.data();
  call.scales2 = nullptr;
  expect_refused(call, "scales2 is null");
  call.p.state = GATUN_STATE_F32;
  call.p.block = 0;
  expect_refused(call, "scales1");
  call.p = step_params(GATUN_LION, GATUN_BF16, GATUN_STATE_DYNAMIC8, 1000, 256);
  expect_refused(call, "state2");
}

TEST(Refusals, HostMemory) {
  alignas(256) static uint8_t host[4096];
  const auto refused = [&](auto Call::* member, const char* name) {
    Call call;
    call.limit_norm();
    call.*member = reinterpret_cast<std::remove_reference_t<decltype(call.*member)>>(host);
    expect_refused(call, std::string(name) + " = ");
    expect_refused(call, "host memory");
  };
  refused(&Call::parameters, "p");
  refused(&Call::g, "g");
  refused(&Call::state1, "state1");
  refused(&Call::state2, "state2");
  refused(&Call::scales1, "scales1");
  refused(&Call::scales2, "scales2");
  refused(&Call::workspace, "workspace");
}

TEST(Refusals, Overlaps) {
  Call call;
  call.state2 = call.state1;
  expect_refused(call, "overlaps");
  call.state2 = call.state2_buffer.data();
  call.g = call.parameters;
  expect_refused(call, "overlaps");
  call.g = call.g_buffer.data();
  call.limit_norm();
  call.workspace = call.state1;
  expect_refused(call, "workspace");
}

TEST(Refusals, Workspace) {
  Call call;
  int64_t needed = -1;
  ASSERT_EQ(gatun_cuda_optimizer_workspace_bytes(&call.p, &needed), GATUN_OK);
  EXPECT_EQ(needed, 0);
  call.limit_norm();
  ASSERT_EQ(gatun_cuda_optimizer_workspace_bytes(&call.p, &needed), GATUN_OK);
  EXPECT_EQ(needed, 256 + 4 * 16);  // four blocks, a part each
  call.workspace_bytes = needed - 1;
  expect_refused(call, "workspace_bytes = 319; allowed: at least 320");
  call.workspace_bytes = needed;
  EXPECT_EQ(call.step(), GATUN_OK) << gatun_cuda_last_error();
  call.workspace = nullptr;
  expect_refused(call, "workspace is null");
  call.workspace = call.workspace_buffer.data() + 16;
  expect_refused(call, "workspace is at address");
  expect_message(gatun_cuda_optimizer_workspace_bytes(&call.p, nullptr), GATUN_INVALID_ARGUMENT, "bytes is null");
  call.p.count = INT64_MAX;
  ASSERT_EQ(gatun_cuda_optimizer_workspace_bytes(&call.p, &needed), GATUN_OK);
  EXPECT_LE(needed, 16384);
  ASSERT_EQ(gatun_cuda_gradient_norm_workspace_bytes(GATUN_F32, INT64_MAX, &needed), GATUN_OK);
  EXPECT_LE(needed, 16384);
}

TEST(Refusals, SizesThatOverflow) {
  Call call;
  call.p.count = int64_t{1} << 62;
  expect_refused(call, "exceed 2^62 bytes");
  char text[1024];
  expect_message(gatun_cuda_optimizer_explain(&call.p, 0, text, sizeof(text)), GATUN_INVALID_ARGUMENT, "exceed 2^62");
}

TEST(Refusals, GradientNorm) {
  DeviceBuffer<float> g(std::vector<float>(100));
  DeviceBuffer<uint8_t> workspace(512);
  DeviceBuffer<double> sum(1);
  float host[100];
  const auto refused = [&](int32_t dtype, int64_t count, const void* from, double* to, void* scratch, int64_t bytes,
                           const std::string& part) {
    expect_message(gatun_cuda_gradient_norm(dtype, count, from, to, scratch, bytes, nullptr), GATUN_INVALID_ARGUMENT,
                   part);
  };
  refused(GATUN_I8, 100, g.data(), sum.data(), workspace.data(), 512, "dtype = ");
  refused(GATUN_F32, -1, g.data(), sum.data(), workspace.data(), 512, "count = -1");
  refused(GATUN_F32, 100, nullptr, sum.data(), workspace.data(), 512, "g is null");
  refused(GATUN_F32, 100, host, sum.data(), workspace.data(), 512, "g = ");
  refused(GATUN_F32, 100, g.data(), nullptr, workspace.data(), 512, "sum_of_squares is null");
  refused(GATUN_F32, 100, g.data(), reinterpret_cast<double*>(g.data()), workspace.data(), 512, "overlaps");
  refused(GATUN_F32, 100, g.data(), sum.data(), nullptr, 512, "workspace is null");
  refused(GATUN_F32, 100, g.data(), sum.data(), workspace.data(), 271, "allowed: at least 272");
  int64_t bytes;
  expect_message(gatun_cuda_gradient_norm_workspace_bytes(GATUN_U8, 100, &bytes), GATUN_INVALID_ARGUMENT, "dtype = ");
  expect_message(gatun_cuda_gradient_norm_workspace_bytes(GATUN_F32, 100, nullptr), GATUN_INVALID_ARGUMENT,
                 "bytes is null");
  EXPECT_EQ(gatun_cuda_gradient_norm(GATUN_F32, 100, g.data(), sum.data(), workspace.data(), 272, nullptr), GATUN_OK)
      << gatun_cuda_last_error();
  EXPECT_EQ(sum.copy()[0], 0);
  EXPECT_EQ(gatun_cuda_gradient_norm(GATUN_F32, 0, nullptr, sum.data(), nullptr, 0, nullptr), GATUN_OK)
      << gatun_cuda_last_error();
}

TEST(Refusals, NothingToDo) {
  Call call;
  call.p.count = 0;
  call.parameters = call.state1 = call.state2 = nullptr;
  call.g = nullptr;
  call.scales1 = call.scales2 = nullptr;
  EXPECT_EQ(call.step(), GATUN_OK) << gatun_cuda_last_error();
}

#if defined(GATUN_EMULATED)
TEST(Refusals, NothingIsLaunched) {
  Call call;
  call.scales1 = nullptr;
  const int64_t before = emulator::launches();
  expect_refused(call, "scales1 is null");
  EXPECT_EQ(emulator::launches(), before);
}

TEST(Refusals, Devices) {
  Call call;
  emulator::settings().device.major = 7;
  emulator::settings().device.minor = 5;
  expect_message(call.step(), GATUN_UNSUPPORTED, "compute capability 7.5");
  char text[1024];
  expect_message(gatun_cuda_optimizer_explain(&call.p, 0, text, sizeof(text)), GATUN_UNSUPPORTED,
                 "compute capability 7.5");
  emulator::settings() = emulator::Settings();
  EXPECT_EQ(call.step(), GATUN_OK);
}
#endif

TEST(Explain, SaysWhichKernelAndWhy) {
  char text[1024];
  gatun_optimizer_params p = step_params(GATUN_ADAM, GATUN_BF16, GATUN_STATE_DYNAMIC8, 100000, 384);
  p.max_update_norm = 1;
  ASSERT_EQ(gatun_cuda_optimizer_explain(&p, 0, text, sizeof(text)), GATUN_OK) << gatun_cuda_last_error();
  for (const char* part :
       {"optimizer_dynamic8_sm80", "DYNAMIC8", "BF16", "ADAM of 100000", "of several warps", "read twice"}) {
    EXPECT_NE(std::string(text).find(part), std::string::npos) << part << ": " << text;
  }
  p = step_params(GATUN_LION, GATUN_F32, GATUN_STATE_F32, 100000);
  ASSERT_EQ(gatun_cuda_optimizer_explain(&p, 0, text, sizeof(text)), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(std::string(text).find("several warps"), std::string::npos) << text;
  EXPECT_EQ(std::string(text).find("read twice"), std::string::npos) << text;
  expect_message(gatun_cuda_optimizer_explain(&p, 0, text, 10), GATUN_INVALID_ARGUMENT, "capacity");
  expect_message(gatun_cuda_optimizer_explain(&p, -1, text, sizeof(text)), GATUN_INVALID_ARGUMENT, "device");
}

}  // namespace
}  // namespace gatun::cuda::optimizer
