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

#include "attention/panels.h"
#include "ptx/cp_async.h"
#include "ptx/launch.h"
#include "ptx/ldmatrix.h"
#include "ptx/mma.h"

namespace gatun::cuda::attention::sm80 {

inline constexpr int kMostThreads = 128, kMostWarps = 4, kMostRows = 128;

// What a block knows of its way through the keys, in shared memory.
template <int kPanels>
struct Walk {
  Step<kPanels> steps[2];
  PanelSource sources[32];  // of the first warp
  Tile tile;
  const uint8_t *k, *v;               // of the first key
  uint16_t seen[kMostRows][kPanels];  // of each warp's rows, by itself
  int32_t spoiled;
  // Of each warp: the first row; the end of what its last row sees; its mask rows, in the bits of Step::listed.
  int32_t first_row[kMostWarps], end[kMostWarps];
  uint32_t lists[kMostWarps];
};

template <bool kBf16Of, bool kInt8Of, int kSizeOf>
struct Shape {
  static constexpr bool kBf16 = kBf16Of, kInt8 = kInt8Of;  // of p and v; of q and k
  static constexpr int kSize = kSizeOf;
  static constexpr int kRowTiles = kSize <= 128 ? 2 : 1, kWarpRows = 16 * kRowTiles;
  // With more, sums and logits do not fit into the 255 registers of a thread.
  static constexpr int kPanels = kSize == 64 ? 4 : kSize == 128 ? 3 : 2, kKeys = kPanels * kPanelKeys;
  static constexpr int kRowBytes = kInt8 ? kSize : 2 * kSize, kValueBytes = 2 * kSize;
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
class Warp {
 public:
  GATUN_DEVICE Warp(const Job& job, Walk<T::kPanels>& walk, const uint8_t* shared)
      : job_(job), walk_(walk), shared_(shared) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) top_[r] = -infinity();
    const Tile& tile = walk.tile;
    const int32_t first = tile.row + warp() * T::kWarpRows;
    const int32_t last = smaller(first + T::kWarpRows, tile.row + tile.rows) - 1;
    if (lane() == 0) {
      walk.first_row[warp()] = first;
      walk.end[warp()] = last < first ? 0 : seen_by(job, tile.item, last).end;
      walk.lists[warp()] =
          last < first ? 0
                       : ((2u << MaskedRow(job, tile, last).mask_row) - (1u << MaskedRow(job, tile, first).mask_row)) *
                             (1u | 1u << kMaskRows);
    }
    warp_barrier();
  }

  // Whether a row of the warp may see something of a step.
  GATUN_DEVICE bool sees(const Step<T::kPanels>& step) const {
    if (step.key[0] >= walk_.end[own()]) return false;
    uint32_t listed = 0;
#pragma unroll
    for (int i = 0; i < T::kPanels; ++i) listed |= i < step.count ? step.listed[i] : 0;
    return (listed & walk_.lists[own()]) != 0;
  }

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
      float k_scale[T::kPanels];
#pragma unroll
      for (int i = 0; i < T::kPanels; ++i) {
        const bool there = i < step.count;
        k_scale[i] =
            there ? job_.codes.k_scales[unit_of(job_, walk_.tile.item, walk_.tile.kv_head, step.key[i])] : 0.0f;
      }
      const int64_t first = code_row(job_, walk_.tile);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + smaller(row_of(r), walk_.tile.row + walk_.tile.rows - 1);
        const float scale = job_.codes.q_scales[row], offset = job_.codes.q_offsets[row];
#pragma unroll
        for (int j = 0; j < kTiles; ++j) {
#pragma unroll
          for (int e = r % 2 * 2; e < r % 2 * 2 + 2; ++e) {
            s_[r / 2][j][e] = fused(static_cast<float>(sum[r / 2][j][e]), scale * k_scale[j / 2], offset);
          }
        }
      }
    } else {
      for_each([&](int i, int j, int e) { s_[i][j][e] = sum[i][j][e]; });
    }
  }

  // From s to p, in place; o and totals get smaller where maxima grow.
  GATUN_DEVICE void soften(const Step<T::kPanels>& step) {
    if (!job_.rule.simple) apply_rule(step);
    if (step.edge != 0) hide(step);
    const float scale = scale_of_logits();
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int i = r / 2, e = r % 2 * 2;
      float now = top_[r];
#pragma unroll
      for (int j = 0; j < kTiles; ++j) now = max_number(now, max_number(s_[i][j][e], s_[i][j][e + 1]));
      now = max_number(now, shuffle_xor(now, 1));
      now = max_number(now, shuffle_xor(now, 2));
      // Differences are taken before the scale, so that the largest weight is 1, however large logits are.
      const float base = now == -infinity() ? 0.0f : now;
      const float factor = now == top_[r] ? 1.0f : exp2_fast((top_[r] - base) * scale);
      top_[r] = now;
      float sum = 0;
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
#pragma unroll
        for (int c = e; c < e + 2; ++c) {
          s_[i][j][c] = exp2_fast(fused(s_[i][j][c] - base, scale, T::kShift));
          sum += s_[i][j][c];
        }
      }
      total_[r] = fused(total_[r], factor, sum);
