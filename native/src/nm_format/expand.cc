// From values and indices back: decompress, mask, check. Plain loops: a store for each kept weight into zeros is about
// as fast as memory takes them.
#include <cstring>

#include "base/check.h"
#include "base/parallel.h"
#include "gatun/nm_format.h"
#include "nm_format/check.h"
#include "nm_format/layout.h"

namespace gatun::nm_format {
namespace {

// Bytes of output for which waking another thread pays.
constexpr int64_t kGrainBytes = 128 * 1024;

// Calls visit(k, slot) for the kept weights of a row that lie within the depth. Indices were checked; whoever has
// changed one since must not lead out of its group.
template <int kBits, class Visit>
void visit_kept(const Layout& l, const uint8_t* row, Visit visit) {
  int64_t slot = 0;
  const int64_t whole = l.depth / l.m;
  for (int64_t group = 0; group < whole; ++group) {
    for (const int64_t end = slot + l.n; slot < end; ++slot)
      visit(group * l.m + (get_index(row, slot, kBits) & (l.m - 1)), slot);
  }
  for (; slot < l.slots; ++slot) {
    const int64_t k = whole * l.m + get_index(row, slot, kBits);
    if (k < l.depth) visit(k, slot);
  }
}

template <class Visit>
void for_kept(const Layout& l, const uint8_t* row, Visit visit) {
  if (l.index_bits == 2) return visit_kept<2>(l, row, visit);
  if (l.index_bits == 4) return visit_kept<4>(l, row, visit);
  visit_kept<8>(l, row, visit);
}

template <class Element>
void scatter(const Layout& l, const uint8_t* indices, const uint8_t* values, uint8_t* dense) {
  const Element* const from = reinterpret_cast<const Element*>(values);
  Element* const to = reinterpret_cast<Element*>(dense);
  std::memset(dense, 0, static_cast<size_t>(l.dense_row));
  for_kept(l, indices, [&](int64_t k, int64_t slot) { to[k] = from[slot]; });
}

void scatter_codes(const Layout& l, const uint8_t* indices, const uint8_t* values, const ZeroPoints& zeros, int64_t row,
                   uint8_t* dense) {
  std::memset(dense, 0, static_cast<size_t>(l.dense_row));
  for (int64_t k = 0; k < l.depth; ++k) set_nibble(dense, k, zeros.at(row, k));
  for_kept(l, indices, [&](int64_t k, int64_t slot) { set_nibble(dense, k, get_nibble(values, slot)); });
}

}  // namespace
}  // namespace gatun::nm_format

using namespace gatun;
using namespace gatun::nm_format;

int32_t gatun_nm_bytes(const gatun_nm_format* format, int64_t* dense, int64_t* values, int64_t* indices,
                       int64_t* mask) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  if (dense != nullptr) *dense = l.dense_bytes;
  if (values != nullptr) *values = l.values_bytes;
  if (indices != nullptr) *indices = l.indices_bytes;
  if (mask != nullptr) *mask = l.mask_bytes;
  return GATUN_OK;
}

int32_t gatun_nm_decompress(const gatun_nm_format* format, const void* values, const uint8_t* indices,
                            const uint8_t* zero_points, void* dense) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  const gatun_nm_format& f = *format;
  const ZeroPoints zeros(f, zero_points);
  GATUN_TRY(zeros.check_format(f));
  Buffer buffers[] = {dense_buffer(l, "dense", dense, true), values_buffer(l, values, false),
                      indices_buffer(l, indices, false), zeros.buffer()};
  GATUN_TRY(check_buffers(buffers));
  GATUN_TRY(zeros.check_codes());
  GATUN_TRY(check_indices(l, indices, f.threads));
  if (l.dense_bytes == 0) return GATUN_OK;
  parallel_for(l.columns, useful_threads(f.threads, l.columns, l.dense_bytes, kGrainBytes),
               [&](int64_t begin, int64_t end) {
                 for (int64_t row = begin; row < end; ++row) {
                   const uint8_t* at = indices + row / l.vector * l.indices_row;
                   const uint8_t* from = static_cast<const uint8_t*>(values) + row * l.values_row;
                   uint8_t* to = static_cast<uint8_t*>(dense) + row * l.dense_row;
                   if (f.value_dtype == GATUN_U4) {
                     scatter_codes(l, at, from, zeros, row, to);
                   } else if (l.element == 1) {
                     scatter<uint8_t>(l, at, from, to);
                   } else if (l.element == 2) {
                     scatter<uint16_t>(l, at, from, to);
                   } else {
                     scatter<uint32_t>(l, at, from, to);
                   }
                 }
               });
  return GATUN_OK;
}

int32_t gatun_nm_mask(const gatun_nm_format* format, const uint8_t* indices, uint8_t* mask) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  const gatun_nm_format& f = *format;
  Buffer buffers[] = {mask_buffer(l, mask, true), indices_buffer(l, indices, false)};
  GATUN_TRY(check_buffers(buffers));
  GATUN_TRY(check_indices(l, indices, f.threads));
  if (l.mask_bytes == 0) return GATUN_OK;
  parallel_for(
      l.vectors, useful_threads(f.threads, l.vectors, l.mask_bytes, kGrainBytes), [&](int64_t begin, int64_t end) {
        for (int64_t vector = begin; vector < end; ++vector) {
          uint8_t* const leader = mask + l.first_row(vector) * l.mask_row;
          std::memset(leader, 0, static_cast<size_t>(l.mask_row));
          for_kept(l, indices + vector * l.indices_row,
                   [&](int64_t k, int64_t) { leader[k / 8] = static_cast<uint8_t>(leader[k / 8] | 1 << k % 8); });
          for (int64_t row = l.first_row(vector) + 1; row < l.first_row(vector + 1); ++row) {
            std::memcpy(mask + row * l.mask_row, leader, static_cast<size_t>(l.mask_row));
          }
        }
      });
  return GATUN_OK;
}

int32_t gatun_nm_check(const gatun_nm_format* format, const uint8_t* indices) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  if (l.indices_bytes > 0) GATUN_TRY(check_not_null(indices, "indices"));
  return check_indices(l, indices, format->threads);
}
