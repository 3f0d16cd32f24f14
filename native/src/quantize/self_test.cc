#include "self_test/self_test.h"

#include <cstring>
#include <vector>

#include "quantize/reference.h"
#include "quantize/table.h"

namespace gatun::quantize {
namespace {

constexpr int64_t kRows = 3, kDepth = 149;

struct Buffers {
  explicit Buffers(const gatun_quantize_params& p)
      : codes(static_cast<size_t>(kRows * dtype_bytes(p.code_dtype, kDepth))),
        scales(static_cast<size_t>(kRows * kDepth)),
        zero_points(scales.size()) {}
  bool operator==(const Buffers& other) const {
    return codes == other.codes && zero_points == other.zero_points &&
           std::memcmp(scales.data(), other.scales.data(), scales.size() * sizeof(float)) == 0;
  }

  std::vector<uint8_t> codes;
  std::vector<float> scales;  // or half as many bytes of f16
  std::vector<uint8_t> zero_points;
};

// Calls visit(params, values) for small problems with these types: schemes, scale types, groups.
template <class Visit>
void for_each_problem(int32_t x_dtype, int32_t code_dtype, Visit visit) {
  for (const int32_t asymmetric : {0, 1}) {
    if (code_dtype != GATUN_U4 && (asymmetric == 1) != (code_dtype == GATUN_U8)) continue;
    for (const int32_t scale_dtype : {GATUN_F32, GATUN_F16}) {
      for (const int64_t group : {int64_t{17}, int64_t{32}, kDepth}) {
        const gatun_quantize_params params = {sizeof(params), x_dtype, code_dtype, asymmetric, scale_dtype, 1, kRows,
                                              kDepth,         group,   kDepth,     1};
        SmallValues values;
        std::vector<float> x;
        std::vector<uint16_t> halves;
        for (int64_t i = 0; i < kRows * kDepth; ++i) {
          x.push_back(values.next());
          halves.push_back(x_dtype == GATUN_F16 ? f32_to_f16(x.back()) : f32_to_bf16(x.back()));
        }
        visit(params, x_dtype == GATUN_F32 ? static_cast<const void*>(x.data()) : halves.data());
      }
    }
  }
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(quantize_table(), tier, [&](const KernelRow<QuantizeKernel>& row) {
    int cases = 0, wrong = 0;
    for_each_problem(row.from, row.to, [&](const gatun_quantize_params& p, const void* x) {
      Buffers actual(p), expected(p);
      void* zeros = p.asymmetric ? actual.zero_points.data() : nullptr;
      const int32_t status = run_quantize(tier, &p, x, actual.codes.data(), actual.scales.data(), zeros);
      reference_quantize(p, x, expected.codes.data(), expected.scales.data(), expected.zero_points.data());
      ++cases;
      wrong += status != GATUN_OK || !(actual == expected);
    });
    report.add(row.name, cases, wrong);
  });
  for_each_selected(dequantize_table(), tier, [&](const KernelRow<DequantizeKernel>& row) {
    int cases = 0, wrong = 0;
    for_each_problem(row.to, row.from, [&](const gatun_quantize_params& p, const void* x) {
      Buffers q(p);
      reference_quantize(p, x, q.codes.data(), q.scales.data(), q.zero_points.data());
      std::vector<float> actual(static_cast<size_t>(kRows * kDepth)), expected(actual.size());
      const void* zeros = p.asymmetric ? q.zero_points.data() : nullptr;
      const int32_t status = run_dequantize(tier, &p, q.codes.data(), q.scales.data(), zeros, actual.data());
      reference_dequantize(p, q.codes.data(), q.scales.data(), zeros, expected.data());
      ++cases;
      wrong += status != GATUN_OK || std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(float)) != 0;
    });
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::quantize
