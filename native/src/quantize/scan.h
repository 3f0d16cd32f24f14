// The extremes of blocks, as integers, in which NaN and infinities show: floats of one sign are in the order of their
// bits, NaN beyond infinity, and with the other bits of negative ones inverted all floats are in order.
//
// Scanning is bound by memory, encoding by arithmetic: so the next batch is scanned in the loop that encodes the
// current one, a step here and a step there (Scanner), where blocks consist of 2^n vectors. Memory is kept busy by
// prefetches to the second-level cache, 16 KiB ahead: the first level has too few misses in flight for that (about 24
// lines, 15 GB/s at 100 ns), and the processor's own prefetches stop at the end of a page. Prefetches that there is no
// room for are dropped, the more the faster codes are made: so each line is asked for once more, 4 KiB ahead. The lanes
// of a block's vector are folded at the end, kLanes blocks at once.
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
template <Seek kSeek>
GATUN_INLINE void raise(F32 value, int n, I32& low, I32& high) {
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
}

// Room for something of each block of a batch, and of the one after it, where a scan of all of them arrives.
constexpr int64_t kRoom = kBatch + 1;

// Of the blocks of a batch: a vector each of what raise() raises.
struct Extremes {
  I32 low[kRoom] = {}, high[kRoom] = {};

  template <Seek kSeek>
  GATUN_INLINE void start(int64_t blocks) {
    for (int64_t i = 0; i < blocks; ++i) low[i] = high[i] = least_key<kSeek>();
  }

  // The smallest and the largest value as ordered integers, one a block (magnitude: least is 0; signs: least <= 0 <=
  // most); 0 for those that the batch does not have.
  template <Seek kSeek>
  GATUN_INLINE void fold(int64_t blocks, int32_t* least, int32_t* most) {
    const I32 inverted = set1_i32(-1), bias = set1_i32(-0x7fffffff - 1);
    for (int64_t block = 0; block < kBatch; block += kLanes) {
      const int used = lanes_left(blocks - block);
      I32 bottom = zero_i32(), top = zero_i32();
      if (used > 0) {
        top = select_n(reduce_max_each(part(high, block)), top, used);
        if (kSeek == Seek::signs) {
          // Of unsigned numbers the order is that of signed ones with the upper bit inverted. The bits of a negative
          // value, so changed, are its ordered value inverted; those of others are negative.
          for (I32& bits : part(low, block)) bits = xor_i32(bits, bias);
          const I32 key = xor_i32(reduce_max_each(part(low, block)), inverted);
          bottom = select_n(min_i32(key, bottom), bottom, used);
        } else if (kSeek == Seek::order) {
          bottom = select_n(xor_i32(reduce_max_each(part(low, block)), inverted), bottom, used);
        }
      }
      store_i32(least + block, bottom);
      store_i32(most + block, top);
    }
  }

 private:
  using Part = I32[kLanes];
  static GATUN_INLINE Part& part(I32* all, int64_t block) { return *reinterpret_cast<Part*>(all + block); }
};

template <Seek kSeek>
GATUN_INLINE void scan_stretches(const Job& job, const Batch& batch, Extremes& extremes) {
  for_each_stretch(job, batch, [&](int64_t, int64_t block, const float* x, int64_t, int64_t count) {
    I32 low = extremes.low[block], high = extremes.high[block];
    for (int64_t k = 0; k < count; k += kLanes) {
      const int n = lanes_left(count - k);
      raise<kSeek>(load_f32_n(x + k, n), n, low, high);
    }
    extremes.low[block] = low;
    extremes.high[block] = high;
  });
}

// The smallest and the largest values of the blocks of a batch, as Extremes::fold has them.
template <Seek kSeek>
GATUN_INLINE void scan_blocks(const Job& job, const Batch& batch, int32_t* least, int32_t* most) {
  Extremes extremes;
  extremes.start<kSeek>(batch.blocks());
  scan_stretches<kSeek>(job, batch, extremes);
  extremes.fold<kSeek>(batch.blocks(), least, most);
}
__attribute__((noinline)) void scan_batch(Seek seek, const Job& job, const Batch& batch, int32_t* least,
                                          int32_t* most) {
  if (seek == Seek::magnitude) return scan_blocks<Seek::magnitude>(job, batch, least, most);
  if (seek == Seek::signs) return scan_blocks<Seek::signs>(job, batch, least, most);
  scan_blocks<Seek::order>(job, batch, least, most);
}

