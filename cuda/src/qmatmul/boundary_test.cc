// What the entry points refuse, with which status and message, before anything is launched.
#include <functional>
#include <string>

#include "qmatmul/test_product.h"

namespace gatun::cuda::qmatmul {
namespace {

class Boundary : public testing::Test {
 protected:
  static Case problem() {
    Case c;
    c.rows = 3;
    c.columns = 20;
    c.depth = 128;
    c.bias = c.residual = true;
    return c;
  }

  static int64_t launches() {
#if defined(GATUN_EMULATED)
    return emulator::launches();
#else
    return 0;
#endif
  }

  void expect(int32_t wanted, const std::string& message, int32_t status, int64_t before) {
    EXPECT_EQ(status, wanted) << gatun_last_error();
    EXPECT_NE(std::string(gatun_last_error()).find(message), std::string::npos)
        << gatun_last_error() << "\nwanted: " << message;
    EXPECT_EQ(launches(), before) << "something was launched";
  }

  // A call of gatun_cuda_qmatmul, of which a test makes something wrong.
  struct Call {
    const gatun_qmatmul_params* params;
    const gatun_qmatmul_weights* weights;
    const void *x, *packed;
    int64_t packed_bytes;
    const float* bias;
    const void* residual;
    void *y, *workspace;
    int64_t workspace_bytes;
  };
  void expect_run(int32_t wanted, const std::string& message, const std::function<void(Call&)>& spoil) {
    Call c = {&params_,     &weights_.description, x_.data(), packed_.data(),    packed_.count(),
              bias_.data(), residual_.data(),      y_.data(), workspace_.data(), workspace_.count()};
    spoil(c);
    const int64_t before = launches();
    expect(wanted, message,
           gatun_cuda_qmatmul(c.params, c.weights, c.x, c.packed, c.packed_bytes, c.bias, c.residual, c.y, c.workspace,
                              c.workspace_bytes, nullptr),
           before);
  }
  // The same, and the functions that say what a call would need, with params that are wrong.
  void expect_params(int32_t wanted, const std::string& message,
                     const std::function<void(gatun_qmatmul_params&)>& spoil) {
    gatun_qmatmul_params params = params_;
    spoil(params);
    expect_run(wanted, message, [&](Call& c) { c.params = &params; });
    int64_t bytes = 0;
    EXPECT_EQ(gatun_cuda_qmatmul_workspace_bytes(&params, &weights_.description, 0, &bytes), wanted) << message;
    char text[2048];
    EXPECT_EQ(gatun_cuda_qmatmul_explain(&params, &weights_.description, 0, text, sizeof(text)), wanted) << message;
  }

