// Optimizer steps: p, g and the old state in, p and the new state out, in one pass.
//
//   s = state, dequantized;  d = update(p, g, s);  p = move(p, d);  state = quantized s
//
// device_job.h has a picture of rows, blocks and tiles. A thread block does every so many tiles; its warps meet where
// blocks are not one row or the two of a warp: for the largest magnitudes of rows, through shared memory, twice as
// large as it needs to be, so that once a tile is enough.
//
// Overflow: a state that is not finite shows in the largest magnitudes, which are needed anyway; such elements keep
// their p and lose their state. Tails: warps whose rows are not whole, or not aligned, go element by element in memory.
// What is missing counts as an element that is not finite. Bound: none, the same bits as on the CPU. Predicted:
// bench/NOTES.md.
#pragma once

#include <cstdint>

#include "optimizer/device_job.h"
#include "optimizer/state_codes.h"
#include "optimizer/step_rules.h"
#include "optimizer/values_in_memory.h"
#include "ptx/launch.h"
#include "ptx/warp.h"

namespace gatun::cuda::optimizer {

// Two rows of a warp: a lane's elements.
template <class Codes, class R>
class TwoRows {
  static constexpr int kStates = R::kStates;

 public:
  GATUN_DEVICE TwoRows(const DeviceJob& job, const Codes& codes, int64_t tile) : job_(job), codes_(codes) {
    const int row = warp() * kWarpRows;
    const int64_t begin = (tile * job.tile_rows + row) * kRow;
    whole_ = job.aligned && row + kWarpRows <= job.tile_rows && begin + kWarpRows * kRow <= job.count;
#pragma unroll
    for (int j = 0; j < kWarpRows; ++j) {
      first_[j] = begin + j * kRow + lane() * kLaneElements;
      const int64_t left = row + j < job.tile_rows ? job.count - first_[j] : 0;
      count_[j] = left < 0 ? 0 : left < kLaneElements ? static_cast<int>(left) : kLaneElements;
      has_work_[j] = row + j < job.tile_rows && begin + j * kRow < job.count;
      if constexpr (Codes::kQuantized) {
        block_[j] = tile * (job.tile_rows / job.block_rows) + (row + j) / job.block_rows;
        starts_block_[j] = has_work_[j] && (row + j) % job.block_rows == 0;
      }
    }
  }

  // Reads all, and makes the new state and p.
  GATUN_DEVICE void step(const R& rule) {
    RawValues p[kWarpRows], g[kWarpRows];
    typename Codes::Raw raw[kStates][kWarpRows];
    float scale[kStates][kWarpRows] = {};
    if (whole_) {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) {
        p[j] = load_values(job_.p_dtype, job_.p, first_[j]);
        g[j] = load_values(job_.p_dtype, job_.g, first_[j]);
#pragma unroll
        for (int k = 0; k < kStates; ++k) raw[k][j] = Codes::load(job_.planes[k].codes, first_[j]);
      }
    } else {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) {
        p[j] = load_values(job_.p_dtype, job_.p, first_[j], count_[j]);
        g[j] = load_values(job_.p_dtype, job_.g, first_[j], count_[j]);
#pragma unroll
        for (int k = 0; k < kStates; ++k) raw[k][j] = Codes::load(job_.planes[k].codes, first_[j], count_[j]);
      }
    }
    if constexpr (Codes::kQuantized) {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) {
#pragma unroll
        for (int k = 0; k < kStates; ++k) scale[k][j] = has_work_[j] ? job_.planes[k].scales[block_[j]] : 0;
      }
    }
#pragma unroll
    for (int j = 0; j < kWarpRows; ++j) step_row(rule, j, p[j], g[j], raw, scale);
  }

  // The new state of blocks becomes codes and scales; with f32 state, nothing.
  GATUN_DEVICE void quantize(uint32_t* row_highs) {
    if constexpr (Codes::kQuantized) {
      find_highs_of_blocks(row_highs);
#pragma unroll
      for (int k = 0; k < kStates; ++k) {
#pragma unroll
        for (int j = 0; j < kWarpRows; ++j) {
          // Two rows of a block have one scale.
          if (j == 0 || job_.block_rows != kWarpRows) scale_ = Codes::scale_of(as_float(high_[k][j]));
          if (starts_block_[j] && lane() == 0) job_.planes[k].scales[block_[j]] = scale_.scale;
          encoded_[k][j] = codes_.encode(state_[k][j], scale_, is_second<R>(k));
        }
      }
    }
  }

  GATUN_DEVICE void store(StochasticRounding& rounding) {
#pragma unroll
    for (int j = 0; j < kWarpRows; ++j) {
      if (job_.stochastic) rounding.round(p_[j], first_[j]);
      const RawValues p = narrow(job_.p_dtype, p_[j]);
      if (whole_) {
        store_values(job_.p_dtype, job_.p, first_[j], p);
#pragma unroll
        for (int k = 0; k < kStates; ++k) Codes::store(job_.planes[k].codes, first_[j], new_raw(k, j));
      } else {
        store_values(job_.p_dtype, job_.p, first_[j], count_[j], p);
#pragma unroll
        for (int k = 0; k < kStates; ++k) Codes::store(job_.planes[k].codes, first_[j], count_[j], new_raw(k, j));
      }
    }
  }

 private:
  GATUN_DEVICE void step_row(const R& rule, int j, const RawValues& raw_p, const RawValues& raw_g,
                             const typename Codes::Raw (&raw)[kStates][kWarpRows],
                             const float (&scale)[kStates][kWarpRows]) {
    float p[kLaneElements], g[kLaneElements];
    widen(job_.p_dtype, raw_p, p);
    widen(job_.p_dtype, raw_g, g);
    uint32_t all = 0;
#pragma unroll
    for (int k = 0; k < kStates; ++k) high_[k][j] = 0;
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) {
      float s[kStates];
#pragma unroll
      for (int k = 0; k < kStates; ++k) {
        s[k] = codes_.value(raw[k][j], i, is_second<R>(k));
        if constexpr (Codes::kQuantized) s[k] *= scale[k][j];
      }
      p_[j][i] = rule.move(p[i], rule.update(p[i], g[i], s));
#pragma unroll
      for (int k = 0; k < kStates; ++k) {
        state_[k][j][i] = s[k];
        high_[k][j] = larger<R>(high_[k][j], s[k], k);
      }
    }
