#include "sparse_indices.h"

#include <cstring>

namespace gatun::fuzz {
namespace {

int bits_of(int32_t m) { return m <= 4 ? 2 : m <= 16 ? 4 : 8; }

int read(const uint8_t* row, int64_t i, int bits) { return row[i * bits / 8] >> i * bits % 8 & ((1 << bits) - 1); }

bool canonical(const uint8_t* row, int64_t kept, int32_t n, int32_t m) {
  const int bits = bits_of(m);
  for (int64_t i = 0; i < kept; ++i) {
    if (read(row, i, bits) >= m || (i % n > 0 && read(row, i, bits) <= read(row, i - 1, bits))) return false;
  }
  return kept * bits % 8 == 0 || row[index_row_bytes(kept, m) - 1] >> kept * bits % 8 == 0;
}

}  // namespace

int64_t kept_of_row(int64_t depth, int32_t n, int32_t m) { return (depth / m + (depth % m != 0)) * n; }

int64_t index_row_bytes(int64_t kept, int32_t m) {
  const int64_t bits = bits_of(m);
  return kept / 8 * bits + (kept % 8 * bits + 7) / 8;
}

bool fill_indices(Input& input, test::Rng& rng, int64_t columns, int64_t depth, int32_t n, int32_t m, int32_t vector,
                  Buffer* indices) {
  const int64_t kept = kept_of_row(depth, n, m), bytes = index_row_bytes(kept, m);
  const int64_t rows = bytes == 0 ? 0 : indices->bytes() / bytes;
  if (columns > 0 && rows != (columns - 1) / vector + 1 && bytes > 0) defect("the buffer of indices has another size");
  if (bytes > 0) std::memset(indices->data(), 0, static_cast<size_t>(indices->bytes()));
  for (int64_t r = 0; r < rows; ++r) {
    uint8_t* const row = indices->data() + r * bytes;
    for (int64_t group = 0; group < kept / n; ++group) {
      int32_t left = n;  // each of the positions still to come with its fair chance
      for (int32_t position = 0; position < m && left > 0; ++position) {
        if (rng.integer(1, m - position) > left) continue;
        const int64_t bit = (group * n + n - left--) * bits_of(m);
        row[bit / 8] = static_cast<uint8_t>(row[bit / 8] | position << bit % 8);
      }
    }
  }
  if (rows > 0 && input.rarely()) {
    uint8_t* const at = indices->data() + rng.integer(0, indices->bytes() - 1);
    *at = static_cast<uint8_t>(*at ^ 1 << rng.integer(0, 7));
  }
  for (int64_t r = 0; r < rows; ++r) {
    if (!canonical(indices->data() + r * bytes, kept, n, m)) return false;
  }
  return true;
}

}  // namespace gatun::fuzz
