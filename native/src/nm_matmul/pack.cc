// gatun_nm_pack: from the canonical form (gatun/nm_format.h) to the packed one (layout.h).
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/huge_pages.h"
#include "base/packed.h"
#include "base/status.h"
#include "nm_matmul/finite.h"
#include "nm_matmul/units.h"

namespace gatun::nm_matmul {
namespace {

int32_t check_indices(const gatun_nm_weights& w, const uint8_t* indices) {
  const gatun_nm_format format{sizeof(format), w.n, w.m, w.vector, w.value_dtype, 0, w.columns, w.depth, 0};
  return gatun_nm_check(&format, indices);
}

int32_t check_contents(const gatun_nm_weights& weights, const Layout& layout, const Planes<const uint8_t>& from) {
  if (layout.kept_depth() == 0) return GATUN_OK;
  GATUN_TRY(check_indices(weights, from.indices));
  if (!layout.quantized()) {
    return check_finite(from.values, layout.value_dtype(), layout.columns(), layout.kept_depth(), "values");
  }
  const int64_t segments = layout.segments();
  GATUN_TRY(check_finite(from.scales, layout.scale_dtype(), layout.columns(), segments, "scales"));
  if (!layout.zero_points()) return GATUN_OK;
  const uint8_t* end = from.zero_points + layout.columns() * segments;
  const uint8_t* wrong = std::find_if(from.zero_points, end, [](uint8_t zero) { return zero > 15; });
  if (wrong == end) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "zero_points[%lld][%lld] = %d; allowed: 0..15",
              static_cast<long long>((wrong - from.zero_points) / segments),
              static_cast<long long>((wrong - from.zero_points) % segments), *wrong);
}

// A row's groups of a block with their zeros, as a row of the canonical form of n = m.
template <class Values>
Row<const uint8_t> spread_block(const Layout& layout, const Block& block, Row<const uint8_t> values,
                                Row<const uint8_t> indices, uint8_t zero, uint8_t* buffer) {
  const int64_t bytes = dtype_bytes(layout.value_dtype(), kBlockSlots);
  std::memset(buffer, zero * 0x11, static_cast<size_t>(bytes));  // of U4; otherwise 0
  const int bits = layout.canonical_index_bits();
  int64_t slot = block.slot;
  for (int group = 0; group < block.count; group += layout.m()) {
    for (int i = 0; i < layout.kept(); ++i, ++slot) {
      // Masked, as they may have changed since they were checked.
      const int index = static_cast<int>(read_bits(indices, slot * bits, bits)) & (layout.m() - 1);
      Values::copy(values, slot, {buffer, bytes}, group + index);
    }
  }
  return {buffer, bytes};
}

class Packer {
 public:
  Packer(const Layout& layout, const Planes<const uint8_t>& from, uint8_t* packed)
      : layout_(layout), from_(from), packed_(packed) {}

  void pack_panel(int64_t p) const {
    const int64_t columns = layout_.panel_columns(p), first = p * kPanelColumns;
    const int64_t filled = std::min<int64_t>(kPanelColumns, layout_.columns() - first);
    uint8_t* panel = packed_ + layout_.panel_offset(p);
    if (filled < columns) std::memset(panel, 0, static_cast<size_t>(columns * layout_.column_bytes()));
    for_each_block(layout_, [&](const Block& block) {
      for (int64_t column = 0; column < filled; ++column) {
        pack_values(block, panel, columns, column, first + column);
        if (!layout_.dense()) pack_indices(block, panel, columns, column, first + column);
      }
    });
    for (int64_t segment = 0; segment < layout_.segments(); ++segment) {
      for (int64_t column = 0; column < filled; ++column) pack_scale(segment, panel, columns, column, first + column);
    }
  }

 private:
  int64_t cell(int64_t n, int64_t segment) const { return n * layout_.segments() + segment; }

  // The code of zeros, in each nibble of U4.
  uint8_t zero_code(int64_t n, int64_t segment) const {
    if (layout_.value_dtype() != GATUN_U4) return 0;
    return layout_.zero_points() ? from_.zero_points[cell(n, segment)] : 8;
  }

  void pack_values(const Block& block, uint8_t* panel, int64_t columns, int64_t column, int64_t n) const {
    const uint8_t zero = zero_code(n, block.segment);
    with_values(layout_, [&](auto codec) {
      using Values = decltype(codec);
      Row<const uint8_t> row = from_.value_row(layout_, n);
      int64_t slot = block.slot;
      uint8_t buffer[kBlockSlots * 4];
      if (layout_.dense()) {
        row = spread_block<Values>(layout_, block, row, from_.index_row(layout_, n), zero, buffer);
        slot = 0;
      }
      for_each_unit(
          layout_, block, panel, columns, column, layout_.index_unit_bytes(), Values::kWordBytes,
          [&](uint8_t* field, int first, int count) { Values::pack(row, slot + first, count, zero, field, columns); });
    });
  }

