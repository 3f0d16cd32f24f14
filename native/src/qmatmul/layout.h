// The packed form of quantized weights [columns, depth].
//
//   64-byte header (base/packed.h) | table | panel 0 | panel 1 | ...
//
// Codes are stored in one of these forms, which kernels tell weights apart by:
//
//   u4  4 bits, integers: U4, U2, GGUF's types of 2 to 4 bits. The code, minus a zero point or the form's zero code.
//   u8  8 bits, integers: I8 as code + 128, U8, GGUF's types of 5 bits and more.
//   t4  4 bits, an index of a table of integers of at most 127 in magnitude: F4E2M1 (its values doubled), code books
//       of such integers, IQ4_NL, IQ4_XS, MXFP4 (doubled). Table: 16 bytes, the integer + 128, then 48 zeros.
//   b4  4 bits, an index of a table of other numbers: 16 f32.
//   b8  8 bits, an index of a table of 256 f32: F8 and F6 (in a byte each), code books.
//
// A panel holds 64 rows of the weight matrix; the last one as many as are left, rounded up to R = 16, 32, 48 or 64 (the
// rows that are too many hold zero bytes). Within a panel, group after group of the depth:
//
//   codes        the group's depth is rounded up to a multiple of 8 (the padding's codes are 0; activations are padded
//                with 0 there). Every 4 depths of a row are 4 consecutive bytes, which an 8-bit dot instruction takes
//                for one lane; rows follow each other:
//                  8 bits  [depth / 4][R][4] bytes
//                  4 bits  [depth / 8][R][4] bytes: byte j of a row holds depth 8 q + j in its low nibble and
//                          depth 8 q + 4 + j in its high nibble
//   super-scales [R] f16, then [R] f16 of the offsets if there are any; in the first group of 256 depths, for them all;
//                only with scales of kind `super`
//   scales       [R] f32, f16, E8M0, F8E4M3, or i8 that multiply the super-scale. Rows that share one have it each.
//   offsets      [R] u8 zero points, f32 or f16, or u8 that multiply the offsets' super-scale; or none
//
// So every offset within a panel is proportional to R, and a tile of any width that divides 16 walks it with a stride.
// The sum over depth is cut into pieces: at the groups' ends and, within a group, every 512 elements. An exact integer
// dot product over a piece is at most 512 * 255 * 127 = 16,581,120 < 2^24 in magnitude, so f32 holds it exactly.
#pragma once

#include <cstdint>

#include "base/packed.h"
#include "gatun/qmatmul.h"
#include "gatun/quantize.h"

namespace gatun::qmatmul {

inline constexpr int kPanelRows = 64;
inline constexpr int kRowMultiple = 16;
inline constexpr int kDepthMultiple = 8;
inline constexpr int kPieceDepth = 512;
inline constexpr int kSuperDepth = 256;
// Of columns, of depth and of their product, so that sizes in bytes don't overflow: with its padding, scale and offset
// a weight takes at most 256 bytes (a matrix of one weight with group == depth).
inline constexpr int64_t kMaxCells = int64_t{1} << 52;

enum class Stored : int32_t { u4, u8, t4, b4, b8 };
inline constexpr int kStoredForms = 5;
inline constexpr bool is_four_bits(Stored stored) { return stored != Stored::u8 && stored != Stored::b8; }
inline constexpr bool is_integer(Stored stored) { return stored != Stored::b4 && stored != Stored::b8; }
const char* stored_name(Stored stored);

// `super`: the product of a super-scale and the group's own.
enum class ScaleKind : int32_t { f32, f16, e8m0, f8e4m3, super };
inline constexpr int kScaleKinds = 5;

// What weights of a group are lowered by (`u8`, an integer that is subtracted from the code), or raised by: the value
// itself, or for `super` minus the product of a super-scale and the group's own.
enum class OffsetKind : int32_t { none, u8, f32, f16, super };
inline constexpr int kOffsetKinds = 5;
inline constexpr bool is_float(OffsetKind kind) { return kind != OffsetKind::none && kind != OffsetKind::u8; }

// A piece of the depth. Offsets are bytes per row of the panel: times R, plus the panel's address.
struct Piece {
  int64_t codes;
  int64_t scales;
  int64_t offsets;  // of the weights
  int64_t supers;
  int64_t x;      // first depth, counted in padded depth
  int64_t begin;  // first depth, counted in the matrix
  int32_t depth;  // padded
  int32_t valid;  // elements of the matrix in it
  int64_t group;
};

class Layout {
 public:
  // Reads fields that check_weights() accepted. `integer_book`: a given code book of 16 holds integers up to 127 in
  // magnitude; nothing else about weights depends on values.
  explicit Layout(const gatun_qmatmul_weights& weights, bool integer_book = false);

