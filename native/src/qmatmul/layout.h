// The packed form of quantized weights [columns, depth].
//
//   64-byte header (base/packed.h) | panel 0 | panel 1 | ...
//
// A panel holds 64 rows of the weight matrix; the last one as many as are left, rounded up to R = 16, 32, 48 or 64 (the
// rows that are too many hold zero codes and scales). Within a panel, group after group of the depth:
//
//   codes        the group's depth is rounded up to a multiple of 8 (the padding's codes are 0; activations are padded
//                with 0 there). Every 4 depths of a row are 4 consecutive bytes, which an 8-bit dot instruction takes
//                for one lane; rows follow each other:
//                  8 bits  [depth / 4][R][4] bytes: the code + 128 (I8) or the code (U8)
//                  4 bits  [depth / 8][R][4] bytes: byte j of a row holds depth 8 q + j in its low nibble and
//                          depth 8 q + 4 + j in its high nibble
//   scales       [R] f16 or f32
//   zero points  [R] u8, asymmetric weights only
//
// So every offset within a panel is proportional to R, and a tile of any width that divides 16 walks it with a stride.
// The sum over depth is cut into pieces: at the groups' ends and, within a group, every 512 elements. An exact integer
// dot product over a piece is at most 512 * 255 * 127 = 16,581,120 < 2^24 in magnitude, so f32 holds it exactly.
#pragma once

#include <cstdint>

#include "base/packed.h"
#include "gatun/qmatmul.h"

namespace gatun::qmatmul {

inline constexpr int kPanelRows = 64;
inline constexpr int kRowMultiple = 16;
inline constexpr int kDepthMultiple = 8;
inline constexpr int kPieceDepth = 512;
// Of columns, of depth and of their product, so that sizes in bytes don't overflow: with its padding and scale a weight
// takes at most 208 bytes (a matrix of one weight with group == depth).
inline constexpr int64_t kMaxCells = int64_t{1} << 52;

// A piece of the depth. Offsets are bytes per row of the panel: times R, plus the panel's address.
struct Piece {
  int64_t codes;
  int64_t scales;
  int64_t zero_points;
  int64_t x;      // first depth, counted in padded depth
  int64_t begin;  // first depth, counted in the matrix
  int32_t depth;  // padded
  int32_t valid;  // elements of the matrix in it
  int64_t group;
};

class Layout {
 public:
  // Reads fields that check_weights() accepted.
  explicit Layout(const gatun_qmatmul_weights& weights);

  bool four_bits() const { return four_bits_; }
  bool asymmetric() const { return asymmetric_; }
  bool f16_scales() const { return f16_scales_; }
  // What codes are stored as, minus their value: 128 for I8.
  int code_offset() const { return code_offset_; }
  // The stored code that stands for 0 where there are no zero points.
  int zero_code() const { return zero_code_; }
  int64_t columns() const { return columns_; }
  int64_t depth() const { return depth_; }
  int64_t group() const { return group_; }
  int64_t groups() const { return groups_; }
  int64_t padded_depth() const { return padded_depth_; }
  int64_t panels() const { return (columns_ + kPanelRows - 1) / kPanelRows; }
  // R of a panel.
  int panel_rows(int64_t panel) const;
  int64_t panel_offset(int64_t panel) const { return kHeaderBytes + panel * kPanelRows * row_bytes_; }
  int64_t bytes() const;

  // Offsets of group g, as in Piece.
  int64_t group_offset(int64_t g) const { return g * group_bytes_; }
  int64_t scales_offset(int64_t g) const;
  int64_t group_depth(int64_t g) const { return g + 1 < groups_ ? group_ : depth_ - g * group_; }

  int64_t pieces() const;
  // Writes pieces() pieces in ascending depth.
  void list_pieces(Piece* pieces) const;

 private:
  static constexpr int64_t kHeaderBytes = sizeof(PackedHeader);
  int64_t code_bytes(int64_t depth) const { return four_bits_ ? depth / 2 : depth; }

  bool four_bits_, asymmetric_, f16_scales_;
  int code_offset_, zero_code_;
  int64_t columns_, depth_, group_, groups_, padded_depth_;
  int64_t group_bytes_;  // per row, of a full group
  int64_t row_bytes_;    // per row, of all groups
};

// Checks the fields of a description; `name` is the argument's name in messages.
int32_t check_weights(const gatun_qmatmul_weights* weights, const char* name);

// Checks that `packed` opens with a header that fits the buffer, and reads it.
int32_t read_header(const void* packed, int64_t packed_bytes, gatun_qmatmul_weights* weights);

}  // namespace gatun::qmatmul
