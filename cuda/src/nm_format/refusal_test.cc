// What the entry points refuse, with which status and message.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "device_buffer.h"
#include "gatun/cuda_nm_format.h"

namespace gatun::cuda::nm_format {
namespace {

using gatun::test::DeviceBuffer;

constexpr int32_t kInvalid = GATUN_INVALID_ARGUMENT;

class Refusal : public testing::Test {
 protected:
  // All arguments of the three functions, of which a test makes something wrong.
  struct Call {
    gatun_nm_format format;
    gatun_prune_params prune;
    const void* dense;
    const uint8_t *mask, *zeros;
    const float *norms, *scores;
    void* values;
    uint8_t* indices;
    gatun_cuda_nm_format_faults* faults;
  };

  Call call() {
    Call c = {};
    c.format = {sizeof(c.format), 2, 4, 1, GATUN_F16, 1, 4, 32, 32};
    c.prune.struct_size = sizeof(c.prune);
    c.prune.w_dtype = GATUN_F16;
    c.prune.n = 2;
    c.prune.m = 4;
    c.prune.vector = 1;
    c.prune.columns = 4;
    c.prune.depth = 32;
    c.dense = dense_.data();
    c.values = values_.data();
    c.indices = indices_.data();
    c.faults = faults_.data();
    return c;
  }

  static void expect(int32_t wanted, const std::string& message, int32_t status) {
    EXPECT_EQ(status, wanted) << gatun_last_error();
    EXPECT_NE(std::string(gatun_last_error()).find(message), std::string::npos)
        << gatun_last_error() << "\nwanted: " << message;
  }
  void expect_compress(const std::string& message, const std::function<void(Call&)>& spoil) {
    Call c = call();
    spoil(c);
    expect(kInvalid, message,
           gatun_cuda_nm_compress(&c.format, c.dense, c.mask, c.zeros, c.values, c.indices, c.faults, nullptr));
  }
  void expect_prune(int32_t wanted, const std::string& message, const std::function<void(Call&)>& spoil) {
    Call c = call();
    spoil(c);
    expect(
        wanted, message,
        gatun_cuda_nm_prune(&c.format, &c.prune, c.dense, c.norms, c.scores, c.values, c.indices, c.faults, nullptr));
  }
  void expect_decompress(const std::string& message, const std::function<void(Call&)>& spoil) {
    Call c = call();
    spoil(c);
    expect(kInvalid, message,
           gatun_cuda_nm_decompress(&c.format, c.values, c.indices, c.zeros, const_cast<void*>(c.dense), nullptr));
  }

  DeviceBuffer<uint8_t> dense_ = DeviceBuffer<uint8_t>(4 * 32 * 4), values_ = DeviceBuffer<uint8_t>(4 * 32 * 2),
                        indices_ = DeviceBuffer<uint8_t>(4 * 8), other_ = DeviceBuffer<uint8_t>(4 * 32 * 4);
  DeviceBuffer<gatun_cuda_nm_format_faults> faults_ = DeviceBuffer<gatun_cuda_nm_format_faults>(1);
};

TEST_F(Refusal, Compress) {
  expect_compress("format.m = 3", [](Call& c) { c.format.m = 3; });
  expect_compress("dense is null", [](Call& c) { c.dense = nullptr; });
  expect_compress("values is null", [](Call& c) { c.values = nullptr; });
  expect_compress("faults is null", [](Call& c) { c.faults = nullptr; });
  expect_compress("mask (with U4) is null", [](Call& c) { c.format.value_dtype = GATUN_U4; });
  expect_compress("zero_points is not null", [&](Call& c) { c.zeros = other_.data(); });
  expect_compress("format.group = 15", [&](Call& c) {
    c.format.value_dtype = GATUN_U4;
    c.format.group = 15;
    c.mask = c.zeros = other_.data();
  });
  expect_compress("overlaps", [](Call& c) { c.values = const_cast<void*>(c.dense); });
  static uint8_t host[4096];
  expect_compress("dense = 0x", [](Call& c) { c.dense = host; });
  expect_compress("indices = 0x", [](Call& c) { c.indices = host; });
}

TEST_F(Refusal, Prune) {
  expect_prune(GATUN_UNSUPPORTED, "prune.score = LAMP (2); allowed on a device",
               [](Call& c) { c.prune.score = GATUN_SCORE_LAMP; });
  expect_prune(kInvalid, "prune.pattern = 3; allowed: NM (0), TRANSPOSABLE (1)",
               [](Call& c) { c.prune.pattern = GATUN_PATTERN_ROW; });
  expect_prune(kInvalid, "prune.n = 1; allowed: 2, as in format", [](Call& c) { c.prune.n = 1; });
  expect_prune(kInvalid, "norms is null", [](Call& c) { c.prune.score = GATUN_SCORE_WANDA; });
  expect_prune(kInvalid, "norms is not null", [&](Call& c) { c.norms = reinterpret_cast<float*>(other_.data()); });
  expect_prune(kInvalid, "scores is null", [](Call& c) { c.prune.score = GATUN_SCORE_GIVEN; });
  expect_prune(kInvalid, "w is null", [](Call& c) { c.dense = nullptr; });
  expect_prune(kInvalid, "faults is null", [](Call& c) { c.faults = nullptr; });
}

TEST_F(Refusal, DecompressAndExplain) {
  expect_decompress("indices is null", [](Call& c) { c.indices = nullptr; });
  expect_decompress("overlaps", [](Call& c) { c.indices = static_cast<uint8_t*>(const_cast<void*>(c.dense)); });
  char text[1024];
  gatun_nm_format format = call().format;
  EXPECT_EQ(gatun_cuda_nm_explain(&format, 0, text, sizeof(text)), GATUN_OK) << gatun_last_error();
  EXPECT_NE(std::string(text).find("nm_prune"), std::string::npos) << text;
  EXPECT_EQ(gatun_cuda_nm_explain(&format, 0, text, 10), kInvalid);
  EXPECT_EQ(gatun_cuda_nm_explain(&format, -1, text, sizeof(text)), kInvalid);
}

}  // namespace
}  // namespace gatun::cuda::nm_format
