// What the kernels of attention on sm_90a share: asynchronous products of four warps (wgmma), copies that arrive on
// barriers, after FlashAttention-3 (Shah et al. 2024).
//
// A block of three groups of four warps has a tile of up to 128 queries:
//
//   group 0          one warp finds the keys of a step (panels.h), 128 of them, and copies k and v into a ring of two
//   groups 1 and 2   64 queries each: s = q k^T from shared memory, softmax in registers, o += p v with p in registers.
//                    While one group is at its softmax, the other one multiplies. The second one is idle where there
//                    are no more than 64 queries.
//
// A kernel's T has, beside what tile_rows.h asks for:
//
//   kQBytes, kKBytes, kVBytes  of a tile of 128 queries and of a step in shared memory, multiples of 1024
//   kRowBytes                  of a query in it
//   kAgain                     whether tiles may have to be done again (simt.cu)
//   Tensors                    the kernel's parameter: where q, k and v are
//   Copies                     how one thread copies them: queries, keys, values
//   Group                      TileRows<T> of four warps, with multiply_keys, ready_values (makes zeros of values that
//                              no key has), multiply_values and finish_rows
#pragma once

#include <cstdint>
#include <utility>

#include "attention/device_matrix.h"
#include "attention/tile_rows.h"
#include "base/check.h"
#include "base/tensor_map.h"
#include "ptx/launch.h"
#include "ptx/mbarrier.h"
#include "ptx/registers.h"
#include "ptx/tma.h"
#include "ptx/wgmma.h"

namespace gatun::cuda::attention::sm90 {

inline constexpr int kGroupThreads = 128, kThreads = 3 * kGroupThreads, kGroupRows = 64, kPanels = 8;
inline constexpr int kStages = 2, kSteps = 4;  // of k and v; a step is written while the last one but two may be read
static_assert(kSteps == sizeof(Walk<kPanels>::steps) / sizeof(Step<kPanels>));

struct Barriers {
  Barrier q, k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
};

template <class T>
struct Shared {
  static constexpr int kStageBytes = T::kKBytes + T::kVBytes, kWalkAt = T::kQBytes + kStages * kStageBytes;
  static constexpr int kBarriersAt = kWalkAt + (sizeof(Walk<kPanels>) + 15) / 16 * 16;
  static constexpr int kBytes = kBarriersAt + sizeof(Barriers);

  uint8_t* memory;
  GATUN_DEVICE uint8_t* q() const { return memory; }
  GATUN_DEVICE uint8_t* k(int stage) const { return memory + T::kQBytes + stage * kStageBytes; }
  GATUN_DEVICE uint8_t* v(int stage) const { return k(stage) + T::kKBytes; }
  GATUN_DEVICE Walk<kPanels>& walk() const { return *reinterpret_cast<Walk<kPanels>*>(memory + kWalkAt); }
  GATUN_DEVICE Barriers& barriers() const { return *reinterpret_cast<Barriers*>(memory + kBarriersAt); }
};

// Calls copy(first, count) for all panels of a step, those beyond its count, too: four that follow each other, or one.
template <class Copy>
GATUN_DEVICE void for_each_run(const Step<kPanels>& step, const Copy& copy) {
  for (int first = 0; first < kPanels; first += 4) {
    if (first + 3 < step.count && step.key[first + 3] == step.key[first] + 3 * kPanelKeys) {
      copy(first, 4);
      continue;
    }
    for (int i = first; i < first + 4; ++i) copy(i, 1);
  }
}

// A matrix of rows, of which 64 or 16 are copied at once.
struct Flat {
  TensorMap by_64, by_16;
  int64_t rows;

