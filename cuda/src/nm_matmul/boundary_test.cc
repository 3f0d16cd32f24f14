// What the entry points refuse, with which status and message, before anything is launched.
#include <functional>
#include <string>

#include "nm_matmul/test_sparse.h"

namespace gatun::cuda::nm_matmul {
namespace {

constexpr int32_t kInvalid = GATUN_INVALID_ARGUMENT;

class Boundary : public testing::Test {
 protected:
  static Case problem() {
    Case c = of_values(GATUN_U4, GATUN_NM_BF16);
    c.rows = 3;
    c.columns = 20;
    c.depth = 100;
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

  static void expect(int32_t wanted, const std::string& message, int32_t status, int64_t before) {
    EXPECT_EQ(status, wanted) << gatun_last_error();
    EXPECT_NE(std::string(gatun_last_error()).find(message), std::string::npos)
        << gatun_last_error() << "\nwanted: " << message;
    EXPECT_EQ(launches(), before) << "something was launched";
  }

  // A call of gatun_cuda_nm_matmul, of which a test makes something wrong.
  struct Call {
    gatun_nm_matmul_params params;
    gatun_nm_weights weights;
    const void *x, *packed;
    int64_t packed_bytes;
    const float* bias;
    const void* residual;
    void *y, *workspace;
    int64_t workspace_bytes;
  };
  void expect_run(int32_t wanted, const std::string& message, const std::function<void(Call&)>& spoil) {
    Call c = {product_.params, weights_.description, x_.data(), packed_.data(),    packed_.count(),
              bias_.data(),    residual_.data(),     y_.data(), workspace_.data(), workspace_.count()};
    spoil(c);
    const int64_t before = launches();
    expect(wanted, message,
           gatun_cuda_nm_matmul(&c.params, &c.weights, c.x, c.packed, c.packed_bytes, c.bias, c.residual, c.y,
                                c.workspace, c.workspace_bytes, nullptr),
           before);
  }
  // The same, and the functions that say what a call would need, with params or weights that are wrong.
  void expect_problem(int32_t wanted, const std::string& message, const std::function<void(Call&)>& spoil) {
    expect_run(wanted, message, spoil);
    Call c = {};
    c.params = product_.params;
    c.weights = weights_.description;
    spoil(c);
    int64_t bytes = 0;
    EXPECT_EQ(gatun_cuda_nm_matmul_workspace_bytes(&c.params, &c.weights, 0, &bytes), wanted) << message;
    char text[2048];
    EXPECT_EQ(gatun_cuda_nm_matmul_explain(&c.params, &c.weights, 0, text, sizeof(text)), wanted) << message;
  }

  Rng rng_;
  Case case_ = problem();
  Weights weights_ = Weights(rng_, case_);
  Product product_ = Product(rng_, case_);
  DeviceBuffer<uint8_t> x_ = DeviceBuffer<uint8_t>(product_.x);
  DeviceBuffer<uint8_t> packed_ = DeviceBuffer<uint8_t>(weights_.pack());
  DeviceBuffer<float> bias_ = DeviceBuffer<float>(product_.bias);
  DeviceBuffer<uint8_t> residual_ = DeviceBuffer<uint8_t>(product_.residual);
  DeviceBuffer<uint8_t> y_ = DeviceBuffer<uint8_t>(3 * 20 * 4);
  DeviceBuffer<uint8_t> workspace_ = DeviceBuffer<uint8_t>(1 << 20);
};

TEST_F(Boundary, ParamsAndWeights) {
  expect_problem(kInvalid, "params.struct_size = 4", [](Call& c) { c.params.struct_size = 4; });
  expect_problem(kInvalid, "params.x_dtype = 4 (I8); allowed: F32, F16, BF16",
                 [](Call& c) { c.params.x_dtype = GATUN_I8; });
  expect_problem(kInvalid, "params.y_dtype = 0", [](Call& c) { c.params.y_dtype = 0; });
  expect_problem(kInvalid, "params.mode = 4; allowed: 0..3", [](Call& c) { c.params.mode = 4; });
  expect_problem(kInvalid, "params.activation = 5", [](Call& c) { c.params.activation = 5; });
  expect_problem(kInvalid, "params.rows = -1", [](Call& c) { c.params.rows = -1; });
  expect_problem(kInvalid, "params.columns = 21; the weights have 20", [](Call& c) { c.params.columns = 21; });
  expect_problem(kInvalid, "params.depth = 64; the weights have 100", [](Call& c) { c.params.depth = 64; });
  expect_problem(kInvalid, "params.column_begin = 21", [](Call& c) { c.params.column_begin = 21; });
  expect_problem(kInvalid, "params.column_end = 4; allowed: 5..20",
                 [](Call& c) { c.params.column_begin = 5, c.params.column_end = 4; });
  expect_problem(kInvalid, "params.x_row_stride = 99", [](Call& c) { c.params.x_row_stride = 99; });
  expect_problem(kInvalid, "params.y_row_stride = 19", [](Call& c) { c.params.y_row_stride = 19; });
  expect_problem(kInvalid, "exceed 2^62 bytes", [](Call& c) { c.params.rows = int64_t{1} << 60; });
  expect_problem(kInvalid, "weights.struct_size = 1", [](Call& c) { c.weights.struct_size = 1; });
  expect_problem(kInvalid, "weights.m = 5; allowed: 2, 4, 8, 16, 32", [](Call& c) { c.weights.m = 5; });
  expect_problem(kInvalid, "weights.group = 18", [](Call& c) { c.weights.group = 18; });
  EXPECT_EQ(gatun_cuda_nm_matmul(nullptr, &weights_.description, nullptr, nullptr, 0, nullptr, nullptr, nullptr,
                                 nullptr, 0, nullptr),
            kInvalid);
  EXPECT_EQ(gatun_cuda_nm_matmul(&product_.params, nullptr, nullptr, nullptr, 0, nullptr, nullptr, nullptr, nullptr, 0,
                                 nullptr),
            kInvalid);
}

TEST_F(Boundary, ModesThatValuesDoNotTake) {
  const struct {
    int32_t values;
    const char* allowed;
  } all[] = {{GATUN_F32, "F32 (0)"}, {GATUN_F16, "F32 (0), F16 (3)"}, {GATUN_BF16, "F32 (0), BF16 (1)"}};
  for (const auto& each : all) {
    for (const int32_t mode : kModes) {
      if (mode == GATUN_NM_F32 || (mode == GATUN_NM_F16 && each.values == GATUN_F16)) continue;
      if (mode == GATUN_NM_BF16 && each.values == GATUN_BF16) continue;
      expect_problem(GATUN_UNSUPPORTED, std::string("values; allowed: ") + each.allowed, [&](Call& c) {
        c.weights.value_dtype = each.values;
        c.weights.scale_dtype = 0;
        c.weights.group = 0;
        c.params.mode = mode;
      });
    }
  }
}

TEST_F(Boundary, Memory) {
  expect_run(kInvalid, "x is null", [](Call& c) { c.x = nullptr; });
  expect_run(kInvalid, "packed is null", [](Call& c) { c.packed = nullptr; });
  expect_run(kInvalid, "y is null", [](Call& c) { c.y = nullptr; });
  expect_run(kInvalid, "workspace is null", [](Call& c) { c.workspace = nullptr; });
  expect_run(kInvalid, "workspace_bytes = 0", [](Call& c) { c.workspace_bytes = 0; });
  expect_run(kInvalid, "packed_bytes = 100", [](Call& c) { c.packed_bytes = 100; });
  expect_run(kInvalid, "x is at address", [](Call& c) { c.x = static_cast<const uint8_t*>(c.x) + 1; });
  expect_run(kInvalid, "packed is at address", [](Call& c) { c.packed = static_cast<const uint8_t*>(c.packed) + 64; });
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
  expect_run(kInvalid, "overlaps", [](Call& c) { c.y = const_cast<void*>(c.x); });
  expect_run(kInvalid, "overlaps", [](Call& c) { c.workspace = const_cast<void*>(c.packed); });
  expect_run(kInvalid, "overlaps", [](Call& c) { c.residual = c.y; });  // with another stride
  expect_run(kInvalid, "params.residual_row_stride = 19", [](Call& c) { c.params.residual_row_stride = 19; });
}

TEST_F(Boundary, Pack) {
  const DeviceBuffer<uint8_t> values(weights_.values), indices(weights_.indices), scales(weights_.scales),
      zeros(std::vector<uint8_t>(100));
  DeviceBuffer<uint8_t> packed(packed_.count() + 4096);  // for other weights, too
  DeviceBuffer<gatun_cuda_nm_faults> faults(2);
  struct Pack {
    gatun_nm_weights weights;
    const void* values;
    const uint8_t* indices;
    const void* scales;
    const uint8_t* zeros;
    void* packed;
    int64_t bytes;
    void* faults;
  };
  alignas(256) static uint8_t host[1 << 16];
  const auto expect_pack = [&](const std::string& message, const std::function<void(Pack&)>& spoil) {
    Pack p = {weights_.description, values.data(),  indices.data(), scales.data(), nullptr,
              packed.data(),        packed.count(), faults.data()};
    spoil(p);
    const int64_t before = launches();
    expect(kInvalid, message,
           gatun_cuda_nm_pack(&p.weights, p.values, p.indices, p.scales, p.zeros, p.packed, p.bytes,
                              static_cast<gatun_cuda_nm_faults*>(p.faults), nullptr),
           before);
  };
  expect_pack("weights.columns = -1", [](Pack& p) { p.weights.columns = -1; });
  expect_pack("values is null", [](Pack& p) { p.values = nullptr; });
  expect_pack("indices is null", [](Pack& p) { p.indices = nullptr; });
  expect_pack("scales is null", [](Pack& p) { p.scales = nullptr; });
  expect_pack("zero_points is not null", [&](Pack& p) { p.zeros = zeros.data(); });
  expect_pack("zero_points is null", [](Pack& p) { p.weights.zero_point = GATUN_ZERO_INTEGER; });
  expect_pack("packed is null", [](Pack& p) { p.packed = nullptr; });
  expect_pack("packed_bytes = 64; these weights need", [](Pack& p) { p.bytes = 64; });
  expect_pack("packed is at address", [](Pack& p) { p.packed = static_cast<uint8_t*>(p.packed) + 8; });
  expect_pack("faults is null", [](Pack& p) { p.faults = nullptr; });
  expect_pack("faults is at address", [](Pack& p) { p.faults = static_cast<uint8_t*>(p.faults) + 4; });
  expect_pack("overlaps", [](Pack& p) { p.faults = p.packed; });
  expect_pack("overlaps", [](Pack& p) { p.values = p.packed; });
  expect_pack("values = 0x", [](Pack& p) { p.values = host; });
  expect_pack("packed = 0x", [](Pack& p) { p.packed = host; });
  int64_t bytes = 0;
  EXPECT_EQ(gatun_cuda_nm_packed_bytes(nullptr, &bytes), kInvalid);
  EXPECT_EQ(gatun_cuda_nm_packed_bytes(&weights_.description, nullptr), kInvalid);
}

TEST_F(Boundary, Explain) {
  char text[2048];
  EXPECT_EQ(gatun_cuda_nm_matmul_explain(&product_.params, &weights_.description, 0, text, 20), kInvalid);
  for (const int64_t rows : {0, 1, 17, 300}) {
    for (const int32_t mode : kModes) {
      gatun_nm_matmul_params params = product_.params;
      params.rows = rows;
      params.mode = mode;
      ASSERT_EQ(gatun_cuda_nm_matmul_explain(&params, &weights_.description, 0, text, sizeof(text)), GATUN_OK)
          << gatun_last_error();
      EXPECT_NE(std::string(text).find(rows == 0 ? "nothing to do" : "kernel nm_matmul_"), std::string::npos) << text;
    }
  }
}

#if defined(GATUN_EMULATED)
TEST_F(Boundary, DevicesWithoutKernels) {
  emulator::settings().device.major = 7;
  expect_problem(GATUN_UNSUPPORTED, "compute capability 7.0", [](Call&) {});
  emulator::settings() = emulator::Settings();
}
#endif

}  // namespace
}  // namespace gatun::cuda::nm_matmul
