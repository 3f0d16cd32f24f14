// What packing weights from planes and from GGUF blocks share, and unpacking them: where the fields of a column's group
// lie in the packed form, and the table.
#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "qmatmul/layout.h"

namespace gatun::qmatmul {

// The fields of one row of a panel in one group. P is uint8_t or const uint8_t.
template <class P>
struct GroupFields {
  P* codes;  // of the panel's row 0
  int64_t rows, row;
  P* scale;
  P* offset;
  P* super_scale;
  P* super_offset;

  GroupFields(const Layout& layout, P* packed, int64_t column, int64_t g)
      : rows(layout.panel_rows(column / kPanelRows)), row(column % kPanelRows) {
    P* base = packed + layout.panel_offset(column / kPanelRows);
    codes = base + rows * layout.group_offset(g);
    scale = base + rows * layout.scales_offset(g) + row * layout.scale_bytes();
    offset = base + rows * layout.offsets_offset(g) + row * layout.offset_bytes();
    super_scale = base + rows * layout.supers_offset(g) + row * 2;
    super_offset = super_scale + rows * 2;
  }

  // The byte of depth k.
  template <bool kFourBits>
  P& byte(int64_t k) const {
    return codes[(k / (kFourBits ? 8 : 4) * rows + row) * 4 + k % 4];
  }
};

// The shift of depth k's nibble in its byte.
inline int nibble_shift(int64_t k) { return k % 8 < 4 ? 0 : 4; }

// Codes of `count` depths of a group as bytes, from or to its place, which holds zeros before.
template <bool kFourBits>
void write_codes(const GroupFields<uint8_t>& to, const uint8_t* codes, int64_t count) {
  for (int64_t k = 0; k < count; ++k) {
    uint8_t& byte = to.byte<kFourBits>(k);
    byte = static_cast<uint8_t>(kFourBits ? byte | codes[k] << nibble_shift(k) : codes[k]);
  }
}
template <bool kFourBits>
void read_codes(const GroupFields<const uint8_t>& from, uint8_t* codes, int64_t count) {
  for (int64_t k = 0; k < count; ++k) {
    const uint8_t byte = from.byte<kFourBits>(k);
    codes[k] = static_cast<uint8_t>(kFourBits ? byte >> nibble_shift(k) & 15 : byte);
  }
}

// of(column) for all columns, on several threads.
template <class Of>
void for_each_column(const Layout& layout, Of of) {
  if (layout.groups() == 0) return;  // any number of columns without a byte
  const int32_t threads = useful_threads(0, layout.columns(), layout.columns() * layout.depth(), 1 << 16);
  parallel_for(layout.columns(), threads, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) of(n);
  });
}

// Makes `packed` the packed form of weights without codes: header, table and zeros. `code_book`: of GATUN_BOOK_GIVEN.
void begin_packed(const gatun_qmatmul_weights& weights, const Layout& layout, const float* code_book, uint8_t* packed);

// Whether 16 values are integers up to 127 in magnitude, bit for bit: -0 is none.
bool are_integers(const float* values);

// The values of a given code book that a packed form holds.
void read_book(const Layout& layout, const uint8_t* packed, float* values);

// Reads the header, which must say what the caller expects.
int32_t read_expected(const gatun_qmatmul_weights* expected, const void* packed, int64_t packed_bytes,
                      PackedWeights* weights);

}  // namespace gatun::qmatmul
