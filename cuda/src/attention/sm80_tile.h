// Attention by mma.sync from sm_80 on (FlashAttention-2, Dao 2023).
//
//   s = q k^T;  top = max(top, s);  p = 2^((s - top) * scale);  total = total * factor + sum p;  o = o * factor + p v
//
// A block has a tile of queries, of which each warp has kWarpRows; it goes through the keys that these see (panels.h),
// kKeys a step:
//
//                 k: kKeys x kSize         v: kKeys x kSize
//   warp 0  q     s: 32 x 64 (16 x 32)     o: 32 x kSize (16 x 256)      in registers; p is s, rounded to 16 bits,
//   which warp 1  q     s                        o                             lies as the left operand of p v has to
//   ..
//
// q, k and v lie in shared memory, 16 bytes number c of row r at c ^ (r % 8) (of rows of 64 bytes c ^ (r / 2 % 4)), so
// that ldmatrix meets all banks. k of the next step comes while this one's p v is made, v of this one during q k^T:
//
//   wait, barrier: k is there, v is free | load v | s | wait, barrier: v is there, k is free | load k | softmax, p v
//
// Only steps that some row may not see all of are looked at key by key. INT8: s is of codes, times both scales, plus
// q . mean.
//
// Rounding: p of f16 is 2^15 times as large, so that it is not subnormal until 2^-29, and the sums by as much. A NaN or
// infinity of v makes NaN of 0 v: a row that does not see it, but lies in the same tile, is found by its finite total,
// and the tile is done again (simt.cu).
//
// Tails: rows beyond the last and columns beyond the sizes are zeros in shared memory and not written; keys beyond the
// last are zeros that are hidden. Bases or strides that are no multiples of 16 bytes are loaded element by element.
//
// A step of a warp of 32 rows, size 128, 48 keys: 192 mma, 64 ldmatrix, 48 exponentials (of 16 lanes a cycle: 96 cycles
// of a scheduler), about 600 instructions in all. Two blocks share an SM, two warps a scheduler. On sm_90, where
// mma.sync reaches some 60 % of wgmma, 192 mma take 1100 cycles of a scheduler: it is bound by them. Prediction for
// 16k x 16k, bf16, H200: 330 to 420 TFLOP/s. Not measured: emulated only.
#pragma once

#include <cstdint>
#include <type_traits>

#include "attention/tile_rows.h"
#include "ptx/cp_async.h"
#include "ptx/launch.h"
#include "ptx/ldmatrix.h"
#include "ptx/mma.h"

namespace gatun::cuda::attention::sm80 {

inline constexpr int kMostThreads = 128;

template <bool kBf16Of, bool kInt8Of, int kSizeOf>
struct Shape {
  static constexpr bool kBf16 = kBf16Of, kInt8 = kInt8Of;  // of p and v; of q and k
  static constexpr int kSize = kSizeOf;
  static constexpr int kRowTiles = kSize <= 128 ? 2 : 1, kWarpRows = 16 * kRowTiles;
  // With more, sums and logits do not fit into the 255 registers of a thread.
  static constexpr int kPanels = kSize == 64 ? 4 : kSize == 128 ? 3 : 2, kKeys = kPanels * kPanelKeys;
  static constexpr int kRowBytes = kInt8 ? kSize : 2 * kSize, kValueBytes = 2 * kSize;
  static constexpr int kFirstWarp = 0;
  static constexpr bool kTwoLevels = false;
  static constexpr float kShift = kBf16 ? 0.0f : 15.0f;  // of logarithms of weights
  static constexpr int kKAt = (sizeof(Walk<kPanels>) + 127) / 128 * 128;
  static constexpr int kVAt = kKAt + kKeys * kRowBytes, kQAt = kVAt + kKeys * kValueBytes;
  static constexpr int shared_bytes(int rows) { return kQAt + rows * kRowBytes; }
};

template <int kRowBytes>
GATUN_DEVICE int place(int row, int piece) {
  return row * kRowBytes + (kRowBytes == 64 ? piece ^ (row / 2 & 3) : piece ^ (row & 7)) * 16;
}

// Rows to shared memory; row_of says where a row is in `from`, or -1: zeros.
template <int kRowBytes, class RowOf>
GATUN_DEVICE void copy_rows(uint8_t* to, const uint8_t* from, int64_t stride_bytes, int row_bytes, bool aligned,
                            int rows, const RowOf& row_of) {
  constexpr int kPieces = kRowBytes / 16;
  const int thread = thread_index(), piece = thread % kPieces, step = thread_count() / kPieces;
  const auto source = [&](int row) -> const uint8_t* {
    const int64_t index = row_of(row);
    return index < 0 || piece * 16 >= row_bytes ? nullptr : from + index * stride_bytes + piece * 16;
  };
  if (aligned) {
#pragma unroll 4
    for (int row = thread / kPieces; row < rows; row += step) {
      const uint8_t* const at = source(row);
      copy_async_16(to + place<kRowBytes>(row, piece), at == nullptr ? from : at, at == nullptr ? 0 : 16);
    }
    return;
  }
#pragma unroll 1
  for (int row = thread / kPieces; row < rows; row += step) {
    const uint16_t* const at = reinterpret_cast<const uint16_t*>(source(row));
    uint16_t* const place_of_piece = reinterpret_cast<uint16_t*>(to + place<kRowBytes>(row, piece));
#pragma unroll
    for (int i = 0; i < 8; ++i) place_of_piece[i] = at == nullptr ? uint16_t{0} : at[i];
  }
}

template <class T>
class Warp : public TileRows<T> {
  using Rows = TileRows<T>;
  using Rows::job_, Rows::walk_, Rows::s_, Rows::o_, Rows::kTiles, Rows::kRows, Rows::own;

