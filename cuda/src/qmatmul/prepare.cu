// Rows of x to the form that kernels of products read (job.h): f16, bf16, f32, or int8 with scales; sums of groups.
//
//   int8  scale = amax / 127, code = round(x * (1 / scale)), ties to even, over the row or over each group, as on the
//         CPU: a scale below 2^-120 counts as 0; NaN where a value is not finite, whose codes are 0
//
// A thread reads 8 or 16 elements of a row, 16 bytes at a time where they are aligned and of the row, else one by one.
//
// Floats: a thread makes 8. Sums of floats: a warp for each group, in an order of its own. Int8: a block for each row,
// a thread for each step of 16. Threads of a group exchange its maximum and sum: 2^n lanes that have a step each, which
// most groups are; otherwise warps take group after group, or the block as a whole where groups are few.
//
// Budget: x is read once, the second time of a row with one scale from the L1 or L2 cache.
#include "base/quotient.h"
#include "gatun/types.h"
#include "ptx/launch.h"
#include "ptx/warp.h"
#include "qmatmul/prepare.h"
#include "qmatmul/values.h"

namespace gatun::cuda::qmatmul {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32, kEach = 8;
constexpr int64_t kMostBlocks = 1 << 20;

GATUN_DEVICE float rounded(float x, Arithmetic to) {
  return to == Arithmetic::f16 ? round_to_f16(x) : to == Arithmetic::bf16 ? round_to_bf16(x) : x;
}

GATUN_DEVICE const void* row_of(const PrepareJob& job, int64_t row) {
  return static_cast<const uint8_t*>(job.from) + row * job.from_row_stride * (job.dtype == GATUN_F32 ? 4 : 2);
}

// Elements [k, k + kCount) of a row, k being a multiple of kCount; zeros where they are not in [begin, end).
template <int kCount>
GATUN_DEVICE void load_run(const PrepareJob& job, const void* row, int64_t k, int64_t begin, int64_t end,
                           float (&x)[kCount]) {
  if (k < begin || k + kCount > end || reinterpret_cast<uintptr_t>(row) % 16 != 0) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) x[i] = k + i >= begin && k + i < end ? load_float(row, job.dtype, k + i) : 0.0f;
  } else if (job.dtype == GATUN_F32) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {
      const Words4 four = load_near(static_cast<const float*>(row) + k + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) x[i + j] = as_float(four.word[j]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; i += 8) {
      const Words4 eight = load_near(static_cast<const uint16_t*>(row) + k + i);
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const uint16_t half = static_cast<uint16_t>(eight.word[j / 2] >> 16 * (j % 2));
        x[i + j] = job.dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
      }
    }
  }
}

GATUN_DEVICE void store_words(void* to, int64_t index, const Words4& words) { static_cast<Words4*>(to)[index] = words; }

GATUN_KERNEL(kThreads, 4) prepare_floats(const PrepareJob job) {
  const int64_t a_row = job.padded_depth / kEach, count = job.rows * a_row;
  for (int64_t i = block_x() * kThreads + thread_index(); i < count; i += blocks_x() * kThreads) {
    const int64_t row = quotient(i, a_row), k = (i - row * a_row) * kEach;
    float x[kEach];
    load_run(job, row_of(job, row), k, 0, job.depth, x);
    Words4 words[2];
    if (job.to == Arithmetic::f32) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) words[j / 4].word[j % 4] = as_bits(rounded(x[j], job.rounding));
      store_words(job.x, 2 * i, words[0]);
      store_words(job.x, 2 * i + 1, words[1]);
    } else {
#pragma unroll
      for (int j = 0; j < kEach / 2; ++j) {
        const float low = x[2 * j], high = x[2 * j + 1];
        words[0].word[j] = job.to == Arithmetic::f16 ? pack_f16(low, high) : pack_bf16(low, high);
      }
      store_words(job.x, i, words[0]);
    }
  }
}

