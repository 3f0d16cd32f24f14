// Every row of prune's tables on one thread, from memory.
//
//   <row>/<n>:<m>     masks of f32 weights by magnitude, without the checks; GB/s counts weights and masks
//   <row>/apply       a matrix to another one, of which half is kept; GB/s counts both, and the mask
//
// limit% compares with the time that memory takes to read the weights, or to move the matrix.
#include <string>

#include "bench.h"
#include "prune/table.h"

namespace gatun::bench {
namespace {

constexpr int64_t kRows = 4096, kDepth = 16384;  // 256 MiB of f32
constexpr int kPatterns[][2] = {{1, 2}, {2, 4}, {1, 8}, {4, 16}, {8, 32}};

// Different bytes, which are also f32, f16 and bf16 without NaN, and room for a copy.
struct Buffers {
  Memory x = allocate(kRows * kDepth * 4), y = allocate(kRows * kDepth * 4), mask = allocate(kRows * kDepth / 8);

  Buffers() {
    uint32_t state = 1;
    for (int64_t i = 0; i < kRows * kDepth * 4; ++i) {
      state = state * 1664525 + 1013904223;
      x.get()[i] = static_cast<uint8_t>(state >> 24 & 0xbb);  // of no exponent all bits
    }
    for (int64_t i = 0; i < kRows * kDepth / 8; ++i) mask.get()[i] = i % 2 == 0 ? 0x35 : 0xca;
  }
};

Buffers& buffers() {
  static Buffers kept;
  return kept;
}

double bytes_of(int32_t dtype, int matrices) {
  return static_cast<double>(kRows * (matrices * dtype_bytes(dtype, kDepth) + prune::mask_bytes(kDepth)));
}

void prune_nm(benchmark::State& state, const KernelRow<prune::Kernel>& row, int n, int m) {
  const prune::Weights weights = {buffers().x.get(), nullptr, false, kDepth};
  uint8_t* const mask = buffers().y.get();
  const double bytes = bytes_of(row.from, 1);
  run(state, {bytes, 0}, bytes / limit(GATUN_LIMIT_READ, active_tier()), [&] {
    row.kernel->nm(weights, n, m, 0, kRows, mask);
    return true;
  });
}

void apply(benchmark::State& state, const KernelRow<prune::MaskKernel>& row) {
  const Buffers& b = buffers();
  const prune::MaskJob job = {b.x.get(), b.mask.get(), b.y.get(), kDepth, kDepth, kDepth, true};
  const double bytes = bytes_of(row.from, 2);
  run(state, {bytes, 0}, bytes / limit(GATUN_LIMIT_MOVE, active_tier()), [&] {
    row.kernel->apply(job, 0, kRows);
    return true;
  });
}

}  // namespace

void register_prune() {
  for (const KernelRow<prune::Kernel>& row : prune::table()) {
    if (!tier_supported(row.tier)) continue;
    for (const auto& [n, m] : kPatterns) {
      const std::string name = std::string(row.name) + "/" + std::to_string(n) + ":" + std::to_string(m);
      benchmark::RegisterBenchmark(name.c_str(), prune_nm, row, n, m)->Unit(benchmark::kMillisecond);
    }
  }
  for (const KernelRow<prune::MaskKernel>& row : prune::mask_table()) {
    if (!tier_supported(row.tier)) continue;
    const std::string name = std::string(row.name) + "/apply";
    benchmark::RegisterBenchmark(name.c_str(), apply, row)->Unit(benchmark::kMillisecond);
  }
}

}  // namespace gatun::bench
