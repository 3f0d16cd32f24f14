// Readers and writers of packed units (layout.h), and the walk that packing and unpacking share. A unit of a column
// lies in the canonical form in a row: 8 slots in a run of bits. In the packed form the same bits are words [words][R]
// of the panel, but that u4 swaps nibbles: what canonical bytes hold as slots 0 1, 2 3, .. packed ones hold as 0 4, 1
// 5, ..
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/parallel.h"
#include "nm_matmul/layout.h"

namespace gatun::nm_matmul {

// Slots of a column that are copied before the next column's turn: a panel's units of so many stay in the first cache.
inline constexpr int kBlockSlots = 64;

// A row of the canonical form. T is uint8_t or const uint8_t.
template <class T>
struct Row {
  T* at;
  int64_t bytes;
};

// `count` bits, at most 64, from a bit on; 64 only from the start of a byte.
inline uint64_t read_bits(Row<const uint8_t> row, int64_t bit, int count) {
  const int64_t byte = bit / 8;
  uint64_t window = 0;
  if (byte + 8 <= row.bytes) {
    std::memcpy(&window, row.at + byte, 8);
  } else if (byte < row.bytes) {
    std::memcpy(&window, row.at + byte, static_cast<size_t>(row.bytes - byte));
  }
  return count == 64 ? window : window >> bit % 8 & ((uint64_t{1} << count) - 1);
}

// The same, into a row whose bits from there on are 0.
inline void write_bits(Row<uint8_t> row, int64_t bit, int count, uint64_t bits) {
  const int shift = static_cast<int>(bit % 8);
  uint8_t* at = row.at + bit / 8;
  *at = static_cast<uint8_t>(*at | bits << shift);
  for (int done = 8 - shift; done < count; done += 8) *++at = static_cast<uint8_t>(bits >> done);
}

// One column's words of a unit: word w at (w * R + column) * kBytes.
template <int kWords, int kBytes>
struct Words {
  static void scatter(const uint8_t* unit, uint8_t* field, int64_t columns) {
    for (int w = 0; w < kWords; ++w) std::memcpy(field + w * columns * kBytes, unit + w * kBytes, kBytes);
  }
  static void gather(const uint8_t* field, int64_t columns, uint8_t* unit) {
    for (int w = 0; w < kWords; ++w) std::memcpy(unit + w * kBytes, field + w * columns * kBytes, kBytes);
  }
};

// Units of whole bytes a slot.
template <int kSlotBytes, int kWords>
struct ByteValues {
  static constexpr int kUnitBytes = kUnitSlots * kSlotBytes;
  using Field = Words<kWords, kUnitBytes / kWords>;
  static constexpr int kWordBytes = kUnitBytes / kWords;

  static void pack(Row<const uint8_t> row, int64_t slot, int count, uint8_t, uint8_t* field, int64_t columns) {
    const uint8_t* unit = row.at + slot * kSlotBytes;
    if (count == kUnitSlots) return Field::scatter(unit, field, columns);
    uint8_t filled[kUnitBytes] = {};
    std::memcpy(filled, unit, static_cast<size_t>(count * kSlotBytes));
    Field::scatter(filled, field, columns);
  }
  static void unpack(const uint8_t* field, int64_t columns, Row<uint8_t> row, int64_t slot, int count) {
    uint8_t unit[kUnitBytes];
    Field::gather(field, columns, unit);
    std::memcpy(row.at + slot * kSlotBytes, unit, static_cast<size_t>(count * kSlotBytes));
  }
  // Slot `from` of one row becomes slot `to` of another.
  static void copy(Row<const uint8_t> source, int64_t from, Row<uint8_t> target, int64_t to) {
    std::memcpy(target.at + to * kSlotBytes, source.at + from * kSlotBytes, kSlotBytes);
  }
};

struct NibbleValues {
  static constexpr int kWordBytes = 4;
  using Field = Words<1, 4>;

  // Nibbles 0..3 of `low` become the low nibbles of bytes 0..3.
  static uint32_t spread(uint32_t low) {
    const uint32_t pairs = (low & 0xff) | (low & 0xff00) << 8;
    return (pairs & 0x000f000f) | (pairs & 0x00f000f0) << 4;
  }
  static uint32_t close(uint32_t spread) {
    const uint32_t pairs = (spread & 0x000f000f) | (spread & 0x0f000f00) >> 4;
    return (pairs & 0xff) | (pairs >> 8 & 0xff00);
  }