GATUN_KERNEL(kThreads, 4) sum_floats(const PrepareJob job) {
  const int64_t count = job.rows * job.groups;
  for (int64_t i = block_x() * kWarps + warp(); i < count; i += blocks_x() * kWarps) {
    const int64_t row = quotient(i, job.groups), begin = (i - row * job.groups) * job.group;
    const void* from = row_of(job, row);
    const int64_t end = begin + job.group < job.depth ? begin + job.group : job.depth;
    float sum = 0;
    for (int64_t k = begin + lane(); k < end; k += 32) sum += rounded(load_float(from, job.dtype, k), job.rounding);
    for (int mask = 16; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
    if (lane() == 0) static_cast<float*>(job.sums)[i] = sum;
  }
}

// The result of a reduction by 2^n lanes that lie side by side, in all of them.
template <class T, class Of>
GATUN_DEVICE T reduce_lanes(T value, int lanes, Of of) {
  for (int mask = lanes / 2; mask > 0; mask /= 2) value = of(value, shuffle_xor(value, mask));
  return value;
}
struct Larger {
  GATUN_DEVICE float operator()(float a, float b) const { return a < b ? b : a; }
};
struct Sum {
  GATUN_DEVICE int32_t operator()(int32_t a, int32_t b) const { return a + b; }
};

// Threads that work together: a warp, or the block. All get the result of a reduction.
template <bool kBlock>
struct Team {
  static constexpr int kSize = kBlock ? kThreads : 32;
  GATUN_DEVICE static int index() { return kBlock ? thread_index() : lane(); }

  template <class T, class Of>
  GATUN_DEVICE static T reduce(T value, Of of) {
    value = reduce_lanes(value, 32, of);
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

// The largest magnitude; where an element is not finite, infinity.
GATUN_DEVICE float magnitude_of(const float (&x)[kStepDepth]) {
  float amax = 0;
#pragma unroll
  for (const float element : x) {
    amax = Larger()(amax, is_finite(element) ? as_float(as_bits(element) & 0x7fffffffu) : as_float(0x7f800000u));
  }
  return amax;
}

// amax / 127, and the factor that makes codes, 0 where they are zeros.
struct RowScale {
  float scale, inverse;
};
GATUN_DEVICE RowScale scale_from(float amax) {
  if (!is_finite(amax)) return {as_float(0x7fc00000u), 0.0f};
  const float scale = amax / 127.0f;
  if (scale < 0x1p-120f) return {0.0f, 0.0f};
  return {scale, 1.0f / scale};
}

// Of elements [begin, end) of a row.
template <class Team>
GATUN_DEVICE RowScale scale_of(const PrepareJob& job, const void* from, int64_t begin, int64_t end) {
  float amax = 0;
  for (int64_t k = (begin / kStepDepth + Team::index()) * kStepDepth; k < end; k += Team::kSize * kStepDepth) {
    float x[kStepDepth];
    load_run(job, from, k, begin, end, x);
    amax = Larger()(amax, magnitude_of(x));
  }
  return scale_from(Team::reduce(amax, Larger()));
}

// Which element of a step lies at a place.
GATUN_DEVICE int element_at(int place, bool in_order) {
  return in_order ? place : place / 4 * 2 + place % 4 / 2 + place % 2 * 8;
}

// Codes of the step at k, of which elements [begin, end) are stored in the order that the job says. Returns their sum;
// the others must be 0.
GATUN_DEVICE int32_t store_codes(const PrepareJob& job, int8_t* to, int64_t k, int64_t begin, int64_t end,
                                 const RowScale& scale, const float (&x)[kStepDepth]) {
  int32_t sum = 0;
  Words4 words;
#pragma unroll
  for (int place = 0; place < kStepDepth; ++place) {
    const float element = job.in_order ? x[element_at(place, true)] : x[element_at(place, false)];
    // Where x may be infinite it must not be touched: 0 times infinity is NaN.
    const int32_t code = scale.inverse == 0 ? 0 : round_to_i32(element * scale.inverse);
    sum += code;
    const uint32_t byte = (static_cast<uint32_t>(code) & 0xff) << 8 * (place % 4);
    words.word[place / 4] = place % 4 == 0 ? byte : words.word[place / 4] | byte;
  }
  if (begin <= k && k + kStepDepth <= end) {
    store_words(to, k / kStepDepth, words);
    return sum;
  }
#pragma unroll
  for (int place = 0; place < kStepDepth; ++place) {
    const int64_t element = k + element_at(place, job.in_order);
    if (element >= begin && element < end) {
      to[k + place] = static_cast<int8_t>(words.word[place / 4] >> 8 * (place % 4));
    }
  }
  return sum;
}

// Groups of 2^n = `lanes` steps: a thread has a step.
GATUN_DEVICE void quantize_steps(const PrepareJob& job, int64_t row, RowScale scale, int lanes) {
  const void* from = row_of(job, row);
  int8_t* const to = static_cast<int8_t*>(job.x) + row * job.padded_depth;
  for (int64_t first = 0; first < job.padded_depth; first += kThreads * kStepDepth) {
    const int64_t k = first + thread_index() * kStepDepth;
    const int64_t group = row * job.groups + quotient(k / kStepDepth, lanes);
    const bool leads = k < job.depth && lane() % lanes == 0;
    float x[kStepDepth];
    load_run(job, from, k, 0, job.depth, x);
    if (job.scales_of_groups) {
      scale = scale_from(reduce_lanes(magnitude_of(x), lanes, Larger()));
      if (leads) job.scales[group] = scale.scale;
    }
    int32_t sum = store_codes(job, to, k, 0, job.padded_depth, scale, x);
    if (job.sums == nullptr) continue;
    sum = reduce_lanes(sum, lanes, Sum());
    if (leads) static_cast<int32_t*>(job.sums)[group] = sum;
  }
}

// Groups of any size.
template <bool kBlock>
GATUN_DEVICE void quantize_groups(const PrepareJob& job, int64_t row, RowScale scale) {
  using OfGroup = Team<kBlock>;
  const void* from = row_of(job, row);
  int8_t* const to = static_cast<int8_t*>(job.x) + row * job.padded_depth;
  for (int64_t g = kBlock ? 0 : warp(); g < job.groups; g += kBlock ? 1 : kWarps) {
    const bool last = g == job.groups - 1;
    const int64_t begin = g * job.group, end = last ? job.depth : begin + job.group;
    const int64_t stored_end = last ? job.padded_depth : end;
    if (job.scales_of_groups) {
      scale = scale_of<OfGroup>(job, from, begin, end);
      if (OfGroup::index() == 0) job.scales[row * job.groups + g] = scale.scale;
    }
    int32_t sum = 0;
    const int64_t first = begin / kStepDepth + OfGroup::index();
    for (int64_t k = first * kStepDepth; k < stored_end; k += OfGroup::kSize * kStepDepth) {
      float x[kStepDepth];
      load_run(job, from, k, begin, end, x);
      sum += store_codes(job, to, k, begin, stored_end, scale, x);
    }
    if (job.sums == nullptr) continue;
    sum = OfGroup::reduce(sum, Sum());
    if (OfGroup::index() == 0) static_cast<int32_t*>(job.sums)[row * job.groups + g] = sum;
  }
}

// `lanes`: threads of a group that have a step of it each, or 0.
GATUN_KERNEL(kThreads, 4) quantize_rows(const PrepareJob job, int lanes) {
  for (int64_t row = block_x(); row < job.rows; row += blocks_x()) {
    RowScale scale = {};
    if (!job.scales_of_groups) {
      scale = scale_of<Team<true>>(job, row_of(job, row), 0, job.depth);
      if (thread_index() == 0) job.scales[row] = scale.scale;
    }
    if (lanes > 0) {
      quantize_steps(job, row, scale, lanes);
    } else if (job.groups < kWarps) {
      quantize_groups<true>(job, row, scale);
    } else {
      quantize_groups<false>(job, row, scale);
    }
  }
}

// Lanes that have a step each of a group; 0 if they are not 2^n of a warp.
int lanes_of(const PrepareJob& job) {
  for (int lanes = 1; lanes <= 32; lanes *= 2) {
    if (job.group == lanes * kStepDepth) return lanes;
  }
  return 0;
}

int64_t at_most(int64_t blocks) { return blocks < kMostBlocks ? blocks : kMostBlocks; }

}  // namespace

int32_t run_prepare(const PrepareJob& job, void* stream) {
  if (job.to == Arithmetic::i8) {
    return launch("qmatmul_quantize_rows", quantize_rows, {at_most(job.rows), 1, 1, kThreads, 4 * kWarps}, stream, job,
                  lanes_of(job));
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
