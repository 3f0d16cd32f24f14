// Checks of arguments with strides for batch items, heads and rows.
#pragma once

#include <initializer_list>

#include "base/check.h"

namespace gatun::attention {

struct Axis {
  int64_t size, stride;
  const char* stride_name;
};

// An argument of [batch, heads, rows, size]; without a batch axis where offsets take its place.
struct Tensor {
  const char* name;
  const void* address;
  Axis axes[3];     // batch, heads, rows
  int64_t columns;  // adjacent
  int64_t element_bytes;
  bool output;
};

// Strides, sizes, and that rows of an output are apart; as an array for check_buffers.
int32_t check_tensor(const Tensor& tensor, Buffer* buffer);

// Not null, unless it is empty; `why` ends the message.
int32_t check_needed(const Tensor& tensor, const char* why);

// Strides of axes along which nothing lies further on may be any numbers; as 0 they overflow nothing.
struct AxisStride {
  int64_t size;
  int64_t* stride;
};
inline void settle(std::initializer_list<AxisStride> axes) {
  bool empty = false;
  for (const AxisStride& axis : axes) empty = empty || axis.size == 0;
  for (const AxisStride& axis : axes) {
    if (empty || axis.size < 2) *axis.stride = 0;
  }
}

}  // namespace gatun::attention