 public:
  GATUN_DEVICE Warp(const Job& job, Walk<T::kPanels>& walk, const uint8_t* shared) : Rows(job, walk), shared_(shared) {}

  // s = q k^T
  GATUN_DEVICE void multiply_keys(const Step<T::kPanels>& step) {
    Sum sum[T::kRowTiles][kTiles][4] = {};
    const int q_row = own() * T::kWarpRows + lane() % 16, k_row = lane() % 8 + lane() / 16 * 8;
#pragma unroll
    for (int depth = 0; depth < T::kRowBytes / 32; ++depth) {
      uint32_t a[T::kRowTiles][4];
#pragma unroll
      for (int i = 0; i < T::kRowTiles; ++i) {
        load_matrix_x4(a[i], shared_ + T::kQAt + place<T::kRowBytes>(q_row + 16 * i, 2 * depth + lane() / 16));
      }
#pragma unroll
      for (int panel = 0; panel < T::kPanels; ++panel) {
        uint32_t b[4];
        load_matrix_x4(b,
                       shared_ + T::kKAt + place<T::kRowBytes>(panel * kPanelKeys + k_row, 2 * depth + lane() / 8 % 2));
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const uint32_t of_half[2] = {b[2 * half], b[2 * half + 1]};
#pragma unroll
          for (int i = 0; i < T::kRowTiles; ++i) multiply(sum[i][2 * panel + half], a[i], of_half);
        }
      }
    }
    if constexpr (T::kInt8) {
      float of_panels[T::kPanels];
      typename Rows::RowScale of_rows[kRows];
      Rows::load_scales(step, of_panels);
      Rows::load_scales(of_rows);
      Rows::scale_sums(sum, of_rows, of_panels);
    } else {
      Rows::for_each([&](int i, int j, int e) { s_[i][j][e] = sum[i][j][e]; });
    }
  }

  // o += p v
  GATUN_DEVICE void multiply_values() {
#pragma unroll
    for (int panel = 0; panel < T::kPanels; ++panel) {
      uint32_t a[T::kRowTiles][4];
#pragma unroll
      for (int i = 0; i < T::kRowTiles; ++i) {
#pragma unroll
        for (int x = 0; x < 4; ++x) {
          const float(&p)[4] = s_[i][2 * panel + x / 2];
          a[i][x] = T::kBf16 ? pack_bf16(p[x % 2 * 2], p[x % 2 * 2 + 1]) : pack_f16(p[x % 2 * 2], p[x % 2 * 2 + 1]);
        }
      }
#pragma unroll
      for (int j = 0; j < T::kSize / 8; j += 2) {
        uint32_t b[4];
        load_matrix_x4_transposed(
            b, shared_ + T::kVAt + place<T::kValueBytes>(panel * kPanelKeys + lane() % 16, j + lane() / 16));
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const uint32_t of_half[2] = {b[2 * half], b[2 * half + 1]};
#pragma unroll
          for (int i = 0; i < T::kRowTiles; ++i) {
            if constexpr (T::kBf16) mma_bf16(o_[i][j + half], a[i], of_half);
            if constexpr (!T::kBf16) mma_f16(o_[i][j + half], a[i], of_half);
          }
        }
      }
    }
  }

 private:
  using Sum = typename std::conditional<T::kInt8, int32_t, float>::type;

  GATUN_DEVICE static void multiply(Sum (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (T::kInt8) {
      mma_i8(d, a, b);
    } else if constexpr (T::kBf16) {
      mma_bf16(d, a, b);
    } else {
      mma_f16(d, a, b);
    }
  }

  const uint8_t* const shared_;
};

