// Every row of nm_format's table on one thread, from memory, through the entry with the row's tier as its limit.
//
//   <row>/<n>:<m>/prune, wanda, mask or nonzero
//
// prune and wanda select and compress, mask compresses by a given mask, nonzero what is not 0. GB/s counts weights,
// mask, values and indices; limit% compares with the time that memory takes to move them.
#include <cstring>
#include <random>
#include <string>

#include "base/dtype.h"
#include "bench.h"
#include "gatun/nm_format.h"
#include "nm_format/table.h"

namespace gatun::bench {
namespace {

constexpr int64_t kRows = 14336, kDepth = 4096;
constexpr int32_t kFormats[][2] = {{1, 2}, {2, 4}, {1, 4}, {1, 8}, {4, 8}, {2, 16}, {4, 32}};

enum class Way { prune, wanda, mask, nonzero };

// Weights of normal values (of 16 bits: those of bf16, numbers as f16, too), and room for what is made of them.
struct Matrices {
  Memory w = allocate(kRows * kDepth * 4), mask = allocate(kRows * kDepth / 8), values = allocate(kRows * kDepth * 4);
  Memory halves = allocate(kRows * kDepth * 2), indices = allocate(kRows * kDepth), norms = allocate(kDepth * 4),
         sparse = allocate(kRows * kDepth * 4);

  Matrices() {
    constexpr int64_t kSome = int64_t{1} << 20;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    float* weights = reinterpret_cast<float*>(w.get());
    for (int64_t i = 0; i < kSome; ++i) weights[i] = normal(random);
    for (int64_t i = kSome; i < kRows * kDepth; ++i) weights[i] = weights[i - kSome];
    for (int64_t i = 0; i < kRows * kDepth; ++i) reinterpret_cast<uint16_t*>(halves.get())[i] = f32_to_bf16(weights[i]);
    for (int64_t k = 0; k < kDepth; ++k) reinterpret_cast<float*>(norms.get())[k] = weights[k] * weights[k];
  }
};

Matrices& matrices() {
  static Matrices kept;
  return kept;
}

void compress(benchmark::State& state, const KernelRow<nm_format::Kernel>& row, int32_t n, int32_t m, Way way) {
  Matrices& a = matrices();
  const gatun_nm_format f = {sizeof(f), n, m, 1, row.from, 1, kRows, kDepth, kDepth};
  gatun_prune_params p{};
  p.struct_size = sizeof(p);
  p.w_dtype = f.value_dtype;
  p.score = way == Way::wanda ? GATUN_SCORE_WANDA : GATUN_SCORE_MAGNITUDE;
  p.n = n;
  p.m = m;
  p.vector = 1;
  p.columns = kRows;
  p.depth = kDepth;
  int64_t bytes[4];
  if (gatun_nm_bytes(&f, bytes, bytes + 1, bytes + 2, bytes + 3) != GATUN_OK) {
    return state.SkipWithError(gatun_last_error());
  }
  const void* weights = bytes[0] == kRows * kDepth * 2 ? a.halves.get() : a.w.get();
  if (way == Way::mask || way == Way::nonzero) {
    // The lowest of each group.
    for (int64_t i = 0; i < kRows * kDepth / 8; ++i) {
      int byte = 0;
      for (int j = 0; j < 8; ++j) byte |= ((i * 8 + j) % m < n) << j;
      a.mask.get()[i] = static_cast<uint8_t>(byte);
    }
  }
  if (way == Way::nonzero) {
    if (gatun_nm_compress(&f, weights, a.mask.get(), nullptr, a.values.get(), a.indices.get()) != GATUN_OK ||
        gatun_nm_decompress(&f, a.values.get(), a.indices.get(), nullptr, a.sparse.get()) != GATUN_OK) {
      return state.SkipWithError(gatun_last_error());
    }
    weights = a.sparse.get();
  }
  const double moved = static_cast<double>(bytes[0] + bytes[1] + bytes[2] + (way == Way::mask ? bytes[3] : 0));
  run(state, {moved, 0}, moved / limit(GATUN_LIMIT_MOVE, active_tier()), [&] {
    if (way == Way::mask || way == Way::nonzero) {
      return nm_format::run_compress(row.tier, &f, weights, way == Way::mask ? a.mask.get() : nullptr, nullptr,
                                     a.values.get(), a.indices.get()) == GATUN_OK;
    }
    const float* norms = way == Way::wanda ? reinterpret_cast<const float*>(a.norms.get()) : nullptr;
    return nm_format::run_prune(row.tier, &f, &p, weights, norms, nullptr, a.values.get(), a.indices.get()) == GATUN_OK;
  });
}

}  // namespace

void register_nm_format() {
  constexpr const char* kNames[] = {"prune", "wanda", "mask", "nonzero"};
  for (const KernelRow<nm_format::Kernel>& row : nm_format::table()) {
    if (!tier_supported(row.tier)) continue;
    for (const auto& [n, m] : kFormats) {
      for (const Way way : {Way::prune, Way::wanda, Way::mask, Way::nonzero}) {
        if (row.kernel->prune == nullptr && (way == Way::prune || way == Way::wanda)) continue;
        if (row.from == GATUN_U4 && way == Way::nonzero) continue;
        const std::string name = std::string(row.name) + "/" + std::to_string(n) + ":" + std::to_string(m) + "/" +
                                 kNames[static_cast<int>(way)];
        benchmark::RegisterBenchmark(name.c_str(), compress, row, n, m, way)->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace gatun::bench
