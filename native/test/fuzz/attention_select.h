// What the documents of selections and of orders of rows allow.
#pragma once

#include <cstdint>
#include <utility>

#include "input.h"

namespace gatun::fuzz {

inline constexpr int64_t kMaxLength = int64_t{1} << 60;
using Wide = __int128;

inline bool within(int64_t value, int64_t low, int64_t high) { return value >= low && value <= high; }

// Elements of rows at strides; kImpossible where the call has to refuse them.
inline int64_t elements(int64_t batch, int64_t batch_stride, int64_t heads, int64_t head_stride, int64_t rows,
                        int64_t row_stride, int64_t columns) {
  constexpr int64_t kMaxElements = int64_t{1} << 59;
  if (batch_stride < 0 || head_stride < 0 || row_stride < 0) return kImpossible;
  if (batch == 0 || heads == 0 || rows == 0) return 0;
  Wide last = 0;
  for (const auto& [size, stride] : {std::pair{batch, batch_stride}, {heads, head_stride}, {rows, row_stride}}) {
    const Wide step = Wide{size - 1} * stride;
    last += step;
    if (last > kMaxElements - columns) return kImpossible;
  }
  return static_cast<int64_t>(last) + columns;
}

}  // namespace gatun::fuzz