// The first row of an item's head.
GATUN_DEVICE const uint8_t* rows_at(const Job& job, const Strided& x, int64_t item, int64_t first, int64_t head,
                                    int element_bytes) {
  return static_cast<const uint8_t*>(x.data) + place_of(job, item, first, head, x) * element_bytes;
}

// To shared memory, what a step goes through of k or v, whose rows are kRowBytes there.
template <int kRowBytes, int kPanels>
GATUN_DEVICE void copy_panels(uint8_t* to, const uint8_t* from, int64_t stride_bytes, int row_bytes, bool aligned,
                              int32_t keys, const Step<kPanels>& step) {
  copy_rows<kRowBytes>(to, from, stride_bytes, row_bytes, aligned, kPanels * kPanelKeys, [&](int row) -> int64_t {
    const int32_t key = step.key[row / kPanelKeys] + row % kPanelKeys;
    return key < keys ? key : -1;
  });
  copy_async_commit();
}

template <class T>
GATUN_KERNEL(kMostThreads, 2)
attention_tile(GATUN_GRID_CONSTANT Job job) {
  constexpr int kElement = T::kInt8 ? 1 : 2;
  const Strided &q = T::kInt8 ? job.codes.q : job.q, &k = T::kInt8 ? job.codes.k : job.k;
  const int row_bytes = T::kInt8 ? static_cast<int>(job.codes.columns) : job.head_size * 2;
  uint8_t* const shared = shared_memory();
  // What is kept there takes no registers.
  Walk<T::kPanels>& walk = *reinterpret_cast<Walk<T::kPanels>*>(shared);
  {
    Tile tile;
    if (!tile_of_block(job, &tile)) return;
    const Item& item = tile.item;
    if (thread_index() == 0) {
      walk.tile = tile;
      walk.k = rows_at(job, k, item.index, item.first_key, tile.kv_head, kElement);
      walk.v = rows_at(job, job.values, item.index, item.first_key, tile.kv_head, 2);
      walk.spoiled = 0;
    }
    if (warp() == 0) {
      walk.sources[lane()] = PanelSource(job, tile);
      walk.sources[lane()].fill(job, &walk.steps[0]);
    }
    copy_rows<T::kRowBytes>(
        shared + T::kQAt,
        rows_at(job, q, item.index, item.first_query, tile.head, kElement) + tile.row * q.row_stride * kElement,
        q.row_stride * kElement, row_bytes, job.aligned_q, job.tile_rows,
        [&](int row) -> int64_t { return row < tile.rows ? row : -1; });
  }
  block_barrier();
  const auto load_keys = [&](const Step<T::kPanels>& step) {
    copy_panels<T::kRowBytes>(shared + T::kKAt, walk.k, k.row_stride * kElement, row_bytes, job.aligned_k,
                              walk.tile.item.keys, step);
  };
  load_keys(walk.steps[0]);
  Warp<T> own(job, walk, shared);
#pragma unroll 1
  for (int i = 0; walk.steps[i].count > 0; i ^= 1) {
    const Step<T::kPanels>&step = walk.steps[i], &next = walk.steps[i ^ 1];
    copy_async_wait<0>();
    block_barrier();
    if (job.out != nullptr) {
      copy_panels<T::kValueBytes>(shared + T::kVAt, walk.v, job.values.row_stride * 2, job.value_size * 2,
                                  job.aligned_v, walk.tile.item.keys, step);
    }
    if (warp() == 0) walk.sources[lane()].fill(job, &walk.steps[i ^ 1]);
    const bool sees = own.sees(step);
    if (sees) own.multiply_keys(step);
    copy_async_wait<0>();
    block_barrier();
    if (next.count > 0) load_keys(next);
    if (!sees) continue;
    own.soften(step);
    if (job.out != nullptr) own.multiply_values();
  }
  copy_async_wait<0>();
  if (ballot(own.finish()) != 0 && lane() == 0) walk.spoiled = 1;
  block_barrier();
  if (thread_index() == 0) job.spoiled[block_x()] = static_cast<uint8_t>(walk.spoiled);
}

template <bool kBf16, bool kInt8, int kSize>
int32_t run(const char* name, const Job& job, void* stream) {
  using T = Shape<kBf16, kInt8, kSize>;
  return launch(name, attention_tile<T>,
                {job.blocks, 1, 1, job.tile_rows / T::kWarpRows * 32, T::shared_bytes(job.tile_rows)}, stream, job);
}

}  // namespace gatun::cuda::attention::sm80
