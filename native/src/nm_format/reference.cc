#include "nm_format/reference.h"

#include <cstddef>
#include <set>

namespace gatun::nm_format {
namespace {

// Numbers of a few bits in rows that start at a byte: bit j of number i of a row is bit i * bits + j of the row.
class Table {
 public:
  Table(int64_t rows, int64_t columns, int bits)
      : rows_(rows), columns_(columns), bits_(bits), row_bytes_((columns * bits + 7) / 8) {
    bytes_.resize(static_cast<size_t>(rows_ * row_bytes_));
  }
  Table(int64_t rows, int64_t columns, int bits, const uint8_t* bytes) : Table(rows, columns, bits) {
    if (!bytes_.empty()) bytes_.assign(bytes, bytes + bytes_.size());
  }

  int64_t columns() const { return columns_; }
  uint32_t get(int64_t row, int64_t column) const {
    uint32_t number = 0;
    for (int j = 0; j < bits_; ++j) {
      const int64_t bit = column * bits_ + j;
      number |= (uint32_t{bytes_[at(row, bit)]} >> bit % 8 & 1) << j;
    }
    return number;
  }
  void set(int64_t row, int64_t column, uint32_t number) {
    for (int j = 0; j < bits_; ++j) {
      const int64_t bit = column * bits_ + j;
      const uint32_t one = 1u << bit % 8;
      uint8_t& byte = bytes_[at(row, bit)];
      byte = static_cast<uint8_t>(number >> j & 1 ? byte | one : byte & ~one);
    }
  }
  // Whether the bits behind a row's last number are 0.
  bool ends_in_zeros(int64_t row) const {
    for (int64_t bit = columns_ * bits_; bit < row_bytes_ * 8; ++bit) {
      if (bytes_[at(row, bit)] >> bit % 8 & 1) return false;
    }
    return true;
  }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  size_t at(int64_t row, int64_t bit) const { return static_cast<size_t>(row * row_bytes_ + bit / 8); }

