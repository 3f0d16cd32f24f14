// What the entry hands to a kernel, and the kernels' declarations. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "qmatmul/layout.h"

namespace gatun::qmatmul {

// Rows of x that are packed and multiplied at a time, so that a depth block of them stays in the L2 cache.
inline constexpr int64_t kBlockRows = 256;
// Rows of a tile when there are several; a single row is a tile of its own.
inline constexpr int kTileRows = 4;

// Memory of one thread while it multiplies: f32 sums [kBlockRows][kPanelRows], then, in precise mode, kBlockDepth
// depths of dequantized weights.
inline constexpr int kBlockDepth = 128;
inline constexpr int64_t kSumBytes = kBlockRows * kPanelRows * 4;
inline constexpr int64_t kThreadScratchBytes = kSumBytes + kBlockDepth * kPanelRows * 4;

// Multiplication of up to kBlockRows rows of x with all panels.
struct Job {
  // Weights.
  const uint8_t* packed;
  const Piece* pieces;
  int64_t piece_count;
  int64_t groups;
  int64_t padded_depth;
  bool asymmetric;
  bool f16_scales;
  int32_t zero_code;

  // Activations: first row of the block, and their packed form.
  const void* x;
  bool x_bf16;
  int64_t x_row_stride;
  int64_t rows;
  int32_t tile_rows;  // T = 1 or kTileRows; rows of the last tile that do not exist are zeros
  bool group_scales;
  void* values;   // int8 [tile][padded_depth / 4][T][4], or f32 [tile][padded_depth][T]
  int32_t* sums;  // of a piece's codes [tile][piece][T]; int8 only
  float* scales;  // [tile][T], or [tile][group][T] with group_scales; int8 only; NaN for a row with NaN or infinity

  // Results: first row of the block.
  void* y;
  bool y_bf16;
  int64_t y_row_stride;
  const float* bias;     // or null
  const void* residual;  // or null; of y's type
  int64_t residual_row_stride;
  int32_t activation;
  int64_t column_begin;
  int64_t column_end;
};

// One panel of one job: where it lies, and its rows.
struct Panel {
  const uint8_t* base;
  int32_t rows;  // R of layout.h
  int64_t first_column;
};

struct Kernel {
  // Packs tiles [begin, end) of the job's activations.
  void (*pack_rows)(const Job& job, int64_t tile_begin, int64_t tile_end);
  // Multiplies tiles [begin, end) with a panel and writes y. `scratch` holds kThreadScratchBytes, 64-byte aligned.
  void (*multiply)(const Job& job, const Panel& panel, int64_t tile_begin, int64_t tile_end, uint8_t* scratch);
};

#define GATUN_QMATMUL_KERNEL(name, isa, x, weights) \
  }                                                 \
  namespace gatun::isa {                            \
  extern const qmatmul::Kernel name;                \
  }                                                 \
  namespace gatun::qmatmul {
#include "qmatmul/kernels.inc"
#undef GATUN_QMATMUL_KERNEL

}  // namespace gatun::qmatmul
