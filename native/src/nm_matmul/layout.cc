#include "nm_matmul/layout.h"

#include <algorithm>

#include "base/check.h"
#include "base/dtype.h"

namespace gatun::nm_matmul {

Layout::Layout(const gatun_nm_weights& w, bool dense)
    : value_dtype_(w.value_dtype),
      scale_dtype_(w.scale_dtype),
      n_(dense ? w.m : w.n),
      m_(w.m),
      kept_(w.n),
      vector_(w.vector),
      zero_points_(w.zero_point != GATUN_ZERO_NONE),
      dense_(dense),
      index_bits_(dense ? 0 : gatun::index_bits(w.m)),
      canonical_index_bits_(gatun::index_bits(w.m)),
      value_unit_bytes_(static_cast<int>(dtype_bytes(w.value_dtype, kUnitSlots))),
      columns_(w.columns),
      depth_(w.depth),
      segment_depth_(quantized() ? w.group : w.depth),
      segments_(blocks_of(w.depth, segment_depth_)),
      index_rows_(blocks_of(w.columns, w.vector)),
      segment_bytes_(0),
      column_bytes_(0) {
  if (segments_ == 0) return;
  segment_bytes_ = scales_offset(0) + scale_bytes() + zero_points_;
  column_bytes_ = zeros_offset(segments_ - 1) + zero_points_;
}

int Layout::panel_columns(int64_t panel) const {
  const int64_t left = std::min<int64_t>(kPanelColumns, columns_ - panel * kPanelColumns);
  return static_cast<int>(blocks_of(left, kColumnMultiple) * kColumnMultiple);
}

int64_t Layout::panel_bytes() const { return blocks_of(columns_, kColumnMultiple) * kColumnMultiple * column_bytes_; }

int64_t Layout::value_row_bytes() const { return dtype_bytes(value_dtype_, kept_depth()); }

int64_t Layout::segment_slots(int64_t segment) const {
  return blocks_of(std::min(segment_depth_, depth_ - segment * segment_depth_), m_) * n_;
}

int64_t Layout::scales_offset(int64_t segment) const {
  return segment_offset(segment) + blocks_of(segment_slots(segment), kUnitSlots) * unit_bytes();
}

int64_t Layout::pieces() const {
  if (segments_ == 0) return 0;
  const int64_t last = depth_ - (segments_ - 1) * segment_depth_;
  return (segments_ - 1) * blocks_of(segment_depth_, kPieceDepth) + blocks_of(last, kPieceDepth);
}

void Layout::list_pieces(Piece* pieces) const {
  for (int64_t segment = 0; segment < segments_; ++segment) {
    const int64_t first = segment * segment_depth_, depth = std::min(segment_depth_, depth_ - first);
    for (int64_t begin = 0; begin < depth; begin += kPieceDepth) {
      const int64_t groups = blocks_of(std::min<int64_t>(kPieceDepth, depth - begin), m_), before = begin / m_ * n_;
      // Every segment but the last is whole groups of m, so slots count on from one to the next.
      *pieces++ = {segment_offset(segment) + before / kUnitSlots * unit_bytes(),
                   scales_offset(segment),
                   zeros_offset(segment),
                   first + begin,
                   first / m_ * n_ + before,
                   static_cast<int32_t>(groups * n_),
                   static_cast<int32_t>(groups)};
    }
  }
}

}  // namespace gatun::nm_matmul