  GATUN_DEVICE const TensorMap* map(int panels) const { return panels == 4 ? &by_64 : &by_16; }
  // Where panel i of a step is, of keys whose first is in row `first`; beyond the last panel rows that are zeros.
  GATUN_DEVICE int row_of(const Step<kPanels>& step, int i, int first) const {
    return i < step.count ? first + step.key[i] : static_cast<int>(rows);
  }
};

inline int32_t make_flat(const void* data, int32_t element_bytes, const Matrix& matrix, int64_t row_stride,
                         int32_t box_columns, Flat* flat) {
  flat->rows = matrix.rows;
  for (const auto& [map, box] : {std::pair{&flat->by_64, 64}, std::pair{&flat->by_16, 16}}) {
    GATUN_TRY(make_tensor_map(map, data, element_bytes, matrix.rows, matrix.columns, row_stride * element_bytes, box,
                              box_columns, box_columns * element_bytes));
  }
  return GATUN_OK;
}

// Without `out` there is nothing to do with v.
template <class T>
GATUN_DEVICE void fill_ring(const Job& job, const Shared<T>& shared, const typename T::Tensors& tensors) {
  Walk<kPanels>& walk = shared.walk();
  Barriers& barriers = shared.barriers();
  const typename T::Copies copies(job, walk.tile, tensors);
  if (lane() == 0) copies.queries(shared.q(), &barriers.q);
#pragma unroll 1
  for (int i = 0;; ++i) {
    Step<kPanels>& step = walk.steps[i % kSteps];
    const int stage = i % kStages, parity = (i / kStages & 1) ^ 1;
    walk.sources[lane()].fill(job, &step);
    warp_barrier();  // lane 0 arrives for all that have written the step
    wait_for(&barriers.k_empty[stage], parity);
    if (step.count == 0) {
      if (lane() == 0) barrier_arrive_at(&barriers.k_full[stage]);
      return;
    }
    if (lane() == 0) copies.keys(step, shared.k(stage), &barriers.k_full[stage]);
    if (job.out == nullptr) continue;
    wait_for(&barriers.v_empty[stage], parity);
    if (lane() == 0) copies.values(step, shared.v(stage), &barriers.v_full[stage]);
  }
}

template <class T>
GATUN_DEVICE void attend(const Job& job, const Shared<T>& shared, typename T::Group& own) {
  Barriers& barriers = shared.barriers();
  const uint8_t* const q = shared.q() + (thread_index() / kGroupThreads - 1) * kGroupRows * T::kRowBytes;
  wait_for(&barriers.q, 0);
#pragma unroll 1
  for (int i = 0;; ++i) {
    const Step<kPanels>& step = shared.walk().steps[i % kSteps];
    const int stage = i % kStages, parity = i / kStages & 1;
    wait_for(&barriers.k_full[stage], parity);
    if (step.count == 0) return;
    own.multiply_keys(step, q, shared.k(stage));
    if (lane() == 0) barrier_arrive_at(&barriers.k_empty[stage]);
    own.soften(step);
    if (job.out != nullptr) {
      wait_for(&barriers.v_full[stage], parity);
      own.ready_values(step, shared.v(stage));
      own.multiply_values(shared.v(stage));
    }
    warp_barrier();  // all lanes are done with the step, before lane 0 arrives for it or a later one
    if (job.out != nullptr && lane() == 0) barrier_arrive_at(&barriers.v_empty[stage]);
  }
}

// Of 65536 registers a multiplying thread has 232 and a copying one 40.
template <class T>
GATUN_KERNEL(kThreads, 1)
attention_tile_sm90(GATUN_GRID_CONSTANT typename T::Tensors tensors, GATUN_GRID_CONSTANT Job job) {
  const Shared<T> shared{shared_memory()};
  Walk<kPanels>& walk = shared.walk();
  int groups;  // that have queries
  {
    Tile tile;
    if (!tile_of_block(job, &tile)) return;
    groups = tile.rows > kGroupRows ? 2 : 1;
    if (warp() == 0) walk.sources[lane()] = PanelSource(job, tile);
    if (thread_index() == 0) {
      walk.tile = tile;
      walk.spoiled = 0;
      Barriers& barriers = shared.barriers();
      barrier_init(&barriers.q, 1);
      for (int i = 0; i < kStages; ++i) {
        barrier_init(&barriers.k_full[i], 1);
        barrier_init(&barriers.v_full[i], 1);
        barrier_init(&barriers.k_empty[i], 4 * groups);
        barrier_init(&barriers.v_empty[i], 4 * groups);
      }
      barrier_init_fence();
    }
  }
  block_barrier();
  if (warp() < T::kFirstWarp) {
    registers_less<40>();
    if (warp() == 0) fill_ring(job, shared, tensors);
  } else if (warp() < T::kFirstWarp + 4 * groups) {
    registers_more<232>();
    typename T::Group own(job, walk);
    attend(job, shared, own);
    const bool spoiled = own.finish_rows();
    if (T::kAgain && ballot(spoiled) != 0 && lane() == 0) walk.spoiled = 1;
  }
  if (!T::kAgain) return;
  block_barrier();
  if (thread_index() == 0) job.spoiled[block_x()] = static_cast<uint8_t>(walk.spoiled);
}

template <class T>
int32_t run(const char* name, const Job& job, void* stream, const typename T::Tensors& tensors) {
  return launch(name, attention_tile_sm90<T>, {job.blocks, 1, 1, kThreads, Shared<T>::kBytes}, stream, tensors, job);
}

}  // namespace gatun::cuda::attention::sm90
