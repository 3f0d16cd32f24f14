// A block: as much of a panel's depth as all tiles take turns on before they go on to the next, so that it stays in the
// caches.
#pragma once

#include "qmatmul/kernel.h"
#include "qmatmul/scales.h"
#include "qmatmul/tile.h"

namespace gatun::GATUN_ISA {

// The weights of a piece of one panel.
struct PieceWeights {
  const uint8_t* codes;
  ScalesAt at;
  int64_t depth;
};

// Successive pieces of a panel, together up to kPieceDepth deep.
struct Block {
  // Groups of up to kPieceDepth are pieces of 16 depths or more, but for the panel's last one. What a longer group
  // leaves may be shorter, 8 of 520, but next to it are pieces of kPieceDepth, or the panel's last one.
  static constexpr int kMost = qmatmul::kPieceDepth / 16;
  int64_t begin, end;  // pieces
  int64_t bytes;       // of codes, about; from here on lies the next block
  bool keep;           // scales, for there are many tiles
  PieceWeights weights[kMost];
  // As f32, whatever their kind: tiles of many rows read them again and again.
  alignas(64) float scales[kMost][qmatmul::kPanelRows];
  alignas(64) float offsets[kMost][qmatmul::kPanelRows];
};

// The scales of a piece, of V vectors of rows of the panel from `row` on.
template <int V>
GATUN_INLINE void decode_scales(const qmatmul::Job& job, const ScalesAt& at, int64_t row, F32 (&scales)[V]) {
  with_scales(job.scale_kind, [&](auto kind) {
    for (int v = 0; v < V; ++v) scales[v] = load_scales<decltype(kind)::value>(at, row + v * kLanes);
  });
}

// The block that begins at a piece.
inline void fill_block(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t begin, Block& block) {
  block.begin = block.end = begin;
  int64_t depth = 0;
  do {
    const qmatmul::Piece& piece = job.pieces[block.end];
    const int64_t i = block.end++ - begin;
    block.weights[i] = {panel.base + piece.codes * panel.rows, scales_at(panel, piece), piece.depth};
    depth += piece.depth;
  } while (block.end < job.piece_count && depth + job.pieces[block.end].depth <= qmatmul::kPieceDepth);
  const qmatmul::Piece& first = job.pieces[begin];
  const int64_t end = block.end < job.piece_count ? job.pieces[block.end].codes : job.pieces[block.end - 1].scales;
  block.bytes = (end - first.codes) * panel.rows;
}

// The scales of a piece for a tile of T rows. The `first` tile of a block decodes them to `kept`, where the others find
// them; a tile of one row decodes its own, as there is rarely another, and where rows are few so does every tile,
// unless they are to `keep` scales.
template <int T, int V>
GATUN_INLINE void block_scales(const qmatmul::Job& job, const ScalesAt& at, int64_t column, bool first, float* kept,
                               F32 (&scales)[V], bool keep = true) {
  if (T == 1 || first || !keep) decode_scales(job, at, column, scales);
  if (T == 1 || !keep) return;
  for (int v = 0; v < V; ++v) {
    if (first)
      store_f32(kept + v * kLanes, scales[v]);
    else
      scales[v] = load_f32(kept + v * kLanes);
  }
}

}  // namespace gatun::GATUN_ISA
