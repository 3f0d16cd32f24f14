// Where the kept weights of a canonical form (gatun/nm_format.h) are.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "base/nm.h"

namespace gatun::nm_backward {

class Positions {
 public:
  // The arguments have been checked; the number of kept weights of a row fits 63 bits.
  Positions(int32_t n, int32_t m, int32_t vector, int64_t depth, const uint8_t* indices)
      : n_(n), m_(m), vector_(vector), bits_(index_bits(m)), kept_(blocks_of(depth, m) * n), indices_(indices) {}

  int32_t n() const { return n_; }
  int32_t m() const { return m_; }
  int64_t kept() const { return kept_; }  // K, of a row
  int64_t row_bytes() const { return index_row_bytes(kept_, m_); }

  // Calls of(i, k) for the kept weights i of row r in groups [begin, end), whose depth is k: always within its group,
  // whoever changed the indices since they were checked.
  template <class Of>
  void for_each(int64_t r, int64_t begin, int64_t end, Of of) const {
    bits_ == 2   ? for_each_of<2>(r, begin, end, of)
    : bits_ == 4 ? for_each_of<4>(r, begin, end, of)
                 : for_each_of<8>(r, begin, end, of);
  }

  // Asks for the indices of a group of row r, which need not exist.
  void prefetch(int64_t r, int64_t group) const {
    const uintptr_t row = reinterpret_cast<uintptr_t>(indices_) + static_cast<uintptr_t>(r / vector_ * row_bytes());
    __builtin_prefetch(reinterpret_cast<const void*>(row + static_cast<uintptr_t>(group * n_ * bits_ / 8)));
  }

 private:
  template <int kBits, class Of>
  void for_each_of(int64_t r, int64_t begin, int64_t end, Of of) const {
    constexpr uint64_t kInByte = 8 / kBits;
    const uint8_t* const row = indices_ + r / vector_ * row_bytes();
    uint64_t i = static_cast<uint64_t>(begin * n_);
    for (int64_t group = begin; group < end; ++group) {
      for (int32_t j = 0; j < n_; ++j, ++i) {
        const int position = row[i / kInByte] >> i % kInByte * kBits & (m_ - 1);
        of(static_cast<int64_t>(i), group * m_ + position);
      }
    }
  }

  int32_t n_, m_, vector_, bits_;
  int64_t kept_;
  const uint8_t* indices_;
};

}  // namespace gatun::nm_backward
