#include "self_test/self_test.h"

#include <vector>

#include "base/dtype.h"
#include "nm_format/reference.h"
#include "nm_format/table.h"
#include "prune/reference.h"

namespace gatun::nm_format {
namespace {

constexpr int64_t kRows = 3, kDepth = 203;

gatun_nm_format format_of(int32_t dtype, int32_t n, int32_t m) {
  return {sizeof(gatun_nm_format), n, m, 1, dtype, 1, kRows, kDepth, kDepth};
}

struct Outputs {
  explicit Outputs(const Canonical& expected) : values(expected.values.size()), indices(expected.indices.size()) {}
  bool are(const Canonical& expected) const { return values == expected.values && indices == expected.indices; }
  std::vector<uint8_t> values, indices;
};

// The last n of every m weights, and of every third group none.
bool compresses(Tier tier, int32_t dtype, int32_t n, int32_t m) {
  const gatun_nm_format f = format_of(dtype, n, m);
  SmallValues numbers;
  std::vector<uint8_t> dense(static_cast<size_t>(kRows * dtype_bytes(dtype, kDepth)));
  std::vector<uint8_t> mask(kRows * ((kDepth + 7) / 8));
  for (uint8_t& byte : dense) byte = static_cast<uint8_t>(static_cast<int32_t>(127 * numbers.next()));
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t k = 0; k < kDepth; ++k) {
      if (k % m < m - n || k / m % 3 == 2) continue;
      uint8_t& byte = mask[static_cast<size_t>(row * ((kDepth + 7) / 8) + k / 8)];
      byte = static_cast<uint8_t>(byte | 1 << k % 8);
    }
  }
  const Canonical expected = reference_compress(f, dense.data(), mask.data(), nullptr);
  Outputs outputs(expected);
  return run_compress(tier, &f, dense.data(), mask.data(), nullptr, outputs.values.data(), outputs.indices.data()) ==
             GATUN_OK &&
         outputs.are(expected);
}

// Weights of which many are equal.
bool prunes(Tier tier, int32_t dtype, int32_t n, int32_t m, int32_t score) {
  const gatun_nm_format f = format_of(dtype, n, m);
  gatun_prune_params p{};
  p.struct_size = sizeof(p);
  p.w_dtype = dtype;
  p.score = score;
  p.n = n;
  p.m = m;
  p.vector = 1;
  p.columns = kRows;
  p.depth = kDepth;
  SmallValues numbers;
  std::vector<float> w(kRows * kDepth), norms(kDepth);
  std::vector<uint16_t> halves(w.size());
  for (size_t i = 0; i < w.size(); ++i) {
    w[i] = static_cast<float>(static_cast<int32_t>(16 * numbers.next())) / 16;
    halves[i] = dtype == GATUN_F16 ? f32_to_f16(w[i]) : f32_to_bf16(w[i]);
  }
  for (float& norm : norms) norm = numbers.next() + 1;
  const float* norms_at = score == GATUN_SCORE_WANDA ? norms.data() : nullptr;
  const float* scores_at = score == GATUN_SCORE_GIVEN ? w.data() : nullptr;
  const void* weights = dtype == GATUN_F32 ? static_cast<const void*>(w.data()) : halves.data();
  const std::vector<uint8_t> mask = prune::reference_mask(p, prune::reference_scores(p, w, norms.data()));
  const Canonical expected = reference_compress(f, static_cast<const uint8_t*>(weights), mask.data(), nullptr);
  Outputs outputs(expected);
  return run_prune(tier, &f, &p, weights, norms_at, scores_at, outputs.values.data(), outputs.indices.data()) ==
             GATUN_OK &&
         outputs.are(expected);
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (const int32_t m : {2, 4, 8, 16, 32}) {
      for (const int32_t n : {1, m / 2, m - 1}) {
        ++cases;
        wrong += !compresses(tier, row.from, n, m);
        if (row.kernel->prune == nullptr) continue;
        for (const int32_t score : {GATUN_SCORE_MAGNITUDE, GATUN_SCORE_WANDA, GATUN_SCORE_GIVEN}) {
          ++cases;
          wrong += !prunes(tier, row.from, n, m, score);
        }
      }
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::nm_format
