#include "self_test/self_test.h"

#include <cstring>
#include <vector>

#include "quantize/reference.h"
#include "quantize/reference_scaled.h"
#include "quantize/table.h"

namespace gatun::quantize {
namespace {

constexpr int64_t kRows = 3, kDepth = 149;

struct Buffers {
  explicit Buffers(const gatun_quantize_params& p)
      : codes(static_cast<size_t>(kRows * dtype_bytes(p.code_dtype, kDepth))),
        scales(static_cast<size_t>(kRows * kDepth)),
        zero_points(p.zero_point == GATUN_ZERO_NONE ? 0 : scales.size()) {}
  void* zeros() { return zero_points.empty() ? nullptr : zero_points.data(); }
  bool operator==(const Buffers& other) const {
    return codes == other.codes && same(scales, other.scales) && same(zero_points, other.zero_points);
  }
  static bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }

  std::vector<uint8_t> codes;
  std::vector<float> scales, zero_points;  // or as many smaller elements
};

// Calls visit(params, values) for small problems of a row: types of x, zero points, scale types, groups, roundings.
template <class Visit>
void for_each_problem(int32_t code_dtype, int32_t coding, Visit visit) {
  gatun_quantize_params p{};
  p.struct_size = sizeof(p);
  p.code_dtype = code_dtype;
  p.book = coding == kNumber ? GATUN_BOOK_NONE : code_dtype == GATUN_U4 ? GATUN_BOOK_NF4 : GATUN_BOOK_DYNAMIC;
  p.threads = 1;
  p.tensor_scale = 1;
  p.rows = kRows;
  p.depth = p.x_row_stride = kDepth;
  p.group_rows = p.x_column_stride = 1;
  const bool scaled = is_scaled(p);
  for (const int32_t x_dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
    for (const int32_t zero_point : {GATUN_ZERO_NONE, GATUN_ZERO_INTEGER, GATUN_ZERO_FLOAT}) {
      if ((code_dtype == GATUN_I8 || scaled) && zero_point != GATUN_ZERO_NONE) continue;
      if (code_dtype == GATUN_U8 && !scaled && zero_point == GATUN_ZERO_NONE) continue;
      for (const int64_t group : {int64_t{17}, int64_t{32}, kDepth}) {
        for (const int32_t rounding : {GATUN_ROUND_NEAREST, GATUN_ROUND_STOCHASTIC}) {
          p.x_dtype = x_dtype;
          p.zero_point = zero_point;
          p.scale_dtype = group != 32 || p.book != GATUN_BOOK_NONE ? GATUN_F32 : scaled ? GATUN_E8M0 : GATUN_F16;
          p.rounding = rounding;
          p.group = group;
          SmallValues values;
          std::vector<float> x;
          std::vector<uint16_t> halves;
          for (int64_t i = 0; i < kRows * kDepth; ++i) {
            x.push_back(values.next());
            halves.push_back(x_dtype == GATUN_F16 ? f32_to_f16(x.back()) : f32_to_bf16(x.back()));
          }
          visit(p, x_dtype == GATUN_F32 ? static_cast<const void*>(x.data()) : halves.data());
        }
      }
    }
  }
}

// Both directions.
bool right(Tier tier, const gatun_quantize_params& p, const void* x) {
  Buffers actual(p), q(p);
  reference_quantize(p, x, nullptr, nullptr, q.codes.data(), q.scales.data(), q.zeros());
  if (run_quantize(tier, &p, x, nullptr, nullptr, actual.codes.data(), actual.scales.data(), actual.zeros()) !=
      GATUN_OK) {
    return false;
  }
  std::vector<float> y(static_cast<size_t>(kRows * kDepth)), expected(y.size());
  reference_dequantize(p, nullptr, q.codes.data(), q.scales.data(), q.zeros(), expected.data());
  return actual == q &&
         run_dequantize(tier, &p, nullptr, q.codes.data(), q.scales.data(), q.zeros(), y.data()) == GATUN_OK &&
         Buffers::same(y, expected);
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for_each_problem(row.from, row.to, [&](const gatun_quantize_params& p, const void* x) {
      ++cases;
      wrong += !right(tier, p, x);
    });
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::quantize
