// The packed form of weights [columns, depth] on a device.
//
//   header (64 bytes, base/packed.h's fields) | codes | scales | offsets | book      each part aligned to 256 bytes
//
// Codes lie in units of 512 bytes: 16 columns (a strip) by 64 (4-bit codes), 32 (8-bit) or 128 (2-bit) of depth, 16
// bytes for each lane of a warp, so that a warp reads a unit with one load of 16 bytes a lane, and gets what
// mma.m16n8k16 and wgmma.m64k16 want as their left operand. With r = lane / 4 and t = lane % 4, a lane has, of columns
// r and r + 8 of the strip and of each step of 16 of depth, the elements k = 2 t, 2 t + 8, 2 t + 1, 2 t + 9, in this
// order, one in each byte of a word, bits from the lowest:
//
//   4 bits  word s is step s:            column r in the low nibbles, column r + 8 in the high ones
//   8 bits  words 2 s, 2 s + 1 are step s:     column r; column r + 8
//   2 bits  word s is steps 2 s, 2 s + 1:      bits 0-1 column r, 2-3 column r + 8, 4-5 and 6-7 the same of step 2 s +
//   1
//
// So masking and shifting a word gives bytes k = 2 t, 2 t + 8, 2 t + 1, 2 t + 9 of one column: for 16-bit products the
// bytes 0 and 2 are one pair of neighbours, 1 and 3 the other; for 8-bit products, which take 4 neighbours, x is stored
// in that order within each step (see Prepared in job.h).
//
// Units of a strip follow each other in the order of depth, strips in the order of columns: unit u of strip s is unit
// s * units + u. The depth is padded to a multiple of kDepthMultiple. What is beyond columns or depth holds the byte 0
// in its place, with scale 0 beyond columns; x is 0 beyond the depth. No byte 0 decodes to NaN.
//
// Scales [groups][strips * 16], in their own type (F32, F16, E8M0, F8E4M3); rows of weights that share one have it
// each. Offsets [groups][strips * 16]: u8 or f32 zero points. Book: 16 or 256 f32.
#pragma once

#include <cstdint>

#include "gatun/qmatmul.h"

namespace gatun::cuda::qmatmul {

inline constexpr int kStripColumns = 16;
inline constexpr int kStepDepth = 16;
inline constexpr int kUnitBytes = 512;
inline constexpr int kPartAlignment = 256;
inline constexpr int kDepthMultiple = 128;  // a unit of 2-bit codes, and more than one of all others

// What a code stands for. Those of 6 bits have a byte each.
enum class Codes : int32_t { u4, u2, i8, u8, f8e4m3, f8e5m2, f6e3m2, f6e2m3, f4e2m1, book4, book8 };

constexpr int bits_of(Codes codes) {
  return codes == Codes::u2 ? 2 : codes == Codes::u4 || codes == Codes::f4e2m1 || codes == Codes::book4 ? 4 : 8;
}
constexpr bool is_linear(Codes codes) { return codes <= Codes::u8; }
constexpr int unit_depth(Codes codes) { return 256 / bits_of(codes); }

// What linear codes are lowered by where there are no zero points.
constexpr int zero_code(Codes codes) { return codes == Codes::u4 ? 8 : codes == Codes::u2 ? 2 : 0; }

struct Form {
  Codes codes;
  int32_t scale_dtype;
  int32_t zero_point;  // gatun_zero_point
  int32_t book;        // gatun_book
  int32_t group_rows;
  float factor;  // the tensor's scale
  int64_t columns, depth;
  int64_t group, groups;
  int64_t padded_depth;   // a multiple of kDepthMultiple
  int64_t strips, units;  // units of a strip, of the padded depth
  int64_t codes_at, scales_at, offsets_at, book_at, bytes;

  constexpr int64_t padded_columns() const { return strips * kStripColumns; }
};

// Bytes of a scale, of a zero point (0 without), and the values of a code book (0 without).
int scale_bytes(int32_t scale_dtype);
int offset_bytes(int32_t zero_point);
constexpr int book_values(Codes codes) { return codes == Codes::book4 ? 16 : codes == Codes::book8 ? 256 : 0; }

// INVALID_ARGUMENT or UNSUPPORTED, with a message, unless there is such a form.
int32_t form_of(const gatun_qmatmul_weights* weights, Form* form);

}  // namespace gatun::cuda::qmatmul
