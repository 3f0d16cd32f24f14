// Each check of the entry points: its status, and a message that names the argument.
#include <string>

#include "quantize/device_call.h"

#if defined(GATUN_EMULATED)
#include "settings.h"
#endif

namespace gatun::cuda::quantize {
namespace {

// A call that is right, of which each test spoils one thing.
struct Call {
  gatun_quantize_params p = make_params({GATUN_U4, 0, GATUN_ZERO_INTEGER, GATUN_F16, 0}, 3, 40000, 20000);
  DeviceBuffer<float> x{120000};
  DeviceBuffer<uint8_t> codes{60000}, zero_points{6}, workspace{1024};
  DeviceBuffer<uint16_t> scales{6};
  DeviceBuffer<gatun_cuda_faults> faults{1};
  const gatun_quantize_params* params = &p;
  const void* from = x.data();
  const float* book = nullptr;
  const void* up = nullptr;
  void *to = codes.data(), *scales_to = scales.data(), *zeros_to = zero_points.data(), *scratch = workspace.data();
  gatun_cuda_faults* faults_to = faults.data();
  int64_t scratch_bytes = 1024;

  int32_t quantize() {
    return gatun_cuda_quantize(params, from, book, up, to, scales_to, zeros_to, faults_to, scratch, scratch_bytes,
                               nullptr);
  }
  int32_t dequantize() {
    return gatun_cuda_dequantize(params, book, to, scales_to, zeros_to, const_cast<void*>(from), nullptr);
  }
};

void expect_message(int32_t status, int32_t expected, const std::string& part) {
  EXPECT_EQ(status, expected) << part;
  EXPECT_NE(std::string(gatun_cuda_last_error()).find(part), std::string::npos) << gatun_cuda_last_error();
}
void expect_refused(Call& call, const std::string& part) {
  expect_message(call.quantize(), GATUN_INVALID_ARGUMENT, part);
}
void expect_refused_back(Call& call, const std::string& part) {
  expect_message(call.dequantize(), GATUN_INVALID_ARGUMENT, part);
}

TEST(Refusals, TheCallItselfIsRight) {
  Call call;
  const std::vector<float> zeros(120000);
  test::copy_to_device(call.x.data(), zeros.data(), 480000);
  EXPECT_EQ(call.quantize(), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(call.dequantize(), GATUN_OK) << gatun_cuda_last_error();
}

TEST(Refusals, Params) {
  Call call;
  call.params = nullptr;
  expect_refused(call, "params is null");
  expect_refused_back(call, "params is null");
  call.params = &call.p;
  call.p.group = 15;
  expect_refused(call, "params.group = 15");
  expect_refused_back(call, "params.group = 15");
  call.p.group = 20000;
  call.p.rounding = 3;
  expect_refused(call, "params.rounding = 3");
  EXPECT_EQ(call.dequantize(), GATUN_OK);  // which does not round
}

TEST(Refusals, NullAndMisaligned) {
  Call call;
  call.from = nullptr;
  expect_refused(call, "x is null");
  expect_refused_back(call, "x is null");
  call.from = reinterpret_cast<uint8_t*>(call.x.data()) + 2;
  expect_refused(call, "x is at address");
  call.from = call.x.data();
  call.faults_to = nullptr;
  expect_refused(call, "faults is null");
  call.faults_to = reinterpret_cast<gatun_cuda_faults*>(reinterpret_cast<uint8_t*>(call.faults.data()) + 4);
  expect_refused(call, "faults is at address");
}

TEST(Refusals, HostMemory) {
  std::vector<double> host(60000);
  const struct {
    void* Call::* member;
    const char* name;
  } outputs[] = {{&Call::to, "codes"}, {&Call::scales_to, "scales"}, {&Call::zeros_to, "zero_points"}};
  for (const auto& output : outputs) {
    Call call;
    call.*output.member = host.data();
    expect_refused(call, std::string(output.name) + " = ");
    expect_refused(call, "host memory");
    expect_refused_back(call, std::string(output.name) + " = ");
  }
  Call call;
  call.from = host.data();
  expect_refused(call, "x = ");
  expect_refused_back(call, "x = ");
  call.from = call.x.data();
  call.faults_to = reinterpret_cast<gatun_cuda_faults*>(host.data());
  expect_refused(call, "faults = ");
  call.faults_to = call.faults.data();
  alignas(256) static uint8_t scratch[1024];
  call.scratch = scratch;
  expect_refused(call, "workspace = ");
}

TEST(Refusals, Overlaps) {
  Call call;
  call.to = call.x.data();
  expect_refused(call, "overlaps");
  call.to = call.codes.data();
  call.faults_to = reinterpret_cast<gatun_cuda_faults*>(call.codes.data() + 8);
  expect_refused(call, "faults");
  call.faults_to = call.faults.data();
  call.scratch = call.codes.data();
  expect_refused(call, "workspace");
}

TEST(Refusals, Workspace) {
  Call call;
  int64_t needed = 0;
  ASSERT_EQ(gatun_cuda_quantize_workspace_bytes(&call.p, &needed), GATUN_OK);
  EXPECT_EQ(needed, 6 * 16);
  call.scratch_bytes = needed - 1;
  expect_refused(call, "workspace_bytes = 95; allowed: at least 96");
  call.scratch_bytes = needed;
  EXPECT_EQ(call.quantize(), GATUN_OK);
  call.scratch = nullptr;
  expect_refused(call, "workspace is null");
  call.scratch = call.workspace.data() + 16;
  expect_refused(call, "workspace is at address");
  expect_message(gatun_cuda_quantize_workspace_bytes(&call.p, nullptr), GATUN_INVALID_ARGUMENT, "bytes is null");
  expect_message(gatun_cuda_quantize_workspace_bytes(nullptr, &needed), GATUN_INVALID_ARGUMENT, "params is null");
}

TEST(Refusals, CodeBooks) {
  Call call;
  call.p = make_params({GATUN_U4, GATUN_BOOK_GIVEN, 0, GATUN_F32, 0}, 1, 6, 6);
  call.zeros_to = nullptr;
  call.scratch = nullptr;
  expect_refused(call, "code_book is null");
  float book[16] = {};
  for (int i = 0; i < 16; ++i) book[i] = static_cast<float>(i);
  call.book = book;
  EXPECT_EQ(call.quantize(), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(call.dequantize(), GATUN_OK) << gatun_cuda_last_error();
  book[7] = 5;
  expect_refused(call, "code_book[7]");
  expect_refused_back(call, "code_book[7]");
}

TEST(Refusals, SizesThatOverflow) {
  Call call;
  call.p.rows = call.p.depth = call.p.x_row_stride = call.p.group = int64_t{1} << 60;
  expect_refused(call, "exceed 2^62 bytes");
  expect_refused_back(call, "exceed 2^62 bytes");
  int64_t needed = 0;
  expect_message(gatun_cuda_quantize_workspace_bytes(&call.p, &needed), GATUN_INVALID_ARGUMENT, "exceed 2^62");
}

#if defined(GATUN_EMULATED)
TEST(Refusals, NothingIsLaunched) {
  Call call;
  call.scales_to = nullptr;
  const int64_t before = emulator::launches();
  expect_refused(call, "scales is null");
  EXPECT_EQ(emulator::launches(), before);
  EXPECT_EQ(call.faults.copy()[0].value, -1);  // a canary
}

TEST(Refusals, Devices) {
  Call call;
  emulator::settings().device.major = 7;
  emulator::settings().device.minor = 5;
  expect_message(call.quantize(), GATUN_UNSUPPORTED, "compute capability 7.5");
  expect_message(call.dequantize(), GATUN_UNSUPPORTED, "compute capability 7.5");
  char text[1024];
  expect_message(gatun_cuda_quantize_explain(&call.p, 0, text, sizeof(text)), GATUN_UNSUPPORTED,
                 "compute capability 7.5");
  emulator::settings() = emulator::Settings();
  EXPECT_EQ(call.quantize(), GATUN_OK);
}
#endif

TEST(Refusals, EmptyMatrices) {
  for (const auto& [rows, depth] : {std::pair{0, 40}, {3, 0}}) {
    Call call;
    call.p = make_params({GATUN_U4, 0, GATUN_ZERO_INTEGER, GATUN_F16, 0}, rows, depth, depth);
    call.from = call.to = call.scales_to = call.zeros_to = call.scratch = nullptr;
    EXPECT_EQ(call.quantize(), GATUN_OK) << gatun_cuda_last_error();
    EXPECT_EQ(call.faults.copy()[0].value, -1);
    EXPECT_EQ(call.dequantize(), GATUN_OK) << gatun_cuda_last_error();
  }
}

TEST(Explain, SaysWhichKernelAndWhy) {
  char text[1024];
  gatun_quantize_params p = make_params({GATUN_I8, 0, 0, GATUN_F32, 0}, 16, 40000, 20000, GATUN_BF16);
  ASSERT_EQ(gatun_cuda_quantize_explain(&p, 0, text, sizeof(text)), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_NE(std::string(text).find("quantize_bf16_i8_sm80"), std::string::npos) << text;
  EXPECT_NE(std::string(text).find("x is read twice"), std::string::npos) << text;
  p = make_params({GATUN_U4, 0, 0, GATUN_F32, 0}, 16, 40, 17);
  p.x_column_stride = 2;
  ASSERT_EQ(gatun_cuda_quantize_explain(&p, 0, text, sizeof(text)), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_NE(std::string(text).find("groups share bytes"), std::string::npos) << text;
  EXPECT_NE(std::string(text).find("2 elements apart"), std::string::npos) << text;
  expect_message(gatun_cuda_quantize_explain(&p, 0, text, 10), GATUN_INVALID_ARGUMENT, "capacity");
  expect_message(gatun_cuda_quantize_explain(&p, -1, text, sizeof(text)), GATUN_INVALID_ARGUMENT, "device");
  expect_message(gatun_cuda_quantize_explain(nullptr, 0, text, sizeof(text)), GATUN_INVALID_ARGUMENT, "params");
}

}  // namespace
}  // namespace gatun::cuda::quantize
