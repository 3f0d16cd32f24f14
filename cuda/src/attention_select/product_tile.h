// A tile of q . k by a block of 256 threads, as logits or as what is seen of them in blocks of keys.
//
//   logit[r][c] = rule(sum over phases s of q[r * phases + phases - 1 - s] . k[c * phases + s])
//
//            128 columns: blocks of keys, whole, as many as fit
//           +---------+---------+--
//   128     | most,   |         |       part[r][block] = the largest logit that row r sees, the sum of 2^(logit - most)
//   rows    | sum     |         |
//           +---------+---------+--
//
// Depth goes through shared memory 128 bytes a row at a time, twice buffered; of a row r, the 16 bytes u lie at place
// u ^ r % 8. F16 and BF16: a warp makes 64 x 32 by mma.m16n8k16. F32: a thread makes 8 x 8, rows and columns 16 apart,
// by fma. Rows and columns that are none are zeros in shared memory, and not written.
//
// Then logits lie in shared memory, rows 136 apart: pairs of accumulators are stored, and what eight lanes read of each
// of four rows is read, from different banks. Eight lanes share a row's part of a block.
//
// Tails: zeros; logits that are not seen are -infinity and weigh 0; those seen that are no finite numbers are NaN.
// Results: not measured.
#pragma once

#include <cstdint>

#include "attention_select/selection_rows.h"
#include "ptx/cp_async.h"
#include "ptx/launch.h"
#include "ptx/ldmatrix.h"
#include "ptx/memory.h"
#include "ptx/mma.h"

namespace gatun::cuda::attention_select {

inline constexpr int kProductThreads = 256, kChunkBytes = 128, kUnits = kChunkBytes / 16, kStages = 2;
inline constexpr int kLogitStride = kTile + 8, kMostColumns = kTile / 8;

// What of a tile's place in the work there is to know.
struct TilePlace {
  Item item;
  int64_t head;
  int64_t first_query;   // of row 0
  int64_t first_column;  // of those of the item
  int rows;              // that there are, at most tile_rows
  int64_t results;       // the place of row 0 in units of rows
};

struct TileSeen {
  int32_t sinks, begin, end;  // among the tile's columns
};
struct alignas(16) ProductShared {
  union {
    uint8_t operands[kStages][2][kTile][kChunkBytes];
    float logits[kTile][kLogitStride];
  };
  TileSeen seen[kTile];
  TilePlace at;  // here, since it takes registers
};

GATUN_DEVICE uint8_t* unit_at(uint8_t (&rows)[kTile][kChunkBytes], int row, int unit) {
  return rows[row] + (unit ^ row % 8) * 16;
}

// Rows of q or of k that a tile is made of.
struct TileRows {
  const uint8_t* data;
  int64_t stride_bytes;
  int64_t first, count;  // the first group; rows that there are
  bool aligned;
};

// 16 bytes of rows, or zeros.
template <int kElement>
GATUN_DEVICE void load_unit(const TileRows& rows, int64_t row, int byte, int row_bytes, uint8_t* to) {
  const bool inside = row >= 0 && row < rows.count && byte < row_bytes;
  const uint8_t* const from = rows.data + (inside ? row * rows.stride_bytes + byte : 0);
  if (rows.aligned) {
    copy_async_16(to, from, inside ? 16 : 0);
    return;
  }
  using Element = std::conditional_t<kElement == 4, uint32_t, uint16_t>;
#pragma unroll
  for (int i = 0; i < 16 / kElement; ++i) {
    reinterpret_cast<Element*>(to)[i] = inside ? reinterpret_cast<const Element*>(from)[i] : Element{0};
  }
}

// The products of a thread.
template <class T>
struct Sums;

template <bool kBf16>
struct Halves {
  static constexpr int kElement = 2, kBlocks = 2;  // bytes; of a multiprocessor
};
using F16 = Halves<false>;
using Bf16 = Halves<true>;
struct F32 {
  static constexpr int kElement = 4, kBlocks = 1;
};

template <bool kBf16>
struct Sums<Halves<kBf16>> {
  float sum[4][4][4] = {};  // [16 rows][8 columns]

  GATUN_DEVICE static int row() { return warp() / 4 * 64; }
  GATUN_DEVICE static int column() { return warp() % 4 * 32; }

  GATUN_DEVICE void add(uint8_t (&q)[kTile][kChunkBytes], uint8_t (&k)[kTile][kChunkBytes], int bytes) {
#pragma unroll
    for (int unit = 0; unit < kUnits; unit += 2) {
      if (unit * 16 >= bytes) break;
      uint32_t a[4][4], b[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) load_matrix_x4(a[i], unit_at(q, row() + i * 16 + lane() % 16, unit + lane() / 16));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        load_matrix_x4(b[i], unit_at(k, column() + i * 16 + lane() / 16 * 8 + lane() % 8, unit + lane() / 8 % 2));
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const uint32_t(&pair)[4] = b[j / 2];
          const uint32_t right[2] = {pair[j % 2 * 2], pair[j % 2 * 2 + 1]};
          if constexpr (kBf16) {
            mma_bf16(sum[i][j], a[i], right);
          } else {
            mma_f16(sum[i][j], a[i], right);
          }
        }
      }
    }
  }

  GATUN_DEVICE void store(float (&logits)[kTile][kLogitStride]) const {
    struct alignas(8) Pair {
      float x, y;
    };
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float* const to = &logits[row() + i * 16 + half * 8 + lane() / 4][column() + j * 8 + lane() % 4 * 2];
          *reinterpret_cast<Pair*>(to) = {sum[i][j][half * 2], sum[i][j][half * 2 + 1]};
        }
      }
    }
  }
};