  Stored stored() const { return stored_; }
  bool four_bits() const { return is_four_bits(stored_); }
  ScaleKind scale_kind() const { return scale_kind_; }
  OffsetKind offset_kind() const { return offset_kind_; }
  // Bytes of a row's scale, offset, and super-scales.
  int scale_bytes() const { return scale_bytes_; }
  int offset_bytes() const { return offset_bytes_; }
  int super_bytes() const { return super_bytes_; }
  // What integer codes are stored as, minus the code: 128 for I8.
  int code_offset() const { return code_offset_; }
  // The stored code, or with t4 the entry of the table, that stands for 0 where there are no zero points.
  int zero_code() const { return zero_code_; }
  // What every stored weight is to be multiplied by beside its scale.
  float factor() const { return factor_; }
  int64_t columns() const { return columns_; }
  int64_t depth() const { return depth_; }
  int64_t group() const { return group_; }
  int64_t groups() const { return groups_; }
  int64_t padded_depth() const { return padded_depth_; }
  int64_t panels() const { return (columns_ + kPanelRows - 1) / kPanelRows; }
  // R of a panel.
  int panel_rows(int64_t panel) const;
  static constexpr int64_t table_offset() { return sizeof(PackedHeader); }
  int64_t table_bytes() const { return stored_ == Stored::b8 ? 1024 : is_book() ? 64 : 0; }
  int64_t panel_offset(int64_t panel) const { return table_offset() + table_bytes() + panel * kPanelRows * row_bytes_; }
  int64_t bytes() const;

  // Offsets of group g, as in Piece.
  int64_t group_offset(int64_t g) const;
  int64_t supers_offset(int64_t g) const;
  int64_t scales_offset(int64_t g) const;
  int64_t offsets_offset(int64_t g) const { return scales_offset(g) + scale_bytes_; }
  int64_t group_depth(int64_t g) const { return g + 1 < groups_ ? group_ : depth_ - g * group_; }
  // Groups that share super-scales, or 1.
  int64_t super_groups() const { return super_groups_; }

  int64_t pieces() const;
  // Writes pieces() pieces in ascending depth.
  void list_pieces(Piece* pieces) const;

 private:
  bool is_book() const { return stored_ != Stored::u4 && stored_ != Stored::u8; }
  int64_t code_bytes(int64_t depth) const { return four_bits() ? depth / 2 : depth; }
  // Of codes, padded.
  int64_t group_code_bytes(int64_t g) const;

  Stored stored_;
  ScaleKind scale_kind_;
  OffsetKind offset_kind_;
  int scale_bytes_, offset_bytes_, super_bytes_;
  int code_offset_, zero_code_;
  float factor_;
  int64_t columns_, depth_, group_, groups_, super_groups_, padded_depth_;
  int64_t group_bytes_;  // per row, of a full group without super-scales
  int64_t row_bytes_;    // per row, of all groups
};

// Checks the fields of a description; `name` is the argument's name in messages.
int32_t check_weights(const gatun_qmatmul_weights* weights, const char* name);

// What a packed form says about itself: its description, and what Layout needs beside it.
struct PackedWeights {
  gatun_qmatmul_weights description;
  bool integer_book;
};

// Checks that `packed` opens with a header that fits the buffer, and reads it.
int32_t read_header(const void* packed, int64_t packed_bytes, PackedWeights* weights);
PackedHeader header_of(const gatun_qmatmul_weights& weights, const Layout& layout);

}  // namespace gatun::qmatmul
