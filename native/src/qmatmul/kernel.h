// What the entry hands to a kernel, and the kernels' declarations. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "qmatmul/layout.h"
#include "qmatmul/outputs.h"

namespace gatun::qmatmul {

// Rows of x that are packed and multiplied at a time, so that a depth block of them stays in the L2 cache.
inline constexpr int64_t kBlockRows = 256;
// Rows of a tile, for most kernels. Packed activations of a job are tiles of T rows, but for the last, which has T =
// what is left; so whatever takes n numbers a row starts at n * first row for any tile.
inline constexpr int kTileRows = 4;

// Memory of one thread while it multiplies: f32 sums [kBlockRows][kPanelRows], then weights that are dequantized for
// all rows: kBlockDepth depths in f32, or a block of kPieceDepth depths in bf16.
inline constexpr int kBlockDepth = 128;
inline constexpr int64_t kSumBytes = kBlockRows * kPanelRows * 4;
inline constexpr int64_t kThreadScratchBytes = kSumBytes + kPieceDepth * kPanelRows * 2;
static_assert(kBlockDepth * 4 <= kPieceDepth * 2);

// Multiplication of up to kBlockRows rows of x with all panels. Several jobs may share packed memory: a job on rows r..
// of it has `values`, `sums` and `scales` r rows further.
struct Job : Outputs {
  // Weights.
  const uint8_t* packed;
  const uint8_t* table;  // of codes that are stored as t4, b4 or b8 (layout.h); any alignment
  const Piece* pieces;
  int64_t piece_count;
  int64_t padded_depth;
  ScaleKind scale_kind;
  OffsetKind offset_kind;
  bool float_offsets;  // is_float(offset_kind)
  int32_t zero_code;
  float factor;  // of all weights

  // Activations: first row of the job, and their packed form.
  const void* x;
  int32_t x_dtype;  // F32 or BF16; F8E4M3, F8E5M2 or I8 with x_scales
  int64_t x_row_stride;
  const float* x_scales;  // of the job's rows, or null: one a row, or one for each of the weights' groups
  int64_t x_scales_row_stride;
  bool x_scales_groups;
  int64_t rows;
  bool piece_scales;
  void* values;   // int8 [tile][padded_depth / 4][T][4], or fixed point, f32 or bf16 (rows.h)
  int32_t* sums;  // of a piece's codes [tile][piece][T], in fixed point of its digits [row][piece][3]
  float* scales;  // [tile][T], or [tile][piece][T] with piece_scales; NaN for a row with NaN or infinity
};

// One panel of one job: where it lies, and its rows.
struct Panel {
  const uint8_t* base;
  int32_t rows;  // R of layout.h
  int64_t first_column;
};

struct Kernel {
  // Packs rows [begin, end) of the job's activations.
  void (*pack_rows)(const Job& job, int64_t row_begin, int64_t row_end);
  // Multiplies rows [begin, end), whole tiles but for the job's last, with a panel and writes y. `scratch` holds
  // kThreadScratchBytes, 64-byte aligned.
  void (*multiply)(const Job& job, const Panel& panel, int64_t row_begin, int64_t row_end, uint8_t* scratch);
  // Packed activations: bytes of `values` for an element of x, the number of `sums` for a row and piece, and whether
  // there are `scales`.
  int32_t value_bytes;
  int32_t piece_sums;
  bool scales;
  // T of the tiles.
  int32_t tile_rows;
  // A thread is worth waking for this many multiply-adds: 10 to 20 us of one core with one row.
  int32_t grain;
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