template <>
struct Sums<F32> {
  float sum[8][8] = {};

  GATUN_DEVICE static int row() { return thread_index() / 16; }
  GATUN_DEVICE static int column() { return thread_index() % 16; }

  GATUN_DEVICE void add(uint8_t (&q)[kTile][kChunkBytes], uint8_t (&k)[kTile][kChunkBytes], int bytes) {
#pragma unroll 1
    for (int unit = 0; unit < kUnits && unit * 16 < bytes; ++unit) {
      Words4 b[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) b[j] = *reinterpret_cast<const Words4*>(unit_at(k, column() + j * 16, unit));
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const Words4 a = *reinterpret_cast<const Words4*>(unit_at(q, row() + i * 16, unit));
#pragma unroll
        for (int j = 0; j < 8; ++j) {
#pragma unroll
          for (int x = 0; x < 4; ++x) sum[i][j] = fused(as_float(a.word[x]), as_float(b[j].word[x]), sum[i][j]);
        }
      }
    }
  }

  GATUN_DEVICE void store(float (&logits)[kTile][kLogitStride]) const {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) logits[row() + i * 16][column() + j * 16] = sum[i][j];
    }
  }
};

GATUN_DEVICE TilePlace place_of_tile(const ProductJob& job) {
  const int64_t unit = quotient(block_x(), job.column_tiles), column_tile = block_x() - unit * job.column_tiles;
  const int64_t all = quotient(job.first_unit + unit, job.row_tiles), b = quotient(all, job.heads);
  const int64_t row_tile = job.first_unit + unit - all * job.row_tiles;
  const Item item = item_of(job.items, b);
  const Sight& sight = item.sight;
  const int64_t start = job.last_queries > 0 ? first_of_last(sight, job.last_queries) : 0;
  const int64_t first_row = row_tile * job.tile_rows;
  const int64_t rows = units_of(sight.queries - start, job.query_unit) - first_row;
  return {item,
          all - b * job.heads,
          start + first_row * job.query_unit,
          column_tile * job.tile_columns,
          static_cast<int>(between(rows, 0, job.tile_rows)),
          unit * job.tile_rows};
}

// Sums of the tile to shared memory.
template <class T>
GATUN_DEVICE void multiply_tile(const ProductJob& job, const TilePlace& at, ProductShared& shared) {
  const Params& p = job.items.p;
  const bool ragged = job.items.q_offsets != nullptr;
  const Sight& sight = at.item.sight;
  const int row_bytes = static_cast<int>(p.head_size) * T::kElement;
  const auto rows_of = [&](const Operand& x, int64_t first_row, int64_t head, int64_t first, int64_t count) {
    const int64_t place = place_of(x, ragged, at.item.batch, first_row, head);
    return TileRows{static_cast<const uint8_t*>(x.data) + place * T::kElement, x.row_stride * T::kElement, first, count,
                    x.aligned};
  };
  // Blocks beyond those of the map have no means.
  const TileRows rows[2] = {
      rows_of(job.q, at.item.q_first, at.head,
              job.q.of_blocks ? quotient(at.first_query, job.query_unit) : at.first_query,
              job.q.of_blocks ? lesser(units_of(sight.queries, job.query_unit), p.query_blocks) : sight.queries),
      rows_of(job.k, at.item.k_first, quotient(at.head, job.group),
              job.k.of_blocks ? at.first_column : at.first_column * job.phases,
              job.k.of_blocks ? lesser(units_of(sight.keys, job.key_unit), job.items.s.key_blocks) : sight.keys)};
  const int row_chunks = (row_bytes + kChunkBytes - 1) / kChunkBytes, chunks = row_chunks * job.phases;
  const int unit = thread_index() % kUnits;
  int next_phase = 0, next_chunk = 0;
  const auto load = [&](int stage) {
    if (next_phase < job.phases) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int phase = i == 0 ? job.phases - 1 - next_phase : next_phase;
#pragma unroll
        for (int row = thread_index() / kUnits; row < kTile; row += kProductThreads / kUnits) {
          load_unit<T::kElement>(rows[i], rows[i].first + int64_t{row} * job.phases + phase,
                                 next_chunk * kChunkBytes + unit * 16, row_bytes,
                                 unit_at(shared.operands[stage][i], row, unit));
        }
      }
    }
    copy_async_commit();
    if (++next_chunk == row_chunks) {
      next_chunk = 0;
      ++next_phase;
    }
  };
  Sums<T> sums;
  load(0);
