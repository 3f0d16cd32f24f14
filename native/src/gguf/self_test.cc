#include "self_test/self_test.h"

#include <cstring>
#include <vector>

#include "gguf/reference.h"
#include "gguf/table.h"

namespace gatun::gguf {
namespace {

constexpr int64_t kRows = 2, kDepth = 768;

// Both ways with x of this type.
bool agrees(Tier tier, const Type& type, int32_t x_dtype) {
  SmallValues values;
  std::vector<float> x;
  std::vector<uint16_t> halves;
  for (int64_t i = 0; i < kRows * kDepth; ++i) {
    x.push_back(values.next());
    halves.push_back(x_dtype == GATUN_F16 ? f32_to_f16(x.back()) : f32_to_bf16(x.back()));
  }
  const void* input = x_dtype == GATUN_F32 ? static_cast<const void*>(x.data()) : halves.data();
  const size_t bytes = static_cast<size_t>(kRows * (kDepth / type.elements) * type.bytes);
  std::vector<uint8_t> actual(bytes), expected(bytes);
  if (run_quantize(tier, type.id, x_dtype, kRows, kDepth, kDepth, 1, input, actual.data()) != GATUN_OK) return false;
  reference_quantize(type, x_dtype, kRows, kDepth, kDepth, input, expected.data());
  if (actual != expected) return false;
  std::vector<float> back(x.size()), plain(x.size());  // or half as many bytes
  if (run_dequantize(tier, type.id, x_dtype, kRows, kDepth, kDepth, 1, expected.data(), back.data()) != GATUN_OK) {
    return false;
  }
  reference_dequantize(type, x_dtype, kRows, kDepth, kDepth, expected.data(), plain.data());
  return std::memcmp(back.data(), plain.data(), back.size() * sizeof(float)) == 0;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (const int32_t x_dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
      ++cases;
      wrong += !agrees(tier, *find_type(row.from), x_dtype);
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::gguf
