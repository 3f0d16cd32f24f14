// The packed form of N:M sparse weights [columns, depth] on a device.
//
//   header (64 bytes) | units | scales | zero points      each part aligned to 256 bytes
//
// A unit is 16 columns (a strip) by 64 of depth, which are two segments of 32. Since m divides 32, a column keeps
// 32 n / m weights of each segment, a list: all N:M are lists with masks. Units of a strip follow each other in the
// order of depth, strips in the order of columns. A unit is 128 bytes of metadata, then its lists, each in the bytes
// that its values take, rounded up:
//
//   lists        metadata: word s * 16 + c is the mask of column c in segment s, of ascending depth from the lowest bit
//                on; values: lists in the same order, in ascending depth, two u4 a byte, the first one in the low bits
//   fragments16  2:4 of F16, BF16 and U4, as mma.sp::ordered_metadata.m16n8k32 wants its left operand (mma_sp.h).
//                Segment s is one instruction; metadata word l is that of lane l, which has some for selector l % 4
//                / 2. Values: 128 words (U4: 32) of segment 0, then of 1, of which lane l has words 4 l.. (U4: word l,
//                where bytes 0, 2 are elements of register a[0] in the low bits, a[1] in the high ones, bytes 1, 3
//                those of a[2] and a[3], as in the units of qmatmul/form.h)
//   fragments8   2:4 of I8, as m16n8k64 wants it: a unit is one instruction, lane l has metadata word l and words 4 l..
//
// Depth is padded to kDepthMultiple. What is beyond columns or depth are zeros with the first n positions of a group,
// with scale 0 beyond columns; so are positions of existing columns beyond the depth; x is 0 there.
//
// Scales [groups][strips * 16] in their own type; those of floats are a single group of f32 ones. Zero points
// [groups][strips * 16] u8.
#pragma once

#include <cstdint>

#include "gatun/cuda_nm_matmul.h"
#include "qmatmul/form.h"

namespace gatun::cuda::nm_matmul {

using qmatmul::kDepthMultiple;
using qmatmul::kPartAlignment;
using qmatmul::kStripColumns;

inline constexpr int kSegmentDepth = 32, kUnitDepth = 64, kMetadataBytes = 128;
inline constexpr int kListsOfUnit = 2 * kStripColumns;

enum class Order : int32_t { lists, fragments16, fragments8 };

struct Form {
  Order order;
  int32_t n, m, vector;
  int32_t value_dtype;
  int32_t scale_dtype;  // as stored
  bool scaled, zero_points;
  int32_t list_slots;  // kept weights of a list
  int64_t columns, depth;
  int64_t slots;  // of a column in the canonical form
  int64_t group, groups;
  int64_t padded_depth;
  int64_t strips, units;  // units of a strip
  int64_t unit_bytes;
  int64_t units_at, scales_at, zeros_at, bytes;

  constexpr int64_t padded_columns() const { return strips * kStripColumns; }
  constexpr int64_t list_bytes() const { return (unit_bytes - kMetadataBytes) / kListsOfUnit; }
};

// What opens the packed form; it begins with the fields of PackedPrefix.
struct Header {
  uint64_t magic;
  uint16_t version, format;
  int16_t value_dtype, zero_point, scale_dtype;
  uint8_t n, m;
  int32_t vector, reserved;
  int64_t columns, depth, group;
  int64_t bytes;  // of the whole buffer, this header included
};
static_assert(sizeof(Header) == 64);

constexpr int value_bits(int32_t dtype) {
  return dtype == GATUN_F32 ? 32 : dtype == GATUN_I8 ? 8 : dtype == GATUN_U4 ? 4 : 16;
}

// INVALID_ARGUMENT, with a message, unless there is such a form.
int32_t form_of(const gatun_nm_weights* weights, Form* form);

}  // namespace gatun::cuda::nm_matmul