  void pack_indices(const Block& block, uint8_t* panel, int64_t columns, int64_t column, int64_t n) const {
    with_indices(layout_, [&](auto codec) {
      using Codec = decltype(codec);
      for_each_unit(layout_, block, panel, columns, column, 0, Codec::kWordBytes,
                    [&](uint8_t* field, int first, int count) {
                      Codec::pack(from_.index_row(layout_, n), block.slot + first, count, 0, field, columns);
                    });
    });
  }

  void pack_scale(int64_t segment, uint8_t* panel, int64_t columns, int64_t column, int64_t n) const {
    const int bytes = layout_.scale_bytes();
    if (bytes == 0) return;
    std::memcpy(panel + columns * layout_.scales_offset(segment) + column * bytes,
                from_.scales + cell(n, segment) * bytes, static_cast<size_t>(bytes));
    if (layout_.zero_points()) {
      panel[columns * layout_.zeros_offset(segment) + column] = from_.zero_points[cell(n, segment)];
    }
  }

  const Layout& layout_;
  const Planes<const uint8_t>& from_;
  uint8_t* const packed_;
};

}  // namespace

int32_t check_planes(const Layout& layout, const Planes<const uint8_t>& planes, const void* packed, bool unpacking) {
  const int64_t columns = layout.columns(), segments = layout.segments();
  const bool quantized = layout.quantized(), zeros = layout.zero_points();
  GATUN_TRY(check_absent(quantized, planes.scales, "scales", "the values are floats"));
  GATUN_TRY(check_absent(zeros, planes.zero_points, "zero_points", "these weights have none"));
  const int64_t value_bytes = layout.value_dtype() == GATUN_U4 ? 1 : dtype_bytes(layout.value_dtype(), 1);
  const auto plane = [&](const char* name, const uint8_t* at, int64_t rows, int64_t row_bytes, int64_t element) {
    return Buffer{name, at, rows, row_bytes / element, row_bytes / element, element, unpacking};
  };
  Buffer buffers[] = {
      {"packed", packed, 1, layout.bytes(), layout.bytes(), 1, !unpacking},
      plane("values", planes.values, columns, layout.value_row_bytes(), value_bytes),
      plane("indices", planes.indices, layout.index_rows(), layout.index_row_bytes(), 1),
      plane("scales", planes.scales, columns, segments * layout.scale_bytes(), quantized ? layout.scale_bytes() : 1),
      plane("zero_points", planes.zero_points, columns, zeros ? segments : 0, 1)};
  return check_buffers(buffers);
}

}  // namespace gatun::nm_matmul

using namespace gatun;
using namespace gatun::nm_matmul;

int32_t gatun_nm_packed_bytes(const gatun_nm_weights* weights, int64_t* bytes) {
  GATUN_TRY(check_weights(weights, "weights"));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = Layout(*weights, stores_dense(*weights)).bytes();
  return GATUN_OK;
}

int32_t gatun_nm_pack(const gatun_nm_weights* given, const void* values, const uint8_t* indices, const void* scales,
                      const uint8_t* zero_points, void* packed, int64_t packed_bytes) {
  GATUN_TRY(check_weights(given, "weights"));
  const gatun_nm_weights weights = *given;
  const Layout layout(weights, stores_dense(weights));
  GATUN_TRY(check_packed_room(packed, packed_bytes, layout.bytes()));
  const Planes<const uint8_t> from{static_cast<const uint8_t*>(values), indices, static_cast<const uint8_t*>(scales),
                                   zero_points};
  GATUN_TRY(check_planes(layout, from, packed, false));
  GATUN_TRY(check_contents(weights, layout, from));

  uint8_t* to = static_cast<uint8_t*>(packed);
  prefer_huge_pages(to, layout.bytes());
  write_header(weights, layout, to);
  const Packer packer(layout, from, to);
  for_each_panel(layout, [&](int64_t panel) { packer.pack_panel(panel); });
  if (layout.dense() && layout.kept_depth() > 0) {
    std::memcpy(to + layout.indices_offset(), indices,
                static_cast<size_t>(layout.index_rows() * layout.index_row_bytes()));
  }
  return GATUN_OK;
}
