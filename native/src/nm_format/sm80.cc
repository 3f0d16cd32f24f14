// The order of 2:4 metadata that sparse tensor cores of sm80 read: words of metadata change places, their bits are
// those of the indices.
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"
#include "gatun/nm_format.h"
#include "nm_format/check.h"
#include "nm_format/layout.h"

namespace gatun::nm_format {
namespace {

using LongLong = long long;

// Words of the metadata: rows of the weights, and as many words as a row has.
struct Words {
  int64_t rows, columns;
  int bytes;         // of a word
  int row_group;     // rows that are reordered among each other
  int interleave;    // of what was 8 rows apart
  bool ones_of_two;  // 1:2, a nibble of metadata for each index
  int64_t row_bytes;

  // Where word `column` of `row` goes, counted in words. Within a row group, row 8 i + j becomes row
  // interleave * j + i; then the word at the top right of each 2 x 2 changes places with the one at the bottom left;
  // pairs of columns lie one after the other, within a pair row after row.
  int64_t place(int64_t row, int64_t column) const {
    int64_t to = row / row_group * row_group + row % 8 * interleave + row % row_group / 8;
    if (to % 2 == 0 && column % 2 == 1) {
      ++to;
      --column;
    } else if (to % 2 == 1 && column % 2 == 0) {
      --to;
      ++column;
    }
    return column / 2 * 2 * rows + to * 2 + column % 2;
  }
};

int32_t words_of(const gatun_nm_format* format, Layout* l, Words* words) {
  GATUN_TRY(layout_of(format, l));
  const gatun_nm_format& f = *format;
  GATUN_TRY(check_dtype(f.value_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8}, "format.value_dtype"));
  const bool f32 = f.value_dtype == GATUN_F32, i8 = f.value_dtype == GATUN_I8;
  if (f.n != (f32 ? 1 : 2) || f.m != (f32 ? 2 : 4)) {
    return fail(GATUN_INVALID_ARGUMENT, "format.n:m = %d:%d with %s; allowed: %s", f.n, f.m, dtype_name(f.value_dtype),
                f32 ? "1:2" : "2:4");
  }
  if (f.vector != 1) return fail(GATUN_INVALID_ARGUMENT, "format.vector = %d; allowed: 1", f.vector);
  const int64_t rows = i8 ? 16 : 32, depth = f32 ? 16 : i8 ? 64 : 32;
  if (f.columns % rows != 0 || f.depth % depth != 0) {
    return fail(GATUN_INVALID_ARGUMENT,
                "format.columns = %lld, format.depth = %lld with %s; allowed: multiples of %lld "
                "and %lld",
                LongLong{f.columns}, LongLong{f.depth}, dtype_name(f.value_dtype), LongLong{rows}, LongLong{depth});
  }
  words->rows = f.columns;
  words->bytes = i8 ? 4 : 2;
  words->row_group = i8 ? 16 : 32;
  words->interleave = i8 ? 2 : 4;
  words->ones_of_two = f32;
  words->row_bytes = f32 ? l->indices_row * 2 : l->indices_row;
  words->columns = words->row_bytes / words->bytes;
  int64_t bytes;
  return check_extent(words->rows, words->row_bytes, words->row_bytes, 1, 8, "metadata", &bytes);
}

Buffer metadata_buffer(const Words& words, const void* metadata, bool output) {
  return {"metadata", metadata, words.rows, words.columns, words.columns, words.bytes, output};
}

// 1:2: index 0 is kept as positions 0 and 1 of 4 halves of weights, index 1 as positions 2 and 3.
constexpr int kFirst = 0x4, kSecond = 0xe;

uint32_t word_at(const Words& words, const uint8_t* row, int64_t column) {
  uint32_t word = 0;
  if (words.ones_of_two) {
    for (int i = 0; i < 4; ++i) {
      word |= static_cast<uint32_t>(get_index(row, column * 4 + i, 2) == 0 ? kFirst : kSecond) << 4 * i;
    }
  } else {
    std::memcpy(&word, row + column * words.bytes, static_cast<size_t>(words.bytes));
  }
  return word;
}

bool is_valid(const Words& words, int nibble) {
  return words.ones_of_two ? nibble == kFirst || nibble == kSecond : (nibble & 3) < nibble >> 2;
}

// The first nibble that stands for no pair of ascending indices.
int32_t check_metadata(const Words& words, const uint8_t* metadata) {
  for (int64_t row = 0; row < words.rows; ++row) {
    for (int64_t column = 0; column < words.columns; ++column) {
      uint32_t word = 0;
      std::memcpy(&word, metadata + words.place(row, column) * words.bytes, static_cast<size_t>(words.bytes));
      for (int i = 0; i < 2 * words.bytes; ++i) {
        const int nibble = static_cast<int>(word >> 4 * i & 15);
        if (is_valid(words, nibble)) continue;
        return fail(GATUN_INVALID_ARGUMENT, "metadata: row %lld, group %lld: 0x%X; allowed: %s", LongLong{row},
                    LongLong{column * 2 * words.bytes + i}, static_cast<unsigned>(nibble),
                    words.ones_of_two ? "0x4, 0xE" : "0x4, 0x8, 0x9, 0xC, 0xD, 0xE");
      }
    }
  }
  return GATUN_OK;
}

void set_word(const Words& words, uint32_t word, uint8_t* row, int64_t column) {
  if (words.ones_of_two) {
    int byte = 0;
    for (int i = 0; i < 4; ++i) byte |= ((word >> 4 * i & 15) == kSecond ? 1 : 0) << 2 * i;
    row[column] = static_cast<uint8_t>(byte);
  } else {
    std::memcpy(row + column * words.bytes, &word, static_cast<size_t>(words.bytes));
  }
}

}  // namespace
}  // namespace gatun::nm_format

