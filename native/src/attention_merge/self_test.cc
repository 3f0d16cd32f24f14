#include "self_test/self_test.h"

#include <cmath>
#include <vector>

#include "attention_merge/reference.h"
#include "attention_merge/table.h"

namespace gatun::attention_merge {
namespace {

constexpr int64_t kRows = 3;

// Rows of uniform values: the bound of tile.h, and the rounding to the dtype.
bool agrees(Tier tier, int32_t dtype, int64_t size) {
  SmallValues values;
  const size_t count = static_cast<size_t>(kRows * size);
  std::vector<float> f32[3];
  std::vector<uint16_t> half[3];
  for (int i = 0; i < 3; ++i) {
    f32[i].resize(count);
    half[i].resize(count);
    for (size_t at = 0; at < count; ++at) {
      const float value = values.next();
      half[i][at] = dtype == GATUN_F16 ? f32_to_f16(value) : f32_to_bf16(value);
      f32[i][at] = dtype == GATUN_F16 ? f16_to_f32(half[i][at]) : bf16_to_f32(half[i][at]);
    }
  }
  const auto data = [&](int i) { return dtype == GATUN_F32 ? static_cast<void*>(f32[i].data()) : half[i].data(); };
  const float a_lse[kRows] = {0.5f, 3, -INFINITY}, b_lse[kRows] = {1, -2, 7};
  float lse[kRows];
  gatun_attention_merge_params p{};
  p.struct_size = sizeof(p);
  p.dtype = dtype;
  p.threads = 1;
  p.batch = p.heads = 1;
  p.length = kRows;
  p.value_size = p.a_row_stride = p.b_row_stride = p.out_row_stride = size;
  if (run(tier, &p, data(0), a_lse, data(1), b_lse, data(2), lse) != GATUN_OK) return false;
  const double unit = dtype == GATUN_F32 ? 0x1p-23 : dtype == GATUN_F16 ? 0x1p-10 : 0x1p-7;
  for (size_t row = 0; row < static_cast<size_t>(kRows); ++row) {
    std::vector<double> a, b, expected(static_cast<size_t>(size));
    for (size_t at = row * static_cast<size_t>(size); a.size() < expected.size(); ++at) {
      a.push_back(static_cast<double>(f32[0][at]));
      b.push_back(static_cast<double>(f32[1][at]));
    }
    const double sum = reference_row(a.data(), static_cast<double>(a_lse[row]), b.data(),
                                     static_cast<double>(b_lse[row]), size, expected.data());
    if (!(std::fabs(static_cast<double>(lse[row]) - sum) <= 0x1p-23 * std::fabs(sum))) return false;
    for (size_t c = 0; c < expected.size(); ++c) {
      const size_t at = row * static_cast<size_t>(size) + c;
      const double result = static_cast<double>(dtype == GATUN_F32   ? f32[2][at]
                                                : dtype == GATUN_F16 ? f16_to_f32(half[2][at])
                                                                     : bf16_to_f32(half[2][at]));
      const double bound = 0x1p-23 * (std::fabs(a[c]) + std::fabs(b[c])) + unit * std::fabs(expected[c]) + 0x1p-24;
      if (!(std::fabs(result - expected[c]) <= bound)) return false;
    }
  }
  return true;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (const int64_t size : {int64_t{7}, int64_t{64}, int64_t{83}}) {
      ++cases;
      wrong += !agrees(tier, row.from, size);
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::attention_merge
