// Attention of head size 128 on sm_90a, by asynchronous products of four warps (wgmma) and copies of tiles (TMA), after
// FlashAttention-3 (Shah et al. 2024).
//
// A block of three groups of four warps has a tile of 128 queries:
//
//   group 0          one warp finds the keys of a step (panels.h) and copies 128 rows of k and of v into a ring of two
//   groups 1 and 2   64 queries each: s = q k^T from shared memory, softmax in registers, o += p v with p in registers.
//                    While one group is at its softmax, the other one multiplies.
//
// In shared memory a tile of 128 rows is two halves of 64 columns, of which each row is 128 bytes in the swizzle that
// wgmma reads. Panels that follow each other are copied by 64 rows, others by 16. To a tensor map, q, k and v are
// matrices with a row for each row_stride: heads and batch items lie some rows, or some columns, further on
// (Flat below); what is laid out in another way, or not aligned to 16 bytes, takes the kernel of sm80_tile.h.
//
// Tails: panels beyond the last are rows beyond the map, which are zeros. The last panel may have rows of another head
// or item: its keys are hidden, its values cleared.
//
// A step of a group: 2 products of 64 x 128 x 128, 512 cycles each of the SM's tensor cores, and 64 exponentials a
// thread, with all else about 450 slots of a scheduler: two groups need 2048 cycles of products, for 64 KiB of k and v
// from the L2 cache, which is as much as that gives. Prediction for 16k x 16k, bf16, H200: 450 to 560 TFLOP/s. Not
// measured: emulated only.
#include <cstdint>
#include <utility>

#include "attention/device_matrix.h"
#include "attention/tile_rows.h"
#include "base/check.h"
#include "base/tensor_map.h"
#include "ptx/launch.h"
#include "ptx/mbarrier.h"
#include "ptx/memory.h"
#include "ptx/registers.h"
#include "ptx/tma.h"
#include "ptx/wgmma.h"

namespace gatun::cuda::attention {

int32_t run_attention_bf16_m128n48_sm80(const Job& job, void* stream);
int32_t run_attention_f16_m128n48_sm80(const Job& job, void* stream);

namespace {

constexpr int kGroupThreads = 128, kThreads = 3 * kGroupThreads, kWarps = 8;  // that multiply
constexpr int kStages = 2, kSteps = 4;  // of k and v; a step is written while the last one but two may be read

template <bool kBf16Of>
struct Shape {
  static constexpr bool kBf16 = kBf16Of;
  static constexpr int kSize = 128, kRowTiles = 1, kWarpRows = 16, kFirstWarp = 4;
  static constexpr int kPanels = 8;
  static constexpr float kShift = kBf16 ? 0.0f : 15.0f;
};

constexpr int kRowBytes = 128, kHalfColumns = 64, kHalfBytes = 128 * kRowBytes, kTileBytes = 2 * kHalfBytes;
constexpr int kWalkAt = (1 + 2 * kStages) * kTileBytes;
static_assert(kSteps == sizeof(Walk<8>::steps) / sizeof(Step<8>));

struct Barriers {
  Barrier q, k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
};
constexpr int kBarriersAt = kWalkAt + (sizeof(Walk<8>) + 15) / 16 * 16;
constexpr int kSharedBytes = kBarriersAt + sizeof(Barriers);

// A tensor as a matrix: element `place` is in row place / row_stride.
struct Flat {
  TensorMap by_64, by_16;  // rows a copy
  int64_t rows;
};

struct Shared {
  uint8_t* memory;
  GATUN_DEVICE uint8_t* q() const { return memory; }
  GATUN_DEVICE uint8_t* k(int stage) const { return memory + (1 + 2 * stage) * kTileBytes; }
  GATUN_DEVICE uint8_t* v(int stage) const { return k(stage) + kTileBytes; }
  GATUN_DEVICE Walk<8>& walk() const { return *reinterpret_cast<Walk<8>*>(memory + kWalkAt); }
  GATUN_DEVICE Barriers& barriers() const { return *reinterpret_cast<Barriers*>(memory + kBarriersAt); }
};

// Rows from `row` on to rows from `to_row` on of a tile, by one thread.
GATUN_DEVICE void copy_both_halves(uint8_t* tile, int to_row, const TensorMap* map, int row, int column,
                                   Barrier* barrier) {
  copy_tile(tile + to_row * kRowBytes, map, row, column, barrier);
  copy_tile(tile + kHalfBytes + to_row * kRowBytes, map, row, column + kHalfColumns, barrier);
}

// The rows of a step, of a head whose first key is at (row, column).
GATUN_DEVICE void copy_step(uint8_t* tile, const Flat& flat, const Step<8>& step, int row, int column,
                            Barrier* barrier) {
  barrier_expect(barrier, kTileBytes);
  for (int first = 0; first < 8; first += 4) {
    if (first + 3 < step.count && step.key[first + 3] == step.key[first] + 3 * kPanelKeys) {
      copy_both_halves(tile, first * kPanelKeys, &flat.by_64, row + step.key[first], column, barrier);
      continue;
    }
    for (int i = first; i < first + 4; ++i) {
      const int at = i < step.count ? row + step.key[i] : static_cast<int>(flat.rows);
      copy_both_halves(tile, i * kPanelKeys, &flat.by_16, at, column, barrier);
    }
  }
}

// Row and column of a place.
struct Corner {
  int row, column;
};
GATUN_DEVICE Corner corner_of(const Strided& x, int64_t place) {
  const int64_t row = quotient(place, x.row_stride);
  return {static_cast<int>(row), static_cast<int>(place - row * x.row_stride)};
}

GATUN_DEVICE void fill_ring(const Job& job, const Shared& shared, const Flat& q, const Flat& k, const Flat& v) {
  Walk<8>& walk = shared.walk();
  Barriers& barriers = shared.barriers();
  const Item& item = walk.tile.item;
  const Corner of_q = corner_of(job.q, place_of(job, item.index, item.first_query, walk.tile.head, job.q));
  const Corner of_k = corner_of(job.k, place_of(job, item.index, item.first_key, walk.tile.kv_head, job.k));
  const Corner of_v = corner_of(job.v, place_of(job, item.index, item.first_key, walk.tile.kv_head, job.v));
  if (lane() == 0) {
    barrier_expect(&barriers.q, kTileBytes);
    for (int first = 0; first < 128; first += 64) {
      copy_both_halves(shared.q(), first, &q.by_64, of_q.row + walk.tile.row + first, of_q.column, &barriers.q);
    }
  }
#pragma unroll 1
  for (int i = 0;; ++i) {
    Step<8>& step = walk.steps[i % kSteps];
    const int stage = i % kStages, parity = (i / kStages & 1) ^ 1;
    walk.sources[lane()].fill(job, &step);
    warp_barrier();  // lane 0 arrives for all that have written the step
    wait_for(&barriers.k_empty[stage], parity);
    if (step.count == 0) {
      if (lane() == 0) barrier_arrive_at(&barriers.k_full[stage]);
      return;
    }
    if (lane() == 0) copy_step(shared.k(stage), k, step, of_k.row, of_k.column, &barriers.k_full[stage]);
    wait_for(&barriers.v_empty[stage], parity);
    if (lane() == 0) copy_step(shared.v(stage), v, step, of_v.row, of_v.column, &barriers.v_full[stage]);
  }
}

template <class T>
class Group : public TileRows<T> {
  using Rows = TileRows<T>;
  using Rows::s_, Rows::o_;

