// gatun_nm_describe and gatun_nm_unpack: what a packed form holds.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"
#include "nm_matmul/units.h"

namespace gatun::nm_matmul {
namespace {

int32_t read_expected(const gatun_nm_weights* expected, const void* packed, int64_t packed_bytes,
                      PackedWeights* weights) {
  GATUN_TRY(check_weights(expected, "weights"));
  GATUN_TRY(read_header(packed, packed_bytes, weights));
  const gatun_nm_weights &w = weights->description, &e = *expected;
  static_assert(sizeof(w) == 8 * sizeof(int32_t) + 4 * sizeof(int64_t), "no byte is padding");
  if (std::memcmp(&w, &e, sizeof(w)) == 0) return GATUN_OK;
  using LongLong = long long;
  return fail(GATUN_INVALID_ARGUMENT,
              "packed holds [%lld, %lld] %d:%d of %d rows, values %s in groups of %lld, zero points %d, scales %s, "
              "dense %d, for %lld rows; allowed: what weights says, [%lld, %lld] %d:%d of %d rows, values %s in groups "
              "of %lld, zero points %d, scales %s, dense %d, for %lld rows",
              LongLong{w.columns}, LongLong{w.depth}, w.n, w.m, w.vector, dtype_name(w.value_dtype), LongLong{w.group},
              w.zero_point, dtype_name(w.scale_dtype), w.dense, LongLong{w.rows}, LongLong{e.columns},
              LongLong{e.depth}, e.n, e.m, e.vector, dtype_name(e.value_dtype), LongLong{e.group}, e.zero_point,
              dtype_name(e.scale_dtype), e.dense, LongLong{e.rows});
}

class Unpacker {
 public:
  Unpacker(const Layout& layout, const uint8_t* packed, const Planes<uint8_t>& to)
      : layout_(layout), packed_(packed), to_(to) {}

  void unpack_panel(int64_t p) const {
    const int64_t columns = layout_.panel_columns(p), first = p * kPanelColumns;
    const int64_t filled = std::min<int64_t>(kPanelColumns, layout_.columns() - first);
    const uint8_t* panel = packed_ + layout_.panel_offset(p);
    for_each_block(layout_, [&](const Block& block) {
      for (int64_t column = 0; column < filled; ++column) {
        const int64_t n = first + column;
        unpack_values(block, panel, columns, column, n);
        if (!layout_.dense() && n % layout_.vector() == 0) unpack_indices(block, panel, columns, column, n);
      }
    });
    for (int64_t segment = 0; segment < layout_.segments(); ++segment) {
      for (int64_t column = 0; column < filled; ++column) unpack_scale(segment, panel, columns, column, first + column);
    }
  }

 private:
  void unpack_values(const Block& block, const uint8_t* panel, int64_t columns, int64_t column, int64_t n) const {
    with_values(layout_, [&](auto codec) {
      using Values = decltype(codec);
      const Row<uint8_t> row = to_.value_row(layout_, n);
      const auto units_to = [&](Row<uint8_t> target, int64_t slot) {
        for_each_unit(layout_, block, panel, columns, column, layout_.index_unit_bytes(), Values::kWordBytes,
                      [&](const uint8_t* field, int first, int count) {
                        Values::unpack(field, columns, target, slot + first, count);
                      });
      };
      if (!layout_.dense()) return units_to(row, block.slot);
      uint8_t buffer[kBlockSlots * 4] = {};
      const int64_t bytes = sizeof(buffer);
      units_to({buffer, bytes}, 0);
      const Row<const uint8_t> indices = stored_indices(n);
      const int bits = layout_.canonical_index_bits();
      int64_t slot = block.slot;
      for (int group = 0; group < block.count; group += layout_.m()) {
        for (int i = 0; i < layout_.kept(); ++i, ++slot) {
          // Masked: whoever changed the buffer since must not lead out of it.
          const int index = static_cast<int>(read_bits(indices, slot * bits, bits)) & (layout_.m() - 1);
          Values::copy({buffer, bytes}, group + index, row, slot);
        }
      }
    });
  }

  Row<const uint8_t> stored_indices(int64_t n) const {
    const int64_t bytes = layout_.index_row_bytes();
    return {packed_ + layout_.indices_offset() + n / layout_.vector() * bytes, bytes};
  }

  void unpack_indices(const Block& block, const uint8_t* panel, int64_t columns, int64_t column, int64_t n) const {
    with_indices(layout_, [&](auto codec) {
      using Codec = decltype(codec);
      for_each_unit(layout_, block, panel, columns, column, 0, Codec::kWordBytes,
                    [&](const uint8_t* field, int first, int count) {
                      Codec::unpack(field, columns, to_.index_row(layout_, n), block.slot + first, count);
                    });
    });
  }

  void unpack_scale(int64_t segment, const uint8_t* panel, int64_t columns, int64_t column, int64_t n) const {
    const int bytes = layout_.scale_bytes();
    if (bytes == 0) return;
    const int64_t cell = n * layout_.segments() + segment;
    std::memcpy(to_.scales + cell * bytes, panel + columns * layout_.scales_offset(segment) + column * bytes,
                static_cast<size_t>(bytes));
    if (layout_.zero_points()) to_.zero_points[cell] = panel[columns * layout_.zeros_offset(segment) + column];
  }

  const Layout& layout_;
  const uint8_t* const packed_;
  const Planes<uint8_t>& to_;
};

}  // namespace
}  // namespace gatun::nm_matmul

using namespace gatun;
using namespace gatun::nm_matmul;

int32_t gatun_nm_describe(const void* packed, int64_t packed_bytes, gatun_nm_weights* weights) {
  GATUN_TRY(check_not_null(weights, "weights"));
  PackedWeights read;
  GATUN_TRY(read_header(packed, packed_bytes, &read));
  *weights = read.description;
  return GATUN_OK;
}

int32_t gatun_nm_unpack(const gatun_nm_weights* expected, const void* packed, int64_t packed_bytes, void* values,
                        uint8_t* indices, void* scales, uint8_t* zero_points) {
  PackedWeights read;
  GATUN_TRY(read_expected(expected, packed, packed_bytes, &read));
  const Layout layout(read.description, read.dense);
  const Planes<uint8_t> to{static_cast<uint8_t*>(values), indices, static_cast<uint8_t*>(scales), zero_points};
  GATUN_TRY(check_planes(layout, {to.values, to.indices, to.scales, to.zero_points}, packed, true));
  if (layout.kept_depth() == 0 || layout.columns() == 0) return GATUN_OK;

  const size_t index_bytes = static_cast<size_t>(layout.index_rows() * layout.index_row_bytes());
  const uint8_t* from = static_cast<const uint8_t*>(packed);
  // Bits are put into rows that hold zeros.
  if (layout.value_dtype() == GATUN_U4) {
    std::memset(to.values, 0, static_cast<size_t>(layout.columns() * layout.value_row_bytes()));
  }
  if (layout.dense()) {
    std::memcpy(to.indices, from + layout.indices_offset(), index_bytes);
  } else {
    std::memset(to.indices, 0, index_bytes);
  }
  const Unpacker unpacker(layout, from, to);
  for_each_panel(layout, [&](int64_t panel) { unpacker.unpack_panel(panel); });
  return GATUN_OK;
}
