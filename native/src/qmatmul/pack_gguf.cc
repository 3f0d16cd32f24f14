// gatun_qmatmul_pack_gguf and its inverse: from the blocks of GGUF files to the packed form (layout.h) and back.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"
#include "gguf/block.h"
#include "qmatmul/pack.h"
#include "simd/float_mode.h"

namespace gatun::qmatmul {
namespace {

struct Blocks {
  const gguf::Type& type;
  int64_t per_row;  // blocks
  int64_t groups;   // of a block

  Blocks(const gguf::Type& t, const gatun_qmatmul_weights& weights)
      : type(t), per_row(weights.depth / t.elements), groups(t.elements / t.group) {}
  int64_t bytes(const gatun_qmatmul_weights& weights) const { return weights.columns * per_row * type.bytes; }
};

int32_t check_blocks(const gatun_qmatmul_weights& weights, const Layout& layout, const void* blocks,
                     const void* packed) {
  const int64_t bytes = Blocks(*gguf::find_type(weights.gguf_type), weights).bytes(weights);
  if (bytes > 0) GATUN_TRY(check_not_null(blocks, "blocks"));
  return check_disjoint(packed, layout.bytes(), "packed", blocks, bytes, "blocks");
}

int32_t refuse_planes(const gatun_qmatmul_weights& weights, const char* function) {
  if (weights.gguf_type != 0) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "weights.gguf_type = 0; allowed: one of gatun_gguf_type, with other codes %s",
              function);
}

// The names of what kernels could not bear.
const char* bad_scale(const gguf::Type& type, const gguf::Fields& fields) {
  const auto bad = [](uint16_t half) { return (half & 0x7c00) == 0x7c00; };
  if (type.power_scale && fields.e > 127 + 64) return fields.e == 255 ? "a scale that is NaN" : "a scale beyond 2^64";
  if (!type.power_scale && bad(fields.d)) return "a scale that is NaN or infinite";
  if (type.offset != gguf::Offset::none && bad(fields.dmin)) return "an offset that is NaN or infinite";
  return nullptr;
}

int32_t check_scales(const gatun_qmatmul_weights& weights, const Blocks& blocks, const uint8_t* at) {
  for (int64_t i = 0; i < weights.columns * blocks.per_row; ++i, at += blocks.type.bytes) {
    gguf::Fields fields;
    gguf::read_block(blocks.type, at, fields);
    if (const char* what = bad_scale(blocks.type, fields)) {
      return fail(GATUN_INVALID_ARGUMENT, "blocks[%lld][%lld] (%s) has %s; allowed: finite, up to 2^64",
                  static_cast<long long>(i / blocks.per_row), static_cast<long long>(i % blocks.per_row),
                  blocks.type.name, what);
    }
  }
  return GATUN_OK;
}

void put(uint8_t* at, uint16_t value) { std::memcpy(at, &value, sizeof(value)); }
uint16_t get(const uint8_t* at) {
  uint16_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// Group g of a block.
template <bool kFourBits>
void pack_group(const gguf::Type& type, const gguf::Fields& block, int64_t g, const Layout& layout,
                const GroupFields<uint8_t>& to) {
  write_codes<kFourBits>(to, block.codes + g * type.group, type.group);
  if (layout.scale_kind() == ScaleKind::super) {
    *to.scale = static_cast<uint8_t>(block.scales[g]);
    put(to.super_scale, block.d);
  } else if (type.power_scale) {
    *to.scale = block.e;
  } else {
    put(to.scale, block.d);
  }
  if (layout.offset_kind() == OffsetKind::super) {
    *to.offset = block.mins[g];
    put(to.super_offset, block.dmin);
  } else if (layout.offset_kind() == OffsetKind::f16) {
    put(to.offset, block.dmin);
  }
}

// A damaged buffer may hold numbers that no block can: they are brought into the type's range.
template <bool kFourBits>
void unpack_group(const gguf::Type& type, const GroupFields<const uint8_t>& from, const Layout& layout, int64_t g,
                  gguf::Fields& block) {
  uint8_t* codes = block.codes + g * type.group;
  read_codes<kFourBits>(from, codes, type.group);
  for (int k = 0; k < type.group; ++k) codes[k] = static_cast<uint8_t>(codes[k] & ((1 << type.bits) - 1));
  if (layout.scale_kind() == ScaleKind::super) {
    const int scale = static_cast<int8_t>(*from.scale);
    block.scales[g] = static_cast<int8_t>(std::clamp(scale, type.scale_lowest, type.scale_highest));
    block.d = get(from.super_scale);
  } else if (type.power_scale) {
    block.e = *from.scale;
  } else {
    block.d = get(from.scale);
  }
  if (layout.offset_kind() == OffsetKind::super) {
    block.mins[g] = static_cast<uint8_t>(std::clamp<int>(*from.offset, 0, type.scale_highest));
    block.dmin = get(from.super_offset);
  } else if (layout.offset_kind() == OffsetKind::f16) {
    block.dmin = get(from.offset);
  }
}

}  // namespace
}  // namespace gatun::qmatmul