  // `zero`: the code of what fills the unit up.
  static void pack(Row<const uint8_t> row, int64_t slot, int count, uint8_t zero, uint8_t* field, int64_t columns) {
    const uint64_t filled = count == kUnitSlots ? 0 : uint64_t{0x11111111} * zero << 4 * count;
    const uint32_t slots = static_cast<uint32_t>(read_bits(row, 4 * slot, 4 * count) | filled);
    const uint32_t word = spread(slots & 0xffff) | spread(slots >> 16) << 4;
    uint8_t unit[4];
    std::memcpy(unit, &word, 4);
    Field::scatter(unit, field, columns);
  }
  static void unpack(const uint8_t* field, int64_t columns, Row<uint8_t> row, int64_t slot, int count) {
    uint32_t word;
    uint8_t unit[4];
    Field::gather(field, columns, unit);
    std::memcpy(&word, unit, 4);
    const uint64_t slots = close(word & 0x0f0f0f0f) | close(word >> 4 & 0x0f0f0f0f) << 16;
    write_bits(row, 4 * slot, 4 * count, slots & ((uint64_t{1} << 4 * count) - 1));
  }
  static void copy(Row<const uint8_t> source, int64_t from, Row<uint8_t> target, int64_t to) {
    uint8_t& byte = target.at[to / 2];
    const int64_t shift = to % 2 * 4;
    byte = static_cast<uint8_t>((byte & ~(15 << shift)) | (source.at[from / 2] >> from % 2 * 4 & 15) << shift);
  }
};

// Indices of kBits each; units hold as many bytes.
template <int kBits>
struct Indices {
  static constexpr int kWordBytes = kBits == 2 ? 2 : 4;
  using Field = Words<kBits / kWordBytes, kWordBytes>;

  static void pack(Row<const uint8_t> row, int64_t slot, int count, uint8_t, uint8_t* field, int64_t columns) {
    const uint64_t bits = read_bits(row, kBits * slot, kBits * count);
    uint8_t unit[8];
    std::memcpy(unit, &bits, 8);
    Field::scatter(unit, field, columns);
  }
  static void unpack(const uint8_t* field, int64_t columns, Row<uint8_t> row, int64_t slot, int count) {
    uint8_t unit[8] = {};
    Field::gather(field, columns, unit);
    uint64_t bits;
    std::memcpy(&bits, unit, 8);
    const int used = kBits * count;
    write_bits(row, kBits * slot, used, used == 64 ? bits : bits & ((uint64_t{1} << used) - 1));
  }
};

// Calls of(codec) for the type of a layout's values.
template <class Of>
void with_values(const Layout& layout, Of of) {
  switch (layout.value_dtype()) {
    case GATUN_F32:
      return of(ByteValues<4, 8>());
    case GATUN_F16:
      return of(ByteValues<2, 8>());
    case GATUN_BF16:
      return of(ByteValues<2, 4>());
    case GATUN_I8:
      return of(ByteValues<1, 2>());
    default:
      return of(NibbleValues());
  }
}
template <class Of>
void with_indices(const Layout& layout, Of of) {
  switch (layout.canonical_index_bits()) {
    case 2:
      return of(Indices<2>());
    case 4:
      return of(Indices<4>());
    default:
      return of(Indices<8>());
  }
}

// Up to kBlockSlots slots of a segment, as stored; a whole number of groups where weights are stored dense.
struct Block {
  int64_t segment;
  int64_t units;  // offset of the first unit in the panel: bytes a column
  int64_t slot;   // the first one in the canonical form's row
  int count;
};

template <class Of>
void for_each_block(const Layout& layout, Of of) {
  for (int64_t segment = 0; segment < layout.segments(); ++segment) {
    const int64_t slots = layout.segment_slots(segment);
    const int64_t first = segment * (layout.segment_depth() / layout.m()) * layout.kept();
    for (int64_t begin = 0; begin < slots; begin += kBlockSlots) {
      of(Block{segment, layout.segment_offset(segment) + begin / kUnitSlots * layout.unit_bytes(),
               first + (layout.dense() ? begin / layout.m() * layout.kept() : begin),
               static_cast<int>(std::min<int64_t>(kBlockSlots, slots - begin))});
    }
  }
}

// Calls of(field, first slot, slots) for the units of a block, `field` being the column's first word in the part of the
// unit that begins at byte `offset` (of a column), in a panel of R = `columns`.
template <class P, class Of>
void for_each_unit(const Layout& layout, const Block& block, P* panel, int64_t columns, int64_t column, int offset,
                   int word_bytes, Of of) {
  P* field = panel + columns * (block.units + offset) + column * word_bytes;
  for (int first = 0; first < block.count; first += kUnitSlots, field += columns * layout.unit_bytes()) {
    of(field, first, std::min(kUnitSlots, block.count - first));
  }
}

// of(panel) for all panels, on several threads.
template <class Of>
void for_each_panel(const Layout& layout, Of of) {
  if (layout.segments() == 0) return;  // any number of columns without a byte
  const int32_t threads = useful_threads(0, layout.panels(), layout.panel_bytes(), 1 << 17);
  parallel_for(layout.panels(), threads, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) of(panel);
  });
}

// The caller's form of weights. T is uint8_t or const uint8_t.
template <class T>
struct Planes {
  T* values;
  T* indices;
  T* scales;
  T* zero_points;

  Row<T> value_row(const Layout& layout, int64_t column) const {
    return {values + column * layout.value_row_bytes(), layout.value_row_bytes()};
  }
  Row<T> index_row(const Layout& layout, int64_t column) const {
    return {indices + column / layout.vector() * layout.index_row_bytes(), layout.index_row_bytes()};
  }
};

// Sizes, nulls, alignment, and what overlaps: `planes` are outputs of unpacking, inputs of packing.
int32_t check_planes(const Layout& layout, const Planes<const uint8_t>& planes, const void* packed, bool unpacking);

}  // namespace gatun::nm_matmul
