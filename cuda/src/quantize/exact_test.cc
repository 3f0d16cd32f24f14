// Kernels against the CPU's definition, bit for bit: formats, types, sizes, groups, strides, roundings, values.
#include "quantize/device_call.h"

#if defined(GATUN_EMULATED)
#include "settings.h"
#endif

namespace gatun::cuda::quantize {
namespace {

// Which threads run first, and whether thread blocks do several units, changes from case to case.
void change_conditions(int64_t number) {
#if defined(GATUN_EMULATED)
  emulator::settings().order = static_cast<emulator::Order>(number % 3);
  emulator::settings().seed = static_cast<uint64_t>(number);
  emulator::settings().device.multiprocessors = number % 5 == 0 ? 1 : 4;
#else
  (void)number;
#endif
}

// A format, one call of many kinds.
void compare_random(const Format& format, int64_t rows, int64_t depth, int64_t group, int32_t x_dtype, int64_t number,
                    Rng& rng) {
  change_conditions(number);
  gatun_quantize_params p = make_params(format, rows, depth, group, x_dtype);
  if (rng.integer(0, 1)) p.x_row_stride += rng.integer(0, 2) * (rng.integer(0, 1) ? 8 : 1);
  p.rounding = static_cast<int32_t>(rng.integer(0, 8)) % 3;
  if (rng.integer(0, 3) == 0) p.scale_rule = GATUN_SCALE_GIVEN;
  p.seed = rng.integer(INT64_MIN, INT64_MAX);
  if (p.rounding == GATUN_ROUND_GIVEN && p.rows * p.depth == 0) p.rounding = 0;
  compare(p, values(rng, x_extent(p), rng.integer(0, kValueKinds - 1)), rng, rng.integer(0, 1) * rng.integer(1, 7));
}

TEST(Quantize, EveryFormatAndSize) {
  Rng rng(1);
  int64_t cases = 0;
  for (const Format& format : formats()) {
    for (const int32_t x_dtype : kFloats) {
      for (const int64_t depth : {0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129, 257}) {
        compare_random(format, rng.integer(0, 3), depth, rng.pick(test::group_sizes(depth)), x_dtype, cases++, rng);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

// Teams of every size: parts of a warp, warps, whole thread blocks.
TEST(Quantize, GroupsOfEveryTeam) {
  Rng rng(2);
  int64_t cases = 0;
  for (const Format& format : formats()) {
    for (const int64_t group : {16, 32, 48, 64, 128, 256, 320, 512, 528, 1024, 1100}) {
      if (rng.integer(0, 2) != 0) continue;
      compare_random(format, rng.integer(1, 3), group * rng.integer(1, 4) + rng.integer(0, 20), group,
                     kFloats[rng.integer(0, 2)], cases++, rng);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Quantize, LargestBlocksOfOneTeamAndBeyond) {
  Rng rng(3);
  int64_t cases = 0;
  for (const Format& format : formats()) {
    const int64_t group = rng.pick(std::vector<int64_t>{4096, 16383, 16384, 16385, 70001});
    compare_random(format, 1, group + rng.integer(0, 1) * 16, group, kFloats[rng.integer(0, 2)], cases++, rng);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

// Enough for thread blocks to do many units.
TEST(Quantize, ManyUnits) {
  Rng rng(4);
  for (const Format& format : formats()) {
    if (rng.integer(0, 3) != 0) continue;
    compare_random(format, 97, 640, rng.pick(std::vector<int64_t>{16, 32, 33, 640}), kFloats[rng.integer(0, 2)], 0,
                   rng);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(Quantize, StridedColumns) {
  Rng rng(5);
  int64_t cases = 0;
  for (const Format& format : formats()) {
    for (const int64_t rows : {1, 31, 65}) {
      const int64_t depth = rng.pick(std::vector<int64_t>{1, 17, 64, 131});
      change_conditions(cases++);
      gatun_quantize_params p =
          make_params(format, rows, depth, rng.pick(test::group_sizes(depth)), kFloats[rng.integer(0, 2)]);
      p.x_column_stride = rng.integer(0, 1) ? rows + rng.integer(rows == 1, 2) : rng.integer(2, 5);
      p.x_row_stride = p.x_column_stride >= rows ? 1 : p.x_column_stride * depth + rng.integer(0, 3);
      if (rng.integer(0, 2) == 0) p.scale_rule = GATUN_SCALE_GIVEN;
      compare(p, values(rng, x_extent(p), rng.integer(0, kValueKinds - 1)), rng);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Quantize, BlocksOfSeveralRows) {
  Rng rng(6);
  int64_t cases = 0;
  for (const int32_t codes : {GATUN_F8E4M3, GATUN_F8E5M2}) {
    for (const int32_t scales : {GATUN_F32, GATUN_F16, GATUN_E8M0}) {
      for (const int64_t rows : {1, 2, 33, 129}) {
        for (const int64_t group_rows : {int64_t{2}, int64_t{31}, int64_t{128}, rows}) {
          if (group_rows > rows) continue;
          change_conditions(cases++);
          const int64_t depth = rng.integer(16, 300);
          gatun_quantize_params p =
              make_params({codes, 0, 0, scales, 0}, rows, depth, std::min<int64_t>(depth, rng.integer(0, 1) ? 128 : 17),
                          kFloats[rng.integer(0, 2)]);
          p.group_rows = group_rows;
          p.rounding = static_cast<int32_t>(rng.integer(0, 2));
          if (rng.integer(0, 3) == 0) p.scale_rule = GATUN_SCALE_GIVEN;
          if (rng.integer(0, 3) == 0) {
            p.x_row_stride = 1;
            p.x_column_stride = rows + 1;
          }
          compare(p, values(rng, x_extent(p), rng.integer(0, kValueKinds - 1)), rng);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

// Rows of the same memory, rows that overlap: x is only read.
TEST(Quantize, StridesOfZero) {
  Rng rng(7);
  gatun_quantize_params p = make_params({GATUN_I8, 0, 0, GATUN_F32, 0}, 5, 64, 32);
  p.x_row_stride = 0;
  compare(p, values(rng, x_extent(p), 0), rng);
  p.x_row_stride = 3;
  compare(p, values(rng, x_extent(p), 0), rng);
}

TEST(Dequantize, AnyBitPattern) {
  Rng rng(8);
  int64_t cases = 0;
  for (const Format& format : formats()) {
    for (const int32_t x_dtype : kFloats) {
      change_conditions(cases++);
      const gatun_quantize_params p = make_params(format, 5, 133, cases % 2 ? 17 : 32, x_dtype);
      SCOPED_TRACE(describe(p));
      HostCall host(p, values(rng, x_extent(p), 0), rng);
      for (std::vector<uint8_t>* bytes : {&host.codes, &host.scales, &host.zero_points}) {
        for (uint8_t& byte : *bytes) byte = static_cast<uint8_t>(rng.next());
      }
      DeviceCall device(p, host);
      test::copy_to_device(device.codes.data(), host.codes.data(), device.codes.count());
      test::copy_to_device(device.scales.data(), host.scales.data(), device.scales.count());
      test::copy_to_device(device.zero_points.data(), host.zero_points.data(), device.zero_points.count());
      DeviceBuffer<unsigned char> y(x_extent(p) * device.element);
      ASSERT_EQ(device.dequantize(p, y.data()), GATUN_OK) << gatun_cuda_last_error();
      std::vector<unsigned char> expected(host.x.size());
      reference_dequantize(p, host.code_book(), host.codes.data(), host.scales.data(),
                           host.zero_points.empty() ? nullptr : host.zero_points.data(), expected.data());
      const int64_t count = p.rows * p.depth;
      const std::vector<double> a = test::to_doubles(y.copy().data(), x_dtype, count);
      const std::vector<double> b = test::to_doubles(expected.data(), x_dtype, count);
      ASSERT_TRUE(test::within(a, b, std::vector<double>(a.size(), 0.0), p.depth));
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::quantize
