// The C entry of the fit: check, prune, fit, compress.
#include "gatun/armor.h"

#include <cmath>
#include <new>
#include <vector>

#include "armor/check.h"
#include "armor/fit.h"
#include "armor/table.h"
#include "base/status.h"
#include "simd/float_mode.h"

namespace gatun::armor {
namespace {

int32_t check_finite(const float* w, int64_t columns, int64_t depth) {
  for (int64_t i = 0; i < columns * depth; ++i) {
    if (std::isfinite(w[i])) continue;
    return fail(GATUN_INVALID_ARGUMENT, "w[%lld][%lld] = %g; allowed: finite numbers",
                static_cast<long long>(i / depth), static_cast<long long>(i % depth), static_cast<double>(w[i]));
  }
  return GATUN_OK;
}

// gatun_prune checks them, too, but where it has weights.
int32_t check_norms(const float* norms, int64_t depth) {
  for (int64_t k = 0; norms != nullptr && k < depth; ++k) {
    if (std::isfinite(norms[k]) && norms[k] >= 0) continue;
    return fail(GATUN_INVALID_ARGUMENT, "norms[%lld] = %g; allowed: finite, at least 0", static_cast<long long>(k),
                static_cast<double>(norms[k]));
  }
  return GATUN_OK;
}

// The mask of the core that the fit starts with.
int32_t prune(const gatun_armor_fit_params& p, const float* w, const float* norms, uint8_t* mask) {
  gatun_prune_params prune{};
  prune.struct_size = sizeof(prune);
  prune.w_dtype = GATUN_F32;
  prune.score = norms != nullptr ? GATUN_SCORE_WANDA : GATUN_SCORE_MAGNITUDE;
  prune.pattern = GATUN_PATTERN_NM;
  prune.n = p.n;
  prune.m = p.m;
  prune.vector = 1;
  prune.threads = p.threads;
  prune.columns = p.columns;
  prune.depth = p.depth;
  return gatun_prune(&prune, w, norms, nullptr, mask);
}

}  // namespace

int32_t run_fit(Tier limit, const gatun_armor_fit_params* params, const float* w, const float* norms, float* left,
                float* values, uint8_t* indices, float* right, double* losses) {
  GATUN_TRY(check_fit(params, w, norms, left, values, indices, right, losses));
  const gatun_armor_fit_params& p = *params;
  const DefaultFloatMode mode;
  GATUN_TRY(check_finite(w, p.columns, p.depth));
  GATUN_TRY(check_norms(norms, p.depth));
  try {
    std::vector<uint8_t> mask(static_cast<size_t>(p.columns * blocks_of(p.depth, 8)));
    std::vector<float> core(static_cast<size_t>(p.columns * p.depth));
    GATUN_TRY(prune(p, w, norms, mask.data()));
    GATUN_TRY(fit(gemm::kernel_of(limit), p, w, norms, left, core.data(), mask.data(), right, losses));
    const gatun_nm_format format = {sizeof(gatun_nm_format), p.n, p.m, 1, GATUN_F32, p.threads, p.columns, p.depth, 0};
    return gatun_nm_compress(&format, core.data(), mask.data(), nullptr, values, indices);
  } catch (const std::bad_alloc&) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for the fit of %lld x %lld weights",
                static_cast<long long>(p.columns), static_cast<long long>(p.depth));
  }
}

}  // namespace gatun::armor

int32_t gatun_armor_fit(const gatun_armor_fit_params* params, const float* w, const float* norms, float* left,
                        float* values, uint8_t* indices, float* right, double* losses) {
  return gatun::armor::run_fit(gatun::active_tier(), params, w, norms, left, values, indices, right, losses);
}
