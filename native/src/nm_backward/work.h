// What the ways from a checked call to kernels share: memory, and how work is cut.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/check.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "gatun/nm_backward.h"
#include "nm_backward/kernel.h"

namespace gatun::nm_backward {

// A dense operand is packed to panels in chunks: up to so many rows and columns, 16 MiB.
inline constexpr int64_t kChunkRows = 1024, kChunkColumns = 4096;
// Products for which waking another thread pays.
inline constexpr int64_t kGrain = 1 << 20;

inline int32_t threads_of(const gatun_nm_backward_params& p, int64_t items, double products) {
  return useful_threads(p.threads, items, static_cast<int64_t>(std::min(products, 0x1p60)), kGrain);
}

// The vectors of a panel for this many rows: the first of 1, 2, 4, .. that holds them all, or `most`.
inline int32_t vectors_for(int64_t rows, int32_t lanes, int32_t most) {
  int32_t vectors = 1;
  while (vectors < most && vectors * lanes < rows) vectors *= 2;
  return vectors;
}

// A chunk of a matrix [rows, columns] as panels after each other.
struct Panels {
  int64_t rows, columns;
  int64_t width;  // P
  float* data;

  int64_t count() const { return blocks_of(rows, width); }
  int64_t rows_of(int64_t panel) const { return std::min(width, rows - panel * width); }
  Panel panel(int64_t index) const { return {data + index * columns * width, width}; }
  int64_t bytes() const { return count() * columns * width * 4; }
};

// Packs the chunk whose first element is at `x`, in parts of kPart columns.
inline void pack(const Kernel& kernel, const gatun_nm_backward_params& p, const float* x, int64_t row_stride,
                 const Panels& to) {
  constexpr int64_t kPart = 64;
  const int64_t parts = blocks_of(to.columns, kPart), items = parts * to.count();
  constexpr double kElement = 16;  // in products
  parallel_for(items, threads_of(p, items, kElement * static_cast<double>(to.rows) * static_cast<double>(to.columns)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t panel = item / parts, first = item % parts * kPart;
                   const Panel all = to.panel(panel);
                   kernel.to_panel(x + panel * to.width * row_stride + first, row_stride, to.rows_of(panel),
                                   std::min(kPart, to.columns - first), {all.data + first * all.width, all.width});
                 }
               });
}

inline int32_t no_memory(int64_t bytes) {
  return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch; the output may be written in part",
              static_cast<long long>(bytes));
}

// Memory that the calling thread packs into for all, and memory of each thread.
struct Memory {
  static thread_local Scratch shared;
  static thread_local Scratch own;
};

}  // namespace gatun::nm_backward