using namespace gatun;
using namespace gatun::qmatmul;

int32_t gatun_qmatmul_pack_gguf(const gatun_qmatmul_weights* given, const void* blocks, void* packed,
                                int64_t packed_bytes) {
  GATUN_TRY(check_weights(given, "weights"));
  const gatun_qmatmul_weights weights = *given;
  GATUN_TRY(refuse_planes(weights, "gatun_qmatmul_pack"));
  const Layout layout(weights);
  GATUN_TRY(check_packed_room(packed, packed_bytes, layout.bytes()));
  GATUN_TRY(check_blocks(weights, layout, blocks, packed));
  const DefaultFloatMode mode;  // the same bytes in any caller's mode
  const Blocks all(*gguf::find_type(weights.gguf_type), weights);
  const uint8_t* from = static_cast<const uint8_t*>(blocks);
  GATUN_TRY(check_scales(weights, all, from));

  uint8_t* to = static_cast<uint8_t*>(packed);
  begin_packed(weights, layout, nullptr, to);
  const auto pack = layout.four_bits() ? pack_group<true> : pack_group<false>;
  for_each_column(layout, [&](int64_t n) {
    for (int64_t b = 0; b < all.per_row; ++b) {
      gguf::Fields block;
      gguf::read_block(all.type, from + (n * all.per_row + b) * all.type.bytes, block);
      for (int64_t g = 0; g < all.groups; ++g) {
        pack(all.type, block, g, layout, GroupFields<uint8_t>(layout, to, n, b * all.groups + g));
      }
    }
  });
  return GATUN_OK;
}

int32_t gatun_qmatmul_unpack_gguf(const gatun_qmatmul_weights* expected, const void* packed, int64_t packed_bytes,
                                  void* blocks) {
  PackedWeights read;
  GATUN_TRY(read_expected(expected, packed, packed_bytes, &read));
  const gatun_qmatmul_weights& weights = read.description;
  GATUN_TRY(refuse_planes(weights, "gatun_qmatmul_unpack"));
  const Layout layout(weights);
  GATUN_TRY(check_blocks(weights, layout, blocks, packed));
  const Blocks all(*gguf::find_type(weights.gguf_type), weights);
  const uint8_t* from = static_cast<const uint8_t*>(packed);
  uint8_t* to = static_cast<uint8_t*>(blocks);
  const auto unpack = layout.four_bits() ? unpack_group<true> : unpack_group<false>;
  for_each_column(layout, [&](int64_t n) {
    for (int64_t b = 0; b < all.per_row; ++b) {
      gguf::Fields block{};
      for (int64_t g = 0; g < all.groups; ++g) {
        unpack(all.type, GroupFields<const uint8_t>(layout, from, n, b * all.groups + g), layout, g, block);
      }
      gguf::write_block(all.type, block, to + (n * all.per_row + b) * all.type.bytes);
    }
  });
  return GATUN_OK;
}
