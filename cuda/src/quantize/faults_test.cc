// What a device reports of values and scales that cannot be quantized.
#include <limits>

#include "quantize/device_call.h"

namespace gatun::cuda::quantize {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

TEST(Faults, FirstValueThatIsNotFinite) {
  Rng rng(30);
  for (Format format : formats()) {
    for (const int32_t rule : {format.scale_rule, int32_t{GATUN_SCALE_GIVEN}}) {
      format.scale_rule = rule;
      for (const float bad : {kNaN, -kNaN, kInfinity, -kInfinity}) {
        const int64_t depth = 131, group = rng.pick(std::vector<int64_t>{17, 32, 64, 131});
        gatun_quantize_params p = make_params(format, 9, depth, group, kFloats[rng.integer(0, 2)]);
        if (format.code_dtype == GATUN_F8E4M3) p.group_rows = 4;
        SCOPED_TRACE(describe(p));
        const int64_t index = rng.integer(0, 8 * depth);
        std::vector<float> x = values(rng, 9 * depth, 0);
        x[static_cast<size_t>(index)] = bad;
        x[static_cast<size_t>(8 * depth + 130)] = bad;  // a later one does not hide the first
        HostCall host(p, x, rng);
        DeviceCall device(p, host);
        ASSERT_EQ(device.quantize(p), GATUN_OK) << gatun_cuda_last_error();
        expect_faults(device, index, -1);
      }
    }
  }
}

TEST(Faults, OfStridedMatricesTheIndexIsThatOfRowAndColumn) {
  Rng rng(31);
  gatun_quantize_params p = make_params({GATUN_I8, 0, 0, GATUN_F32, 0}, 20, 70, 35);
  p.x_row_stride = 1;
  p.x_column_stride = 21;
  std::vector<float> x = values(rng, x_extent(p), 0);
  x[static_cast<size_t>(13 + 21 * 44)] = kNaN;
  x[static_cast<size_t>(19 + 21 * 3)] = kNaN;
  HostCall host(p, x, rng);
  DeviceCall device(p, host);
  ASSERT_EQ(device.quantize(p), GATUN_OK);
  expect_faults(device, 13 * 70 + 44, -1);
}

TEST(Faults, LargeBlocks) {
  Rng rng(32);
  for (const int64_t bad : {int64_t{0}, int64_t{65536}, int64_t{99999}}) {
    gatun_quantize_params p = make_params({GATUN_U4, 0, 0, GATUN_F16, 0}, 2, 100000, 100000);
    std::vector<float> x = values(rng, 200000, 0);
    x[static_cast<size_t>(bad)] = kInfinity;
    x[static_cast<size_t>(100000)] = 65520.0f * 16;
    HostCall host(p, x, rng);
    DeviceCall device(p, host);
    ASSERT_EQ(device.quantize(p), GATUN_OK);
    expect_faults(device, bad, 1);
  }
}

// Scales of finite values that overflow their type; the largest that does not.
TEST(Faults, ScalesThatOverflow) {
  Rng rng(33);
  struct Case {
    Format format;
    float fits, overflows;  // a value, its negative beside it
  };
  constexpr float kMost = std::numeric_limits<float>::max();
  for (const Case& c : {Case{{GATUN_I8, 0, 0, GATUN_F16, 0}, 65500.0f * 127, 65520.0f * 127},
                        Case{{GATUN_F8E4M3, 0, 0, GATUN_F16, 0}, 65500.0f * 448, 65520.0f * 448},
                        Case{{GATUN_U8, 0, GATUN_ZERO_INTEGER, GATUN_F32, 0}, kMost / 2, kMost},
                        Case{{GATUN_U4, 0, GATUN_ZERO_FLOAT, GATUN_F32, 0}, kMost / 2, kMost},
                        Case{{GATUN_U4, 0, 0, GATUN_F32, GATUN_SCALE_FULL_RANGE}, kMost / 2, kMost}}) {
    for (const int64_t group : {20, 32}) {
      gatun_quantize_params p = make_params(c.format, 3, 40, group);
      SCOPED_TRACE(describe(p));
      std::vector<float> x(120, 1.0f);
      x[2 * 40 + 35] = c.fits;
      x[2 * 40 + 36] = -c.fits;
      compare(p, x, rng);
      x[2 * 40 + 35] = c.overflows;
      x[2 * 40 + 36] = -c.overflows;
      HostCall host(p, x, rng);
      DeviceCall device(p, host);
      ASSERT_EQ(device.quantize(p), GATUN_OK);
      expect_faults(device, -1, 5);
      x[2 * 40 + 37] = kNaN;  // its block has no scale that could overflow
      HostCall other(p, x, rng);
      DeviceCall both(p, other);
      ASSERT_EQ(both.quantize(p), GATUN_OK);
      expect_faults(both, 2 * 40 + 37, -1);
    }
  }
}

TEST(Faults, GivenScalesAndZeroPoints) {
  Rng rng(34);
  for (const int64_t group : {17, 32}) {
    gatun_quantize_params p = make_params({GATUN_U4, 0, GATUN_ZERO_FLOAT, GATUN_F32, GATUN_SCALE_GIVEN}, 3, 64, group);
    const int64_t groups = gatun::blocks_of(64, group);
    HostCall host(p, values(rng, 3 * 64, 0), rng);
    const auto set = [&](std::vector<uint8_t>& plane, int64_t block, float value) {
      std::memcpy(plane.data() + 4 * block, &value, 4);
    };
    set(host.scales, 2 * groups, kNaN);
    DeviceCall scale(p, host);
    ASSERT_EQ(scale.quantize(p), GATUN_OK);
    expect_faults(scale, -1, 2 * groups);
    set(host.zero_points, groups + 1, -kInfinity);
    DeviceCall zero(p, host);
    ASSERT_EQ(zero.quantize(p), GATUN_OK);
    expect_faults(zero, -1, groups + 1);
  }
  gatun_quantize_params p = make_params({GATUN_F4E2M1, 0, 0, GATUN_E8M0, GATUN_SCALE_GIVEN}, 2, 64, 32);
  HostCall host(p, values(rng, 128, 0), rng);
  host.scales[3] = 0xff;
  DeviceCall device(p, host);
  ASSERT_EQ(device.quantize(p), GATUN_OK);
  expect_faults(device, -1, 3);
}

}  // namespace
}  // namespace gatun::cuda::quantize
