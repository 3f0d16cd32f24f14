// The rows that a warp has of a tile: their logits and sums, which lie in registers as mma.h and wgmma.h have them.
#pragma once

#include <cstdint>

#include "attention/panels.h"

namespace gatun::cuda::attention {

inline constexpr int kMostWarps = 8, kMostRows = 128;

// What a block knows of its way through the keys, in shared memory.
template <int kPanels>
struct Walk {
  Step<kPanels> steps[4];
  PanelSource sources[32];  // of the first warp
  Tile tile;
  const uint8_t *k, *v;               // of the first key
  uint16_t seen[kMostRows][kPanels];  // of each warp's rows, by itself
  int32_t spoiled;
  // Of each warp: the first row; the end of what its last row sees; its mask rows, in the bits of Step::listed.
  int32_t first_row[kMostWarps], end[kMostWarps];
  uint32_t lists[kMostWarps];
};

// T: kPanels of a step, kSize columns of v, kRowTiles of 16 rows a warp (kWarpRows), kFirstWarp that has rows, kShift
// of their logarithms, kTwoLevels: products with v are sums of their own, which the rows' sums take in (o = factor o +
// p v).
template <class T>
class TileRows {
 public:
  GATUN_DEVICE TileRows(const Job& job, Walk<T::kPanels>& walk) : job_(job), walk_(walk) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) top_[r] = -infinity();
    const Tile& tile = walk.tile;
    const int32_t first = tile.row + own() * T::kWarpRows;
    const int32_t last = smaller(first + T::kWarpRows, tile.row + tile.rows) - 1;
    if (lane() == 0) {
      walk.first_row[own()] = first;
      walk.end[own()] = last < first ? 0 : seen_by(job, tile.item, last).end;
      walk.lists[own()] =
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
      if constexpr (T::kTwoLevels) {
        factor_[r] = factor;
      } else {
#pragma unroll
        for (int j = 0; j < T::kSize / 8; ++j) {
          o_[i][j][e] *= factor;
          o_[i][j][e + 1] *= factor;
        }
      }
    }
  }

  // Writes out and lse; true if some row has a number that is none without having seen one.
  GATUN_DEVICE bool finish() {
    return finish([](int, float value, float) { return value; });
  }
  // Of what restore(column, value, share) makes of the values before the correction, with which they may overflow;
  // share: of a row's weights in its denominator.
  template <class Restore>
  GATUN_DEVICE bool finish(const Restore& restore) {
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
      const float share = total * end.factor;
      float zero = 0;
#pragma unroll
      for (int j = 0; j < T::kSize / 8; ++j) {
        const int column = j * 8 + lane() % 4 * 2;
        zero = fused(o_[i][j][e], 0.0f, fused(o_[i][j][e + 1], 0.0f, zero));
        if (column >= job_.value_size) continue;
        store_two(out_at + row * job_.out_row_stride + column,
                  end.correction * restore(column, o_[i][j][e] * end.factor, share),
                  end.correction * restore(column + 1, o_[i][j][e + 1] * end.factor, share));
      }
      spoiled = spoiled || (zero != 0 && is_finite(total));  // NaN is not 0
    }
    return spoiled;
  }

 protected:
  static constexpr int kRows = 2 * T::kRowTiles, kTiles = 2 * T::kPanels;  // that a lane has a part of; of eight keys

  // INT8: of a row of q.
  struct RowScale {
    float scale, offset;
  };
  GATUN_DEVICE void load_scales(RowScale (&of_rows)[kRows]) const {
    const int64_t first = code_row(job_, walk_.tile);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int64_t row = first + smaller(row_of(r), walk_.tile.row + walk_.tile.rows - 1);
      of_rows[r] = {job_.codes.q_scales[row], job_.codes.q_offsets[row]};
    }
  }
  GATUN_DEVICE void load_scales(const Step<T::kPanels>& step, float (&of_panels)[T::kPanels]) const {
#pragma unroll
    for (int i = 0; i < T::kPanels; ++i) {
      const bool there = i < step.count;
      of_panels[i] =
          there ? job_.codes.k_scales[unit_of(job_, walk_.tile.item, walk_.tile.kv_head, step.key[i])] : 0.0f;
    }
  }
  // s of sums of products of codes.
  GATUN_DEVICE void scale_sums(const int32_t (&sum)[T::kRowTiles][kTiles][4], const RowScale (&of_rows)[kRows],
                               const float (&of_panels)[T::kPanels]) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int j = 0; j < kTiles; ++j) {
#pragma unroll
        for (int e = r % 2 * 2; e < r % 2 * 2 + 2; ++e) {
          s_[r / 2][j][e] =
              fused(static_cast<float>(sum[r / 2][j][e]), of_rows[r].scale * of_panels[j / 2], of_rows[r].offset);
        }
      }
    }
  }

  GATUN_DEVICE static int own() { return thread_index() / 32 - T::kFirstWarp; }
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
  float s_[T::kRowTiles][kTiles][4];
  float o_[T::kRowTiles][T::kSize / 8][4] = {};
  float top_[kRows], total_[kRows] = {};
  float factor_[kRows];  // of two levels: of the last step
};

}  // namespace gatun::cuda::attention
