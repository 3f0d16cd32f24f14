#include "self_test/self_test.h"

#include <cmath>
#include <iterator>
#include <vector>

#include "attention_select/reference.h"
#include "attention_select/table.h"

namespace gatun::attention_select {
namespace {

constexpr int64_t kQueries = 70, kKeys = 90, kSize = 24;

float rounded(float x, int32_t dtype) { return dtype == GATUN_F32 ? x : bf16_to_f32(f32_to_bf16(x)); }

// Of values that bf16 and f16 hold as well.
std::vector<uint8_t> bytes_of(const std::vector<double>& values, int32_t dtype) {
  std::vector<uint8_t> bytes;
  for (const double value : values) {
    const float single = static_cast<float>(value);
    const uint16_t half = dtype == GATUN_BF16 ? f32_to_bf16(single) : f32_to_f16(single);
    const auto* from =
        dtype == GATUN_F32 ? reinterpret_cast<const uint8_t*>(&single) : reinterpret_cast<const uint8_t*>(&half);
    bytes.insert(bytes.end(), from, from + dtype_bytes(dtype, 1));
  }
  return bytes;
}

bool agrees(Tier tier, int32_t dtype, int32_t kind) {
  SmallValues random;
  std::vector<double> q, k, lse;
  for (int64_t i = 0; i < kQueries * kSize; ++i) q.push_back(double{rounded(random.next(), dtype)});
  for (int64_t i = 0; i < kKeys * kSize; ++i) k.push_back(double{rounded(random.next(), dtype)});
  std::vector<float> lse_given;
  for (int64_t i = 0; i < kQueries; ++i) lse_given.push_back(4 + random.next());
  lse.assign(lse_given.begin(), lse_given.end());
  Params p{};
  p.struct_size = sizeof(p);
  p.dtype = dtype;
  p.out_dtype = GATUN_F32;
  p.threads = 1;
  p.causal = 1;
  p.scale = 0.5f;
  p.window_left = p.window_right = -1;
  p.batch = p.query_heads = p.kv_heads = 1;
  p.query_length = kQueries;
  p.kv_length = kKeys;
  p.head_size = p.value_size = p.q_row_stride = p.k_row_stride = kSize;
  p.query_block = 32;
  p.key_block = 16;
  p.query_blocks = 3;
  Selection s{};
  s.struct_size = sizeof(s);
  s.kind = kind;
  s.similarity = -1;
  s.stride = 8;
  s.key_blocks = 6;
  s.proxy_heads = 1;
  std::vector<float> actual(18);
  const bool by_mass = kind == GATUN_SELECT_MASS;
  if (scores(tier, &p, &s, bytes_of(q, dtype).data(), bytes_of(k, dtype).data(), nullptr, nullptr,
             by_mass ? lse_given.data() : nullptr, actual.data()) != GATUN_OK) {
    return false;
  }
  Reference reference(p, s, kQueries, kKeys);
  const std::vector<double> expected = reference.scores(q, k, lse);
  const double factor = std::expm1(2 * reference.logit_error() + 0x1p-20);
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(std::fabs(double{actual[i]} - expected[i]) <= expected[i] * factor + 0x1p-110)) return false;
  }
  return true;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int wrong = 0;
    constexpr int32_t kKinds[] = {GATUN_SELECT_MEANS, GATUN_SELECT_ANTIDIAGONAL, GATUN_SELECT_PROXY, GATUN_SELECT_MASS};
    for (const int32_t kind : kKinds) wrong += !agrees(tier, row.from, kind);
    report.add(row.name, static_cast<int>(std::size(kKinds)), wrong);
  });
}

}  // namespace gatun::attention_select
