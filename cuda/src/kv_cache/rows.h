// What kernels of a pool get. Plain data.
#pragma once

#include <cstdint>

#include "gatun/cuda_quantize.h"
#include "gatun/kv_cache.h"

namespace gatun::cuda::kv_cache {

// A pool in device memory, with a checked layout.
struct DevicePool {
  gatun_kv_layout layout;
  uint8_t* rows;
  uint16_t *scales, *zeros;  // null without
  int32_t row_bytes;
  int32_t scales_of_row;  // adjacent ones; 0 without
  int32_t division;       // a / group = a * division >> 16 for all channels a; of scales of tokens
};

// Rows x of [heads, tokens, size] and their slots.
struct RowsJob {
  DevicePool pool;
  gatun_kv_rows_params params;
  void* x;
  const int64_t* slots;
  uint64_t* faults;  // [2], as gatun_cuda_faults; null to read
};
int32_t run_write(const RowsJob& job, void* stream);
int32_t run_read(const RowsJob& job, void* stream);

// Slots to slots by way of `copies` [tokens, heads] of copy_bytes each: a row, its scales and zero points.
struct MoveJob {
  DevicePool pool;
  int64_t tokens;
  const int64_t *from, *to;
  uint8_t* copies;
  int64_t copy_bytes;
};
int32_t run_move(const MoveJob& job, void* stream);

}  // namespace gatun::cuda::kv_cache
