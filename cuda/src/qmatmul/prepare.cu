// Rows of x to the form that kernels of products read (job.h): f16, bf16, f32, or int8 with scales; sums of groups.
//
//   int8  scale = amax / 127, code = round(x * (1 / scale)), ties to even, over the row or over each group, as on the
//         CPU: a scale below 2^-120 counts as 0; NaN where a value is not finite, whose codes are 0
//
// Floats: a thread makes four elements of a row, whose own alignment may be any. Sums of floats: a warp for each group.
// Int8: a block for each row; its warps, or it as a whole where groups are few, take group after group.
#include "gatun/types.h"
#include "ptx/launch.h"
#include "ptx/warp.h"
#include "qmatmul/prepare.h"
#include "qmatmul/values.h"

namespace gatun::cuda::qmatmul {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32, kEach = 4;
constexpr int64_t kMostBlocks = 1 << 20;

struct alignas(16) Four {
  float x[kEach];
};
struct alignas(8) FourHalves {
  uint32_t x[kEach / 2];
};

GATUN_DEVICE float rounded(float x, Arithmetic to) {
  return to == Arithmetic::f16 ? round_to_f16(x) : to == Arithmetic::bf16 ? round_to_bf16(x) : x;
}

GATUN_DEVICE const void* row_of(const PrepareJob& job, int64_t row) {
  return static_cast<const uint8_t*>(job.from) + row * job.from_row_stride * (job.dtype == GATUN_F32 ? 4 : 2);
}

GATUN_KERNEL(kThreads, 4) prepare_floats(const PrepareJob job) {
  const int64_t a_row = job.padded_depth / kEach, count = job.rows * a_row;
  for (int64_t i = block_x() * kThreads + thread_index(); i < count; i += blocks_x() * kThreads) {
    const int64_t row = i / a_row, k = i % a_row * kEach;
    const void* from = row_of(job, row);
    Four four;
    for (int j = 0; j < kEach; ++j) four.x[j] = k + j < job.depth ? load_float(from, job.dtype, k + j) : 0.0f;
    if (job.to == Arithmetic::f32) {
      for (float& x : four.x) x = rounded(x, job.rounding);
      static_cast<Four*>(job.x)[i] = four;
    } else {
      FourHalves halves;
      for (int j = 0; j < kEach / 2; ++j) {
        const float low = four.x[2 * j], high = four.x[2 * j + 1];
        halves.x[j] = job.to == Arithmetic::f16 ? pack_f16(low, high) : pack_bf16(low, high);
      }
      static_cast<FourHalves*>(job.x)[i] = halves;
    }
  }
}

GATUN_KERNEL(kThreads, 4) sum_floats(const PrepareJob job) {
  const int64_t count = job.rows * job.groups;
  for (int64_t i = block_x() * kWarps + warp(); i < count; i += blocks_x() * kWarps) {
    const void* from = row_of(job, i / job.groups);
    const int64_t begin = i % job.groups * job.group;
    const int64_t end = begin + job.group < job.depth ? begin + job.group : job.depth;
    float sum = 0;
    for (int64_t k = begin + lane(); k < end; k += 32) sum += rounded(load_float(from, job.dtype, k), job.rounding);
    for (int mask = 16; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
    if (lane() == 0) static_cast<float*>(job.sums)[i] = sum;
  }
}

// Threads that work together: a warp, or the block. All get the result of a reduction.
template <bool kBlock>
struct Team {
  static constexpr int kSize = kBlock ? kThreads : 32;
  GATUN_DEVICE static int index() { return kBlock ? thread_index() : lane(); }

  template <class T, class Of>
  GATUN_DEVICE static T reduce(T value, Of of) {
    for (int mask = 16; mask > 0; mask /= 2) value = of(value, shuffle_xor(value, mask));
    if (!kBlock) return value;
    T* const shared = reinterpret_cast<T*>(shared_memory());
    block_barrier();  // what was there is read
    if (lane() == 0) shared[warp()] = value;
    block_barrier();
    value = shared[0];
    for (int w = 1; w < kWarps; ++w) value = of(value, shared[w]);
    return value;
  }
};

// amax / 127 of elements [begin, end), and the factor that makes codes, 0 where they are zeros.
struct RowScale {
  float scale, inverse;
};
template <class Team>
GATUN_DEVICE RowScale scale_of(const PrepareJob& job, const void* from, int64_t begin, int64_t end) {
  float amax = 0;
  for (int64_t k = begin + Team::index(); k < end; k += Team::kSize) {
    const float x = load_float(from, job.dtype, k);
    // Above all that are finite, and below what comes of a NaN in comparisons.
    const float magnitude = is_finite(x) ? as_float(as_bits(x) & 0x7fffffffu) : as_float(0x7f800000u);
    amax = amax < magnitude ? magnitude : amax;
  }
  amax = Team::reduce(amax, [](float a, float b) { return a < b ? b : a; });
  if (!is_finite(amax)) return {as_float(0x7fc00000u), 0.0f};
  const float scale = amax / 127.0f;
  if (scale < 0x1p-120f) return {0.0f, 0.0f};
  return {scale, 1.0f / scale};
}

// Where element k of a step of 16 lies (job.h).
GATUN_DEVICE int place_of(int k) { return k % 8 / 2 * 4 + k % 2 * 2 + k / 8; }

template <bool kBlock>
GATUN_DEVICE void quantize_groups(const PrepareJob& job, int64_t row, RowScale scale) {
  using OfGroup = Team<kBlock>;
  const void* from = row_of(job, row);
  int8_t* const to = static_cast<int8_t*>(job.x) + row * job.padded_depth;
  for (int64_t g = kBlock ? 0 : warp(); g < job.groups; g += kBlock ? 1 : kWarps) {
    const int64_t begin = g * job.group, end = begin + job.group < job.depth ? begin + job.group : job.depth;
    if (job.scales_of_groups) {
      scale = scale_of<OfGroup>(job, from, begin, end);
      if (OfGroup::index() == 0) job.scales[row * job.groups + g] = scale.scale;
    }
    int32_t sum = 0;
    for (int64_t k = begin + OfGroup::index(); k < end; k += OfGroup::kSize) {
      // Where x may be infinite it must not be touched: 0 times infinity is NaN.
      const int32_t code = scale.inverse == 0 ? 0 : round_to_i32(load_float(from, job.dtype, k) * scale.inverse);
      to[k / kStepDepth * kStepDepth + place_of(static_cast<int>(k % kStepDepth))] = static_cast<int8_t>(code);
      sum += code;
    }
    if (job.sums == nullptr) continue;
    sum = OfGroup::reduce(sum, [](int32_t a, int32_t b) { return a + b; });
    if (OfGroup::index() == 0) static_cast<int32_t*>(job.sums)[row * job.groups + g] = sum;
  }
}

GATUN_KERNEL(kThreads, 4) quantize_rows(const PrepareJob job) {
  for (int64_t row = block_x(); row < job.rows; row += blocks_x()) {
    RowScale scale = {};
    if (!job.scales_of_groups) {
      scale = scale_of<Team<true>>(job, row_of(job, row), 0, job.depth);
      if (thread_index() == 0) job.scales[row] = scale.scale;
    }
    if (job.groups < kWarps) {
      quantize_groups<true>(job, row, scale);
    } else {
      quantize_groups<false>(job, row, scale);
    }
    int8_t* const to = static_cast<int8_t*>(job.x) + row * job.padded_depth;
    for (int64_t k = job.depth + thread_index(); k < job.padded_depth; k += kThreads) {
      to[k / kStepDepth * kStepDepth + place_of(static_cast<int>(k % kStepDepth))] = 0;
    }
  }
}

int64_t at_most(int64_t blocks) { return blocks < kMostBlocks ? blocks : kMostBlocks; }

}  // namespace

int32_t run_prepare(const PrepareJob& job, void* stream) {
  if (job.to == Arithmetic::i8) {
    return launch("qmatmul_quantize_rows", quantize_rows, {at_most(job.rows), 1, 1, kThreads, 4 * kWarps}, stream, job);
  }
  if (job.x != nullptr) {
    const int64_t blocks = (job.rows * (job.padded_depth / kEach) + kThreads - 1) / kThreads;
    const int32_t status =
        launch("qmatmul_prepare_floats", prepare_floats, {at_most(blocks), 1, 1, kThreads, 0}, stream, job);
    if (status != 0 || job.sums == nullptr) return status;
  }
  if (job.sums == nullptr) return 0;
  const int64_t blocks = (job.rows * job.groups + kWarps - 1) / kWarps;
  return launch("qmatmul_sum_floats", sum_floats, {at_most(blocks), 1, 1, kThreads, 0}, stream, job);
}

}  // namespace gatun::cuda::qmatmul
