// Loops over values that lie side by side in a row: values to codes, codes to values. What a code is, the caller's
// function says; Codes (codes.h) says how codes are stored.
//
//   values  [ x0 x1 .. | 4 * kLanes | 4 * kLanes | .. | fewer ]
//   bytes   [ the rest of a byte that other codes began | 4 * kLanes codes | .. | fewer, unused bits 0 ]
//
// Tails: a last round of the same body with fewer lanes, the rest read as 0 and not stored. A stretch that starts in
// the middle of a byte does elements one by one up to the next byte.
#pragma once

#include "quantize/blocks.h"

namespace gatun::GATUN_ISA {
namespace {

// kPeriod codes take whole bytes: a row's code k lies in those from byte k / kPeriod * kBytes on.
template <int kBits>
struct Period {
  static constexpr int kCodes = kBits == 8 ? 1 : kBits == 4 ? 2 : 4, kBytes = kCodes * kBits / 8;
  static constexpr int64_t byte_of(int64_t k) { return k / kCodes * kBytes; }
};

// Code k of a row, as an unsigned number.
template <int kBits>
GATUN_INLINE int32_t get_code(const uint8_t* row, int64_t k) {
  const uint8_t* p = row + Period<kBits>::byte_of(k);
  const int bit = static_cast<int>(k % Period<kBits>::kCodes) * kBits;
  int32_t bits = p[bit / 8] >> bit % 8;
  if (bit % 8 + kBits > 8) bits |= p[bit / 8 + 1] << (8 - bit % 8);
  return bits & ((1 << kBits) - 1);
}

// Where code k - 1 has been set and the rest of its byte is 0.
template <int kBits>
GATUN_INLINE void append_code(uint8_t* row, int64_t k, int32_t code) {
  uint8_t* p = row + Period<kBits>::byte_of(k);
  const int bit = static_cast<int>(k % Period<kBits>::kCodes) * kBits;
  p[bit / 8] = static_cast<uint8_t>(bit % 8 == 0 ? code : p[bit / 8] | code << bit % 8);
  if (bit % 8 + kBits > 8) p[bit / 8 + 1] = static_cast<uint8_t>(code >> (8 - bit % 8));
}

GATUN_INLINE int lanes_left(int64_t left) { return static_cast<int>(left < 0 ? 0 : smaller(left, kLanes)); }

// x[0 .. count) to the codes from code `k` of `row` on; code(F32 values, i, n) makes those of x[i ..], of which n
// exist. What lies `ahead` elements further is asked for.
template <class X, class Codes, class Code>
GATUN_INLINE void encode_stretch(const typename X::Type* x, int64_t count, int64_t ahead, uint8_t* row, int64_t k,
                                 Code code) {
  constexpr int kStep = 4 * kLanes, kStepBytes = kStep * Codes::kBits / 8;
  constexpr int kLine = 64 / static_cast<int>(sizeof(*x));
  int64_t i = 0;
  for (; k % Period<Codes::kBits>::kCodes != 0 && i < count; ++i, ++k) {
    int32_t lanes[kLanes];
    store_i32(lanes, code(X::load_n(x + i, 1), i, 1));
    append_code<Codes::kBits>(row, k, lanes[0]);
  }
  uint8_t* out = row + Period<Codes::kBits>::byte_of(k);
  for (; i + kStep <= count; i += kStep, out += kStepBytes) {
    I32 codes[4];
    for (int j = 0; j < 4; ++j) codes[j] = code(X::load(x + i + j * kLanes), i + j * kLanes, kLanes);
    Codes::store(out, Codes::pack(codes[0], codes[1], codes[2], codes[3]));
    for (int line = 0; line < kStep; line += kLine) prefetch_line(x + i + ahead + line);
  }
  if (i < count) {
    I32 codes[4];
    for (int j = 0; j < 4; ++j) {
      const int n = lanes_left(count - i - j * kLanes);
      codes[j] = code(X::load_n(x + i + j * kLanes, n), i + j * kLanes, n);
    }
    Codes::store_n(out, Codes::pack(codes[0], codes[1], codes[2], codes[3]), static_cast<int>(count - i));
  }
}

// The codes from code `k` of `row` on to x[0 .. count), where value(I32 codes) is what they stand for. `stream`: past
// the caches, where whole vectors are possible.
template <class Codes, class X, class Value>
GATUN_INLINE void decode_stretch(const uint8_t* row, int64_t k, int64_t count, typename X::Type* x, bool stream,
                                 Value value) {
  using P = Period<Codes::kBits>;
  int64_t i = 0;
  for (; k % P::kCodes != 0 && i < count; ++i, ++k) {
    X::store_n(x + i, value(set1_i32(get_code<Codes::kBits>(row, k))), 1);
  }
  const auto some = [&](int n) {
    X::store_n(x + i, value(Codes::load_n(row + P::byte_of(k), n)), n);
    i += n;
    k += n;
  };
  if (stream) {
    constexpr int kBytes = kLanes * static_cast<int>(sizeof(*x));
    const int lead = static_cast<int>(-(reinterpret_cast<uintptr_t>(x + i) / sizeof(*x)) % kLanes);
    if (reinterpret_cast<uintptr_t>(x + i) % sizeof(*x) == 0 && lead % P::kCodes == 0 && lead + kLanes <= count - i) {
      static_assert(kBytes % sizeof(*x) == 0);
      some(lead);
      for (; i + kLanes <= count; i += kLanes, k += kLanes) {
        X::stream(x + i, value(Codes::load(row + P::byte_of(k))));
      }
    }
  }
  for (; i + kLanes <= count; i += kLanes, k += kLanes) X::store(x + i, value(Codes::load(row + P::byte_of(k))));
  if (i < count) some(static_cast<int>(count - i));
}

// Codes on their way past the caches: they are collected here, and whole cache lines leave by streaming stores. Without
// streaming, codes go where they belong at once.
class Lines {
 public:
  static constexpr int64_t kRoom = 4096;  // bytes that one encode_stretch may make

