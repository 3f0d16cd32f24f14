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

// The rows of a warp: a lane's elements of them.
template <class X, class Codes, class R>
class WarpRows {
  static constexpr int kStates = R::kStates;
  using Raw = typename Codes::Raw;
  using RawValues = typename X::Raw;

 public:
  GATUN_DEVICE WarpRows(const DeviceJob& job, const Codes& codes, int64_t tile)
      : job_(job),
        codes_(codes),
        row_(warp() * kWarpRows),
        first_((tile * job.tile_rows + row_) * kRow + lane() * kLaneElements),
        block_(tile * job.tile_blocks + row_ / job.block_rows),
        row_in_block_(row_ % job.block_rows) {}

  // To a tile so many further on.
  GATUN_DEVICE void advance(int64_t tiles) {
    first_ += tiles * job_.tile_rows * kRow;
    block_ += tiles * job_.tile_blocks;
  }

  // Reads the rows, and makes the new state and p.
  GATUN_DEVICE void step(const R& rule) {
    // By a vote, which is one number for all uses; the condition itself would be kept once for each of them.
    const int64_t end = first_ - lane() * kLaneElements + kWarpRows * kRow;
    whole_ = ballot(job_.aligned && row_ + kWarpRows <= job_.tile_rows && end <= job_.count);
    RawValues values[kWarpRows][2];  // p and g
    Raw raw[kStates][kWarpRows];
    float scale[kStates][kWarpRows];
    if (whole_ != 0) {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) load<true>(j, values[j], raw, scale);
    } else {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) load<false>(j, values[j], raw, scale);
    }
#pragma unroll
    for (int j = 0; j < kWarpRows; ++j) step_row(rule, j, values[j], raw, scale);
  }

  // The new state of blocks becomes codes and scales.
  GATUN_DEVICE void quantize(uint32_t* row_highs) {
    find_highs_of_blocks(row_highs);
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
      BlockScale scale[kWarpRows];
      scale[0] = Codes::scale_of(as_float(high_[k][0]));
      // Two rows of a block have one scale.
      scale[1] = job_.block_rows == kWarpRows ? scale[0] : Codes::scale_of(as_float(high_[k][1]));
      if (lane() == 0) {
#pragma unroll
        for (int j = 0; j < kWarpRows; ++j) {
          const bool has_elements = whole_ != 0 || count_of(j) > 0;
          if (starts_block(j) && has_elements) job_.planes[k].scales[block_of(j)] = scale[j].scale;
        }
      }
      codes_.encode(state_[k], scale, is_second<R>(k), encoded_[k]);
    }
  }

  GATUN_DEVICE void store(const StochasticRounding& rounding) {
    if (job_.stochastic) {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) rounding.round(p_[j], first_ + j * kRow);
    }
    if (whole_ != 0) {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) {
        store_values<X>(job_.p, first_ + j * kRow, X::narrow(p_[j]));
#pragma unroll
        for (int k = 0; k < kStates; ++k) Codes::store(job_.planes[k].codes, first_ + j * kRow, new_raw(k, j));
      }
      return;
    }
#pragma unroll
    for (int j = 0; j < kWarpRows; ++j) {
      const int64_t first = first_ + j * kRow;
      store_values<X>(job_.p, first, count_of(j), X::narrow(p_[j]));
#pragma unroll
      for (int k = 0; k < kStates; ++k) Codes::store(job_.planes[k].codes, first, count_of(j), new_raw(k, j));
    }
  }

 private:
  // Of the warp's rows the second one may be of the next block.
  GATUN_DEVICE bool starts_block(int j) const { return row_in_block_ + j == (j == 0 ? 0 : job_.block_rows); }
  GATUN_DEVICE int64_t block_of(int j) const { return block_ + (j > 0 && starts_block(j) ? 1 : 0); }

  // How many elements the lane has.
  GATUN_DEVICE int count_of(int j) const {
    const int64_t left = row_ + j < job_.tile_rows ? job_.count - (first_ + j * kRow) : 0;
    return left < 0 ? 0 : left < kLaneElements ? static_cast<int>(left) : kLaneElements;
  }

  template <bool kWhole>
  GATUN_DEVICE void load(int j, RawValues (&values)[2], Raw (&raw)[kStates][kWarpRows],
                         float (&scale)[kStates][kWarpRows]) const {
    const int64_t first = first_ + j * kRow;
    const int count = kWhole ? kLaneElements : count_of(j);
    if constexpr (kWhole) {
      values[0] = load_values<X>(job_.p, first);
      values[1] = load_values<X>(job_.g, first);
    } else {
      values[0] = load_values<X>(job_.p, first, count);
      values[1] = load_values<X>(job_.g, first, count);
    }
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
      const Plane& plane = job_.planes[k];
      if constexpr (kWhole) {
        raw[k][j] = Codes::load(plane.codes, first);
      } else {
        raw[k][j] = Codes::load(plane.codes, first, count);
      }
      if constexpr (Codes::kQuantized) {
        scale[k][j] = kWhole || count > 0 ? plane.scales[block_of(j)] : 0;
      }
    }
  }

  GATUN_DEVICE void step_row(const R& rule, int j, const RawValues (&values)[2], const Raw (&raw)[kStates][kWarpRows],
                             const float (&scale)[kStates][kWarpRows]) {
    float p[kLaneElements];
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
      p[i] = X::value(values[0], i);
      p_[j][i] = rule.move(p[i], rule.update(p[i], X::value(values[1], i), s));
#pragma unroll
      for (int k = 0; k < kStates; ++k) {
        state_[k][j][i] = s[k];
        high_[k][j] = larger<R>(high_[k][j], s[k], k);
      }
    }