#pragma unroll
    for (int k = 0; k < kStates; ++k) all = high_[k][j] > all ? high_[k][j] : all;
    if (all < kNotFinite && count_[j] == kLaneElements) return;
#pragma unroll
    for (int k = 0; k < kStates; ++k) high_[k][j] = 0;
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) {
      uint32_t worst = 0;
#pragma unroll
      for (int k = 0; k < kStates; ++k) worst = larger<R>(worst, state_[k][j][i], k);
      const bool kept = worst >= kNotFinite || i >= count_[j];
      p_[j][i] = kept ? p[i] : p_[j][i];
#pragma unroll
      for (int k = 0; k < kStates; ++k) {
        state_[k][j][i] = kept ? 0 : state_[k][j][i];
        high_[k][j] = larger<R>(high_[k][j], state_[k][j][i], k);
      }
    }
  }

  // Of lanes' elements, then of rows, then of blocks.
  GATUN_DEVICE void find_highs_of_blocks(uint32_t* row_highs) {
    const int row = warp() * kWarpRows, rows = rows_of(thread_count()) + static_cast<int>(kMostBlock / kRow);
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
      if (job_.block_rows == kWarpRows) {
        const uint32_t both = reduce_max(high_[k][0] > high_[k][1] ? high_[k][0] : high_[k][1]);
        high_[k][0] = high_[k][1] = both;
        continue;
      }
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) {
        high_[k][j] = reduce_max(high_[k][j]);
        if (job_.block_rows > kWarpRows && lane() == 0) row_highs[k * rows + row + j] = high_[k][j];
      }
    }
    if (job_.block_rows <= kWarpRows) return;
    block_barrier();
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) {
        const int of_block = (row + j) / job_.block_rows * job_.block_rows + lane();
        const bool reads = lane() < job_.block_rows && of_block < rows_of(thread_count());
        high_[k][j] = reduce_max(reads ? row_highs[k * rows + of_block] : 0);
      }
    }
  }

  GATUN_DEVICE typename Codes::Raw new_raw(int k, int j) const {
    if constexpr (Codes::kQuantized) {
      return encoded_[k][j];
    } else {
      const float(&s)[kLaneElements] = state_[k][j];
      return {{as_bits(s[0]), as_bits(s[1]), as_bits(s[2]), as_bits(s[3])}};
    }
  }

  const DeviceJob& job_;
  const Codes& codes_;
  int64_t first_[kWarpRows], block_[kWarpRows];  // the lane's first element; the row's block
  int count_[kWarpRows];                         // the lane's elements
  bool whole_, has_work_[kWarpRows], starts_block_[kWarpRows];
  float p_[kWarpRows][kLaneElements], state_[kStates][kWarpRows][kLaneElements];
  uint32_t high_[kStates][kWarpRows];
  typename Codes::Raw encoded_[kStates][kWarpRows];
  BlockScale scale_;
};

template <class Codes, class R>
GATUN_KERNEL(most_threads(R::kStates), 1)
step_tiles(GATUN_GRID_CONSTANT DeviceJob job, GATUN_GRID_CONSTANT typename Codes::Tables tables) {
  const Codes codes(tables, R::kSecond);
  const R rule(job.constants, job.rate == nullptr ? job.constants.rate : *job.rate);
  StochasticRounding rounding(job.seed);
  uint32_t* const highs = reinterpret_cast<uint32_t*>(shared_memory() + Codes::kTableBytes);
  const int half = R::kStates * (rows_of(thread_count()) + static_cast<int>(kMostBlock / kRow));
  bool odd = false;
  for (int64_t tile = block_x(); tile < job.tiles; tile += blocks_x(), odd = !odd) {
    TwoRows<Codes, R> rows(job, codes, tile);
    rows.step(rule);
    rows.quantize(highs + (odd ? half : 0));
    rows.store(rounding);
  }
}

template <class Codes, class R>
int32_t launch_step(const char* name, const DeviceJob& job, const Grid& grid, void* stream) {
  return launch(name, step_tiles<Codes, R>, grid, stream, job, Codes::Tables::make());
}

}  // namespace gatun::cuda::optimizer