 public:
  using Rows::Rows;

  GATUN_DEVICE void attend(const Shared& shared) {
    Barriers& barriers = shared.barriers();
    const uint8_t* const q = shared.q() + (thread_index() / kGroupThreads - 1) * 64 * kRowBytes;
    wait_for(&barriers.q, 0);
#pragma unroll 1
    for (int i = 0;; ++i) {
      const Step<8>& step = shared.walk().steps[i % kSteps];
      const int stage = i % kStages, parity = i / kStages & 1;
      wait_for(&barriers.k_full[stage], parity);
      if (step.count == 0) return;
      multiply_keys(q, shared.k(stage));
      if (lane() == 0) barrier_arrive_at(&barriers.k_empty[stage]);
      Rows::soften(step);
      wait_for(&barriers.v_full[stage], parity);
      if (step.edge != 0) clear_tail(step, shared.v(stage));
      multiply_values(shared.v(stage));
      warp_barrier();  // all lanes are done with the step, too
      if (lane() == 0) barrier_arrive_at(&barriers.v_empty[stage]);
    }
  }

 private:
  GATUN_DEVICE void multiply_keys(const uint8_t* q, const uint8_t* k) {
    float(&s)[64] = reinterpret_cast<float(&)[64]>(s_);
    wgmma_fence(s);
#pragma unroll
    for (int depth = 0; depth < 8; ++depth) {
      const int at = depth / 4 * kHalfBytes;
      const uint64_t a = shared_matrix(q + at) + depth % 4 * 2, b = shared_matrix(k + at) + depth % 4 * 2;
      if constexpr (T::kBf16) wgmma_bf16<128>(s, a, b, depth > 0);
      if constexpr (!T::kBf16) wgmma_f16<128>(s, a, b, depth > 0);
    }
    wgmma_commit();
    wgmma_wait<0>(s);
  }

  // Values of rows beyond the last key, which may be anything, become zeros, as the weights are that they meet. Both
  // groups do so.
  GATUN_DEVICE void clear_tail(const Step<8>& step, uint8_t* v) const {
    const int thread = thread_index() % kGroupThreads, group = thread_index() / kGroupThreads;
    bool cleared = false;
#pragma unroll 1
    for (int i = 0; i < step.count; ++i) {
      const int32_t left = Rows::walk_.tile.item.keys - step.key[i];
      if (left >= kPanelKeys) continue;
      cleared = true;
      uint8_t* const row = v + (i * kPanelKeys + thread / 8) * kRowBytes + thread % 8 * 16;
      if (thread / 8 < left) continue;
      *reinterpret_cast<Words4*>(row) = Words4{};
      *reinterpret_cast<Words4*>(row + kHalfBytes) = Words4{};
    }
    if (!cleared) return;
    fence_proxy_async();
    barrier_wait(group, kGroupThreads);
  }

