#include "nm_format/check.h"

#include <algorithm>
#include <atomic>

#include "base/parallel.h"
#include "base/status.h"
#include "nm_format/groups.h"

namespace gatun::nm_format {
namespace {

using LongLong = long long;

// Bytes of a mask or of indices for which waking another thread pays.
constexpr int64_t kGrainBytes = 64 * 1024;

// check(vector) of all vectors; the message is that of the first one that fails.
template <class Check>
int32_t check_vectors(const Layout& layout, int64_t bytes, int32_t threads, Check check) {
  if (bytes == 0) return GATUN_OK;  // of any number of rows
  std::atomic<int64_t> first{INT64_MAX};
  parallel_for(layout.vectors, useful_threads(threads, layout.vectors, bytes, kGrainBytes),
               [&](int64_t begin, int64_t end) {
                 for (int64_t v = begin; v < end && v < first; ++v) {
                   if (check(v) == GATUN_OK) continue;
                   for (int64_t seen = first; v < seen && !first.compare_exchange_weak(seen, v);) {
                   }
                   return;
                 }
               });
  return first == INT64_MAX ? GATUN_OK : check(first);
}

// Word i of a row of bits.
uint64_t word_at(const uint8_t* row, int64_t row_bytes, int64_t i) {
  uint64_t word = 0;
  std::memcpy(&word, row + i * 8, static_cast<size_t>(std::min<int64_t>(8, row_bytes - i * 8)));
  return word;
}

int32_t fail_group(const Layout& l, const char* name, int64_t row, int64_t group, int kept) {
  return fail(GATUN_INVALID_ARGUMENT, "%s: row %lld keeps %d weights of group %lld (depth %lld on); allowed: %d of %d",
              name, LongLong{row}, kept, LongLong{group}, LongLong{group * l.m}, l.n, l.m);
}

// The first group of a word that keeps too much.
int32_t check_word(const Layout& l, const char* name, int64_t row, int64_t i, uint64_t word) {
  const uint64_t overfull = overfull_groups(word, l.n, l.m);
  if (overfull == 0) return GATUN_OK;
  const int group = __builtin_ctzll(overfull) / l.m;
  const uint64_t bits = word >> group * l.m & lowest_bits(l.m);
  return fail_group(l, name, row, i * (kWord / l.m) + group, __builtin_popcountll(bits));
}

int32_t check_mask_vector(const Layout& l, const uint8_t* mask, int64_t vector) {
  const int64_t first = l.first_row(vector), end = l.first_row(vector + 1);
  const uint8_t* leader = mask + first * l.mask_row;
  for (int64_t row = first; row < end; ++row) {
    const uint8_t* bits = mask + row * l.mask_row;
    for (int64_t i = 0; i * 8 < l.mask_row; ++i) {
      const uint64_t word = word_at(bits, l.mask_row, i);
      if ((word & ~lowest_bits(l.depth - i * kWord)) != 0) {
        return fail(GATUN_INVALID_ARGUMENT, "mask: row %lld has a 1 beyond depth %lld; allowed: 0", LongLong{row},
                    LongLong{l.depth});
      }
      const uint64_t difference = word ^ word_at(leader, l.mask_row, i);
      if (difference != 0) {
        const int64_t k = i * kWord + __builtin_ctzll(difference);
        return fail(GATUN_INVALID_ARGUMENT,
                    "mask: row %lld differs from row %lld in group %lld (depth %lld); allowed: the same bits in all "
                    "rows of a vector of %lld",
                    LongLong{row}, LongLong{first}, LongLong{k / l.m}, LongLong{k}, LongLong{l.vector});
      }
      GATUN_TRY(check_word(l, "mask", row, i, word));
    }
  }
  return GATUN_OK;
}

// Whether each of 16 groups of a 2:4 row is in order: the second index of a nibble, with a bit above it, less the first
// and 1, keeps that bit.
bool ascending_2_4(uint64_t word) {
  const uint64_t low = word & 0x3333333333333333u, high = word >> 2 & 0x3333333333333333u;
  constexpr uint64_t kTop = 0x8888888888888888u;
  return (((high | kTop) - low - 0x1111111111111111u) & kTop) == kTop;
}

int32_t check_index_row(const Layout& l, const uint8_t* indices, int64_t vector) {
  const uint8_t* row = indices + vector * l.indices_row;
  int64_t group = 0;
  if (l.n == 2 && l.m == 4) {
    while (group + 16 <= l.groups && ascending_2_4(word_at(row, l.indices_row, group / 16))) group += 16;
  }
  for (; group < l.groups; ++group) {
    int previous = -1;
    for (int64_t slot = group * l.n; slot < (group + 1) * l.n; ++slot) {
      const int index = get_index(row, slot, l.index_bits);
      if (index <= previous || index >= l.m) {
        return fail(GATUN_INVALID_ARGUMENT,
                    "indices: row %lld, group %lld: index %d after %d; allowed: ascending ones below %d",
                    LongLong{vector}, LongLong{group}, index, previous, l.m);
      }
      previous = index;
    }
  }
  const int used = static_cast<int>(l.slots % 8 * l.index_bits % 8);
  if (used != 0 && row[l.indices_row - 1] >> used != 0) {
    return fail(GATUN_INVALID_ARGUMENT, "indices: the last byte of row %lld has a 1 beyond its last index; allowed: 0",
                LongLong{vector});
  }
  return GATUN_OK;
}

}  // namespace

int32_t check_mask(const Layout& layout, const uint8_t* mask, int32_t threads) {
  return check_vectors(layout, layout.mask_bytes, threads,
                       [&](int64_t vector) { return check_mask_vector(layout, mask, vector); });
}

int32_t check_indices(const Layout& layout, const uint8_t* indices, int32_t threads) {
  return check_vectors(layout, layout.indices_bytes, threads,
                       [&](int64_t vector) { return check_index_row(layout, indices, vector); });
}

int32_t ZeroPoints::check_codes() const {
  for (int64_t i = 0; i < columns_ * groups_; ++i) {
    if (codes_[i] > 15) {
      return fail(GATUN_INVALID_ARGUMENT, "zero_points[%lld][%lld] = %d; allowed: 0..15", LongLong{i / groups_},
                  LongLong{i % groups_}, codes_[i]);
    }
  }
  return GATUN_OK;
}

int32_t fail_overfull(const gatun_nm_format& format, const Layout& l, const void* dense, const uint8_t* mask) {
  // Codes always come with a mask: below, every weight has bytes of its own.
  if (mask != nullptr) {
    return fail(GATUN_INTERNAL, "the mask keeps too much of a group, and did not when it was checked");
  }
  const auto is_nonzero = [&](int64_t row, int64_t k) {
    uint32_t bits = 0;
    std::memcpy(&bits, static_cast<const uint8_t*>(dense) + row * l.dense_row + k * l.element,
                static_cast<size_t>(l.element));
    return format.value_dtype == GATUN_I8 ? bits != 0 : bits << (33 - 8 * l.element) != 0;
  };
  for (int64_t vector = 0; vector < l.vectors; ++vector) {
    for (int64_t group = 0; group < l.groups; ++group) {
      uint32_t seen = 0;
      for (int64_t row = l.first_row(vector); row < l.first_row(vector + 1); ++row) {
        for (int64_t k = group * l.m; k < std::min(l.depth, (group + 1) * l.m); ++k) {
          if (is_nonzero(row, k)) seen |= uint32_t{1} << (k - group * l.m);
        }
        const int kept = __builtin_popcount(seen);
        if (kept > l.n) return fail_group(l, l.vector == 1 ? "dense" : "dense: a vector up to", row, group, kept);
      }
    }
  }
  return fail(GATUN_INTERNAL, "a kernel found a group that keeps too much, its check found none");
}

}  // namespace gatun::nm_format
