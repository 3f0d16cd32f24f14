// Across tiers: quantization and packing give the same bytes on every one, and what one packed another multiplies.
#include "tiers.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gatun/qmatmul.h"
#include "gatun/quantize.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

using Bytes = std::vector<unsigned char>;

constexpr int64_t kRows = 5, kColumns = 70, kDepth = 101, kGroup = 33, kGroups = 4;

struct Scheme {
  int32_t code_dtype, zero_point, scale_dtype;
};
constexpr Scheme kSchemes[] = {{GATUN_I8, GATUN_ZERO_NONE, GATUN_F32},    {GATUN_U8, GATUN_ZERO_INTEGER, GATUN_F16},
                               {GATUN_U8, GATUN_ZERO_FLOAT, GATUN_F32},   {GATUN_U4, GATUN_ZERO_NONE, GATUN_F16},
                               {GATUN_U4, GATUN_ZERO_INTEGER, GATUN_F32}, {GATUN_U4, GATUN_ZERO_FLOAT, GATUN_F16},
                               {GATUN_U2, GATUN_ZERO_NONE, GATUN_F32},    {GATUN_U2, GATUN_ZERO_INTEGER, GATUN_F16}};

// Quantizes the same matrix on this process's tier and packs it; appends codes, scales, zero points, packed form.
bool quantize_and_pack(const Scheme& scheme, Bytes& output) {
  Rng rng(1);
  const std::vector<float> w = rng.normals(kColumns * kDepth);
  gatun_quantize_params params{};
  params.struct_size = sizeof(params);
  params.x_dtype = GATUN_F32;
  params.code_dtype = scheme.code_dtype;
  params.zero_point = scheme.zero_point;
  params.scale_dtype = scheme.scale_dtype;
  params.threads = 1;
  params.tensor_scale = 1.0f;
  params.rows = kColumns;
  params.depth = params.x_row_stride = kDepth;
  params.group = kGroup;
  params.group_rows = params.x_column_stride = 1;
  Bytes codes(kColumns * kDepth), zero_points(scheme.zero_point == GATUN_ZERO_NONE ? 0 : kColumns * kGroups * 4);
  std::vector<float> scales(kColumns * kGroups);
  void* zeros = zero_points.empty() ? nullptr : zero_points.data();
  if (gatun_quantize(&params, w.data(), nullptr, nullptr, codes.data(), scales.data(), zeros) != GATUN_OK) return false;

  const gatun_qmatmul_weights weights = {
      sizeof(weights), scheme.code_dtype, 0, scheme.zero_point, scheme.scale_dtype, 0, 1, 1.0f, kColumns, kDepth,
      kGroup};
  int64_t bytes = 0;
  if (gatun_qmatmul_packed_bytes(&weights, &bytes) != GATUN_OK) return false;
  Bytes packed(static_cast<size_t>(bytes));
  if (gatun_qmatmul_pack(&weights, codes.data(), nullptr, scales.data(), zeros, packed.data(), bytes) != GATUN_OK)
    return false;
  output = packed;
  output.insert(output.end(), codes.begin(), codes.end());
  const auto* scale_bytes = reinterpret_cast<const unsigned char*>(scales.data());
  output.insert(output.end(), scale_bytes, scale_bytes + scales.size() * 4);
  output.insert(output.end(), zero_points.begin(), zero_points.end());
  return true;
}

// Multiplies on this process's tier in every mode; appends y.
bool multiply(const Bytes& packed, Bytes& output) {
  Rng rng(2);
  const std::vector<float> x = rng.normals(kRows * kDepth);
  for (const int32_t mode : {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_PRECISE}) {
    const gatun_qmatmul_params params = {
        sizeof(params), GATUN_F32, GATUN_F32, mode,    GATUN_ACTIVATION_NONE, 1, kRows, kColumns, kDepth, kDepth,
        kColumns,       0,         0,         kColumns};
    std::vector<float> y(kRows * kColumns);
    const int64_t bytes = static_cast<int64_t>(packed.size());
    if (gatun_qmatmul(&params, x.data(), packed.data(), bytes, nullptr, nullptr, y.data()) != GATUN_OK) return false;
    const auto* y_bytes = reinterpret_cast<const unsigned char*>(y.data());
    output.insert(output.end(), y_bytes, y_bytes + y.size() * 4);
  }
  return true;
}

TEST(AcrossTiers, QuantizeAndPackGiveTheSameBytes) {
  for (const Scheme& scheme : kSchemes) {
    Bytes expected;
    for (const std::string& tier : supported_tiers()) {
      const Ending ending = run_on_tier(tier, [&](Bytes& output) { return quantize_and_pack(scheme, output); });
      ASSERT_TRUE(ending.succeeded()) << tier;
      if (expected.empty()) expected = ending.output;
      EXPECT_TRUE(identical(ending.output, expected)) << tier;
    }
  }
}

TEST(AcrossTiers, PackedOnOneRunsOnAnother) {
  const auto tiers = supported_tiers();
  for (const Scheme& scheme : kSchemes) {
    std::vector<Bytes> packed;
    for (const std::string& tier : tiers) {
      const Ending ending = run_on_tier(tier, [&](Bytes& output) {
        if (!quantize_and_pack(scheme, output)) return false;
        gatun_qmatmul_weights weights;
        int64_t bytes = 0;
        if (gatun_qmatmul_describe(output.data(), static_cast<int64_t>(output.size()), &weights) != GATUN_OK ||
            gatun_qmatmul_packed_bytes(&weights, &bytes) != GATUN_OK) {
          return false;
        }
        output.resize(static_cast<size_t>(bytes));
        return true;
      });
      ASSERT_TRUE(ending.succeeded()) << tier;
      packed.push_back(ending.output);
    }
    std::vector<double> reference;
    for (const std::string& tier : tiers) {
      Bytes own;
      for (const Bytes& form : packed) {
        const Ending ending = run_on_tier(tier, [&](Bytes& output) { return multiply(form, output); });
        ASSERT_TRUE(ending.succeeded()) << tier;
        if (own.empty()) own = ending.output;
        EXPECT_TRUE(identical(ending.output, own)) << tier;
      }
      // Tiers differ by rounding only: every output is a sum of 101 products of numbers around 1.
      const auto y = to_doubles(own.data(), GATUN_F32, static_cast<int64_t>(own.size() / 4));
      if (reference.empty()) reference = y;
      EXPECT_TRUE(within(y, reference, std::vector<double>(y.size(), 1e-4), kColumns)) << tier;
    }
  }
}

}  // namespace
}  // namespace gatun::test