// The range of units [begin, end), all of the same block.
__attribute__((noinline)) quantize::Range scan_units(Seek seek, const Job& job, int64_t begin, int64_t end) {
  quantize::Range range = {seek == Seek::order ? 0x7fffffff : 0, seek == Seek::order ? -0x7fffffff - 1 : 0};
  for (int64_t index = begin; index < end; ++index) {
    const Batch batch = batch_at(job, index, index + 1);
    if (batch.count == 0) continue;
    int32_t least[kBatch], most[kBatch];
    scan_batch(seek, job, batch, least, most);
    range.low = least[0] < range.low ? least[0] : range.low;
    range.high = most[0] > range.high ? most[0] : range.high;
  }
  return range;
}

// Scans a batch in f32 of blocks of 2^shift vectors, which lie side by side, a step of four vectors at a time: start,
// step as often as one likes, finish.
template <Seek kSeek>
class Scanner {
 public:
  GATUN_INLINE Scanner(const Job& job, int shift, Extremes& extremes)
      : job_(&job), extremes_(&extremes), shift_(shift), steps_(shift < 2 ? 0 : int64_t{1} << (shift - 2)) {}

  GATUN_INLINE void start(const Batch& batch) {
    next_row_ = x_at(*job_, batch.row, batch.begin);
    count_ = batch.count;
    rows_ = batch.rows;
    far_ = batch.rows > 1 ? 2 * job_->x_row_stride : kFar;
    near_ = batch.rows > 1 ? job_->x_row_stride : kNear;
    first_ = true;
    if (batch.rows > 1) extremes_->start<kSeek>(batch.groups);
    start_row();
  }

  GATUN_INLINE void step() {
    if (left_ >= kStep) return take(kStep);
    if (left_ > 0 || rows_ > 1) odd_step();
  }

  GATUN_INLINE void finish() {
    while (left_ > 0 || rows_ > 1) odd_step();
  }

 private:
  static constexpr int64_t kStep = 4 * kLanes;

  GATUN_INLINE void start_row() {
    x_ = next_row_;
    left_ = count_;
    block_ = 0;
    start_block();
  }
  GATUN_INLINE void start_block() {
    steps_left_ = steps_;
    low_ = first_ ? least_key<kSeek>() : extremes_->low[block_];
    high_ = first_ ? least_key<kSeek>() : extremes_->high[block_];
  }

  // The rest of a row, and on to the next.
  GATUN_INLINE void odd_step() {
    if (left_ > 0) take(smaller(left_, kStep));
    if (left_ > 0 || rows_ == 1) return;
    --rows_;
    first_ = false;
    next_row_ += job_->x_row_stride;
    start_row();
  }

  GATUN_INLINE void take(int64_t count) {
    I32 low[4], high[4];
    for (int j = 0; j < 4; ++j) {
      low[j] = high[j] = least_key<kSeek>();
      const int n = lanes_left(count - j * kLanes);
      prefetch_far_line(x_ + j * kLanes + far_);
      prefetch_far_line(x_ + j * kLanes + near_);
      raise<kSeek>(count == kStep ? load_f32(x_ + j * kLanes) : load_f32_n(x_ + j * kLanes, n), n, low[j], high[j]);
    }
    x_ += count;
    left_ -= count;
    if (shift_ == 0) {
      for (int j = 0; j < 4; ++j) put(block_++, low[j], high[j]);
      return;
    }
    for (int j = 0; j < 4; j += 2) {
      low[j] = max_low(low[j], low[j + 1]);
      high[j] = max_i32(high[j], high[j + 1]);
    }
    if (shift_ == 1) {
      for (int j = 0; j < 4; j += 2) put(block_++, low[j], high[j]);
      return;
    }
    low_ = max_low(low_, max_low(low[0], low[2]));
    high_ = max_i32(high_, max_i32(high[0], high[2]));
    extremes_->low[block_] = low_;
    extremes_->high[block_] = high_;
    if (--steps_left_ == 0) {
      ++block_;
      start_block();
    }
  }

  static GATUN_INLINE I32 max_low(I32 a, I32 b) { return kSeek == Seek::signs ? max_u32(a, b) : max_i32(a, b); }

  GATUN_INLINE void put(int64_t block, I32 low, I32 high) {
    extremes_->low[block] = first_ ? low : max_low(low, extremes_->low[block]);
    extremes_->high[block] = first_ ? high : max_i32(high, extremes_->high[block]);
  }

  // How many values earlier they are asked for than scanned; in several rows, two rows and one.
  static constexpr int64_t kFar = 4096, kNear = 1024;

  const Job* job_;
  Extremes* extremes_;
  int shift_;
  int64_t steps_;  // of a block; 0 if a step has several
  const float* next_row_ = nullptr;
  const float* x_ = nullptr;
  int64_t left_ = 0, count_ = 0, far_ = 0, near_ = 0, rows_ = 0, block_ = 0, steps_left_ = 0;
  bool first_ = true;
  I32 low_ = {}, high_ = {};  // of the current block
};

}  // namespace
}  // namespace gatun::GATUN_ISA
