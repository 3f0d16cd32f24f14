#include "gatun/types.h"
#include "kernels.h"
#include "ptx/launch.h"
#include "ptx/memory.h"
#include "ptx/number.h"
#include "ptx/thread.h"

namespace gatun::bench {
namespace {

using cuda::block_x;
using cuda::launch;
using cuda::thread_index;
using cuda::Words4;

constexpr int kThreads = 256;

// 24 bits of a mix of seed and index (the finalizer of splitmix64), as a number in [-1, 1).
GATUN_DEVICE float value(uint64_t seed, uint64_t index) {
  uint64_t z = (seed << 40) + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return static_cast<float>(static_cast<int32_t>(z >> 40) - (1 << 23)) * 0x1p-23f;
}

GATUN_KERNEL(kThreads, 1) fill_f32(int64_t count, uint64_t seed, float* values) {
  const int64_t i = block_x() * kThreads + thread_index();
  if (i < count) values[i] = value(seed, static_cast<uint64_t>(i));
}

GATUN_KERNEL(kThreads, 1) fill_bf16(int64_t count, uint64_t seed, uint16_t* values) {
  const int64_t i = block_x() * kThreads + thread_index();
  if (i < count) values[i] = cuda::f32_to_bf16(value(seed, static_cast<uint64_t>(i)));
}

// A thread has 8 loads of 16 bytes in flight.
constexpr int kLoads = 8;
static_assert(kThreads * kLoads * sizeof(Words4) == kBytesOfBlock);

GATUN_DEVICE void load_all(const Words4* from, Words4 (&x)[kLoads]) {
  for (int i = 0; i < kLoads; ++i) x[i] = cuda::load_once(from + i * kThreads);
}

GATUN_KERNEL(kThreads, 1) read_block(const Words4* from, uint32_t* sink) {
  Words4 x[kLoads];
  load_all(from + block_x() * kThreads * kLoads + thread_index(), x);
  uint32_t all = 0;
  for (int i = 0; i < kLoads; ++i) all |= x[i].word[0] ^ x[i].word[1] ^ x[i].word[2] ^ x[i].word[3];
  if (all == 0x12345678u) *sink = all;
}

GATUN_KERNEL(kThreads, 1) copy_block(const Words4* from, Words4* to) {
  const int64_t at = block_x() * kThreads * kLoads + thread_index();
  Words4 x[kLoads];
  load_all(from + at, x);
  for (int i = 0; i < kLoads; ++i) cuda::store_once(to + at + i * kThreads, x[i]);
}

cuda::Grid grid(int64_t blocks) { return {blocks, 1, 1, kThreads, 0}; }

}  // namespace

int32_t fill(int32_t dtype, int64_t count, uint64_t seed, void* values, void* stream) {
  const cuda::Grid threads = grid((count + kThreads - 1) / kThreads);
  if (dtype == GATUN_F32)
    return launch("fill_f32", fill_f32, threads, stream, count, seed, static_cast<float*>(values));
  return launch("fill_bf16", fill_bf16, threads, stream, count, seed, static_cast<uint16_t*>(values));
}

int32_t read_all(const void* from, int64_t bytes, void* sink, void* stream) {
  return launch("read_block", read_block, grid(bytes / kBytesOfBlock), stream, static_cast<const Words4*>(from),
                static_cast<uint32_t*>(sink));
}

int32_t copy_all(void* to, const void* from, int64_t bytes, void* stream) {
  return launch("copy_block", copy_block, grid(bytes / kBytesOfBlock), stream, static_cast<const Words4*>(from),
                static_cast<Words4*>(to));
}

}  // namespace gatun::bench