  explicit Lines(bool stream) : stream_(stream) {}
  ~Lines() {
    if (!stream_) return;
    flush();
    leave(begin_, end_);
    fence_streams();
  }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  // Where to put bytes that belong to `out` and after it. If they continue what was put before, the last byte of that
  // is still there to be completed.
  uint8_t* at(uint8_t* out) {
    if (!stream_) return out;
    const int64_t offset = out - base_;
    if (base_ == nullptr || offset < begin_ || offset > end_) {
      flush();
      leave(begin_, end_);
      begin_ = end_ = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out) % kLine);
      base_ = out - begin_;
      return buffer_ + begin_;
    }
    return buffer_ + offset;
  }

  // Bytes up to `end` have been put.
  void put(uint8_t* end) {
    if (!stream_) return;
    end_ = end - base_;
    if (end_ > kRoom) flush();
  }

 private:
  static constexpr int64_t kLine = 64;

  // Buffered bytes [from, to) by plain stores.
  void leave(int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) base_[i] = buffer_[i];
  }

  // All whole lines but the one of the last byte.
  void flush() {
    const int64_t whole = (end_ - 1) / kLine * kLine;
    if (end_ == 0 || whole <= begin_) return;
    int64_t i = 0;
    if (begin_ > 0) {
      leave(begin_, kLine);
      i = kLine;
    }
    for (; i < whole; i += 4 * kLanes) stream_bytes(base_ + i, load_bytes(buffer_ + i));
    for (int64_t j = whole; j < end_; ++j) buffer_[j - whole] = buffer_[j];
    base_ += whole;
    begin_ = 0;
    end_ -= whole;
  }

  const bool stream_;
  uint8_t* base_ = nullptr;      // a multiple of a line, that buffer_ is to be copied to
  int64_t begin_ = 0, end_ = 0;  // the bytes in the buffer
  alignas(64) uint8_t buffer_[2 * kRoom + 2 * kLine];
};

}  // namespace
}  // namespace gatun::GATUN_ISA
