#include "self_test/self_test.h"

#include <vector>

#include "base/dtype.h"
#include "prune/prune.h"
#include "prune/reference.h"
#include "prune/table.h"

namespace gatun::prune {
namespace {

constexpr int64_t kRows = 2, kDepth = 203;

// N:M masks of a kernel: its scores are part of it.
bool agrees(const KernelRow<Kernel>& row, int32_t n, int32_t m, int32_t score) {
  SmallValues values;
  gatun_prune_params p{};
  p.w_dtype = row.from;
  p.score = score;
  p.pattern = GATUN_PATTERN_NM;
  p.n = n;
  p.m = m;
  p.vector = 1;
  p.columns = kRows;
  p.depth = kDepth;
  std::vector<float> w(kRows * kDepth), norms(kDepth);
  std::vector<uint16_t> halves(w.size());
  for (size_t i = 0; i < w.size(); ++i) {
    const float value = static_cast<float>(static_cast<int32_t>(16 * values.next())) / 16;  // many are equal
    halves[i] = row.from == GATUN_F16 ? f32_to_f16(value) : f32_to_bf16(value);
    w[i] = value;
  }
  for (float& norm : norms) norm = values.next() + 1;
  const bool wanda = score == GATUN_SCORE_WANDA;
  const void* stored = row.from == GATUN_F32 ? static_cast<const void*>(w.data()) : halves.data();
  std::vector<uint8_t> mask(static_cast<size_t>(kRows * mask_bytes(kDepth)));
  row.kernel->nm({stored, wanda ? norms.data() : nullptr, score == GATUN_SCORE_GIVEN, kDepth}, n, m, 0, kRows,
                 mask.data());
  return mask == reference_mask(p, reference_scores(p, w, norms.data()));
}

// A mask of every third bit, applied to bytes.
bool agrees(const KernelRow<MaskKernel>& row, bool stream) {
  const int64_t bytes = dtype_bytes(row.from, 1);
  SmallValues values;
  std::vector<uint8_t> x(static_cast<size_t>(kRows * kDepth * bytes)), y(x.size()), expected(x.size());
  std::vector<uint8_t> mask(static_cast<size_t>(kRows * mask_bytes(kDepth)));
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<uint8_t>(static_cast<int32_t>(127 * values.next()));
    const int64_t element = static_cast<int64_t>(i) / bytes, k = element % kDepth;
    if (k % 3 != 0) continue;
    expected[i] = x[i];
    uint8_t& byte = mask[static_cast<size_t>(element / kDepth * mask_bytes(kDepth) + k / 8)];
    byte = static_cast<uint8_t>(byte | 1 << k % 8);
  }
  row.kernel->apply({x.data(), mask.data(), y.data(), kDepth, kDepth, kDepth, stream}, 0, kRows);
  return y == expected;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (const int32_t m : {2, 4, 8, 16, 32}) {
      for (const int32_t n : {1, m / 2, m}) {
        for (const int32_t score : {GATUN_SCORE_MAGNITUDE, GATUN_SCORE_WANDA, GATUN_SCORE_GIVEN}) {
          if (score == GATUN_SCORE_GIVEN && row.from != GATUN_F32) continue;  // scores are f32
          ++cases;
          wrong += !agrees(row, n, m, score);
        }
      }
    }
    report.add(row.name, cases, wrong);
  });
  for_each_selected(mask_table(), tier, [&](const KernelRow<MaskKernel>& row) {
    report.add(row.name, 2, !agrees(row, false) + !agrees(row, true));
  });
}

}  // namespace gatun::prune
