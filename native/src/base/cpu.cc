// Asks the processor what it has and the operating system which of it may be used: on x86 CPUID and XGETBV, on ARM the
// capabilities that the kernel tells each process, and the identification register that it lets read.
#include "base/cpu.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/parallel.h"
#include "base/status.h"
#include "base/text.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace gatun {
namespace {

struct TierState {
  bool supported = false;
  char reason[96] = "";  // why not
};

struct Cpu {
  char name[64] = "unknown processor";
  TierState tiers[kTiers];
  Tier active = Tier::scalar;
  char limit[96] = "";  // what GATUN_MAX_ISA said
};

struct Feature {
  const char* name;
  bool present;
};

// Whether the tiers below and all features are there; if not, says so in `tier`.
template <int N>
bool present(TierState& tier, const TierState& below, const Feature (&features)[N]) {
  if (!below.supported) {
    std::snprintf(tier.reason, sizeof(tier.reason), "needs the tiers below it");
    return false;
  }
  for (const Feature& feature : features) {
    if (!feature.present) {
      std::snprintf(tier.reason, sizeof(tier.reason), "the processor has no %s", feature.name);
      return false;
    }
  }
  return true;
}

#if defined(__x86_64__)

constexpr Tier kFirstTier = Tier::avx2, kLastTier = Tier::avx512vnni;

uint64_t saved_registers() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

// The tier needs `below`, all features, and the register state `state` saved by the operating system.
template <int N>
void require(TierState& tier, const TierState& below, const Feature (&features)[N], uint64_t saved, uint64_t state,
             const char* state_name) {
  if (!present(tier, below, features)) return;
  if ((saved & state) != state) {
    std::snprintf(tier.reason, sizeof(tier.reason), "the operating system disabled %s (XCR0 = 0x%llx)", state_name,
                  static_cast<unsigned long long>(saved));
    return;
  }
  tier.supported = true;
}

void detect(Cpu& cpu) {
  uint32_t a, b, c, d;
  if (__get_cpuid_max(0x80000000u, nullptr) >= 0x80000004u) {
    char brand[49] = {};  // 48 bytes, which the processor need not end with a NUL
    for (uint32_t i = 0; i < 3; ++i) {
      uint32_t part[4];
      __cpuid(0x80000002u + i, part[0], part[1], part[2], part[3]);
      std::memcpy(brand + i * sizeof(part), part, sizeof(part));
    }
    std::snprintf(cpu.name, sizeof(cpu.name), "%s", brand + std::strspn(brand, " "));
  }

  uint32_t leaf1_c = 0, leaf7_b = 0, leaf7_c = 0, leaf7_1_a = 0, extended_c = 0;
  if (__get_cpuid(1, &a, &b, &c, &d)) leaf1_c = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    leaf7_b = b;
    leaf7_c = c;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) leaf7_1_a = a;
  }
  if (__get_cpuid(0x80000001u, &a, &b, &c, &d)) extended_c = c;
  const auto bit = [](uint32_t word, int index) { return (word >> index & 1) != 0; };
  const bool osxsave = bit(leaf1_c, 27);
  const uint64_t saved = osxsave ? saved_registers() : 0;
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;

  TierState* tiers = cpu.tiers;
  const auto at = [](Tier tier) { return static_cast<int>(tier); };
  const Feature avx2[] = {{"XSAVE enabled by the operating system", osxsave},
                          {"AVX", bit(leaf1_c, 28)},
                          {"AVX2", bit(leaf7_b, 5)},
                          {"FMA", bit(leaf1_c, 12)},
                          {"F16C", bit(leaf1_c, 29)},
                          {"MOVBE", bit(leaf1_c, 22)},
                          {"LZCNT", bit(extended_c, 5)},
                          {"BMI1", bit(leaf7_b, 3)},
                          {"BMI2", bit(leaf7_b, 8)}};
  require(tiers[at(Tier::avx2)], tiers[at(Tier::scalar)], avx2, saved, kYmm, "256-bit registers");
#if defined(GATUN_EVEX_VNNI)
  const Feature avxvnni[] = {{"AVX-512 VL and VNNI (test build)", bit(leaf7_b, 31) && bit(leaf7_c, 11)}};
#else
  const Feature avxvnni[] = {{"AVX-VNNI", bit(leaf7_1_a, 4)}};
#endif
  require(tiers[at(Tier::avxvnni)], tiers[at(Tier::avx2)], avxvnni, saved, kYmm, "256-bit registers");
  const Feature avx512[] = {{"AVX-512 F", bit(leaf7_b, 16)},
                            {"AVX-512 DQ", bit(leaf7_b, 17)},
                            {"AVX-512 CD", bit(leaf7_b, 28)},
                            {"AVX-512 BW", bit(leaf7_b, 30)},
                            {"AVX-512 VL", bit(leaf7_b, 31)}};
  require(tiers[at(Tier::avx512)], tiers[at(Tier::avx2)], avx512, saved, kZmm, "512-bit registers");
  const Feature avx512vnni[] = {
      {"AVX-512 VNNI", bit(leaf7_c, 11)}, {"AVX-512 VBMI", bit(leaf7_c, 1)}, {"AVX-512 BF16", bit(leaf7_1_a, 5)}};
  require(tiers[at(Tier::avx512vnni)], tiers[at(Tier::avx512)], avx512vnni, saved, kZmm, "512-bit registers");
}

