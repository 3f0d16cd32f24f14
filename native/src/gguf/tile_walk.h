// What the loops over GGUF blocks share: where the values of blocks lie, and how made blocks leave.
#pragma once

#include "gguf/kernel.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {
namespace {

using gguf::Job;

// The table of IQ4_NL and IQ4_XS.
constexpr float kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

GATUN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The least f32 that overflows binary16, as an integer: magnitudes compare as their bits do, NaN above all.
constexpr int32_t kF16Overflow = 0x477ff000;  // 65520
constexpr int32_t kInfinity = 0x7f800000;
GATUN_INLINE I32 magnitude_bits(F32 x) { return and_i32(as_i32(x), set1_i32(0x7fffffff)); }

GATUN_INLINE float to_float(f32, float x) { return x; }
GATUN_INLINE float to_float(f16, uint16_t x) { return f16_to_float(x); }
GATUN_INLINE float to_float(bf16, uint16_t x) {
  const uint32_t bits = uint32_t{x} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Calls visit(x, index, count) for up to kBatch blocks at a time, [index, index + count), whose values lie side by side
// from x on; until one returns false, which is returned.
template <class X, int kElements, int kBatch, class Visit>
GATUN_INLINE bool for_each_batch(const Job& job, int64_t begin, int64_t end, Visit visit) {
  while (begin < end) {
    const int64_t row = begin / job.row_blocks, first = begin % job.row_blocks;
    const int64_t row_end = begin + smaller(job.row_blocks - first, end - begin);
    auto* x = static_cast<typename X::Type*>(job.x) + row * job.x_row_stride + first * kElements;
    while (begin < row_end) {
      const int64_t count = smaller(kBatch, row_end - begin);
      if (!visit(x, begin, count)) return false;
      x += count * kElements;
      begin += count;
    }
  }
  return true;
}

// Where made blocks go, one after the other: straight to memory, or, to bypass the caches, over a buffer in the L1
// cache that leaves in whole lines.
//
//   buffer  [ . . first block | .. | .. last block ]    the buffer's begin stands for a line's begin in memory
class Output {
 public:
  Output(uint8_t* to, bool stream) : to_(to), stream_(stream) {
    if (!stream) return;
    used_ = empty_ = static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) % kLine);
    to_ -= used_;
  }

  // The place of the next `bytes` bytes, at most kMaxTake, valid until the next call.
  GATUN_INLINE uint8_t* take(int64_t bytes) {
    if (!stream_) {
      uint8_t* const place = to_;
      to_ += bytes;
      return place;
    }
    if (used_ + bytes > kBuffer) flush();
    used_ += bytes;
    return buffer_ + (used_ - bytes);
  }

  void finish() {
    if (!stream_) return;
    flush();
    std::memcpy(to_ + empty_, buffer_ + empty_, static_cast<size_t>(used_ - empty_));
    fence_streams();
  }

  static constexpr int64_t kMaxTake = 1024;

 private:
  static constexpr int64_t kLine = 64, kBuffer = 4096;

  // Writes the whole lines; what is left moves to the begin.
  void flush() {
    const int64_t whole = used_ / kLine * kLine;
    int64_t at = 0;
    if (empty_ > 0 && whole > 0) {  // another thread may own the begin of this line
      std::memcpy(to_ + empty_, buffer_ + empty_, static_cast<size_t>(kLine - empty_));
      empty_ = 0;
      at = kLine;
    }
    constexpr int64_t kVector = kLanes * static_cast<int64_t>(sizeof(float));
    for (; at < whole; at += kVector) {
      stream_f32(reinterpret_cast<float*>(to_ + at), load_f32(reinterpret_cast<const float*>(buffer_ + at)));
    }
    std::memcpy(buffer_, buffer_ + whole, static_cast<size_t>(used_ - whole));
    to_ += whole;
    used_ -= whole;
  }

  uint8_t* to_;
  bool stream_;
  int64_t used_ = 0, empty_ = 0;  // bytes of the buffer; bytes at its begin that are not ours
  alignas(kLine) uint8_t buffer_[kBuffer + kLine];
};

}  // namespace
}  // namespace gatun::GATUN_ISA
