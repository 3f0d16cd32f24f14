#include "qmatmul/layout.h"

#include <algorithm>

#include "gguf/block.h"

namespace gatun::qmatmul {
namespace {

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Null where there is none, without a search: small calls come by here.
const gguf::Type* gguf_type(const gatun_qmatmul_weights& weights) {
  return weights.gguf_type == 0 ? nullptr : gguf::find_type(weights.gguf_type);
}

Stored stored_form(const gatun_qmatmul_weights& weights, bool integer_book) {
  if (const gguf::Type* type = gguf_type(weights)) {
    return type->table != nullptr ? Stored::t4 : type->bits <= 4 ? Stored::u4 : Stored::u8;
  }
  switch (weights.code_dtype) {
    case GATUN_U4:
      if (weights.book != GATUN_BOOK_NONE) return integer_book ? Stored::t4 : Stored::b4;
      return Stored::u4;
    case GATUN_U2:
      return Stored::u4;
    case GATUN_F4E2M1:
      return Stored::t4;
    case GATUN_I8:
      return Stored::u8;
    case GATUN_U8:
      return weights.book == GATUN_BOOK_NONE ? Stored::u8 : Stored::b8;
    default:
      return Stored::b8;
  }
}

ScaleKind scale_kind(const gatun_qmatmul_weights& weights) {
  if (const gguf::Type* type = gguf_type(weights)) {
    return type->power_scale ? ScaleKind::e8m0 : type->group < type->elements ? ScaleKind::super : ScaleKind::f16;
  }
  switch (weights.scale_dtype) {
    case GATUN_F16:
      return ScaleKind::f16;
    case GATUN_E8M0:
      return ScaleKind::e8m0;
    case GATUN_F8E4M3:
      return ScaleKind::f8e4m3;
    default:
      return ScaleKind::f32;
  }
}

OffsetKind offset_kind(const gatun_qmatmul_weights& weights) {
  if (const gguf::Type* type = gguf_type(weights)) {
    return type->offset == gguf::Offset::mins    ? OffsetKind::super
           : type->offset == gguf::Offset::value ? OffsetKind::f16
                                                 : OffsetKind::none;
  }
  return weights.zero_point == GATUN_ZERO_INTEGER ? OffsetKind::u8
         : weights.zero_point == GATUN_ZERO_FLOAT ? OffsetKind::f32
                                                  : OffsetKind::none;
}

int zero_code(const gatun_qmatmul_weights& weights, Stored stored) {
  if (stored == Stored::t4) return 128;
  if (const gguf::Type* type = gguf_type(weights)) return type->zero;
  if (weights.zero_point != GATUN_ZERO_NONE) return 0;
  return weights.code_dtype == GATUN_U2 ? 2 : weights.code_dtype == GATUN_U4 ? 8 : 128;
}

// Tables of F4E2M1 and MXFP4 hold its values doubled.
float factor(const gatun_qmatmul_weights& weights) {
  const bool doubled = weights.code_dtype == GATUN_F4E2M1 || weights.gguf_type == GATUN_GGUF_MXFP4;
  return doubled ? weights.tensor_scale / 2 : weights.tensor_scale;
}

int bytes_of(ScaleKind kind) { return kind == ScaleKind::f32 ? 4 : kind == ScaleKind::f16 ? 2 : 1; }
int bytes_of(OffsetKind kind) {
  return kind == OffsetKind::none ? 0 : kind == OffsetKind::f32 ? 4 : kind == OffsetKind::f16 ? 2 : 1;
}

}  // namespace

const char* stored_name(Stored stored) {
  switch (stored) {
    case Stored::u4:
      return "4-bit integers";
    case Stored::u8:
      return "8-bit integers";
    case Stored::t4:
      return "4-bit indices of integers";
    case Stored::b4:
      return "4-bit indices of floats";
    default:
      return "8-bit indices of floats";
  }
}

Layout::Layout(const gatun_qmatmul_weights& weights, bool integer_book)
    : stored_(stored_form(weights, integer_book)),
      scale_kind_(qmatmul::scale_kind(weights)),
      offset_kind_(qmatmul::offset_kind(weights)),
      scale_bytes_(bytes_of(scale_kind_)),
      offset_bytes_(bytes_of(offset_kind_)),
      super_bytes_(scale_kind_ != ScaleKind::super     ? 0
                   : offset_kind_ == OffsetKind::super ? 4
                                                       : 2),
      code_offset_(weights.code_dtype == GATUN_I8 ? 128 : 0),
      zero_code_(qmatmul::zero_code(weights, stored_)),
      factor_(qmatmul::factor(weights)),
      columns_(weights.columns),
      depth_(weights.depth),
      group_(weights.group),
      groups_(depth_ == 0 ? 0 : (depth_ - 1) / group_ + 1),
      super_groups_(super_bytes_ == 0 ? 1 : kSuperDepth / group_) {
  const int64_t full = round_up(group_, kDepthMultiple);
  const int64_t last = groups_ == 0 ? 0 : round_up(group_depth(groups_ - 1), kDepthMultiple);
  group_bytes_ = code_bytes(full) + scale_bytes_ + offset_bytes_;
  padded_depth_ = groups_ == 0 ? 0 : (groups_ - 1) * full + last;
  row_bytes_ = groups_ == 0 ? 0 : offsets_offset(groups_ - 1) + offset_bytes_;
}

int Layout::panel_rows(int64_t panel) const {
  return static_cast<int>(std::min<int64_t>(kPanelRows, round_up(columns_ - panel * kPanelRows, kRowMultiple)));
}

int64_t Layout::group_code_bytes(int64_t g) const { return code_bytes(round_up(group_depth(g), kDepthMultiple)); }

int64_t Layout::group_offset(int64_t g) const {
  const int64_t supers = g / super_groups_ + (g % super_groups_ != 0);  // before it
  return g * group_bytes_ + supers * super_bytes_;
}

int64_t Layout::supers_offset(int64_t g) const {
  const int64_t first = g - g % super_groups_;
  return group_offset(first) + group_code_bytes(first);
}

int64_t Layout::scales_offset(int64_t g) const {
  return group_offset(g) + group_code_bytes(g) + (g % super_groups_ == 0 ? super_bytes_ : 0);
}

int64_t Layout::bytes() const { return table_offset() + table_bytes() + round_up(columns_, kRowMultiple) * row_bytes_; }

int64_t Layout::pieces() const {
  if (groups_ == 0) return 0;
  const auto per_group = [](int64_t depth) { return (depth + kPieceDepth - 1) / kPieceDepth; };
  return (groups_ - 1) * per_group(group_) + per_group(group_depth(groups_ - 1));
}

void Layout::list_pieces(Piece* pieces) const {
  int64_t x = 0;
  for (int64_t g = 0; g < groups_; ++g) {
    const int64_t valid = group_depth(g), depth = round_up(valid, kDepthMultiple);
    const int64_t codes = group_offset(g), scales = scales_offset(g), offsets = offsets_offset(g);
    const int64_t supers = supers_offset(g);
    for (int64_t begin = 0; begin < depth; begin += kPieceDepth) {
      Piece& piece = *pieces++;
      piece.codes = codes + code_bytes(begin);
      piece.scales = scales;
      piece.offsets = offsets;
      piece.supers = supers;
      piece.x = x + begin;
      piece.begin = g * group_ + begin;
      piece.depth = static_cast<int32_t>(std::min<int64_t>(kPieceDepth, depth - begin));
      piece.valid = static_cast<int32_t>(std::min<int64_t>(kPieceDepth, valid - begin));
      piece.group = g;
    }
    x += depth;
  }
}

}  // namespace gatun::qmatmul