#elif defined(__aarch64__)

constexpr Tier kFirstTier = Tier::neon, kLastTier = Tier::i8mm;

// The kernel clears what it does not let programs use.
void detect(Cpu& cpu) {
  const uint64_t capabilities = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
  const auto has = [&](uint64_t capability) { return (capabilities & capability) != 0; };
  if (has(HWCAP_CPUID)) {
    uint64_t id;  // MIDR_EL1: implementer, variant, architecture, part, revision
    __asm__("mrs %0, midr_el1" : "=r"(id));
    std::snprintf(cpu.name, sizeof(cpu.name), "ARM, implementer 0x%02x, part 0x%03x, r%dp%d",
                  static_cast<unsigned>(id >> 24 & 255), static_cast<unsigned>(id >> 4 & 0xfff),
                  static_cast<int>(id >> 20 & 15), static_cast<int>(id & 15));
  }
  TierState* tiers = cpu.tiers;
  const auto at = [](Tier tier) { return static_cast<int>(tier); };
  const auto require = [&](Tier tier, Tier below, const auto& features) {
    tiers[at(tier)].supported = present(tiers[at(tier)], tiers[at(below)], features);
  };
  const Feature neon[] = {{"Advanced SIMD", has(HWCAP_ASIMD)}};
  require(Tier::neon, Tier::scalar, neon);
  // What compilers may use in Armv8.2-A code, and the dot products.
  const Feature dotprod[] = {{"atomic instructions (LSE)", has(HWCAP_ATOMICS)},
                             {"CRC32 instructions", has(HWCAP_CRC32)},
                             {"rounding multiplications (RDM)", has(HWCAP_ASIMDRDM)},
                             {"8-bit dot products (DotProd)", has(HWCAP_ASIMDDP)}};
  require(Tier::dotprod, Tier::neon, dotprod);
  const Feature i8mm[] = {{"8-bit matrix multiplications (I8MM)", (more & HWCAP2_I8MM) != 0}};
  require(Tier::i8mm, Tier::dotprod, i8mm);
}

#else

constexpr Tier kFirstTier = Tier::scalar, kLastTier = Tier::scalar;

void detect(Cpu&) {}

#endif

// Whether the tier belongs to this architecture.
bool exists_here(int tier) {
  return tier == 0 || (tier >= static_cast<int>(kFirstTier) && tier <= static_cast<int>(kLastTier));
}

constexpr const char* kTierNames[kTiers] = {"scalar",     "avx2", "avxvnni", "avx512",
                                            "avx512vnni", "neon", "dotprod", "i8mm"};

void limit(Cpu& cpu) {
  int highest = static_cast<int>(kLastTier);
  if (const char* wanted = std::getenv("GATUN_MAX_ISA"); wanted != nullptr && *wanted != '\0') {
    int index = 0;
    while (index < kTiers && std::strcmp(wanted, kTierNames[index]) != 0) ++index;
    if (index < kTiers && exists_here(index)) {
      highest = index;
      std::snprintf(cpu.limit, sizeof(cpu.limit), "GATUN_MAX_ISA=%s", wanted);
    } else {
      std::snprintf(cpu.limit, sizeof(cpu.limit), "GATUN_MAX_ISA=%.24s ignored: no such tier%s", wanted,
                    index < kTiers ? " on this architecture" : "");
    }
  }
  while (!cpu.tiers[highest].supported) --highest;  // scalar always is
  cpu.active = static_cast<Tier>(highest);
}

const Cpu& cpu() {
  static const Cpu instance = [] {
    Cpu result;
    result.tiers[0].supported = true;
    for (int i = 0; i < kTiers; ++i) {
      TierState& tier = result.tiers[i];
      if (!exists_here(i)) std::snprintf(tier.reason, sizeof(tier.reason), "not on this architecture");
    }
    detect(result);
    limit(result);
    return result;
  }();
  return instance;
}

}  // namespace

const char* tier_name(Tier tier) { return kTierNames[static_cast<int>(tier)]; }
bool tier_supported(Tier tier) { return cpu().tiers[static_cast<int>(tier)].supported; }
Tier active_tier() { return cpu().active; }

}  // namespace gatun

using namespace gatun;

int32_t gatun_tier() { return static_cast<int32_t>(active_tier()); }

int32_t gatun_tier_supported(int32_t tier) {
  return tier >= 0 && tier < kTiers && tier_supported(static_cast<Tier>(tier));
}

const char* gatun_tier_name(int32_t tier) { return tier >= 0 && tier < kTiers ? kTierNames[tier] : nullptr; }

int32_t gatun_cpu_report(char* text, int64_t capacity) {
  const Cpu& c = cpu();
  Text out;
  out.add("processor: %s\n", c.name);
  out.add("tier in use: %s%s%s\n", tier_name(c.active), *c.limit ? ", " : "", c.limit);
  for (int i = 0; i < kTiers; ++i) {
    out.add("  %-10s %s\n", kTierNames[i], c.tiers[i].supported ? "available" : c.tiers[i].reason);
  }
  out.add("threads: %d", gatun_threads());
  if (const char* threads = std::getenv("GATUN_THREADS"); threads != nullptr && threads_from_environment() == 0) {
    out.add(", GATUN_THREADS=%.24s ignored: not a number in 1..%d", threads, kMaxThreads);
  }
  out.add("\n");
  return out.copy_to(text, capacity);
}