#pragma unroll 1
  for (int chunk = 0, in_row = 0; chunk < chunks; ++chunk, in_row = in_row + 1 == row_chunks ? 0 : in_row + 1) {
    const int stage = chunk % kStages;
    load(1 - stage);
    copy_async_wait<1>();
    block_barrier();
    sums.add(shared.operands[stage][0], shared.operands[stage][1], row_bytes - in_row * kChunkBytes);
    block_barrier();
  }
  sums.store(shared.logits);
  block_barrier();
}

// The logit of a product that is seen.
GATUN_DEVICE float logit_of(const ProductJob& job, float product) {
  const float x = cuda::attention::logit_of(job.rule, 0, product, 0);
  return fused(x, 0.0f, x);
}

GATUN_DEVICE bool sees(const TileSeen& seen, int column) {
  return column < seen.sinks || (column >= seen.begin && column < seen.end);
}

// A warp's rows, one after the other.
GATUN_DEVICE void put_logits(const ProductJob& job, const TilePlace& at, bool empty, const ProductShared& shared) {
  for (int row = warp(); row < at.rows; row += kProductThreads / 32) {
    const TileSeen seen = shared.seen[row];
    for (int column = lane(); column < job.tile_columns; column += 32) {
      if (at.first_column + column >= job.width) break;
      const bool seen_here = !empty && sees(seen, column);
      job.logits[(at.results + row) * job.width + at.first_column + column] =
          seen_here ? logit_of(job, shared.logits[row][column]) : -infinity();
    }
  }
}

// Eight lanes for each row and block.
GATUN_DEVICE void put_parts(const ProductJob& job, const TilePlace& at, bool empty, const ProductShared& shared) {
  constexpr int kSharing = 8;
  const int blocks = job.tile_columns / job.block_columns;
  const int64_t first_block = quotient(at.first_column, job.block_columns);
#pragma unroll 1
  for (int i = thread_index() / kSharing; i < blocks * kTile; i += kProductThreads / kSharing) {
    const int row = i % kTile, block = i / kTile, first = block * job.block_columns;
    const TileSeen seen = shared.seen[row];
    float logits[kMostColumns], largest = -infinity(), sum = 0;
#pragma unroll
    for (int j = 0; j < kMostColumns; ++j) {
      const int column = j * kSharing + lane() % kSharing;
      const bool seen_here = !empty && column < job.block_columns && sees(seen, first + column);
      logits[j] = seen_here ? logit_of(job, shared.logits[row][first + column]) : -infinity();
      largest = max_or_nan(largest, logits[j]);
    }
#pragma unroll
    for (int mask = 1; mask < kSharing; mask *= 2) largest = max_or_nan(largest, shuffle_xor(largest, mask));
    const float from = largest == -infinity() ? 0.0f : largest;
#pragma unroll
    for (int j = 0; j < kMostColumns; ++j) sum += exp2_fast(logits[j] - from);
#pragma unroll
    for (int mask = 1; mask < kSharing; mask *= 2) sum += shuffle_xor(sum, mask);
    if (lane() % kSharing == 0 && row < at.rows && first_block + block < job.width) {
      job.parts[(at.results + row) * job.width + first_block + block] = {largest, sum};
    }
  }
}

// Blocks: tiles of columns, units, the first fastest.
template <class T>
GATUN_KERNEL(kProductThreads, T::kBlocks)
select_products(GATUN_GRID_CONSTANT ProductJob job) {
  ProductShared& shared = *reinterpret_cast<ProductShared*>(shared_memory());
  if (thread_index() == 0) shared.at = place_of_tile(job);
  block_barrier();
  const TilePlace& at = shared.at;
  if (at.rows == 0) return;
  const Sight& sight = at.item.sight;
  const auto seen_by = [&](int64_t row, int64_t rows) {
    const int64_t first = at.first_query + row * job.query_unit;
    const Seen seen = sight.of(first, lesser(sight.queries, first + rows * job.query_unit), job.key_unit);
    const auto here = [&](int64_t column) {
      return static_cast<int32_t>(between(column - at.first_column, 0, job.tile_columns));
    };
    return TileSeen{here(seen.sinks), here(seen.begin), here(seen.end)};
  };
  if (thread_index() < kTile) {
    shared.seen[thread_index()] = thread_index() < at.rows ? seen_by(thread_index(), 1) : TileSeen{};
  }
  const TileSeen all = seen_by(0, at.rows);
  const bool empty = all.sinks == 0 && all.begin == all.end;
  if (!empty) multiply_tile<T>(job, at, shared);
  block_barrier();
  if (job.logits != nullptr) {
    put_logits(job, at, empty, shared);
  } else {
    put_parts(job, at, empty, shared);
  }
}

template <class T>
int32_t launch_products(const char* name, const ProductJob& job, void* stream) {
  const int64_t bytes = static_cast<int64_t>(sizeof(ProductShared));
  return launch(name, select_products<T>, {job.units * job.column_tiles, 1, 1, kProductThreads, bytes}, stream, job);
}

}  // namespace gatun::cuda::attention_select
