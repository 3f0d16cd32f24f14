// gatun_prune and gatun_prune_scores: a status, or bit for bit what the reference makes.
#include "gatun/prune.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "input.h"
#include "prune.h"
#include "prune/reference.h"

namespace gatun::fuzz {

bool is_float(int32_t dtype) { return dtype == GATUN_F32 || dtype == GATUN_F16 || dtype == GATUN_BF16; }

bool is_group(int32_t n, int32_t m) { return (m == 2 || m == 4 || m == 8 || m == 16 || m == 32) && n >= 1 && n <= m; }

std::vector<float> floats(const Buffer& buffer, int32_t dtype) {
  std::vector<float> values(static_cast<size_t>(buffer.bytes() / dtype_bytes(dtype, 1)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float_at(buffer.data(), dtype, static_cast<int64_t>(i));
  return values;
}

Buffer factors(test::Rng& rng, int64_t bytes, Input& input) {
  Buffer buffer(bytes);
  const Values kind = input.rarely() ? Values::special : values(input);
  const bool spoiled = input.rarely();
  buffer.fill_floats(rng, GATUN_F32, kind);
  for (int64_t at = 0; at + 4 <= buffer.bytes() && !spoiled; at += 4) {
    float value;
    std::memcpy(&value, buffer.data() + at, 4);
    value = std::isfinite(value) ? std::fabs(value) : 0;
    std::memcpy(buffer.data() + at, &value, 4);
  }
  return buffer;
}

bool good_factors(const Buffer& buffer) {
  for (const float value : floats(buffer, GATUN_F32)) {
    if (!std::isfinite(value) || value < 0) return false;
  }
  return true;
}

namespace {

gatun_prune_params params_from(Input& input) {
  gatun_prune_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.w_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
  p.score = input.choice({GATUN_SCORE_MAGNITUDE, GATUN_SCORE_WANDA, GATUN_SCORE_LAMP, GATUN_SCORE_GIVEN});
  p.pattern = input.choice({GATUN_PATTERN_NM, GATUN_PATTERN_TRANSPOSABLE, GATUN_PATTERN_UNSTRUCTURED, GATUN_PATTERN_ROW,
                            GATUN_PATTERN_ROWS, GATUN_PATTERN_COLUMNS, GATUN_PATTERN_BLOCKS});
  p.m = input.choice({2, 4, 8, 16, 32});
  p.n = input.rarely() ? input.choice({-1, 0, 33}) : static_cast<int32_t>(input.range(1, p.m > 1 ? p.m : 1));
  p.vector = input.choice({1, 1, 2, 3, 4, 64});
  p.threads = input.choice({0, 1, 2, 8});
  p.columns = input.size();
  p.depth = input.size();
  p.block_rows = input.rarely() ? input.size() : input.range(1, 20);
  p.block_depth = input.rarely() ? input.size() : input.range(1, 20);
  return p;
}

// Of how many things a pattern keeps some: those below each other times those side by side; -1 for blocks of nothing.
int64_t choices(const gatun_prune_params& p) {
  const bool blocks = p.pattern == GATUN_PATTERN_BLOCKS;
  if (blocks && (p.block_rows < 1 || p.block_depth < 1)) return -1;
  const auto parts = [&](int64_t size, int64_t block) { return blocks ? size / block + (size % block != 0) : size; };
  const bool one_row = p.pattern == GATUN_PATTERN_ROW || p.pattern == GATUN_PATTERN_COLUMNS;
  return (one_row ? 1 : parts(p.columns, p.block_rows)) *
         (p.pattern == GATUN_PATTERN_ROWS ? 1 : parts(p.depth, p.block_depth));
}

bool scores_valid(const gatun_prune_params& p) {
  return p.struct_size == sizeof(p) && is_float(p.w_dtype) && p.score >= GATUN_SCORE_MAGNITUDE &&
         p.score <= GATUN_SCORE_GIVEN && p.threads >= 0 && p.threads <= 1024 && p.columns >= 0 && p.depth >= 0;
}

bool pattern_valid(const gatun_prune_params& p) {
  if (p.pattern == GATUN_PATTERN_NM) return is_group(p.n, p.m) && p.vector >= 1;
  if (p.pattern == GATUN_PATTERN_TRANSPOSABLE) return true;
  return p.pattern > 0 && p.pattern <= GATUN_PATTERN_BLOCKS && p.keep >= 0 && p.keep <= choices(p);
}

// Whether the scores of a matrix may be compared, or added up.
bool good_scores(const gatun_prune_params& p, const std::vector<float>& w, const std::vector<float>& scores,
                 bool sums) {
  for (size_t i = 0; i < w.size(); ++i) {
    if (std::isnan(w[i]) || std::isnan(scores[i])) return false;
    if (p.score == GATUN_SCORE_LAMP && !std::isfinite(w[i])) return false;
    if (sums && !std::isfinite(scores[i])) return false;
  }
  return true;
}

}  // namespace

void fuzz_prune(Input& input) {
  gatun_prune_params p = params_from(input);
  bool valid = scores_valid(p);
  int64_t size = 1;
  if (valid) {
    size = extent(p.columns, p.depth, p.depth, 1, 4);
    if (size == kUnaffordable || size > (1 << 16)) return;  // the reference sorts lists of lists
    valid = size != kImpossible;
  }
  const bool exists = valid && size > 0;
  p.keep = input.rarely() ? input.size() : exists ? input.range(0, std::max<int64_t>(choices(p), 0)) : 0;
  const bool given = p.score == GATUN_SCORE_GIVEN, wanda = p.score == GATUN_SCORE_WANDA;
  const int32_t stored = given ? int32_t{GATUN_F32} : p.w_dtype;
  test::Rng rng = input.rng();
  Buffer w(valid ? p.columns * p.depth * dtype_bytes(stored, 1) : 1),
      mask(exists ? p.columns * ((p.depth + 7) / 8) : 1);
  Buffer norms = factors(rng, exists && wanda ? p.depth * 4 : 4, input), scores(exists ? size : 4);
  if (valid) w.fill_floats(rng, stored, values(input));
  std::vector<float> w_values, expected_scores;
  bool comparable = true, summable = true, present = true;
  w.spoil(input);
  mask.spoil(input);
  if (exists) {
    present = !w.is_null() && !w.misaligned();
    if (wanda) present = present && good_factors(norms);
    if (present) {
      w_values = floats(w, stored);
      expected_scores = prune::reference_scores(p, w_values, reinterpret_cast<const float*>(norms.data()));
      comparable = good_scores(p, w_values, expected_scores, false);
      summable = good_scores(p, w_values, expected_scores, true);
    }
  }
  const void* w_at = given ? nullptr : w.data();
  const float* norms_at = wanda ? reinterpret_cast<const float*>(norms.data()) : nullptr;
  const float* scores_at = given ? reinterpret_cast<const float*>(w.data()) : nullptr;
  // Without elements a pointer that the score has no use for is wrong nevertheless; those here are as they should be.
  const std::vector<uint8_t> before = mask.copy(), scores_before = scores.copy();
  const bool sums = p.pattern == GATUN_PATTERN_NM
                        ? p.vector > 1
                        : p.pattern != GATUN_PATTERN_UNSTRUCTURED && p.pattern != GATUN_PATTERN_ROW;
  const bool prunes =
      valid && pattern_valid(p) && (!exists || (present && comparable && (summable || !sums) && !mask.is_null()));
  const int32_t status = gatun_prune(&p, w_at, norms_at, scores_at, mask.data());
  check_status(status, prunes, "gatun_prune");
  if (status != GATUN_OK && mask.copy() != before) defect("gatun_prune failed and wrote the mask");
  if (status == GATUN_OK && exists && mask.copy() != prune::reference_mask(p, expected_scores)) {
    defect("another mask than the reference's: pattern %d, score %d", p.pattern, p.score);
  }
  const int32_t scored = gatun_prune_scores(&p, w_at, norms_at, reinterpret_cast<float*>(scores.data()));
  check_status(scored, valid && !given && (!exists || (present && comparable)), "gatun_prune_scores");
  if (scored != GATUN_OK && scores.copy() != scores_before) defect("gatun_prune_scores failed and wrote scores");
  if (scored == GATUN_OK && exists &&
      std::memcmp(scores.data(), expected_scores.data(), static_cast<size_t>(size)) != 0) {
    defect("other scores than the reference's: score %d", p.score);
  }
}

void fuzz_regrow(Input& input) {
  gatun_regrow_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.w_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
  p.m = input.choice({0, 2, 4, 8, 16, 32});
  p.n = input.rarely() ? input.choice({-1, 0, 33}) : p.m <= 0 ? 0 : static_cast<int32_t>(input.range(1, p.m));
  p.max_cycles = input.choice({0, 1, 5, 50});
  p.threads = input.choice({0, 1, 2, 8});
  test::Rng rng = input.rng();
  p.threshold = input.rarely() ? rng.special() : input.range(0, 1) == 0 ? 0.0f : 0.1f;
  p.variance_power = input.rarely() ? rng.special() : static_cast<float>(input.range(0, 4)) / 2;
  p.columns = input.size();
  p.depth = input.size();
  bool valid = p.struct_size == sizeof(p) && is_float(p.w_dtype) && (p.n == 0 ? p.m == 0 : is_group(p.n, p.m)) &&
               p.max_cycles >= 0 && p.threads >= 0 && p.threads <= 1024 && std::isfinite(p.threshold) &&
               p.threshold >= 0 && std::isfinite(p.variance_power) && p.variance_power >= 0 && p.columns >= 0 &&
               p.depth >= 0;
  int64_t size = 1;
  if (valid) {
    size = extent(p.columns, p.depth, p.depth, 1, dtype_bytes(p.w_dtype, 1));
    // What is wrong with w is wrong with means, too, but for them alone.
    const int64_t row = extent(p.columns > 0, p.depth, p.depth, 1, 4);
    if (size == kUnaffordable || (size >= 0 && row == kUnaffordable)) return;
    valid = size != kImpossible && row != kImpossible;
  }
  // The reference looks through a row in each cycle, and for each candidate through its group or row.
  if (valid && p.columns * p.depth * p.depth > 200000) return;
  if (p.max_cycles > 50) p.max_cycles = 50;
  const bool exists = valid && size > 0;
  const int64_t row_bytes = exists ? (p.depth + 7) / 8 : 0;
  Buffer w(valid ? size : 1), mask(exists ? p.columns * row_bytes : 1);
  const int64_t factor_bytes = exists ? p.depth * 4 : 4;
  Buffer means(factor_bytes);
  means.fill_floats(rng, GATUN_F32, values(input));
  const Buffer variances = factors(rng, factor_bytes, input), norms = factors(rng, factor_bytes, input);
  if (valid) w.fill_floats(rng, p.w_dtype, values(input));
  if (input.rarely()) {
    mask.fill_integers(rng, 0, 255);
  } else {
    for (int64_t i = 0; exists && i < p.columns * p.depth; ++i) {
      const int64_t k = i % p.depth;
      if (p.n == 0 ? rng.integer(0, 1) : k % p.m < p.n) {
        uint8_t& byte = mask.data()[i / p.depth * row_bytes + k / 8];
        byte = static_cast<uint8_t>(byte | 1 << k % 8);
      }
    }
  }
  w.spoil(input);
  const std::vector<uint8_t> before = mask.copy();
  std::vector<float> w_values;
  if (exists) {
    valid = valid && !w.is_null() && !w.misaligned() && good_factors(variances) && good_factors(norms);
    for (const float mean : floats(means, GATUN_F32)) valid = valid && std::isfinite(mean);
    if (valid) w_values = floats(w, p.w_dtype);
    for (const float value : w_values) valid = valid && std::isfinite(value);
    for (int64_t row = 0; row < p.columns; ++row) {
      int kept = 0;
      for (int64_t k = 0; k < row_bytes * 8; ++k) {
        const bool bit = before[static_cast<size_t>(row * row_bytes + k / 8)] >> k % 8 & 1;
        if (p.n > 0 && k % p.m == 0) kept = 0;
        kept += bit;
        if (bit && (k >= p.depth || (p.n > 0 && kept > p.n))) valid = false;
      }
    }
  }
  const auto* means_at = reinterpret_cast<const float*>(means.data());
  const auto* variances_at = reinterpret_cast<const float*>(variances.data());
  const auto* norms_at = reinterpret_cast<const float*>(norms.data());
  const int32_t status = gatun_prune_regrow(&p, w.data(), means_at, variances_at, norms_at, mask.data());
  check_status(status, valid, "gatun_prune_regrow");
  if (status != GATUN_OK && mask.copy() != before) defect("gatun_prune_regrow failed and wrote the mask");
  if (status == GATUN_OK && exists &&
      mask.copy() != prune::reference_regrow(p, w_values, means_at, variances_at, norms_at, before)) {
    defect("another mask than the reference's: %d:%d, %lld x %lld", p.n, p.m, static_cast<long long>(p.columns),
           static_cast<long long>(p.depth));
  }
}

}  // namespace gatun::fuzz
