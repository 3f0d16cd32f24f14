// Optimizer steps: p, g and the old state in, p and the new state out, in one pass.
//
//   s = state of the block, dequantized;  d = update(p, g, s);  p = move(p, d);  state = quantized s
//
//   p, g     [ block 0              | block 1              | .. | last, shorter ]   as the caller has them
//   plane k  [ codes or f32         |                      |    |               ]   k < kStates
//   scales   [ one                  | one                  |    | one           ]
//   A block goes 4 vectors of kLanes at a time. p and g of 16 bits are converted a block at a time, on the stack.
//
// Overflow: a state that is not finite shows in the largest bits of all new states, which are needed anyway; such
// elements keep their p and lose their state.
// Tails: a last round of the same body, with fewer lanes and zeros in the others.
// Bound: none, every tier gives the same bits.
// Measured (AMD EPYC 9004, one core, 64 Mi parameters in f32): Adam 53 GB/s with f32 state, as fast as memory moves;
// 0.86 ns a parameter with DYNAMIC8, momentum and Lion 0.46 ns, which arithmetic takes (bench/NOTES.md).
#pragma once

#include <utility>

#include "optimizer/rules.h"
#include "optimizer/squares.h"
#include "optimizer/tile_state.h"
#include "simd/random.h"

namespace gatun::GATUN_ISA {
namespace {

// What a vector's magnitudes are compared by: bits, as unsigned numbers. Squares have no sign, unless something is
// wrong with them, and with it they are beyond all finite numbers.
template <class R>
GATUN_INLINE I32 magnitude(F32 s, int k) {
  const bool squares = R::kSquares && k == R::kStates - 1;
  return squares ? as_i32(s) : and_i32(as_i32(s), set1_i32(0x7fffffff));
}

// Whether a lane is beyond the exponents of finite numbers.
GATUN_INLINE bool any_not_finite(I32 magnitudes) {
  return greater_mask(shift_right_logical<23>(magnitudes), set1_i32(254)) != 0;
}

// The state of a rule R.
template <class R, class State, class = std::make_integer_sequence<int, R::kStates>>
struct Planes;
template <class R, class State, int... k>
struct Planes<R, State, std::integer_sequence<int, k...>> {
  explicit Planes(const optimizer::Job& job) : plane{State(job.planes[k], R::kSecond && k == R::kStates - 1)...} {}

  State plane[R::kStates];
};

// p or g of a block, in f32: where they are, or converted.
class Values {
 public:
  Values(const optimizer::Job& job, const void* values) : dtype_(job.p_dtype), values_(const_cast<void*>(values)) {}

  float* start(int64_t first, int64_t count) {
    if (dtype_ == GATUN_F32) return static_cast<float*>(values_) + first;
    dtype_ == GATUN_F16 ? convert<f16>(first, count) : convert<bf16>(first, count);
    return chunk_;
  }

  GATUN_INLINE void prefetch(int64_t index) const {
    const char* const at = static_cast<const char*>(values_) + index * (dtype_ == GATUN_F32 ? 4 : 2);
    prefetch_far_line(at + kFarBytes);
    prefetch_far_line(at + kNearBytes);
  }

  // What start() gave and has been changed goes back.
  void finish(const optimizer::Job& job, int64_t first, int64_t count) const {
    if (dtype_ == GATUN_F32) return;
    if (dtype_ == GATUN_F16) return store<f16>(first, count);
    job.stochastic ? store_stochastic(job.seed, first, count) : store<bf16>(first, count);
  }

 private:
  template <class X>
  typename X::Type* at(int64_t index) const {
    return static_cast<typename X::Type*>(values_) + index;
  }

  template <class X>
  GATUN_INLINE void convert(int64_t first, int64_t count) {
    for (int64_t i = 0; i < count; i += kLanes) store_f32(chunk_ + i, X::load_n(at<X>(first + i), lanes_of(count - i)));
  }

