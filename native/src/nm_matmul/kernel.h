// What the entry hands to a kernel, and the kernels' declarations. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "nm_matmul/layout.h"
#include "qmatmul/outputs.h"

namespace gatun::nm_matmul {

// Rows of x that are packed and multiplied at a time.
inline constexpr int64_t kBlockRows = 512;

// Rows of x in a tile of packed activations; the last tile has what is left.
inline constexpr int kTileRows = 16;
inline constexpr int kMaxPieceSlots = kPieceDepth;

// Where the slots of a lane are found in x, for every lane of kLanes columns at once: a chunk is 1 slot (f32), 2 (bf16)
// or 4 (int8), so that a lane of 32 bits holds its weights, and lies in one window, 64 or 128 bytes (int8: from 16) of
// x.
struct Chunk {
  uint32_t base;   // of each slot's group within the window, in elements, side by side as the weights are; stored dense
                   // the bytes from the window's begin to the chunk's elements
  int32_t window;  // counted in the piece
};

// Multiplication of up to kBlockRows rows of x with panels.
struct Job : Outputs {
  // Weights.
  const Piece* pieces;
  const int64_t* windows;  // of each piece its first window, and at last their number
  int64_t piece_count;
  const Chunk* chunks;  // of a piece: the same for all
  int32_t window_bytes;
  int64_t depth;
  int32_t m;
  int32_t index_bits;  // 0: stored dense
  int32_t unit_bytes;
  int32_t scale_dtype;  // 0: none
  bool zero_points;

  // Activations: first row, and their packed form.
  const void* x;
  int32_t x_dtype;
  int64_t x_row_stride;
  int64_t rows;
  uint8_t* values;  // rows.h
  float* scales;    // of rows quantized to int8; NaN for a row with NaN or infinity
};

struct Panel {
  const uint8_t* base;
  int32_t columns;  // R of layout.h
  int64_t first_column;
};
// Consecutive panels; all but the last have kPanelColumns.
struct Panels {
  Panel first;
  int32_t count;
  int32_t last_columns;
  int64_t bytes;  // from one to the next
};

struct Kernel {
  // Packs rows [begin, end), whole tiles but for the job's last, of the job's activations.
  void (*pack_rows)(const Job& job, int64_t row_begin, int64_t row_end);
  // Multiplies rows [begin, end), likewise, with panels and writes y. `scratch` holds scratch_bytes, 64-byte aligned.
  void (*multiply)(const Job& job, const Panels& panels, int64_t row_begin, int64_t row_end, uint8_t* scratch);
  int64_t scratch_bytes;
  int32_t tile_rows;        // rows of x in a tile of packed activations; memory is there for whole tiles
  int32_t panels;           // at most these are multiplied together
  int32_t chunk_slots;      // 1, 2 or 4; an element of packed x has 4 / chunk_slots bytes
  int32_t window_bytes[4];  // with indices of 0 (stored dense), 2, 4 and 8 bits
  // A thread is worth waking for this many kept multiply-adds.
  int32_t grain;
};

#define GATUN_NM_MATMUL_KERNEL(name, isa, x, values, least, sparsest) \
  }                                                                   \
  namespace gatun::isa {                                              \
  extern const nm_matmul::Kernel name;                                \
  }                                                                   \
  namespace gatun::nm_matmul {
#include "nm_matmul/kernels.inc"
#undef GATUN_NM_MATMUL_KERNEL

}  // namespace gatun::nm_matmul
