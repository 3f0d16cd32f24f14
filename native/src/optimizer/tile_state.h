// State in memory as the rules see it: f32, or codes with a scale a block.
//
//   batch  [ block                                          | block | .. ]   start
//          [ 4 vectors of kLanes | 4 vectors | .. | fewer ]                  load, the rule, store; finish
//   all of the batch                                                         encode
//
// Quantized: new state waits in f32, 8 KiB at most, until the largest magnitudes of its blocks are known. So the next
// block's steps hide how long the way from a block's last state to its scale is. Codes and scales are those of
// quantize, whose encoders make them.
#pragma once

#include "optimizer/kernel.h"
#include "quantize/tile_book.h"
#include "quantize/tile_float.h"

namespace gatun::GATUN_ISA {
namespace {

using optimizer::Plane;

constexpr int64_t kStep = 4 * kLanes;
// How far ahead of their use lines are asked for, twice: of the first requests some are dropped.
constexpr int64_t kFarBytes = 16384, kNearBytes = 4096;

GATUN_INLINE int lanes_of(int64_t left) { return static_cast<int>(left < 0 ? 0 : smaller(left, kLanes)); }

// Of a plane of f32: what is stored is there.
class F32State {
 public:
  static constexpr bool kQuantized = false;

  F32State(const Plane& plane, bool) : plane_(static_cast<float*>(plane.codes)) {}

  void start(int64_t, int64_t, int64_t first) { at_ = plane_ + first; }

  // kStep values from element i of the block on; or `left`, and zeros.
  template <bool kFull>
  GATUN_INLINE void load(int64_t i, int64_t left, F32 (&s)[4]) const {
    for (int j = 0; j < 4; ++j) {
      const float* from = at_ + i + j * kLanes;
      s[j] = kFull ? load_f32(from) : load_f32_n(from, lanes_of(left - j * kLanes));
    }
  }

  template <bool kFull>
  GATUN_INLINE void store(int64_t i, int64_t left, const F32 (&s)[4]) {
    for (int j = 0; j < 4; ++j) {
      float* to = at_ + i + j * kLanes;
      kFull ? store_f32(to, s[j]) : store_f32_n(to, s[j], lanes_of(left - j * kLanes));
    }
  }

  void finish(int64_t, I32) {}
  void encode(int64_t) {}

 private:
  float* const plane_;
  float* at_ = nullptr;
};

// Codes of 4 bits, the first of two in the high half of a byte, to U4 and back.
__attribute__((noinline)) void swap_nibbles(const uint8_t* from, int64_t bytes, uint8_t* to) {
  for (int64_t i = 0; i < bytes; ++i) to[i] = static_cast<uint8_t>(from[i] << 4 | from[i] >> 4);
}

__attribute__((noinline)) void copy_bytes(const uint8_t* from, int64_t bytes, uint8_t* to) {
  for (int64_t i = 0; i < bytes; ++i) to[i] = from[i];
}

// The scale of a block of new state, stored, and what values are multiplied with to be encoded: 0 for a scale of 0.
struct BlockScale {
  GATUN_INLINE BlockScale(float amax, float largest) : scale(amax / largest) {
    if (scale < 0x1p-120f) scale = 0;
    inverse = scale == 0 ? 0 : 1 / scale;
  }

  float scale, inverse;
};

// What encoders and decoders of quantize have to know.
quantize::Job job_of(const Plane& plane) {
  quantize::Job job{};
  job.book = plane.book;
  return job;
}

// New state to codes, by the encoders of quantize.
template <class Codes, bool kSwapped>
class PlainEncoder {
 public:
  PlainEncoder(const Plane& plane, bool second)
      : keeps_signs_(!second && plane.book != nullptr && Codes::kBits == 8), job_(job_of(plane)), encoder_(job_) {}

  // count values of blocks, each times the inverse of its block's scale.
  void encode(const float* state, int64_t count, int64_t block, const float* inverses, uint8_t* to) const {
    const typename Codes::Encoder encoder = encoder_;  // a copy: what it has in registers stays there
    for (int64_t first = 0; first < count; first += block) {
      const float inverse = inverses[first / block];
      const I32 kept = set1_i32(inverse == 0 ? 2 * Codes::kMagnitude + 1 : Codes::kMagnitude);
      const I32 kepts[4] = {kept, kept, kept, kept};
      for (int64_t i = first; i < smaller(first + block, count); i += kStep) {
        F32 v[4];
        for (int j = 0; j < 4; ++j) v[j] = mul(load_f32(state + i + j * kLanes), set1(inverse));
        Bytes codes = encoder.template nearest<false>(v, kepts);
        if (keeps_signs_) {  // 127 is 0
          for (F32& value : v) value = add(value, set1(0x1p-60f));
          codes = select_negative(v, min_u8(codes, set1_u8(126)), codes);
        }
        put(codes, smaller(kStep, count - i), to + i * Codes::kBits / 8);
      }
    }
  }

