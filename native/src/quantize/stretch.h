// Loops over values that lie side by side in a row: values to codes, codes to values. What a code is, the caller's
// function says; Codes (codes.h) says how codes are stored.
//
//   values  [ x0 x1 .. | 4 * kLanes | 4 * kLanes | .. | fewer ]
//   bytes   [ the rest of a byte that other codes began | 4 * kLanes codes | .. | fewer, unused bits 0 ]
//
// Tails: a last round of the same body with fewer lanes, the rest read as 0 and not stored. A stretch that starts in
// the middle of a byte does elements one by one up to the next byte.
#pragma once

#include "quantize/rounding.h"

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

// x[0 .. count) to the codes from code `k` of `row` on; code(const F32 (&values)[4], i, n) makes bytes of the n values
// from x[i] on. kFast: whole rounds have a loop of their own; without, the code is half as long.
template <class X, class Codes, bool kFast, class Code>
GATUN_INLINE void encode_stretch(const typename X::Type* x, int64_t count, uint8_t* row, int64_t k, Code code) {
  using P = Period<Codes::kBits>;
  constexpr int kStep = 4 * kLanes, kStepBytes = kStep * Codes::kBits / 8;
  for (int64_t i = 0; i < count;) {
    const int64_t lead = k % P::kCodes == 0 ? 0 : P::kCodes - k % P::kCodes;  // to the next byte
    uint8_t* out = row + P::byte_of(k);
    if (kFast && lead == 0) {
      for (; i + kStep <= count; i += kStep, k += kStep, out += kStepBytes) {
        F32 values[4];
        for (int j = 0; j < 4; ++j) values[j] = X::load(x + i + j * kLanes);
        Codes::store(out, code(values, i, kStep));
      }
      if (i == count) return;
    }
    const int64_t n = smaller(count - i, lead == 0 ? kStep : lead);
    F32 values[4];
    for (int j = 0; j < 4; ++j) values[j] = X::load_n(x + i + j * kLanes, lanes_left(n - j * kLanes));
    const Bytes codes = code(values, i, n);
    if (lead == 0) {
      Codes::store_n(out, codes, static_cast<int>(n));
    } else {
      uint8_t bytes[kStep];
      store_bytes(bytes, codes);
      for (int64_t j = 0; j < n; ++j) append_code<Codes::kBits>(row, k + j, bytes[j]);
    }
    i += n;
    k += n;
  }
}

// The codes from code `k` of `row` on to x[0 .. count), where values(bytes of codes, F32 (&out)[4]) says what the next
// 4
// * kLanes codes stand for.
template <class Codes, class X, class Values>
GATUN_INLINE void decode_stretch(const uint8_t* row, int64_t k, int64_t count, typename X::Type* x, Values& values) {
  using P = Period<Codes::kBits>;
  constexpr int kStep = 4 * kLanes, kStepBytes = kStep * Codes::kBits / 8;
  for (int64_t i = 0; i < count;) {
    const int64_t within = k % P::kCodes, lead = within == 0 ? kStep : P::kCodes - within;  // to the next byte
    if (within == 0) {
      for (; i + kStep <= count; i += kStep, k += kStep) {
        F32 out[4];
        values(row + P::byte_of(k), out);
        for (int j = 0; j < 4; ++j) X::store(x + i + j * kLanes, out[j]);
      }
      if (i == count) return;
    }
    const int64_t n = smaller(count - i, lead);
    uint8_t codes[kStepBytes] = {};
    for (int64_t j = 0; within != 0 && j < n; ++j) {
      append_code<Codes::kBits>(codes, j, get_code<Codes::kBits>(row, k + j));
    }
    for (int64_t byte = 0; within == 0 && byte < code_bytes<Codes::kBits>(n); ++byte) {
      codes[byte] = row[P::byte_of(k) + byte];
    }
    F32 out[4];
    values(codes, out);
    for (int j = 0; j < 4; ++j) X::store_n(x + i + j * kLanes, out[j], lanes_left(n - j * kLanes));
    i += n;
    k += n;
  }
}

// Output on its way past the caches: it is collected here, and whole cache lines leave by streaming stores. Without
// streaming it goes where it belongs at once.
class Lines {
 public:
  static constexpr int64_t kRoom = 4096;  // bytes that may be put at once

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
    // base_ may be null, or of other memory
    const int64_t offset = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out) - reinterpret_cast<uintptr_t>(base_));
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

