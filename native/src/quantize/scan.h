// The extremes of blocks, as integers, in which NaN and infinities show: floats of one sign are in the order of their
// bits, NaN beyond infinity, and with the other bits of negative ones inverted all floats are in order.
//
// Scanning is bound by memory, encoding by arithmetic, and the processor drops prefetches that it has no room for: so
// the next batch is scanned in the loop that encodes the current one, a step here and a step there (Scanner), where
// blocks consist of whole vectors. The lanes of a block's vector are folded at the end, kLanes blocks at once.
#pragma once

#include "quantize/stretch.h"

namespace gatun::GATUN_ISA {
namespace {

// f32 bits to integers in the floats' order, and back.
GATUN_INLINE I32 ordered(I32 bits) { return xor_i32(bits, and_i32(shift_right<31>(bits), set1_i32(0x7fffffff))); }
constexpr int32_t kLargestFinite = 0x7f7fffff;

// What is to be known of a block's values.
enum class Seek {
  magnitude,  // the largest magnitude
  signs,      // the largest of each sign, or 0
  order       // the smallest and the largest
};

template <Seek kSeek>
GATUN_INLINE I32 least_key() {
  return kSeek == Seek::order ? set1_i32(-0x7fffffff - 1) : zero_i32();
}

// Raises `high` and `low` in each lane. magnitude: `high` to the bits. signs: `high` to the bits of the largest value,
// `low`, as an unsigned number, to the bits of the smallest. order: `high` to the largest ordered value, `low` to the
// largest inverted one.
template <class X, Seek kSeek>
GATUN_INLINE void scan_values(const typename X::Type* x, int64_t count, I32& low, I32& high) {
  const auto take = [&](F32 value, int n) GATUN_INLINE_LAMBDA {
    const I32 bits = as_i32(value);
    if (kSeek == Seek::magnitude) {
      high = max_i32(high, and_i32(bits, set1_i32(0x7fffffff)));
    } else if (kSeek == Seek::signs) {
      high = max_i32(high, bits);
      low = max_u32(low, bits);
    } else {
      const I32 key = ordered(bits), inverse = xor_i32(key, set1_i32(-1));
      high = max_i32(high, n < kLanes ? select_n(key, high, n) : key);
      low = max_i32(low, n < kLanes ? select_n(inverse, low, n) : inverse);
    }
  };
  int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) take(X::load(x + k), kLanes);
  if (k < count) take(X::load_n(x + k, static_cast<int>(count - k)), static_cast<int>(count - k));
}

// The same for the bits of the largest magnitude alone, in one number.
template <class X>
GATUN_INLINE void scan_magnitude(const typename X::Type* x, int64_t count, int32_t* largest) {
  I32 low = zero_i32(), high = set1_i32(*largest);
  scan_values<X, Seek::magnitude>(x, count, low, high);
  *largest = reduce_max_i32(high);
}

// Of the blocks of a batch: a vector each of what scan_values raises.
struct Extremes {
  I32 low[kBatch] = {}, high[kBatch] = {};

  // The smallest and the largest value as ordered integers, one a lane (magnitude: least is 0; signs: least <= 0 <=
  // most); 0 for lanes without a block.
  template <Seek kSeek>
  GATUN_INLINE void fold(int64_t lanes, int32_t* least, int32_t* most) {
    const I32 inverted = set1_i32(-1), bias = set1_i32(-0x7fffffff - 1);
    for (int64_t lane = 0; lane < kBatch; lane += kLanes) {
      const int used = lanes_left(lanes - lane);
      I32 bottom = zero_i32(), top = zero_i32();
      if (used > 0) {
        top = select_n(reduce_max_each(part(high, lane)), top, used);
        if (kSeek == Seek::signs) {
          // Of unsigned numbers the order is that of signed ones with the upper bit inverted. The bits of a negative
          // value, so changed, are its ordered value inverted; those of others are negative.
          for (I32& bits : part(low, lane)) bits = xor_i32(bits, bias);
          const I32 key = xor_i32(reduce_max_each(part(low, lane)), inverted);
          bottom = select_n(min_i32(key, bottom), bottom, used);
        } else if (kSeek == Seek::order) {
          bottom = select_n(xor_i32(reduce_max_each(part(low, lane)), inverted), bottom, used);
        }
      }
      store_i32(least + lane, bottom);
      store_i32(most + lane, top);
    }
  }

 private:
  using Part = I32[kLanes];
  static GATUN_INLINE Part& part(I32* all, int64_t lane) { return *reinterpret_cast<Part*>(all + lane); }
};

template <class X, Seek kSeek>
GATUN_INLINE void scan_batch(const Job& job, const Batch& batch, Extremes& extremes) {
  for (int64_t lane = 0; lane < batch.lanes; ++lane) {
    extremes.low[lane] = extremes.high[lane] = least_key<kSeek>();
  }
  for_each_stretch<X>(job, batch, [&](int64_t lane, const typename X::Type* x, int64_t, int64_t count) {
    scan_values<X, kSeek>(x, count, extremes.low[lane], extremes.high[lane]);
  });
}

// The same of a batch that kBlocks describes, step by step: start, step as often as one likes, finish.
template <class X, Seek kSeek, int kBlocks>
class Scanner {
 public:
  GATUN_INLINE Scanner(const Job& job, Extremes& extremes) : job_(&job), extremes_(&extremes), lanes_(0) {}

  GATUN_INLINE void start(const Batch& batch) {
    x_ = x_row<X>(*job_, batch.row) + batch.begin;
    left_ = run_count(*job_, batch);
    lanes_ = StepLanes<kBlocks>(job_->group);
    reset();
  }

  GATUN_INLINE void step() {
    if (left_ >= kStep) take(kStep);
  }

  GATUN_INLINE void finish() {
    while (left_ > 0) take(smaller(left_, kStep));
  }

 private:
  static constexpr int64_t kStep = 4 * kLanes, kPer = kStep / kBlocks;

  GATUN_INLINE void reset() { low_ = high_ = least_key<kSeek>(); }

  GATUN_INLINE void take(int64_t count) {
    for (int block = 0; block < kBlocks; ++block) {
      if (kBlocks > 1) reset();
      scan_values<X, kSeek>(x_ + block * kPer, smaller(kPer, count - block * kPer), low_, high_);
      const int64_t lane = lanes_.of(block * 4 / kBlocks);
      extremes_->low[lane] = low_;
      extremes_->high[lane] = high_;
    }
    x_ += count;
    left_ -= count;
    if (lanes_.step() && kBlocks == 1) reset();
  }

  const Job* job_;
  Extremes* extremes_;
  const typename X::Type* x_ = nullptr;
  int64_t left_ = 0;
  StepLanes<kBlocks> lanes_;
  I32 low_, high_;  // of the current block
};

}  // namespace
}  // namespace gatun::GATUN_ISA
