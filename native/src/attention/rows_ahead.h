// Rows that come next from memory, asked for a few at a time while something else is computed.
#pragma once

#include "attention/pack.h"

namespace gatun::GATUN_ISA {
namespace {

// Stretches of rows to ask for.
struct RowsAhead {
  struct Part {
    Rows rows;
    int32_t begin, end;  // the rows' numbers
    int64_t bytes;
  };
  int count = 0;
  int32_t next = 0;  // row
  int32_t each = 0;  // rows that fetch() asks for
  int part = 0;
  Part parts[1 + 2 * attention::kChunkPanels];

  int32_t total() const { return count == 0 ? 0 : parts[count - 1].end; }
  void add(const Rows& rows, int32_t rows_count, int64_t bytes) {
    const int32_t begin = total();
    parts[count++] = {rows, begin, begin + rows_count, bytes};
  }
  GATUN_INLINE void fetch() {
    const int32_t all = total(), end = next + each < all ? next + each : all;
    for (; next < end; ++next) {
      while (next >= parts[part].end) ++part;
      const uint8_t* const row = parts[part].rows.row(next - parts[part].begin);
      for (int64_t at = 0; at < parts[part].bytes; at += 64) prefetch_far_line(row + at);
    }
  }
};

}  // namespace
}  // namespace gatun::GATUN_ISA
