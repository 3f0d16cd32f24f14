// The processor's instruction-set tiers.
#pragma once

#include <cstdint>

#include "gatun/gatun.h"

namespace gatun {

enum class Tier : int32_t {
  scalar = GATUN_TIER_SCALAR,
  avx2 = GATUN_TIER_AVX2,
  avxvnni = GATUN_TIER_AVXVNNI,
  avx512 = GATUN_TIER_AVX512,
  avx512vnni = GATUN_TIER_AVX512VNNI,
  neon = GATUN_TIER_NEON,
  dotprod = GATUN_TIER_DOTPROD,
  i8mm = GATUN_TIER_I8MM,
};
inline constexpr int kTiers = 8;

const char* tier_name(Tier tier);

// Whether processor and operating system can run the tier. Those of an architecture are a chain except avxvnni: a
// processor with AVX-512 VNNI need not have it.
bool tier_supported(Tier tier);

// The highest supported tier that GATUN_MAX_ISA allows.
Tier active_tier();

// Whether a kernel of `tier` may run when `limit` is the tier in use.
inline bool tier_usable(Tier tier, Tier limit) { return tier <= limit && tier_supported(tier); }

}  // namespace gatun
