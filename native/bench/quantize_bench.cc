// Every row of quantize's table on one thread, from memory, through the entry with the row's tier as its limit.
//
//   <row>/quantize or dequantize/<group>
//
// GB/s counts x and codes; limit% compares with the time that memory takes to move them.
#include <cstring>
#include <random>
#include <string>

#include "bench.h"
#include "gatun/quantize.h"
#include "quantize/table.h"

namespace gatun::bench {
namespace {

constexpr int64_t kRows = 4096, kDepth = 16384;  // 256 MiB of f32
constexpr int64_t kGroups[] = {32, 128, kDepth};

// Normal values, and room for codes, scales of the smallest groups, zero points and what comes back.
struct Buffers {
  Memory x = allocate(kRows * kDepth * 4), back = allocate(kRows * kDepth * 4), codes = allocate(kRows * kDepth);
  Memory scales = allocate(kRows * kDepth / 8), zero_points = allocate(kRows * kDepth / 32);

  Buffers() {
    constexpr int64_t kSome = int64_t{1} << 20;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    float* values = reinterpret_cast<float*>(x.get());
    for (int64_t i = 0; i < kSome; ++i) values[i] = normal(random);
    for (int64_t i = kSome; i < kRows * kDepth; ++i) values[i] = values[i - kSome];
  }
};

Buffers& buffers() {
  static Buffers kept;
  return kept;
}

gatun_quantize_params params_of(const KernelRow<quantize::Kernel>& row, int64_t group) {
  const bool book = row.to == quantize::kBook;
  gatun_quantize_params p{};
  p.struct_size = sizeof(p);
  p.x_dtype = GATUN_F32;
  p.code_dtype = row.from;
  p.book = !book ? GATUN_BOOK_NONE : row.from == GATUN_U4 ? GATUN_BOOK_NF4 : GATUN_BOOK_DYNAMIC;
  p.zero_point = row.from == GATUN_U8 && !book ? GATUN_ZERO_INTEGER : GATUN_ZERO_NONE;
  p.scale_dtype = GATUN_F32;
  p.threads = 1;
  p.tensor_scale = 1;
  p.rows = kRows;
  p.depth = p.x_row_stride = kDepth;
  p.group = group;
  p.group_rows = p.x_column_stride = 1;
  return p;
}

void convert(benchmark::State& state, const KernelRow<quantize::Kernel>& row, bool quantize, int64_t group) {
  const gatun_quantize_params p = params_of(row, group);
  Buffers& b = buffers();
  uint8_t* const zero_points = p.zero_point == GATUN_ZERO_NONE ? nullptr : b.zero_points.get();
  const auto make = [&] {
    return quantize::run_quantize(row.tier, &p, b.x.get(), nullptr, nullptr, b.codes.get(), b.scales.get(),
                                  zero_points) == GATUN_OK;
  };
  if (!quantize && !make()) return state.SkipWithError(gatun_last_error());
  const double bytes =
      static_cast<double>(kRows * (dtype_bytes(GATUN_F32, kDepth) + dtype_bytes(p.code_dtype, kDepth)));
  run(state, {bytes, 0}, bytes / limit(GATUN_LIMIT_MOVE, active_tier()), [&] {
    if (quantize) return make();
    return quantize::run_dequantize(row.tier, &p, nullptr, b.codes.get(), b.scales.get(), zero_points, b.back.get()) ==
           GATUN_OK;
  });
}

}  // namespace

void register_quantize() {
  for (const KernelRow<quantize::Kernel>& row : quantize::table()) {
    if (!tier_supported(row.tier)) continue;
    for (const bool quantize : {true, false}) {
      for (const int64_t group : kGroups) {
        const std::string name =
            std::string(row.name) + (quantize ? "/quantize/" : "/dequantize/") + std::to_string(group);
        benchmark::RegisterBenchmark(name.c_str(), convert, row, quantize, group)->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace gatun::bench