  template <class X>
  GATUN_INLINE void store(int64_t first, int64_t count) const {
    for (int64_t i = 0; i < count; i += kLanes) X::store_n(at<X>(first + i), load_f32(chunk_ + i), lanes_of(count - i));
  }

  // 16 random bits below the last place of bf16, and what is left there cut off. Infinities and NaN stay.
  GATUN_INLINE void store_stochastic(uint64_t seed, int64_t first, int64_t count) const {
    const RandomBits random(seed, static_cast<uint64_t>(first));
    for (int64_t i = 0; i < count; i += kLanes) {
      const F32 value = load_f32(chunk_ + i);
      const I32 sum = add_i32(as_i32(value), shift_right_logical<8>(random.at(i)));
      const F32 cut = as_f32(and_i32(sum, set1_i32(-0x10000)));
      const F32 rounded = select_less(abs(value), set1(__builtin_inff()), cut, value);
      bf16::store_n(at<bf16>(first + i), rounded, lanes_of(count - i));
    }
  }

  const int32_t dtype_;
  void* const values_;
  alignas(64) float chunk_[optimizer::kMostBlock];
};

// 4 vectors of p and g, from their pointers on; `left` elements if not kFull.
template <bool kFull, class R, class State>
GATUN_INLINE void step_vectors(const R& rule, Planes<R, State>& planes, int64_t i, int64_t left, const float* g,
                               float* p, I32 (&high)[R::kStates]) {
  constexpr int kStates = R::kStates;
  const auto load = [&](const float* from, int j) GATUN_INLINE_LAMBDA {
    return kFull ? load_f32(from + j * kLanes) : load_f32_n(from + j * kLanes, lanes_of(left - j * kLanes));
  };
  F32 s[kStates][4], moved[4];
  I32 largest[kStates];
  for (int k = 0; k < kStates; ++k) {
    planes.plane[k].template load<kFull>(i, left, s[k]);
    largest[k] = zero_i32();
  }
  for (int j = 0; j < 4; ++j) {
    F32 one[kStates];
    for (int k = 0; k < kStates; ++k) one[k] = s[k][j];
    const F32 old = load(p, j);
    moved[j] = rule.move(old, rule.update(old, load(g, j), one));
    for (int k = 0; k < kStates; ++k) {
      s[k][j] = one[k];
      largest[k] = max_u32(largest[k], magnitude<R>(one[k], k));
    }
  }
  I32 all = largest[0];
  for (int k = 1; k < kStates; ++k) all = max_u32(all, largest[k]);
  if (__builtin_expect(any_not_finite(all), 0)) {
    for (int k = 0; k < kStates; ++k) largest[k] = zero_i32();
    for (int j = 0; j < 4; ++j) {
      I32 worst = zero_i32();
      for (int k = 0; k < kStates; ++k) worst = max_u32(worst, magnitude<R>(s[k][j], k));
      const F32 exponent = to_f32(shift_right_logical<23>(worst)), none = set1(255);
      moved[j] = select_less(exponent, none, moved[j], load(p, j));
      for (int k = 0; k < kStates; ++k) {
        s[k][j] = select_less(exponent, none, s[k][j], zero_f32());
        largest[k] = max_u32(largest[k], magnitude<R>(s[k][j], k));
      }
    }
  }
  for (int k = 0; k < kStates; ++k) {
    high[k] = max_u32(high[k], largest[k]);
    planes.plane[k].template store<kFull>(i, left, s[k]);
  }
  for (int j = 0; j < 4; ++j) {
    float* const to = p + j * kLanes;
    kFull ? store_f32(to, moved[j]) : store_f32_n(to, moved[j], lanes_of(left - j * kLanes));
  }
}

// Asks for what a later step reads. Steps on f32 state do nothing but wait for memory, whose streams the processor
// sees by itself; those on codes are slow enough to lose sight of them.
template <class R, class State>
GATUN_INLINE void prefetch_step(const Values& p, const Values& g, const Planes<R, State>& planes, int64_t index,
                                int64_t i) {
  for (int j = 0; j < 4; ++j) {
    p.prefetch(index + j * kLanes);
    g.prefetch(index + j * kLanes);
  }
  for (const State& plane : planes.plane) plane.prefetch(i);
}

template <class R, class State>
void step_blocks(const optimizer::Job& job, int64_t begin, int64_t end) {
  const R rule(job.constants);
  Planes<R, State> planes(job);
  Values p_values(job, job.p), g_values(job, job.g);
  const int64_t batch = optimizer::kMostBlock / job.block;
  for (int64_t block = begin, index = 0; block < end; ++block) {
    const int64_t first = block * job.block, count = smaller(job.block, job.count - first);
    float* const p = p_values.start(first, count);
    const float* const g = g_values.start(first, count);
    I32 high[R::kStates];
    for (int k = 0; k < R::kStates; ++k) {
      high[k] = zero_i32();
      planes.plane[k].start(index, block, first);
    }
    int64_t i = 0;
    for (; i + kStep <= count; i += kStep) {
      if constexpr (State::kQuantized) prefetch_step(p_values, g_values, planes, first + i, i);
      step_vectors<true>(rule, planes, i, kStep, g + i, p + i, high);
    }
    if (i < count) step_vectors<false>(rule, planes, i, count - i, g + i, p + i, high);
    for (int k = 0; k < R::kStates; ++k) planes.plane[k].finish(count, high[k]);
    p_values.finish(job, first, count);
    if (++index < batch && block + 1 < end) continue;
    for (State& plane : planes.plane) plane.encode(job.block);
    index = 0;
  }
}

// The sums of squares of p and of the updates, which are made for nothing else.
template <class R, class State>
optimizer::Squares measure_blocks(const optimizer::Job& job, int64_t begin, int64_t end) {
  const R rule(job.constants);
  Planes<R, State> planes(job);
  Values p_values(job, job.p), g_values(job, job.g);
  optimizer::Squares sums = {0, 0};
  alignas(64) float updates[optimizer::kMostBlock];
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * job.block, count = smaller(job.block, job.count - first);
    const float* const p = p_values.start(first, count);
    const float* const g = g_values.start(first, count);
    for (State& plane : planes.plane) plane.start(0, block, first);
    for (int64_t i = 0; i < count; i += kStep) {
      F32 s[R::kStates][4];
      for (int k = 0; k < R::kStates; ++k) planes.plane[k].template load<false>(i, count - i, s[k]);
      for (int j = 0; j < 4; ++j) {
        const int64_t at = i + j * kLanes;
        const int n = lanes_of(count - at);
        F32 one[R::kStates];
        for (int k = 0; k < R::kStates; ++k) one[k] = s[k][j];
        F32 update = rule.update(load_f32_n(p + at, n), load_f32_n(g + at, n), one);
        // What is not stepped counts as 0.
        I32 worst = zero_i32();
        for (int k = 0; k < R::kStates; ++k) worst = max_u32(worst, magnitude<R>(one[k], k));
        update = select_less(to_f32(shift_right_logical<23>(worst)), set1(255), update, zero_f32());
        store_f32(updates + at, keep_n(update, n));
      }
    }
    sums.p += sum_of_squares(p, count);
    sums.update += sum_of_squares(updates, count);
  }
  return sums;
}

template <class State>
constexpr optimizer::Kernel kernel_of() {
  return {{step_blocks<Adam, State>, step_blocks<AdEmaMix, State>, step_blocks<Momentum, State>,
           step_blocks<RmsProp, State>, step_blocks<Adagrad, State>, step_blocks<Lion, State>},
          {measure_blocks<Adam, State>, measure_blocks<AdEmaMix, State>, measure_blocks<Momentum, State>,
           measure_blocks<RmsProp, State>, measure_blocks<Adagrad, State>, measure_blocks<Lion, State>}};
}

}  // namespace
}  // namespace gatun::GATUN_ISA