using namespace gatun;
using namespace gatun::nm_format;

int32_t gatun_nm_sm80_bytes(const gatun_nm_format* format, int64_t* metadata_bytes) {
  GATUN_TRY(check_not_null(metadata_bytes, "metadata_bytes"));
  Layout l;
  Words words;
  GATUN_TRY(words_of(format, &l, &words));
  *metadata_bytes = words.rows * words.row_bytes;
  return GATUN_OK;
}

int32_t gatun_nm_to_sm80(const gatun_nm_format* format, const uint8_t* indices, void* metadata) {
  Layout l;
  Words words;
  GATUN_TRY(words_of(format, &l, &words));
  Buffer buffers[] = {metadata_buffer(words, metadata, true), indices_buffer(l, indices, false)};
  GATUN_TRY(check_buffers(buffers));
  GATUN_TRY(check_indices(l, indices, format->threads));
  if (words.columns == 0) return GATUN_OK;  // of any number of rows
  for (int64_t row = 0; row < words.rows; ++row) {
    for (int64_t column = 0; column < words.columns; ++column) {
      const uint32_t word = word_at(words, indices + row * l.indices_row, column);
      std::memcpy(static_cast<uint8_t*>(metadata) + words.place(row, column) * words.bytes, &word,
                  static_cast<size_t>(words.bytes));
    }
  }
  return GATUN_OK;
}

int32_t gatun_nm_from_sm80(const gatun_nm_format* format, const void* metadata, uint8_t* indices) {
  Layout l;
  Words words;
  GATUN_TRY(words_of(format, &l, &words));
  Buffer buffers[] = {indices_buffer(l, indices, true), metadata_buffer(words, metadata, false)};
  GATUN_TRY(check_buffers(buffers));
  if (words.columns == 0) return GATUN_OK;  // of any number of rows
  const uint8_t* const from = static_cast<const uint8_t*>(metadata);
  GATUN_TRY(check_metadata(words, from));
  for (int64_t row = 0; row < words.rows; ++row) {
    for (int64_t column = 0; column < words.columns; ++column) {
      uint32_t word = 0;
      std::memcpy(&word, from + words.place(row, column) * words.bytes, static_cast<size_t>(words.bytes));
      set_word(words, word, indices + row * l.indices_row, column);
    }
  }
  return GATUN_OK;
}