#pragma unroll
    for (int k = 0; k < kStates; ++k) all = high_[k][j] > all ? high_[k][j] : all;
    if (all < kNotFinite && (whole_ != 0 || count_of(j) == kLaneElements)) return;
    forget_some(j, p);
  }

  // Elements that are not finite, or missing, keep p and lose their state.
  GATUN_DEVICE void forget_some(int j, const float (&p)[kLaneElements]) {
    const int count = count_of(j);
#pragma unroll
    for (int k = 0; k < kStates; ++k) high_[k][j] = 0;
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) {
      uint32_t worst = 0;
#pragma unroll
      for (int k = 0; k < kStates; ++k) worst = larger<R>(worst, state_[k][j][i], k);
      const bool kept = worst >= kNotFinite || i >= count;
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
    if (job_.block_rows == kWarpRows) {
#pragma unroll
      for (int k = 0; k < kStates; ++k) {
        high_[k][0] = high_[k][1] = reduce_max(high_[k][0] > high_[k][1] ? high_[k][0] : high_[k][1]);
      }
      return;
    }
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) high_[k][j] = reduce_max(high_[k][j]);
    }
    if (job_.block_rows == 1) return;
    const int rows = rows_of(thread_count());
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) {
        if (lane() == 0) row_highs[k * rows + row_ + j] = high_[k][j];
      }
    }
    block_barrier();
#pragma unroll
    for (int k = 0; k < kStates; ++k) {
#pragma unroll
      for (int j = 0; j < kWarpRows; ++j) {
        const int row = row_ + j - (starts_block(j) ? 0 : row_in_block_ + j) + lane();
        high_[k][j] = reduce_max(lane() < job_.block_rows && row < rows ? row_highs[k * rows + row] : 0);
      }
    }
  }

  GATUN_DEVICE Raw new_raw(int k, int j) const {
    if constexpr (Codes::kQuantized) {
      return encoded_[k][j];
    } else {
      const float(&s)[kLaneElements] = state_[k][j];
      return {{as_bits(s[0]), as_bits(s[1]), as_bits(s[2]), as_bits(s[3])}};
    }
  }

  const DeviceJob& job_;
  const Codes& codes_;
  const int row_;  // the first one in a tile
  int64_t first_;  // the lane's first element
  int64_t block_;  // the first row's
  const int row_in_block_;
  uint32_t whole_;
  float p_[kWarpRows][kLaneElements], state_[kStates][kWarpRows][kLaneElements];
  uint32_t high_[kStates][kWarpRows];
  Raw encoded_[kStates][kWarpRows];
};

template <class X, class Codes, class R>
GATUN_KERNEL(most_threads(R::kStates), 1)
step_tiles(GATUN_GRID_CONSTANT DeviceJob job, GATUN_GRID_CONSTANT typename Codes::Tables tables) {
  const Codes codes(tables, R::kSecond, true);
  const R rule(job.constants, job.rate == nullptr ? job.constants.rate : *job.rate);
  uint8_t* const shared = shared_memory() + Codes::kTableBytes;
  const StochasticRounding rounding(job.seed, reinterpret_cast<uint64_t*>(shared));
  uint32_t* const highs = reinterpret_cast<uint32_t*>(shared + sizeof(uint64_t));
  WarpRows<X, Codes, R> rows(job, codes, block_x());
  bool odd = false;
  for (int64_t tile = block_x(); tile < job.tiles; tile += blocks_x(), odd = !odd) {
    rows.step(rule);
    if constexpr (Codes::kQuantized) rows.quantize(highs + (odd ? R::kStates * rows_of(thread_count()) : 0));
    rows.store(rounding);
    rows.advance(blocks_x());
  }
}

template <class Codes, class R>
int32_t launch_step(const char* name, const DeviceJob& job, const Grid& grid, void* stream) {
  const auto kernel = job.p_dtype == GATUN_F32   ? step_tiles<F32Values, Codes, R>
                      : job.p_dtype == GATUN_F16 ? step_tiles<F16Values, Codes, R>
                                                 : step_tiles<BF16Values, Codes, R>;
  return launch(name, kernel, grid, stream, job, Codes::Tables::make());
}

}  // namespace gatun::cuda::optimizer