// A stretch of lane `lane`, count values from element k of its row on, to codes, by what make_encoder() returns: its
// nearest(const F32 (&x)[4]) and above(x, thresholds) make bytes of codes. Without `rounds` always the nearest. A
// function of its own, so that all stretches of a kernel share its loops.
template <class X, class Codes, class MakeEncoder>
__attribute__((noinline)) void encode_row(const Job& job, const Batch& batch, int64_t lane, const typename X::Type* x,
                                          int64_t k, int64_t count, bool rounds, Lines& lines,
                                          const MakeEncoder& make_encoder) {
  auto encoder = make_encoder();
  const int64_t row = batch.lane_row(lane);
  for (int64_t last = k + count; k < last;) {
    const int64_t n = smaller(last - k, Lines::kRoom);
    uint8_t* const out = codes_row<Codes>(job, row) + Period<Codes::kBits>::byte_of(k);
    uint8_t* const to = lines.at(out);
    const int64_t phase = k % Period<Codes::kBits>::kCodes;
    if (job.rounding == GATUN_ROUND_NEAREST || !rounds) {
      encode_stretch<X, Codes, true>(x, n, to, phase, [&](const F32(&values)[4], int64_t, int64_t) GATUN_INLINE_LAMBDA {
        return encoder.nearest(values);
      });
    } else {
      const Thresholds thresholds(job, row, k);
      encode_stretch<X, Codes, false>(x, n, to, phase,
                                      [&](const F32(&values)[4], int64_t i, int64_t some) GATUN_INLINE_LAMBDA {
                                        F32 least[4];
                                        for (int j = 0; j < 4; ++j)
                                          least[j] = thresholds.at(i + j * kLanes, lanes_left(some - j * kLanes));
                                        return encoder.above(values, least);
                                      });
    }
    lines.put(out + code_bytes<Codes::kBits>(phase + n));
    x += n;
    k += n;
  }
}

// Codes of a row from `k` on to `count` values, the first of them at x, by what make_decoder() returns: called with
// (bytes of codes, F32 (&out)[4]) it says what the next 4 * kLanes codes stand for.
template <class Codes, class X, class MakeDecoder>
__attribute__((noinline)) void decode_row(const uint8_t* row, int64_t k, int64_t count, typename X::Type* x,
                                          Lines& lines, const MakeDecoder& make_decoder) {
  constexpr int64_t kRoom = Lines::kRoom / static_cast<int64_t>(sizeof(*x));
  auto decoder = make_decoder();
  for (const int64_t last = k + count; k < last;) {
    const int64_t n = smaller(last - k, kRoom - k % Period<Codes::kBits>::kCodes);
    uint8_t* const to = lines.at(reinterpret_cast<uint8_t*>(x));
    decode_stretch<Codes, X>(row, k, n, reinterpret_cast<typename X::Type*>(to), decoder);
    x += n;
    k += n;
    lines.put(reinterpret_cast<uint8_t*>(x));
  }
}

// The lanes of one vector after the other, where the batch's blocks consist of whole vectors and lie side by side.
class VectorLanes {
 public:
  GATUN_INLINE VectorLanes(int64_t group, int64_t lanes) : group_(group), left_(group), last_(lanes - 1) {}
  // Whether a batch of this job is such.
  static GATUN_INLINE bool fit(const Job& job) { return job.unit_rows == 1 && job.group % kLanes == 0; }
  GATUN_INLINE int64_t next() {
    const int64_t lane = lane_;
    left_ -= kLanes;
    if (left_ == 0) {
      left_ = group_;
      lane_ = smaller(lane_ + 1, last_);
    }
    return lane;
  }

 private:
  int64_t group_, left_, last_, lane_ = 0;
};

// Batches whose blocks are whole vectors that lie side by side in a row, 4 * kLanes values (a step) at a time. kBlocks:
// a step has 2 or 4 whole blocks, or (1) a part of one; steps of 0 have no such order.
GATUN_INLINE int blocks_of_step(const Job& job) {
  if (job.unit_rows != 1) return 0;
  if (job.group == kLanes) return 4;
  if (job.group == 2 * kLanes) return 2;
  return job.groups == 1 || job.group % (4 * kLanes) == 0 ? 1 : 0;
}

// Values of all blocks of such a batch.
GATUN_INLINE int64_t run_count(const Job& job, const Batch& batch) {
  return smaller(batch.lanes * job.group, job.depth - batch.begin);
}

// The lanes of the four vectors of one step after the other.
template <int kBlocks>
class StepLanes {
 public:
  explicit GATUN_INLINE StepLanes(int64_t group) : group_(group), left_(group) {}
  GATUN_INLINE int64_t of(int vector) const { return lane_ + vector * kBlocks / 4; }
  // Goes on; whether to other lanes.
  GATUN_INLINE bool step() {
    if (kBlocks > 1) {
      lane_ += kBlocks;
      return true;
    }
    left_ -= 4 * kLanes;
    if (left_ > 0) return false;
    left_ = group_;
    ++lane_;
    return true;
  }

 private:
  int64_t group_, left_, lane_ = 0;
};

}  // namespace
}  // namespace gatun::GATUN_ISA