#pragma unroll
      for (int j = 0; j < T::kSize / 8; ++j) {
        o_[i][j][e] *= factor;
        o_[i][j][e + 1] *= factor;
      }
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

  // Writes out and lse; true if some row has a number that is none without having seen one.
  GATUN_DEVICE bool finish() {
    bool spoiled = false;
    const float scale = scale_of_logits();
    const int64_t lse_at = lse_place(job_, walk_.tile) - walk_.tile.row;
    const int64_t out_at = job_.out == nullptr ? 0 : out_place(job_, walk_.tile) - walk_.tile.row * job_.out_row_stride;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int i = r / 2, e = r % 2 * 2;
      float total = total_[r];
      total += shuffle_xor(total, 1);
      total += shuffle_xor(total, 2);
      const int32_t row = row_of(r);
      if (row >= walk_.tile.row + walk_.tile.rows) continue;
      const RowEnd end = end_row(job_, walk_.tile.head, lse_at + row, top_[r] * scale - T::kShift, total);
      if (job_.lse != nullptr && lane() % 4 == 0) job_.lse[lse_at + row] = end.lse;
      if (job_.out == nullptr) continue;
      float zero = 0;
#pragma unroll
      for (int j = 0; j < T::kSize / 8; ++j) {
        const int column = j * 8 + lane() % 4 * 2;
        zero = fused(o_[i][j][e], 0.0f, fused(o_[i][j][e + 1], 0.0f, zero));
        if (column >= job_.value_size) continue;
        store_two(out_at + row * job_.out_row_stride + column, o_[i][j][e] * end.factor, o_[i][j][e + 1] * end.factor);
      }
      spoiled = spoiled || (zero != 0 && is_finite(total));  // NaN is not 0
    }
    return spoiled;
  }

 private:
  using Sum = typename std::conditional<T::kInt8, int32_t, float>::type;
  static constexpr int kRows = 2 * T::kRowTiles, kTiles = 2 * T::kPanels;  // that a lane has a part of; of eight keys

  GATUN_DEVICE static int own() { return thread_index() / 32; }
  // Row r of a lane: g or g + 8 of a row tile.
  GATUN_DEVICE int32_t row_of(int r) const { return walk_.first_row[own()] + r * 8 + lane() / 4; }
  GATUN_DEVICE float scale_of_logits() const { return job_.rule.simple ? job_.rule.scale : 1.0f; }

  template <class Act>
  GATUN_DEVICE static void for_each(const Act& act) {
#pragma unroll
    for (int i = 0; i < T::kRowTiles; ++i) {
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) act(i, j, e);
      }
    }
  }

  GATUN_DEVICE static void multiply(Sum (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (T::kInt8) {
      mma_i8(d, a, b);
    } else if constexpr (T::kBf16) {
      mma_bf16(d, a, b);
    } else {
      mma_f16(d, a, b);
    }
  }

  GATUN_DEVICE void apply_rule(const Step<T::kPanels>& step) {
    const float slope = slope_of(job_, walk_.tile.head);
    for_each([&](int i, int j, int e) {
      const int32_t key = step.key[j / 2] + j % 2 * 8 + lane() % 4 * 2 + e % 2;
      const int32_t position = position_of(walk_.tile.item, row_of(2 * i + e / 2));
      s_[i][j][e] = logit_of(job_.rule, slope, s_[i][j][e], key - position);
    });
  }

  // A lane finds what one row sees, for all that have keys of it.
  GATUN_DEVICE void hide(const Step<T::kPanels>& step) {
    uint16_t(*const seen)[T::kPanels] = walk_.seen + own() * T::kWarpRows;
    warp_barrier();
    if (lane() < T::kWarpRows) {
      const MaskedRow row(job_, walk_.tile, walk_.first_row[own()] + lane());
#pragma unroll 1
      for (int panel = 0; panel < T::kPanels; ++panel) {
        seen[lane()][panel] = static_cast<uint16_t>(panel < step.count ? row.bits(job_, step, panel) : 0);
      }
    }
    warp_barrier();
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int panel = 0; panel < T::kPanels; ++panel) {
        const uint32_t bits = static_cast<uint32_t>(seen[r * 8 + lane() / 4][panel]) >> lane() % 4 * 2;
#pragma unroll
        for (int x = 0; x < 4; ++x) {
          float& s = s_[r / 2][2 * panel + x / 2][r % 2 * 2 + x % 2];
          s = (bits >> (x / 2 * 8 + x % 2) & 1) != 0 ? s : -infinity();
        }
      }
    }
  }

  GATUN_DEVICE void store_two(int64_t at, float a, float b) const {
    if (!job_.pairs || job_.out_dtype == GATUN_F32) {
      store_out(job_, at, a);
      store_out(job_, at + 1, b);
    } else {
      *reinterpret_cast<uint32_t*>(static_cast<uint16_t*>(job_.out) + at) =
          job_.out_dtype == GATUN_F16 ? pack_f16(a, b) : pack_bf16(a, b);
    }
  }

  const Job& job_;
  Walk<T::kPanels>& walk_;
  const uint8_t* const shared_;
  float s_[T::kRowTiles][kTiles][4];
  float o_[T::kRowTiles][T::kSize / 8][4] = {};
  float top_[kRows], total_[kRows] = {};
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
