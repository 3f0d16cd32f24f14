// What kernels whose lanes are columns have in common: the arithmetic on selected elements of x, the walk over the
// chunks of a panel's piece, and where the rows of packed x lie.
#pragma once

#include "nm_matmul/values.h"

namespace gatun::GATUN_ISA {

// What is done with elements of x that were selected. kFewRows: up to so many rows, taking weights apart again and
// again (tile_few.h) is less work than keeping them (tile.h). window_bytes: of a window of x, for indices of so many
// bits.
struct MultiplyF32 {
  using Sum = F32;
  template <int kBits>
  static GATUN_INLINE F32 add(F32 sum, const uint8_t* window, Bytes places, F32 w) {
    return fma(select_f32 < kBits == 8 ? 32 : 16 > (reinterpret_cast<const float*>(window), as_lanes(places)), w, sum);
  }
  static GATUN_INLINE F32 add_dense(F32 sum, const uint8_t* x, F32 w) {
    float element;
    std::memcpy(&element, x, sizeof(element));
    return fma(set1(element), w, sum);
  }
  static GATUN_INLINE F32 load(const uint8_t* p) { return load_f32(reinterpret_cast<const float*>(p)); }
  static GATUN_INLINE void store(uint8_t* p, F32 w) { store_f32(reinterpret_cast<float*>(p), w); }
  static constexpr bool kInteger = false;
  static constexpr int kFewRows = 64;
  static constexpr int window_bytes(int bits) { return bits == 8 ? 128 : 64; }
};

struct MultiplyI8 {
  using Sum = I32;
  static constexpr int window_bytes(int bits) { return bits == 8 ? 128 : bits == 4 || kLeastWindow == 64 ? 64 : 16; }
  template <int kBits>
  static GATUN_INLINE I32 add(I32 sum, const uint8_t* window, Bytes places, Bytes w) {
    return dot_i8(sum, prepare_i8(w), select_bytes<window_bytes(kBits)>(window, places));
  }
  static GATUN_INLINE I32 add_dense(I32 sum, const uint8_t* x, Bytes w) {
    return dot_i8(sum, prepare_i8(w), broadcast4(reinterpret_cast<const int8_t*>(x)));
  }
  static GATUN_INLINE Bytes load(const uint8_t* p) { return load_bytes(p); }
  static GATUN_INLINE void store(uint8_t* p, Bytes w) { store_bytes(p, w); }
  static constexpr bool kInteger = true;
  static constexpr int kFewRows = 32;
};

// A unit of V vectors of columns.
template <int kBits, int V>
struct Unit {
  const uint8_t* values;  // behind its indices
  UnitIndices<kBits> indices[V];
};

// of(v, C, the chunk, its places and weights) for chunks C.. < count of a unit, as they lie in memory.
template <int C, class Reader, int kBits, int V, class Of>
GATUN_INLINE void each_chunk(const Reader (&readers)[V], const Columns (&at)[V], const Unit<kBits, V>& unit,
                             const nm_matmul::Chunk* chunks, int32_t count, Of of) {
  if constexpr (C < nm_matmul::kUnitSlots / Reader::Packed::kSlots) {
    if (C >= count) return;
    for (int v = 0; v < V; ++v) {
      of(v, C, chunks[C], places<typename Reader::Packed, kBits, C>(unit.indices[v], chunks[C].base),
         readers[v].template chunk<C>(unit.values, at[v]));
    }
    each_chunk<C + 1>(readers, at, unit, chunks, count, of);
  }
}

// Chunks of a piece: their number.
template <class Packed>
GATUN_INLINE int32_t chunks_of(const nm_matmul::Piece& piece) {
  return (piece.slots + Packed::kSlots - 1) / Packed::kSlots;
}

// of(v, number of the chunk, the chunk, its places and weights) for chunks [begin, end) of a piece, whole units but for
// the piece's last, in V vectors of columns, in ascending depth, as they lie in memory.
template <class Reader, int kBits, int V, class Of>
GATUN_INLINE void for_each_chunk(const nm_matmul::Job& job, const nm_matmul::Piece& piece, const Columns& first,
                                 int32_t begin, int32_t end, Of of) {
  constexpr int kUnitChunks = nm_matmul::kUnitSlots / Reader::Packed::kSlots;
  Columns at[V];
  Reader readers[V];
  for (int v = 0; v < V; ++v) {
    at[v] = {first.panel, first.of, first.column + v * kLanes};
    readers[v] = Reader::of(job, piece, at[v]);
  }
  const int64_t step = int64_t{job.unit_bytes} * first.of;
  const uint8_t* address = first.panel + piece.units * first.of + begin / kUnitChunks * step;
  for (int32_t c = begin; c < end; c += kUnitChunks, address += step) {
    Unit<kBits, V> unit;
    unit.values = address + int64_t{job.index_bits} * first.of;
    for (int v = 0; v < V; ++v) unit.indices[v] = UnitIndices<kBits>::of(address, at[v]);
    const auto visit = [&](int v, int i, const nm_matmul::Chunk& chunk, Bytes places, auto w)
                           GATUN_INLINE_LAMBDA { of(v, c + i, chunk, places, w); };
    // Their number is known to the compiler but in the last unit.
    if (V > 1 && end - c >= kUnitChunks) {
      each_chunk<0>(readers, at, unit, job.chunks + c, kUnitChunks, visit);
    } else {
      each_chunk<0>(readers, at, unit, job.chunks + c, end - c, visit);
    }
  }
}

// Windows of a piece in packed x, for rows from `row` on.
struct RowWindows {
  const uint8_t* x;
  int64_t step;  // from window to window
};
GATUN_INLINE RowWindows row_windows(const nm_matmul::Job& job, int64_t row, int64_t piece) {
  const int64_t tile = row - row % nm_matmul::kTileRows, left = job.rows - tile;
  const int64_t rows = left < nm_matmul::kTileRows ? left : nm_matmul::kTileRows;
  const int64_t windows = job.windows[piece + 1] - job.windows[piece];
  return {job.values + (job.windows[piece] * job.rows + tile * windows + (row - tile)) * job.window_bytes,
          rows * job.window_bytes};
}

template <class Multiply, int kBits, class Weights>
GATUN_INLINE auto add_chunk(typename Multiply::Sum sum, const uint8_t* x, const nm_matmul::Chunk& chunk, Bytes places,
                            Weights w) {
  if constexpr (kBits == 0) return Multiply::add_dense(sum, x + chunk.base, w);
  return Multiply::template add<kBits>(sum, x, places, w);
}

// Sums of a row so far, integers times their scales.
template <class Multiply>
GATUN_INLINE void add_piece(F32& y, typename Multiply::Sum sum, I32 excess, F32 scales) {
  if constexpr (Multiply::kInteger) {
    y = fma(to_f32(sub_i32(sum, excess)), scales, y);
  } else {
    y = sum;
  }
}
template <class Multiply>
GATUN_INLINE typename Multiply::Sum begin_of(F32 y) {
  if constexpr (Multiply::kInteger) {
    return zero_i32();
  } else {
    return y;
  }
}

// What the bias of x adds to integer sums.
template <class Multiply, class Weights>
GATUN_INLINE void add_excess(I32& excess, Weights w) {
  if constexpr (Multiply::kInteger && kI8Bias != 0) excess = dot_i8(excess, prepare_i8(w), set1_u8(kI8Bias));
}

template <int N>
struct Constant {
  static constexpr int value = N;
};
// of(Constant<bits>) for the bits of an index.
template <class Of>
GATUN_INLINE void with_bits(int32_t bits, Of of) {
  switch (bits) {
    case 0:
      return of(Constant<0>());
    case 2:
      return of(Constant<2>());
    case 4:
      return of(Constant<4>());
    default:
      return of(Constant<8>());
  }
}

GATUN_INLINE nm_matmul::Panel panel_at(const nm_matmul::Panels& panels, int32_t i) {
  return {panels.first.base + i * panels.bytes, i + 1 < panels.count ? nm_matmul::kPanelColumns : panels.last_columns,
          panels.first.first_column + int64_t{i} * nm_matmul::kPanelColumns};
}

}  // namespace gatun::GATUN_ISA
