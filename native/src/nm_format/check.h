// Checks of masks, indices and zero points. Of several faults that of the lowest row, there the first, is named.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "nm_format/layout.h"

namespace gatun::nm_format {

// Rows of a vector are equal, no group keeps more than n, unused bits are 0.
int32_t check_mask(const Layout& layout, const uint8_t* mask, int32_t threads);

// Below m, strictly ascending within a group, unused bits are 0.
int32_t check_indices(const Layout& layout, const uint8_t* indices, int32_t threads);

// The parameters of pruning that those of the format have to match. Both are checked.
int32_t check_prune(const gatun_nm_format& format, const gatun_prune_params& prune);

// The arguments of a call as check_buffers() wants them.
Buffer dense_buffer(const Layout& layout, const char* name, const void* address, bool output);
Buffer values_buffer(const Layout& layout, const void* address, bool output);
Buffer indices_buffer(const Layout& layout, const void* address, bool output);
Buffer mask_buffer(const Layout& layout, const void* address, bool output);

// The zero points of U4 codes, u8 [columns, groups]; null: there are none, and all of them are 8.
class ZeroPoints {
 public:
  // Without zero points, format.group counts for nothing.
  explicit ZeroPoints(const gatun_nm_format& format, const uint8_t* codes);

  const uint8_t* codes() const { return codes_; }
  int64_t group() const { return group_; }
  int64_t groups() const { return groups_; }  // of a row
  // The code of a zero weight. What lies beyond the depth belongs to the last group.
  int at(int64_t row, int64_t k) const;

  // That there are none but with U4, and the size of their groups.
  int32_t check_format(const gatun_nm_format& format) const;
  // That they are codes of 4 bits.
  int32_t check_codes() const;
  Buffer buffer() const;

 private:
  const uint8_t* codes_;
  int64_t columns_, depth_, group_, groups_;
};

// Names the first group in which more than n weights are not 0 in any row of a vector; GATUN_INTERNAL if there is none,
// or if a mask, which was checked before, says what is kept: somebody has changed it since.
int32_t fail_overfull(const gatun_nm_format& format, const Layout& layout, const void* dense, const uint8_t* mask);

}  // namespace gatun::nm_format