  GATUN_DEVICE void multiply_values(const uint8_t* v) {
    float(&o)[64] = reinterpret_cast<float(&)[64]>(o_);
    uint32_t p[8][4];
#pragma unroll
    for (int panel = 0; panel < 8; ++panel) {
#pragma unroll
      for (int x = 0; x < 4; ++x) {
        const float low = s_[0][2 * panel + x / 2][x % 2 * 2], high = s_[0][2 * panel + x / 2][x % 2 * 2 + 1];
        p[panel][x] = T::kBf16 ? pack_bf16(low, high) : pack_f16(low, high);
      }
    }
    wgmma_fence(o, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
#pragma unroll
    for (int panel = 0; panel < 8; ++panel) {
      const uint64_t b = shared_matrix(v + panel * kPanelKeys * kRowBytes, 1024, kHalfBytes);
      if constexpr (T::kBf16) wgmma_bf16<128, true>(o, p[panel], b, true);
      if constexpr (!T::kBf16) wgmma_f16<128, true>(o, p[panel], b, true);
    }
    wgmma_commit();
    wgmma_wait<0>(o, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
  }
};

// Of 65536 registers a multiplying thread has 224 and a copying one 56.
template <class T>
GATUN_KERNEL(kThreads, 1)
attention_tile_sm90(GATUN_GRID_CONSTANT Flat q, GATUN_GRID_CONSTANT Flat k, GATUN_GRID_CONSTANT Flat v,
                    GATUN_GRID_CONSTANT Job job) {
  const Shared shared{shared_memory()};
  Walk<8>& walk = shared.walk();
  {
    Tile tile;
    if (!tile_of_block(job, &tile)) return;
    if (warp() == 0) walk.sources[lane()] = PanelSource(job, tile);
    if (thread_index() == 0) {
      walk.tile = tile;
      walk.spoiled = 0;
      Barriers& barriers = shared.barriers();
      barrier_init(&barriers.q, 1);
      for (int i = 0; i < kStages; ++i) {
        barrier_init(&barriers.k_full[i], 1);
        barrier_init(&barriers.v_full[i], 1);
        barrier_init(&barriers.k_empty[i], kWarps);
        barrier_init(&barriers.v_empty[i], kWarps);
      }
      barrier_init_fence();
    }
  }
  block_barrier();
  if (warp() < T::kFirstWarp) {
    registers_less<56>();
    if (warp() == 0) fill_ring(job, shared, q, k, v);
  } else {
    registers_more<224>();
    Group<T> own(job, walk);
    own.attend(shared);
    if (ballot(own.finish()) != 0 && lane() == 0) walk.spoiled = 1;
  }
  block_barrier();
  if (thread_index() == 0) job.spoiled[block_x()] = static_cast<uint8_t>(walk.spoiled);
}

// False if the tensor is no matrix, or not aligned.
bool flatten(const Job& job, const Strided& x, int64_t heads, int64_t rows, Flat* flat, int32_t* result) {
  constexpr int64_t kElement = 2;
  Matrix matrix;
  const int64_t items = job.in.q_offsets == nullptr ? job.batch : 1;
  if (reinterpret_cast<uintptr_t>(x.data) % 16 != 0 || !as_matrix(x, items, heads, rows, 128, &matrix)) return false;
  flat->rows = matrix.rows;
  for (const auto& [map, box] : {std::pair{&flat->by_64, 64}, std::pair{&flat->by_16, 16}}) {
    *result = make_tensor_map(map, x.data, kElement, matrix.rows, matrix.columns, x.row_stride * kElement, box,
                              kHalfColumns, kRowBytes);
    if (*result != GATUN_OK) return true;
  }
  return true;
}

template <bool kBf16>
int32_t run(const char* name, const Job& job, void* stream) {
  Flat q, k, v;
  int32_t result = GATUN_OK;
  const bool flat = job.kv_length > 0 && job.out != nullptr &&
                    flatten(job, job.q, job.query_heads, job.query_length, &q, &result) &&
                    flatten(job, job.k, job.kv_heads, job.kv_length, &k, &result) &&
                    flatten(job, job.v, job.kv_heads, job.kv_length, &v, &result);
  GATUN_TRY(result);
  if (!flat) return kBf16 ? run_attention_bf16_m128n48_sm80(job, stream) : run_attention_f16_m128n48_sm80(job, stream);
  return launch(name, attention_tile_sm90<Shape<kBf16>>, {job.blocks, 1, 1, kThreads, kSharedBytes}, stream, q, k, v,
                job);
}

}  // namespace

int32_t run_attention_bf16_m128n128_sm90(const Job& job, void* stream) {
  return run<true>("attention_bf16_m128n128_sm90", job, stream);
}
int32_t run_attention_f16_m128n128_sm90(const Job& job, void* stream) {
  return run<false>("attention_f16_m128n128_sm90", job, stream);
}

}  // namespace gatun::cuda::attention
