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

// Blocks of 2^n vectors that lie side by side: n, by which a vector's number is to be shifted to be its block's. One
// block for all vectors: kOneBlock. Other groups, and such as begin in the middle of a byte of codes: -1.
constexpr int kOneBlock = 62;
GATUN_INLINE int block_shift(const Job& job) {
  if (job.groups == 1 || (job.pieces > 1 && job.group % 4 == 0)) return kOneBlock;
  int n = 0;
  while (int64_t{kLanes} << n < job.group) ++n;
  return int64_t{kLanes} << n == job.group ? n : -1;
}

// x[0 .. count) to the codes from code `k` of `row` on; code(const F32 (&values)[4], i, n) makes bytes of the n values
// from x[i] on.
template <class Codes, class Code>
GATUN_INLINE void encode_stretch(const float* x, int64_t count, uint8_t* row, int64_t k, Code code) {
  using P = Period<Codes::kBits>;
  constexpr int kStep = 4 * kLanes;
  for (int64_t i = 0; i < count;) {
    const int64_t lead = k % P::kCodes == 0 ? 0 : P::kCodes - k % P::kCodes;  // to the next byte
    uint8_t* out = row + P::byte_of(k);
    const int64_t n = smaller(count - i, lead == 0 ? kStep : lead);
    F32 values[4];
    for (int j = 0; j < 4; ++j) values[j] = load_f32_n(x + i + j * kLanes, lanes_left(n - j * kLanes));
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

// The codes from code `k` of `row` on to x[0 .. count), where values(bytes of codes, first vector, F32 (&out)[4]) says
// what the next 4 * kLanes codes stand for.
template <class Codes, class Values>
GATUN_INLINE void decode_stretch(const uint8_t* row, int64_t k, int64_t count, bool stream, float* x, Values values) {
  using P = Period<Codes::kBits>;
  constexpr int kStep = 4 * kLanes, kStepBytes = kStep * Codes::kBits / 8;
  int64_t i = 0;
  if (k % P::kCodes == 0) {
    const uint8_t* from = row + P::byte_of(k);
    stream = stream && reinterpret_cast<uintptr_t>(x) % (kLanes * sizeof(float)) == 0;
    for (; i + kStep <= count; i += kStep, from += kStepBytes) {
      F32 out[4];
      values(from, i / kLanes, out);
      for (int j = 0; j < 4; ++j) {
        stream ? stream_f32(x + i + j * kLanes, out[j]) : store_f32(x + i + j * kLanes, out[j]);
      }
    }
  }
  for (int64_t n; i < count; i += n) {
    const int64_t at = k + i, within = at % P::kCodes;
    n = smaller(count - i, within == 0 ? kStep : P::kCodes - within);  // to the next byte
    uint8_t codes[kStepBytes] = {};
    for (int64_t j = 0; within != 0 && j < n; ++j) {
      append_code<Codes::kBits>(codes, j, get_code<Codes::kBits>(row, at + j));
    }
    for (int64_t byte = 0; within == 0 && byte < code_bytes<Codes::kBits>(n); ++byte) {
      codes[byte] = row[P::byte_of(at) + byte];
    }
    F32 out[4];
    values(codes, i / kLanes, out);
    for (int j = 0; j < 4; ++j) store_f32_n(x + i + j * kLanes, out[j], lanes_left(n - j * kLanes));
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
