#include "qmatmul/layout.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"

namespace gatun::qmatmul {
namespace {
// check_range of a field of a description.
int32_t check_field(int64_t value, int64_t low, int64_t high, const char* name, const char* field) {
  if (value >= low && value <= high) return GATUN_OK;  // building the name takes longer than a small call
  char full_name[64];
  std::snprintf(full_name, sizeof(full_name), "%s.%s", name, field);
  return check_range(value, low, high, full_name);
}

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
}  // namespace

Layout::Layout(const gatun_qmatmul_weights& weights)
    : four_bits_(weights.code_dtype == GATUN_U4),
      asymmetric_(weights.asymmetric != 0),
      f16_scales_(weights.scale_dtype == GATUN_F16),
      code_offset_(weights.code_dtype == GATUN_I8 ? 128 : 0),
      zero_code_(four_bits_ ? 8 : 128),
      columns_(weights.columns),
      depth_(weights.depth),
      group_(weights.group),
      groups_(depth_ == 0 ? 0 : (depth_ - 1) / group_ + 1) {
  const int64_t extra = (f16_scales_ ? 2 : 4) + (asymmetric_ ? 1 : 0);
  const int64_t full = round_up(group_, kDepthMultiple);
  const int64_t last = groups_ == 0 ? 0 : round_up(group_depth(groups_ - 1), kDepthMultiple);
  group_bytes_ = code_bytes(full) + extra;
  padded_depth_ = groups_ == 0 ? 0 : (groups_ - 1) * full + last;
  row_bytes_ = groups_ == 0 ? 0 : (groups_ - 1) * group_bytes_ + code_bytes(last) + extra;
}

int Layout::panel_rows(int64_t panel) const {
  return static_cast<int>(std::min<int64_t>(kPanelRows, round_up(columns_ - panel * kPanelRows, kRowMultiple)));
}

int64_t Layout::scales_offset(int64_t g) const {
  return group_offset(g) + code_bytes(round_up(group_depth(g), kDepthMultiple));
}

int64_t Layout::bytes() const { return kHeaderBytes + round_up(columns_, kRowMultiple) * row_bytes_; }

int64_t Layout::pieces() const {
  if (groups_ == 0) return 0;
  const auto per_group = [](int64_t depth) { return (depth + kPieceDepth - 1) / kPieceDepth; };
  return (groups_ - 1) * per_group(group_) + per_group(group_depth(groups_ - 1));
}

void Layout::list_pieces(Piece* pieces) const {
  int64_t x = 0;
  for (int64_t g = 0; g < groups_; ++g) {
    const int64_t valid = group_depth(g), depth = round_up(valid, kDepthMultiple);
    const int64_t codes = group_offset(g), scales = scales_offset(g);
    for (int64_t begin = 0; begin < depth; begin += kPieceDepth) {
      Piece& piece = *pieces++;
      piece.codes = codes + code_bytes(begin);
      piece.scales = scales;
      piece.zero_points = scales + (f16_scales_ ? 2 : 4);
      piece.x = x + begin;
      piece.begin = g * group_ + begin;
      piece.depth = static_cast<int32_t>(std::min<int64_t>(kPieceDepth, depth - begin));
      piece.valid = static_cast<int32_t>(std::min<int64_t>(kPieceDepth, valid - begin));
      piece.group = g;
    }
    x += depth;
  }
}

int32_t check_weights(const gatun_qmatmul_weights* weights, const char* name) {
  GATUN_TRY(check_not_null(weights, name));
  GATUN_TRY(check_struct_size(weights->struct_size, sizeof(*weights), name));
  const int32_t codes = weights->code_dtype;
  if (codes != GATUN_I8 && codes != GATUN_U8 && codes != GATUN_U4) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.code_dtype = %d (%s); allowed: I8, U8, U4", name, codes, dtype_name(codes));
  }
  GATUN_TRY(check_field(weights->asymmetric, 0, 1, name, "asymmetric"));
  if (codes != GATUN_U4 && (weights->asymmetric != 0) != (codes == GATUN_U8)) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.asymmetric = %d with codes %s; allowed: 0 with I8, 1 with U8, both with U4",
                name, weights->asymmetric, dtype_name(codes));
  }
  if (weights->scale_dtype != GATUN_F32 && weights->scale_dtype != GATUN_F16) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.scale_dtype = %d (%s); allowed: F32, F16", name, weights->scale_dtype,
                dtype_name(weights->scale_dtype));
  }
  GATUN_TRY(check_field(weights->columns, 0, INT64_MAX, name, "columns"));
  GATUN_TRY(check_field(weights->depth, 0, INT64_MAX, name, "depth"));
  if (weights->group != weights->depth && (weights->group < 16 || weights->group > weights->depth)) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.group = %lld; allowed: 16..%lld, or the depth %lld", name,
                static_cast<long long>(weights->group), static_cast<long long>(weights->depth),
                static_cast<long long>(weights->depth));
  }
  int64_t cells;
  if (__builtin_mul_overflow(weights->columns, weights->depth, &cells) || cells > kMaxCells ||
      weights->columns > kMaxCells || weights->depth > kMaxCells) {
    return fail(GATUN_INVALID_ARGUMENT, "%s: columns = %lld, depth = %lld; allowed: each and their product up to 2^52",
                name, static_cast<long long>(weights->columns), static_cast<long long>(weights->depth));
  }
  return GATUN_OK;
}

int32_t read_header(const void* packed, int64_t packed_bytes, gatun_qmatmul_weights* weights) {
  GATUN_TRY(check_not_null(packed, "packed"));
  PackedHeader header;
  if (packed_bytes < static_cast<int64_t>(sizeof(header))) {
    return fail(GATUN_INVALID_ARGUMENT, "packed_bytes = %lld; allowed: at least the %d bytes of a header",
                static_cast<long long>(packed_bytes), static_cast<int>(sizeof(header)));
  }
  std::memcpy(&header, packed, sizeof(header));
  if (header.magic != kPackedMagic || header.format != PackedFormat::qmatmul) {
    return fail(GATUN_INVALID_ARGUMENT, "packed is not a buffer of gatun_qmatmul_pack (it starts with 0x%016llx)",
                static_cast<unsigned long long>(header.magic));
  }
  if (header.version != kPackedVersion || header.panel_rows != kPanelRows) {
    return fail(GATUN_INVALID_ARGUMENT, "packed has version %u with panels of %d rows; allowed: version %u with %d",
                header.version, header.panel_rows, kPackedVersion, kPanelRows);
  }
  const gatun_qmatmul_weights read{sizeof(gatun_qmatmul_weights),
                                   header.code_dtype,
                                   header.asymmetric,
                                   header.scale_dtype,
                                   header.columns,
                                   header.depth,
                                   header.group};
  GATUN_TRY(check_weights(&read, "packed header"));
  const int64_t needed = Layout(read).bytes();
  if (header.bytes != needed || packed_bytes < needed) {
    return fail(GATUN_INVALID_ARGUMENT, "packed holds %lld bytes and its header says %lld; its weights need %lld",
                static_cast<long long>(packed_bytes), static_cast<long long>(header.bytes),
                static_cast<long long>(needed));
  }
  *weights = read;
  return GATUN_OK;
}

}  // namespace gatun::qmatmul