  Rng rng_;
  Case case_ = problem();
  Weights weights_ = Weights(rng_, case_);
  Product product_ = Product(rng_, case_);
  gatun_qmatmul_params params_ = product_.params;
  DeviceBuffer<uint8_t> x_ = DeviceBuffer<uint8_t>(product_.x);
  DeviceBuffer<uint8_t> packed_ = DeviceBuffer<uint8_t>(weights_.pack());
  DeviceBuffer<float> bias_ = DeviceBuffer<float>(product_.bias);
  DeviceBuffer<uint8_t> residual_ = DeviceBuffer<uint8_t>(product_.residual);
  DeviceBuffer<uint8_t> y_ = DeviceBuffer<uint8_t>(3 * 20 * 4);
  DeviceBuffer<uint8_t> workspace_ = DeviceBuffer<uint8_t>(1 << 20);
};

TEST_F(Boundary, Params) {
  constexpr int32_t kInvalid = GATUN_INVALID_ARGUMENT;
  using Params = gatun_qmatmul_params;
  expect_run(kInvalid, "params is null", [](Call& c) { c.params = nullptr; });
  expect_params(kInvalid, "params.struct_size = 4", [](Params& p) { p.struct_size = 4; });
  expect_params(kInvalid, "params.x_dtype = 4 (I8); allowed: F32, F16, BF16", [](Params& p) { p.x_dtype = GATUN_I8; });
  expect_params(kInvalid, "params.y_dtype = 0", [](Params& p) { p.y_dtype = 0; });
  expect_params(kInvalid, "params.mode = 5; allowed: 0..4", [](Params& p) { p.mode = 5; });
  expect_params(kInvalid, "params.mode = -1", [](Params& p) { p.mode = -1; });
  expect_params(kInvalid, "params.activation = 5", [](Params& p) { p.activation = 5; });
  expect_params(kInvalid, "params.rows = -1", [](Params& p) { p.rows = -1; });
  expect_params(kInvalid, "params.columns = 21; the weights have 20", [](Params& p) { p.columns = 21; });
  expect_params(kInvalid, "params.depth = 64; the weights have 128", [](Params& p) { p.depth = 64; });
  expect_params(kInvalid, "params.column_begin = 21", [](Params& p) { p.column_begin = 21; });
  expect_params(kInvalid, "params.column_end = 4; allowed: 5..20",
                [](Params& p) { p.column_begin = 5, p.column_end = 4; });
  expect_params(kInvalid, "params.x_row_stride = 127", [](Params& p) { p.x_row_stride = 127; });
  expect_params(kInvalid, "params.y_row_stride = 19", [](Params& p) { p.y_row_stride = 19; });
  expect_params(kInvalid, "exceed 2^62 bytes", [](Params& p) { p.rows = int64_t{1} << 60; });
}

TEST_F(Boundary, Weights) {
  gatun_qmatmul_weights weights = weights_.description;
  const auto spoiled = [&](Call& c) { c.weights = &weights; };
  expect_run(GATUN_INVALID_ARGUMENT, "weights is null", [](Call& c) { c.weights = nullptr; });
  weights.struct_size = 1;
  expect_run(GATUN_INVALID_ARGUMENT, "weights.struct_size = 1", spoiled);
  weights = weights_.description;
  weights.code_dtype = GATUN_F32;
  expect_run(GATUN_INVALID_ARGUMENT, "weights.code_dtype = 1 (F32)", spoiled);
  weights = weights_.description;
  weights.group = 15;
  expect_run(GATUN_INVALID_ARGUMENT, "weights.group = 15", spoiled);
  weights = weights_.description;
  weights.zero_point = 3;
  expect_run(GATUN_INVALID_ARGUMENT, "weights.zero_point = 3", spoiled);
  weights = {sizeof(weights), 0, 0, 0, 0, 2, 1, 1.0f, 20, 128, 32};
  expect_run(GATUN_UNSUPPORTED, "weights.gguf_type = 2; allowed on a device: 0", spoiled);
}

TEST_F(Boundary, ModesThatCodesDoNotTake) {
  for (const Scheme& scheme : kSchemes) {
    Case c = problem();
    c.scheme = scheme;
    c.scale_dtype = GATUN_F32;
    const Weights weights(rng_, c);
    for (const int32_t mode : kModes) {
      gatun_qmatmul_params params = params_;
      params.mode = mode;
      int64_t bytes = 0;
      const int32_t status = gatun_cuda_qmatmul_workspace_bytes(&params, &weights.description, 0, &bytes);
      EXPECT_EQ(status, takes(scheme, mode) ? GATUN_OK : GATUN_UNSUPPORTED) << scheme.name << ", mode " << mode;
      if (takes(scheme, mode)) continue;
      const std::string message = gatun_last_error();
      EXPECT_NE(message.find("allowed: PRECISE (2), BF16 (3), F16 (4)"), std::string::npos) << message;
    }
  }
}

TEST_F(Boundary, Memory) {
  constexpr int32_t kInvalid = GATUN_INVALID_ARGUMENT;
  expect_run(kInvalid, "x is null", [](Call& c) { c.x = nullptr; });
  expect_run(kInvalid, "packed is null", [](Call& c) { c.packed = nullptr; });
  expect_run(kInvalid, "y is null", [](Call& c) { c.y = nullptr; });
  expect_run(kInvalid, "workspace is null", [](Call& c) { c.workspace = nullptr; });
  expect_run(kInvalid, "workspace_bytes = 0", [](Call& c) { c.workspace_bytes = 0; });
  expect_run(kInvalid, "packed_bytes = 100", [](Call& c) { c.packed_bytes = 100; });
  expect_run(kInvalid, "x is at address", [](Call& c) { c.x = static_cast<const uint8_t*>(c.x) + 1; });
  expect_run(kInvalid, "packed is at address", [](Call& c) { c.packed = static_cast<const uint8_t*>(c.packed) + 64; });
  expect_run(kInvalid, "y is at address", [](Call& c) { c.y = static_cast<uint8_t*>(c.y) + 2; });
  expect_run(kInvalid, "workspace is at address", [](Call& c) {
    c.workspace = static_cast<uint8_t*>(c.workspace) + 128;
    c.workspace_bytes -= 128;
  });
  alignas(256) static uint8_t host[1 << 20];
  expect_run(kInvalid, "x = 0x", [](Call& c) { c.x = host; });
  expect_run(kInvalid, "packed = 0x", [](Call& c) { c.packed = host; });
  expect_run(kInvalid, "bias = 0x", [](Call& c) { c.bias = reinterpret_cast<float*>(host); });
  expect_run(kInvalid, "residual = 0x", [](Call& c) { c.residual = host; });
  expect_run(kInvalid, "y = 0x", [](Call& c) { c.y = host; });
  expect_run(kInvalid, "workspace = 0x", [](Call& c) { c.workspace = host; });
}

TEST_F(Boundary, OverlapsAndResidualStride) {
  constexpr int32_t kInvalid = GATUN_INVALID_ARGUMENT;
  expect_run(kInvalid, "overlaps", [](Call& c) { c.y = const_cast<void*>(c.x); });
  expect_run(kInvalid, "overlaps", [](Call& c) { c.y = c.workspace; });
  expect_run(kInvalid, "overlaps", [](Call& c) { c.workspace = const_cast<void*>(c.packed); });
  expect_run(kInvalid, "overlaps", [](Call& c) { c.bias = static_cast<const float*>(c.y) + 1; });
  // In place, but with another stride.
  expect_run(kInvalid, "overlaps", [](Call& c) { c.residual = c.y; });
  gatun_qmatmul_params params = params_;
  params.residual_row_stride = 19;
  expect_run(kInvalid, "params.residual_row_stride = 19", [&](Call& c) { c.params = &params; });
}

TEST_F(Boundary, PackedBytesWorkspaceBytesExplain) {
  int64_t bytes = 0;
  EXPECT_EQ(gatun_cuda_qmatmul_packed_bytes(nullptr, &bytes), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_cuda_qmatmul_packed_bytes(&weights_.description, nullptr), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_cuda_qmatmul_workspace_bytes(&params_, &weights_.description, 0, nullptr), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_cuda_qmatmul_workspace_bytes(&params_, &weights_.description, -1, &bytes), GATUN_INVALID_ARGUMENT);
  char text[2048];
  EXPECT_EQ(gatun_cuda_qmatmul_explain(&params_, &weights_.description, 0, text, 20), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_cuda_qmatmul_explain(&params_, &weights_.description, 0, nullptr, 20), GATUN_INVALID_ARGUMENT);
  for (const int64_t rows : {0, 1, 16, 300}) {
    for (const int32_t mode : kModes) {
      gatun_qmatmul_params params = params_;
      params.rows = rows;
      params.mode = mode;
      ASSERT_EQ(gatun_cuda_qmatmul_explain(&params, &weights_.description, 0, text, sizeof(text)), GATUN_OK)
          << gatun_last_error();
      EXPECT_NE(std::string(text).find(rows == 0 ? "nothing to do" : "kernel "), std::string::npos) << text;
    }
  }
}

TEST_F(Boundary, Pack) {
  constexpr int32_t kInvalid = GATUN_INVALID_ARGUMENT;
  const DeviceBuffer<uint8_t> codes(weights_.codes), scales(weights_.scales), zeros(std::vector<uint8_t>(100));
  DeviceBuffer<uint8_t> packed(packed_.count() + 4096);  // for other weights, too
  DeviceBuffer<gatun_cuda_faults> faults(2);
  struct Pack {
    gatun_qmatmul_weights weights;
    const void* codes;
    const float* book;
    const void *scales, *zeros;
    void* packed;
    int64_t bytes;
    void* faults;
  };
  alignas(256) static uint8_t host[1 << 16];
  static const float book[256] = {NAN};
  const auto expect_pack = [&](int32_t wanted, const std::string& message, const std::function<void(Pack&)>& spoil) {
    Pack p = {weights_.description, codes.data(),   nullptr,      scales.data(), nullptr,
              packed.data(),        packed.count(), faults.data()};
    spoil(p);
    const int64_t before = launches();
    expect(wanted, message,
           gatun_cuda_qmatmul_pack(&p.weights, p.codes, p.book, p.scales, p.zeros, p.packed, p.bytes,
                                   static_cast<gatun_cuda_faults*>(p.faults), nullptr),
           before);
  };
  expect_pack(kInvalid, "weights.columns = -1", [](Pack& p) { p.weights.columns = -1; });
  expect_pack(GATUN_UNSUPPORTED, "weights.gguf_type = 2",
              [](Pack& p) { p.weights = {sizeof(p.weights), 0, 0, 0, 0, 2, 1, 1.0f, 20, 128, 32}; });
  expect_pack(kInvalid, "codes is null", [](Pack& p) { p.codes = nullptr; });
  expect_pack(kInvalid, "scales is null", [](Pack& p) { p.scales = nullptr; });
  expect_pack(kInvalid, "scales is at address", [](Pack& p) { p.scales = static_cast<const uint8_t*>(p.scales) + 1; });
  expect_pack(kInvalid, "zero_points is not null", [&](Pack& p) { p.zeros = zeros.data(); });
  expect_pack(kInvalid, "zero_points is null", [](Pack& p) { p.weights.zero_point = GATUN_ZERO_FLOAT; });
  expect_pack(kInvalid, "code_book is not null", [](Pack& p) { p.book = book; });
  expect_pack(kInvalid, "code_book is null", [](Pack& p) { p.weights.book = GATUN_BOOK_GIVEN; });
  expect_pack(kInvalid, "code_book[0] = nan", [](Pack& p) { p.weights.book = GATUN_BOOK_GIVEN, p.book = book; });
  expect_pack(kInvalid, "packed is null", [](Pack& p) { p.packed = nullptr; });
  expect_pack(kInvalid, "packed_bytes = 64; these weights need", [](Pack& p) { p.bytes = 64; });
  expect_pack(kInvalid, "packed is at address", [](Pack& p) { p.packed = static_cast<uint8_t*>(p.packed) + 8; });
  expect_pack(kInvalid, "faults is null", [](Pack& p) { p.faults = nullptr; });
  expect_pack(kInvalid, "faults is at address", [](Pack& p) { p.faults = static_cast<uint8_t*>(p.faults) + 4; });
  expect_pack(kInvalid, "overlaps", [](Pack& p) { p.faults = p.packed; });
  expect_pack(kInvalid, "overlaps", [](Pack& p) { p.codes = p.packed; });
  expect_pack(kInvalid, "codes = 0x", [](Pack& p) { p.codes = host; });
  expect_pack(kInvalid, "scales = 0x", [](Pack& p) { p.scales = host; });
  expect_pack(kInvalid, "packed = 0x", [](Pack& p) { p.packed = host; });
  expect_pack(kInvalid, "faults = 0x", [](Pack& p) { p.faults = host; });
}

#if defined(GATUN_EMULATED)
TEST_F(Boundary, DevicesWithoutKernels) {
  emulator::settings().device.major = 7;
  const int64_t before = launches();
  int64_t bytes = 0;
  char text[2048];
  expect_run(GATUN_UNSUPPORTED, "compute capability 7.0", [](Call&) {});
  expect(GATUN_UNSUPPORTED, "compute capability 7.0",
         gatun_cuda_qmatmul_workspace_bytes(&params_, &weights_.description, 0, &bytes), before);
  expect(GATUN_UNSUPPORTED, "compute capability 7.0",
         gatun_cuda_qmatmul_explain(&params_, &weights_.description, 0, text, sizeof(text)), before);
  emulator::settings() = emulator::Settings();
}
#endif

}  // namespace
}  // namespace gatun::cuda::qmatmul
