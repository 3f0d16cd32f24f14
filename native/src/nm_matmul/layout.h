// The packed form of N:M sparse weights [columns, depth].
//
//   64-byte header | panel 0 | panel 1 | ... | indices, if stored dense
//
// A panel holds 64 columns of y (rows of the weight matrix); the last one as many as are left, rounded up to R = 16,
// 32, 48 or 64 (the columns that are too many hold zero bytes). Within a panel, segment after
// segment of the depth: quantized weights have one for each group of scales, floats a single one. The kept weights of a
// column in a segment are its slots, in ascending depth: slot s lies in group s / n of m weights. Slots are stored in
// units of 8, the last unit of a segment being filled up with zero weights (of index 0) that kernels may read; then the
// segment's scales and zero points:
//
//   unit         indices   [R] 16-bit words (m = 2, 4), 32-bit words (m = 8, 16), or [2][R] 32-bit words (m = 32): the
//                          indices of a column's 8 slots (m = 32: 4 slots, then 4), the first in the lowest bits
//                values    f32, f16 [8][R]; bf16 [4][R][2]: slots 2 i and 2 i + 1 together; i8 [2][R][4]: 4 slots
//                          together; u4 [R][4]: byte j holds slot j in its low, slot 4 + j in its high nibble
//   scales       [R] f32 or f16
//   zero points  [R] u8, or none
//
// Stored dense, n is m, units have no indices, and slot s is depth s of the segment; the weights' own indices follow
// the panels in the canonical form, for unpacking alone.
//
// Every offset within a panel is proportional to R. The sum over depth is cut into pieces: at the segments' ends and,
// within a segment, every 512 elements of the depth, so that an exact integer dot product over a piece is at most
// 512 * 128 * 127 = 8,323,072 < 2^24 in magnitude. A piece is whole units (512 / m * n is a multiple of 16 n).
#pragma once

#include <cstdint>

#include "base/nm.h"
#include "gatun/nm_matmul.h"
#include "gatun/quantize.h"

namespace gatun::nm_matmul {

inline constexpr int kPanelColumns = 64;
inline constexpr int kColumnMultiple = 16;
inline constexpr int kUnitSlots = 8;
inline constexpr int kPieceDepth = 512;
inline constexpr int64_t kHeaderBytes = 64;
inline constexpr int64_t kMaxCells = int64_t{1} << 52;

// A piece of the depth. Offsets are bytes per column of the panel: times R, plus the panel's address.
struct Piece {
  int64_t units;   // its first unit
  int64_t scales;  // of its segment
  int64_t zeros;
  int64_t x;       // first depth; a multiple of m
  int64_t slot;    // first slot, counted in the canonical form's K
  int32_t slots;   // without what fills the last unit up
  int32_t groups;  // of m weights
};

class Layout {
 public:
  // Reads fields that check_weights() accepted. `dense`: stored dense.
  Layout(const gatun_nm_weights& weights, bool dense);

  int32_t value_dtype() const { return value_dtype_; }
  bool quantized() const { return value_dtype_ == GATUN_I8 || value_dtype_ == GATUN_U4; }
  int32_t scale_dtype() const { return scale_dtype_; }
  bool zero_points() const { return zero_points_; }
  bool dense() const { return dense_; }
  int32_t n() const { return n_; }  // as stored
  int32_t m() const { return m_; }
  int index_bits() const { return index_bits_; }  // 2, 4 or 8; 0 stored dense
  int64_t columns() const { return columns_; }
  int64_t depth() const { return depth_; }
  int64_t segment_depth() const { return segment_depth_; }
  int64_t segments() const { return segments_; }
  // The depth in whole groups of m.
  int64_t padded_depth() const { return (depth_ + m_ - 1) / m_ * m_; }
  // Bytes of a unit for each column, and of that its indices.
  int unit_bytes() const { return index_bits_ + value_unit_bytes_; }
  int index_unit_bytes() const { return index_bits_; }
  int64_t panels() const { return (columns_ + kPanelColumns - 1) / kPanelColumns; }
  int panel_columns(int64_t panel) const;  // R
  int64_t column_bytes() const { return column_bytes_; }
  int64_t panel_offset(int64_t panel) const { return kHeaderBytes + panel * kPanelColumns * column_bytes_; }
  // Of all panels: what a product reads.
  int64_t panel_bytes() const;
  // The indices of weights that are stored dense.
  int64_t indices_offset() const { return kHeaderBytes + panel_bytes(); }
  int64_t bytes() const { return indices_offset() + (dense_ ? index_rows_ * index_row_bytes() : 0); }

  // The canonical form (gatun/nm_format.h): kept weights of a group of m, of a column, and bytes of rows.
  int32_t kept() const { return kept_; }
  int32_t vector() const { return vector_; }
  int canonical_index_bits() const { return canonical_index_bits_; }
  int64_t kept_depth() const { return padded_depth() / m_ * kept_; }
  int64_t value_row_bytes() const;
  int64_t index_row_bytes() const { return gatun::index_row_bytes(kept_depth(), m_); }
  int64_t index_rows() const { return index_rows_; }

  // What packing walks: bytes of a column from the panel's start to a segment and within it, its slots as stored.
  int64_t segment_offset(int64_t segment) const { return segment * segment_bytes_; }
  int64_t segment_slots(int64_t segment) const;
  int64_t scales_offset(int64_t segment) const;  // of a column, from the panel's start
  int64_t zeros_offset(int64_t segment) const { return scales_offset(segment) + scale_bytes(); }
  int scale_bytes() const { return scale_dtype_ == GATUN_F32 ? 4 : scale_dtype_ == GATUN_F16 ? 2 : 0; }

  int64_t pieces() const;
  // Writes pieces() pieces in ascending depth.
  void list_pieces(Piece* pieces) const;

 private:
  int32_t value_dtype_, scale_dtype_, n_, m_, kept_, vector_;
  bool zero_points_, dense_;
  int index_bits_, canonical_index_bits_, value_unit_bytes_;
  int64_t columns_, depth_, segment_depth_, segments_, index_rows_;
  int64_t segment_bytes_;  // per column, of a full segment
  int64_t column_bytes_;   // per column, of all segments
};

// Checks the fields of a description; `name` is the argument's name in messages.
int32_t check_weights(const gatun_nm_weights* weights, const char* name);

// Whether weights that allow it are stored dense (report.cc): the same on every tier.
bool stores_dense(const gatun_nm_weights& weights);

// What the header of a packed form says.
struct PackedWeights {
  gatun_nm_weights description;
  bool dense;  // stored dense
};

void write_header(const gatun_nm_weights& weights, const Layout& layout, uint8_t* packed);

// Checks that `packed` opens with a header that fits the buffer, and reads it.
int32_t read_header(const void* packed, int64_t packed_bytes, PackedWeights* weights);

}  // namespace gatun::nm_matmul