 private:
  static GATUN_INLINE void put(Bytes codes, int64_t count, uint8_t* to) {
    if (!kSwapped) return count == kStep ? Codes::store(to, codes) : Codes::store_n(to, codes, static_cast<int>(count));
    uint8_t bytes[kStep * Codes::kBits / 8];
    Codes::store_n(bytes, codes, static_cast<int>(count));
    swap_nibbles(bytes, code_bytes<Codes::kBits>(count), to);
  }

  const bool keeps_signs_;  // DYNAMIC8's code of 0 has none
  const quantize::Job job_;
  const typename Codes::Encoder encoder_;
};

// Of a plane of codes.
template <class Codes, bool kSwapped, class Encoder = PlainEncoder<Codes, kSwapped>>
class QuantizedState {
 public:
  static constexpr bool kQuantized = true;

  QuantizedState(const Plane& plane, bool second)
      : codes_(static_cast<uint8_t*>(plane.codes)),
        scales_(plane.scales),
        decoder_(job_of(plane)),
        encoder_(plane, second) {}

  // Block `index` of its batch, block `block` of all, begins at element `first`.
  void start(int64_t index, int64_t block, int64_t first) {
    if (index == 0) begin_ = first;
    index_ = index;
    first_ = first;
    at_ = codes_ + first * Codes::kBits / 8;
    scale_at_ = scales_ + block;
    scale_ = set1(*scale_at_);
  }

  GATUN_INLINE void prefetch(int64_t i) const { prefetch_far_line(at_ + i * Codes::kBits / 8 + kNearBytes); }

  template <bool kFull>
  GATUN_INLINE void load(int64_t i, int64_t left, F32 (&s)[4]) const {
    const uint8_t* from = at_ + i * Codes::kBits / 8;
    uint8_t bytes[kStepBytes];
    if (!kFull || kSwapped) {
      for (uint8_t& byte : bytes) byte = 0;
      const int64_t count = kFull ? kStepBytes : code_bytes<Codes::kBits>(smaller(left, kStep));
      kSwapped ? swap_nibbles(from, count, bytes) : copy_bytes(from, count, bytes);
      from = bytes;
    }
    decoder_.values(from, s);
    for (int j = 0; j < 4; ++j) {
      s[j] = mul(s[j], scale_);
      if (!kFull) s[j] = keep_n(s[j], lanes_of(left - j * kLanes));
    }
  }

  template <bool>
  GATUN_INLINE void store(int64_t i, int64_t, const F32 (&s)[4]) {
    for (int j = 0; j < 4; ++j) store_f32(state_ + first_ - begin_ + i + j * kLanes, s[j]);
  }

  // Makes the scale of the block's new state, of whose magnitudes the largest has the largest bits of `high`.
  void finish(int64_t count, I32 high) {
    const BlockScale made(reduce_max(as_f32(high)), Codes::kLargest);
    *scale_at_ = made.scale;
    inverses_[index_] = made.inverse;
    count_ = first_ - begin_ + count;
  }

  // The batch has ended.
  void encode(int64_t block) { encoder_.encode(state_, count_, block, inverses_, codes_ + begin_ * Codes::kBits / 8); }

 private:
  static constexpr int64_t kStepBytes = kStep * Codes::kBits / 8;

  uint8_t* const codes_;
  float* const scales_;
  const typename Codes::Decoder decoder_;
  const Encoder encoder_;
  int64_t begin_ = 0, first_ = 0, index_ = 0, count_ = 0;  // elements of the batch, and of the block
  uint8_t* at_ = nullptr;
  float* scale_at_ = nullptr;
  F32 scale_ = {};
  float inverses_[optimizer::kMostBlock / optimizer::kLeastBlock];
  alignas(64) float state_[optimizer::kMostBlock];
};

using Dynamic8State = QuantizedState<book8, false>;
using Fp8State = QuantizedState<f8e4m3, false>;
using Dynamic4State = QuantizedState<book4, true>;

}  // namespace
}  // namespace gatun::GATUN_ISA