  int64_t rows_, columns_;
  int bits_;
  int64_t row_bytes_;
  std::vector<uint8_t> bytes_;
};

int value_bits(int32_t dtype) {
  switch (dtype) {
    case GATUN_F32:
      return 32;
    case GATUN_F16:
    case GATUN_BF16:
      return 16;
    case GATUN_I8:
      return 8;
    default:
      return 4;
  }
}

bool is_zero(int32_t dtype, uint32_t value) {
  switch (dtype) {
    case GATUN_F32:
      return value == 0 || value == 0x80000000u;
    case GATUN_F16:
    case GATUN_BF16:
      return value == 0 || value == 0x8000u;
    default:
      return value == 0;
  }
}

struct Sizes {
  explicit Sizes(const gatun_nm_format& f)
      : bits(value_bits(f.value_dtype)),
        index_bits(f.m == 32  ? 8
                   : f.m >= 8 ? 4
                              : 2),
        groups((f.depth + f.m - 1) / f.m),
        slots(groups * f.n),
        vectors((f.columns + f.vector - 1) / f.vector) {}
  int bits, index_bits;
  int64_t groups, slots, vectors;
};

// The value of a zero at weight k of a row.
uint32_t zero_at(const gatun_nm_format& f, const uint8_t* zero_points, int64_t row, int64_t k) {
  if (f.value_dtype != GATUN_U4) return 0;
  if (zero_points == nullptr) return 8;
  const int64_t groups = (f.depth + f.group - 1) / f.group;
  const int64_t group = k / f.group;
  return zero_points[row * groups + (group < groups ? group : groups - 1)];
}

}  // namespace

Canonical reference_compress(const gatun_nm_format& f, const uint8_t* dense, const uint8_t* mask,
                             const uint8_t* zero_points) {
  const Sizes sizes(f);
  const Table weights(f.columns, f.depth, sizes.bits, dense);
  Table values(f.columns, sizes.slots, sizes.bits), indices(sizes.vectors, sizes.slots, sizes.index_bits);
  const Table bits(mask == nullptr ? 0 : f.columns, f.depth, 1, mask);
  for (int64_t vector = 0; vector < sizes.vectors; ++vector) {
    const int64_t first = vector * f.vector, end = first + f.vector < f.columns ? first + f.vector : f.columns;
    for (int64_t group = 0; group < sizes.groups; ++group) {
      std::set<int> kept;
      for (int position = 0; position < f.m; ++position) {
        const int64_t k = group * f.m + position;
        for (int64_t row = first; row < end && k < f.depth; ++row) {
          const bool keep = mask != nullptr ? bits.get(row, k) == 1 : !is_zero(f.value_dtype, weights.get(row, k));
          if (keep) kept.insert(position);
        }
      }
      if (kept.size() > static_cast<size_t>(f.n)) return {false, {}, {}};
      std::set<int> filled = kept;
      for (int position = 0; filled.size() < static_cast<size_t>(f.n); ++position) filled.insert(position);
      int64_t slot = group * f.n;
      for (const int position : filled) {
        indices.set(vector, slot, static_cast<uint32_t>(position));
        const int64_t k = group * f.m + position;
        for (int64_t row = first; row < end; ++row) {
          values.set(row, slot, kept.count(position) == 1 ? weights.get(row, k) : zero_at(f, zero_points, row, k));
        }
        ++slot;
      }
    }
  }
  return {true, values.bytes(), indices.bytes()};
}

std::vector<uint8_t> reference_decompress(const gatun_nm_format& f, const uint8_t* values, const uint8_t* indices,
                                          const uint8_t* zero_points) {
  const Sizes sizes(f);
  const Table kept(f.columns, sizes.slots, sizes.bits, values);
  const Table positions(sizes.vectors, sizes.slots, sizes.index_bits, indices);
  Table dense(f.columns, f.depth, sizes.bits);
  for (int64_t row = 0; row < f.columns; ++row) {
    for (int64_t k = 0; k < f.depth; ++k) {
      uint32_t value = zero_at(f, zero_points, row, k);
      for (int64_t slot = k / f.m * f.n; slot < (k / f.m + 1) * f.n; ++slot) {
        if (positions.get(row / f.vector, slot) == static_cast<uint32_t>(k % f.m)) value = kept.get(row, slot);
      }
      dense.set(row, k, value);
    }
  }
  return dense.bytes();
}

std::vector<uint8_t> reference_mask(const gatun_nm_format& f, const uint8_t* indices) {
  const Sizes sizes(f);
  const Table positions(sizes.vectors, sizes.slots, sizes.index_bits, indices);
  Table mask(f.columns, f.depth, 1);
  for (int64_t row = 0; row < f.columns; ++row) {
    for (int64_t slot = 0; slot < sizes.slots; ++slot) {
      const int64_t k = slot / f.n * f.m + positions.get(row / f.vector, slot);
      if (k < f.depth) mask.set(row, k, 1);
    }
  }
  return mask.bytes();
}

bool reference_check(const gatun_nm_format& f, const uint8_t* indices) {
  const Sizes sizes(f);
  const Table positions(sizes.vectors, sizes.slots, sizes.index_bits, indices);
  for (int64_t vector = 0; vector < sizes.vectors; ++vector) {
    if (!positions.ends_in_zeros(vector)) return false;
    for (int64_t slot = 0; slot < sizes.slots; ++slot) {
      const uint32_t index = positions.get(vector, slot);
      if (index >= static_cast<uint32_t>(f.m)) return false;
      if (slot % f.n != 0 && index <= positions.get(vector, slot - 1)) return false;
    }
  }
  return true;
}

std::vector<uint8_t> reference_sm80(const gatun_nm_format& f, const uint8_t* indices) {
  const Sizes sizes(f);
  const bool ones = f.value_dtype == GATUN_F32;
  const int word_bits = f.value_dtype == GATUN_I8 ? 32 : 16, nibbles = word_bits / 4;
  const int64_t columns = sizes.groups / nibbles;
  const Table positions(f.columns, sizes.slots, sizes.index_bits, indices);
  // Each word in its place among the words that are not reordered yet.
  std::vector<std::vector<uint32_t>> words(static_cast<size_t>(f.columns));
  for (int64_t row = 0; row < f.columns; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      uint32_t word = 0;
      for (int i = 0; i < nibbles; ++i) {
        const int64_t group = column * nibbles + i;
        // 1:2 as 2:4 of halves: weight p is halves 2 p and 2 p + 1.
        const uint32_t low = ones ? 2 * positions.get(row, group) : positions.get(row, 2 * group);
        const uint32_t high = ones ? low + 1 : positions.get(row, 2 * group + 1);
        word |= (low | high << 2) << 4 * i;
      }
      words[static_cast<size_t>(row)].push_back(word);
    }
  }
  // First rows are reordered, then 2 x 2 words transposed, then pairs of columns put one after the other.
  const int64_t group = word_bits == 16 ? 32 : 16, interweave = word_bits == 16 ? 4 : 2;
  std::vector<std::vector<uint32_t>> reordered = words;
  for (int64_t row = 0; row < f.columns; ++row) {
    const int64_t to = row / group * group + row % 8 * interweave + row % group / 8;
    reordered[static_cast<size_t>(to)] = words[static_cast<size_t>(row)];
  }
  Table metadata(1, f.columns * columns, word_bits);
  for (int64_t pair = 0, at = 0; pair < columns; pair += 2) {
    for (int64_t row = 0; row < f.columns; row += 2) {
      const size_t top = static_cast<size_t>(row), left = static_cast<size_t>(pair);
      metadata.set(0, at++, reordered[top][left]);
      metadata.set(0, at++, reordered[top + 1][left]);
      metadata.set(0, at++, reordered[top][left + 1]);
      metadata.set(0, at++, reordered[top + 1][left + 1]);
    }
  }
  return metadata.bytes();
}

}  // namespace gatun::nm_format
