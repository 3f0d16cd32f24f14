// Attention of head size 128 in bf16 and f16 on sm_90a (sm90_tile.h): tiles of k and v come by tensor maps (TMA).
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

#include "attention/sm90_tile.h"
#include "ptx/memory.h"

namespace gatun::cuda::attention {

int32_t run_attention_bf16_m128n48_sm80(const Job& job, void* stream);
int32_t run_attention_f16_m128n48_sm80(const Job& job, void* stream);

namespace sm90 {
namespace {

constexpr int kRowBytes = 128, kHalfColumns = 64, kHalfBytes = 128 * kRowBytes, kTileBytes = 2 * kHalfBytes;

struct Halves {
  Flat q, k, v;
};

// Row and column of a place.
struct Corner {
  int row, column;
};
GATUN_DEVICE Corner corner_of(const Job& job, const Item& item, int64_t first, int64_t head, const Strided& x) {
  const int64_t place = place_of(job, item.index, first, head, x), row = quotient(place, x.row_stride);
  return {static_cast<int>(row), static_cast<int>(place - row * x.row_stride)};
}

class HalvesCopies {
 public:
  GATUN_DEVICE HalvesCopies(const Job& job, const Tile& tile, const Halves& tensors)
      : tensors_(tensors),
        q_(corner_of(job, tile.item, tile.item.first_query, tile.head, job.q)),
        k_(corner_of(job, tile.item, tile.item.first_key, tile.kv_head, job.k)),
        v_(corner_of(job, tile.item, tile.item.first_key, tile.kv_head, job.v)) {
    q_.row += tile.row;
  }

  GATUN_DEVICE void queries(uint8_t* to, Barrier* barrier) const {
    barrier_expect(barrier, kTileBytes);
    for (int first = 0; first < 128; first += 64)
      copy_halves(to, first, &tensors_.q.by_64, q_.row + first, q_.column, barrier);
  }
  GATUN_DEVICE void keys(const Step<kPanels>& step, uint8_t* to, Barrier* barrier) const {
    copy(step, to, tensors_.k, k_, barrier);
  }
  GATUN_DEVICE void values(const Step<kPanels>& step, uint8_t* to, Barrier* barrier) const {
    copy(step, to, tensors_.v, v_, barrier);
  }

 private:
  // Rows from `row` on to rows from `to_row` on of a tile.
  GATUN_DEVICE static void copy_halves(uint8_t* tile, int to_row, const TensorMap* map, int row, int column,
                                       Barrier* barrier) {
    copy_tile(tile + to_row * kRowBytes, map, row, column, barrier);
    copy_tile(tile + kHalfBytes + to_row * kRowBytes, map, row, column + kHalfColumns, barrier);
  }
  GATUN_DEVICE static void copy(const Step<kPanels>& step, uint8_t* tile, const Flat& flat, const Corner& from,
                                Barrier* barrier) {
    barrier_expect(barrier, kTileBytes);
    for_each_run(step, [&](int i, int panels) {
      copy_halves(tile, i * kPanelKeys, flat.map(panels), flat.row_of(step, i, from.row), from.column, barrier);
    });
  }

  const Halves& tensors_;
  Corner q_, k_, v_;
};

template <class T>
class HalvesGroup : public TileRows<T> {
  using Rows = TileRows<T>;
  using Rows::s_, Rows::o_;

 public:
  using Rows::Rows;

  GATUN_DEVICE void multiply_keys(const Step<kPanels>&, const uint8_t* q, const uint8_t* k) {
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
  GATUN_DEVICE void ready_values(const Step<kPanels>& step, uint8_t* v) const {
    if (step.edge == 0) return;
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

  GATUN_DEVICE bool finish_rows() { return Rows::finish(); }
};

template <bool kBf16Of>
struct HalvesShape {
  static constexpr bool kBf16 = kBf16Of, kTwoLevels = false, kAgain = true;
  static constexpr int kSize = 128, kRowTiles = 1, kWarpRows = 16, kFirstWarp = 4, kPanels = sm90::kPanels;
  static constexpr int kRowBytes = sm90::kRowBytes, kQBytes = kTileBytes, kKBytes = kTileBytes, kVBytes = kTileBytes;
  static constexpr float kShift = kBf16 ? 0.0f : 15.0f;
  using Tensors = Halves;
  using Copies = HalvesCopies;
  using Group = HalvesGroup<HalvesShape>;
};

// False if the tensor is no matrix, or not aligned.
bool flatten(const Job& job, const Strided& x, int64_t heads, int64_t rows, Flat* flat, int32_t* result) {
  Matrix matrix;
  const int64_t items = job.in.q_offsets == nullptr ? job.batch : 1;
  if (reinterpret_cast<uintptr_t>(x.data) % 16 != 0 || !as_matrix(x, items, heads, rows, 128, &matrix)) return false;
  *result = make_flat(x.data, 2, matrix, x.row_stride, kHalfColumns, flat);
  return true;
}

template <bool kBf16>
int32_t run_halves(const char* name, const Job& job, void* stream) {
  Halves tensors;
  int32_t result = GATUN_OK;
  const bool flat = job.kv_length > 0 && job.out != nullptr &&
                    flatten(job, job.q, job.query_heads, job.query_length, &tensors.q, &result) &&
                    flatten(job, job.k, job.kv_heads, job.kv_length, &tensors.k, &result) &&
                    flatten(job, job.v, job.kv_heads, job.kv_length, &tensors.v, &result);
  GATUN_TRY(result);
  if (!flat) return kBf16 ? run_attention_bf16_m128n48_sm80(job, stream) : run_attention_f16_m128n48_sm80(job, stream);
  return run<HalvesShape<kBf16>>(name, job, stream, tensors);
}

}  // namespace
}  // namespace sm90

int32_t run_attention_bf16_m128n128_sm90(const Job& job, void* stream) {
  return sm90::run_halves<true>("attention_bf16_m128n128_sm90", job, stream);
}
int32_t run_attention_f16_m128n128_sm90(const Job& job, void* stream) {
  return sm90::run_halves<false>("attention_f16_m128n128_sm90", job, stream);
}

}  // namespace gatun::cuda::attention
