// What a step would do, for max_update_norm: the sums of squares of p and of the rule's updates, which are made for
// nothing else. A thread block does a part, a warp a block of state, its lanes elements 32 apart, as sums want them.
#pragma once

#include <cstdint>

#include "optimizer/chunk_squares.h"
#include "optimizer/device_job.h"
#include "optimizer/state_codes.h"
#include "optimizer/step_rules.h"
#include "optimizer/values_in_memory.h"
#include "ptx/launch.h"

namespace gatun::cuda::optimizer {

template <class Codes, class R>
GATUN_KERNEL(kMeasureThreads, R::kStates == kMostStates ? 2 : 3)
measure_parts(GATUN_GRID_CONSTANT DeviceJob job, GATUN_GRID_CONSTANT typename Codes::Tables tables, Squares* parts) {
  constexpr int kStates = R::kStates;
  struct Element {
    uint32_t p, g;
    float state[kStates];  // without the scale
  };
  const Codes codes(tables, R::kSecond, false);
  const R rule(job.constants, 0);
  const int64_t blocks = (job.count - 1) / job.block + 1, begin = block_x() * job.part;
  const int64_t end = begin + job.part < blocks ? begin + job.part : blocks;
  const auto sum_block = [&](int64_t block, double(&sums)[2]) {
    float scale[kStates];
#pragma unroll
    for (int k = 0; k < kStates; ++k) scale[k] = Codes::kQuantized ? job.planes[k].scales[block] : 1.0f;
    const int64_t block_end = (block + 1) * job.block < job.count ? (block + 1) * job.block : job.count;
    for (int64_t first = block * job.block; first < block_end; first += kSquaresChunk) {
      const auto load = [&](int32_t i) {
        Element element = {load_value(job.p_dtype, job.p, first + i), load_value(job.p_dtype, job.g, first + i), {}};
#pragma unroll
        for (int k = 0; k < kStates; ++k) {
          element.state[k] = codes.value_at(job.planes[k].codes, first + i, is_second<R>(k));
        }
        return element;
      };
      const auto numbers = [&](const Element& element, float(&x)[2]) {
        float s[kStates];
#pragma unroll
        for (int k = 0; k < kStates; ++k) s[k] = Codes::kQuantized ? element.state[k] * scale[k] : element.state[k];
        x[0] = widen(job.p_dtype, element.p);
        x[1] = rule.update(x[0], widen(job.p_dtype, element.g), s);
        uint32_t worst = 0;
#pragma unroll
        for (int k = 0; k < kStates; ++k) worst = larger<R>(worst, s[k], k);
        if (worst >= kNotFinite) x[1] = 0;  // what is not stepped
      };
      const int64_t count = block_end - first < kSquaresChunk ? block_end - first : kSquaresChunk;
      add_chunk<4>(static_cast<int32_t>(count), load, numbers, sums);
    }
  };
  double* const exchange = reinterpret_cast<double*>(shared_memory() + Codes::kValueBytes);
  const double total = add_units<kMeasureBlocks, 2>(begin, end, exchange, sum_block);
  if (thread_index() < 2) reinterpret_cast<double*>(parts + block_x())[thread_index()] = total;
}

template <class Codes, class R>
int32_t launch_measure(const char* name, const DeviceJob& job, Squares* parts, const Grid& grid, void* stream) {
  return launch(name, measure_parts<Codes, R>, grid, stream, job, Codes::Tables::make(), parts);
}

}  // namespace gatun::cuda::optimizer
