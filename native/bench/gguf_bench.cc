// Every row of the GGUF table on one thread: blocks made of f32, and read to f32, from memory.
//
//   <row>/quantize or dequantize
//
// Calls take turns on parts of buffers that the caches cannot hold. GB/s counts the f32 side; limit% compares with the
// time that memory takes to move the bytes of both sides.
#include <cstring>
#include <random>
#include <string>

#include "bench.h"
#include "gguf/table.h"

namespace gatun::bench {
namespace {

constexpr int64_t kElements = int64_t{64} << 20;  // of the whole buffer, 256 MiB of f32
constexpr int64_t kCall = int64_t{1} << 20;

// Normal values and what they quantize to; f32 needs more bytes than any block.
struct Buffers {
  Memory x = allocate(kElements * 4), blocks = allocate(kElements * 2);

  Buffers() {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    float* values = reinterpret_cast<float*>(x.get());
    for (int64_t i = 0; i < kCall; ++i) values[i] = normal(random);
    for (int64_t i = kCall; i < kElements; ++i) values[i] = values[i - kCall];
    std::memset(blocks.get(), 0, static_cast<size_t>(kElements * 2));
  }
};

Buffers& buffers() {
  static Buffers kept;
  return kept;
}

void convert(benchmark::State& state, const KernelRow<gguf::Kernel>& row, bool quantize) {
  const gguf::Type& type = *gguf::find_type(row.from);
  const int64_t call_blocks = kCall / type.elements, call_bytes = call_blocks * type.bytes;
  float* const x = reinterpret_cast<float*>(buffers().x.get());
  uint8_t* const blocks = buffers().blocks.get();
  const auto job = [&](int64_t call) {
    return gguf::Job{x + call * kCall, blocks + call * call_bytes, call_blocks, kCall, !quantize};
  };
  if (!quantize) {
    for (int64_t call = 0; call < kElements / kCall; ++call)
      row.kernel->quantize[gguf::kXF32](job(call), 0, call_blocks);
  }
  const double f32_bytes = 4.0 * static_cast<double>(kCall);
  const double limit_seconds = (f32_bytes + static_cast<double>(call_bytes)) / limit(GATUN_LIMIT_MOVE, active_tier());
  int64_t call = 0;
  run(state, {f32_bytes, 0}, limit_seconds, [&] {
    bool good = true;
    if (quantize) {
      good = row.kernel->quantize[gguf::kXF32](job(call), 0, call_blocks);
    } else {
      row.kernel->dequantize[gguf::kXF32](job(call), 0, call_blocks);
    }
    call = (call + 1) % (kElements / kCall);
    return good;
  });
}

}  // namespace

void register_gguf() {
  for (const KernelRow<gguf::Kernel>& row : gguf::table()) {
    if (!tier_supported(row.tier)) continue;
    for (const bool quantize : {true, false}) {
      const std::string name = std::string(row.name) + (quantize ? "/quantize" : "/dequantize");
      benchmark::RegisterBenchmark(name.c_str(), convert, row, quantize)->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace gatun::bench
