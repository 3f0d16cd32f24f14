// Attention in INT8_FP8 on sm_90a (sm90_tile.h): q . k of int8 codes, weights and values in f8e4m3 (SageAttention2,
// Zhang et al. 2024). device_codes.cu and sm90_values.cu make the codes.
//
//   s = q' k'^T * q_scale * k_scale + q . mean_k      q', k' int8, exact sums
//   p = 448 * 2^(s - top), in f8e4m3                  top, total = sum of p as they were before: tile_rows.h
//   o = factor * o + p v'                             v' f8e4m3, each step's products in sums of their own
//   out = correction * (o / total * scale_v + mean_v * share)
//                                                     share: of the weights in the denominator, 1 without sinks
//
// Operands lie in shared memory, padded to kSize channels (64 or 128):
//
//   q', k'   rows of kSize bytes in the swizzle of as many, by tensor maps, 64 or 16 rows a copy
//   v'       panels [kSize channels][16 keys] one behind the other: wgmma's atoms of 8 x 16 bytes without a swizzle;
//            two panels are the 32 keys of a product's depth; by bulk copies of four panels or one
//
// Tensor cores read f8e4m3 along the depth alone, hence v' by channels. In which order its keys lie, so that s becomes
// the left operand in its registers, stands in sm90_values.cu:
//
//   lane t of four, s of a panel   [2t] [2t + 1] [8 + 2t] [9 + 2t]      4 floats
//                   p              bytes 4t .. 4t + 3                   of the left operand's row of 16
//
// Why two levels: tensor cores keep some 14 bits of a sum of products of f8e4m3 while they add. A step's four additions
// are good to 2^-6 of the magnitudes; further ones are f32.
//
// No overflow: |q' k'| <= 128 * 127^2 < 2^21; p <= 448, |v'| <= 448: a step's sums are below 2^25.
//
// Tails: panels beyond the last are zeros of k and, of v, copies of the step's first one; their weights are zeros, and
// so are v' beyond the last key and channel, q' and k' beyond the last channel. Rows beyond the last are not written. A
// number that is none in v makes the channel's scale NaN and its codes zeros: no weight of 0 meets one.
//
// Error: gatun/attention.h; fp8_reference.h has it row by row.
//
// A step of a group, size 128: 2 products of 64 x 128 x 128, 256 cycles each of the SM's tensor cores at twice bf16's
// rate, and about 620 slots of a scheduler: 64 each of conversion, scale, maximum, subtraction, fma, 2^x, sum and
// o * factor + sum, 32 roundings of pairs, 16 pairings, the rest 60. Two groups: 1024 cycles of products, 1240 slots,
// 1024 cycles of 2^x (16 a cycle and SM), and 1300 for 32 KiB of k and v at 25 bytes each from the L2 cache: that
// binds, with instructions close behind. Prediction for 16k x 16k, H200, codes included: 600 to 850 TFLOP/s, 1.3 to 1.6
// times bf16 by sm90.cu. Not measured: emulated only.
#include <algorithm>
#include <cstdint>

#include "attention/sm90_tile.h"

namespace gatun::cuda::attention {
namespace sm90 {
namespace {

struct CodeTensors {
  Flat q, k;
};

template <class T>
class CodeCopies {
 public:
  GATUN_DEVICE CodeCopies(const Job& job, const Tile& tile, const CodeTensors& tensors)
      : tensors_(tensors),
        q_row_(row_of(job, tile.item, tile.item.first_query, tile.head, job.codes.q) + tile.row),
        k_row_(row_of(job, tile.item, tile.item.first_key, tile.kv_head, job.codes.k)),
        v_(job.codes.v + unit_of(job, tile.item, tile.kv_head, 0) * (kUnitKeys * T::kSize)) {}

  GATUN_DEVICE void queries(uint8_t* to, Barrier* barrier) const {
    barrier_expect(barrier, T::kQBytes);
    for (int first = 0; first < 128; first += 64) {
      copy_tile(to + first * T::kRowBytes, &tensors_.q.by_64, q_row_ + first, 0, barrier);
    }
  }
  GATUN_DEVICE void keys(const Step<kPanels>& step, uint8_t* to, Barrier* barrier) const {
    barrier_expect(barrier, T::kKBytes);
    for_each_run(step, [&](int i, int panels) {
      copy_tile(to + i * kPanelKeys * T::kRowBytes, tensors_.k.map(panels), tensors_.k.row_of(step, i, k_row_), 0,
                barrier);
    });
  }
  GATUN_DEVICE void values(const Step<kPanels>& step, uint8_t* to, Barrier* barrier) const {
    barrier_expect(barrier, T::kVBytes);
    for_each_run(step, [&](int i, int panels) {
      const int64_t panel = step.key[i < step.count ? i : 0] / kPanelKeys;
      copy_bulk(to + i * T::kPanelBytes, v_ + panel * T::kPanelBytes, panels * T::kPanelBytes, barrier);
    });
  }

 private:
  GATUN_DEVICE static int row_of(const Job& job, const Item& item, int64_t first, int64_t head, const Strided& x) {
    return static_cast<int>(quotient(place_of(job, item.index, first, head, x), T::kSize));
  }

  const CodeTensors& tensors_;
  const int q_row_, k_row_;
  const uint8_t* const v_;
};

template <class T>
class CodeGroup : public TileRows<T> {
  using Rows = TileRows<T>;
  using Rows::job_, Rows::s_, Rows::o_, Rows::factor_, Rows::kTiles, Rows::kRows;

 public:
  GATUN_DEVICE CodeGroup(const Job& job, Walk<kPanels>& walk) : Rows(job, walk) { Rows::load_scales(of_rows_); }

  GATUN_DEVICE void multiply_keys(const Step<kPanels>& step, const uint8_t* q, const uint8_t* k) {
    float of_panels[kPanels];
    Rows::load_scales(step, of_panels);
    int32_t sum[T::kRowTiles][kTiles][4];
    int32_t(&s)[64] = reinterpret_cast<int32_t(&)[64]>(sum);
    wgmma_fence(s);
#pragma unroll
    for (int depth = 0; depth < T::kSize / 32; ++depth) {
      wgmma_i8<128>(s, rows_matrix(q) + depth * 2, rows_matrix(k) + depth * 2, depth > 0);
    }
    wgmma_commit();
    wgmma_wait<0>(s);
    Rows::scale_sums(sum, of_rows_, of_panels);
  }

  GATUN_DEVICE void ready_values(const Step<kPanels>&, const uint8_t*) const {}

  GATUN_DEVICE void multiply_values(const uint8_t* v) {
    uint32_t p[4][4];
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) {
#pragma unroll
      for (int x = 0; x < 4; ++x) {
        const int panel = 2 * pair + x / 2, e = x % 2 * 2;
        const float(&low)[4] = s_[0][2 * panel], (&high)[4] = s_[0][2 * panel + 1];
        p[pair][x] = pack_e4m3(low[e], low[e + 1]) | static_cast<uint32_t>(pack_e4m3(high[e], high[e + 1])) << 16;
      }
    }
    float sum[T::kSize / 2];
    wgmma_fence(sum, p[0], p[1], p[2], p[3]);
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) {
      const uint64_t b = shared_matrix(v + 2 * pair * T::kPanelBytes, 128, T::kPanelBytes, Swizzle::none);
      wgmma_e4m3<T::kSize>(sum, p[pair], b, pair > 0);
    }
    wgmma_commit();
    wgmma_wait<0>(sum, p[0], p[1], p[2], p[3]);
#pragma unroll
    for (int i = 0; i < T::kSize / 2; ++i) {
      float& o = o_[0][i / 4][i % 4];
      o = fused(o, factor_[i % 4 / 2], sum[i]);
    }
  }

  // A row of no weight is 0, whatever v is.
  GATUN_DEVICE bool finish_rows() {
    const Tile& tile = Rows::walk_.tile;
    const int64_t of_head = (tile.item.index * job_.kv_heads + tile.kv_head) * job_.value_size;
    return Rows::finish([&](int column, float value, float share) {
      const float mean = job_.codes.v_mean[of_head + column];
      return share == 0 ? 0.0f : fused(value, job_.codes.v_scales[of_head + column], mean * share);
    });
  }

 private:
  GATUN_DEVICE static uint64_t rows_matrix(const uint8_t* rows) {
    return shared_matrix(rows, 8 * T::kRowBytes, 16, T::kRowBytes == 128 ? Swizzle::bytes128 : Swizzle::bytes64);
  }

  typename Rows::RowScale of_rows_[kRows];
};

template <int kSizeOf>
struct CodeShape {
  static constexpr bool kTwoLevels = true, kAgain = false;
  static constexpr int kSize = kSizeOf, kRowTiles = 1, kWarpRows = 16, kFirstWarp = 4, kPanels = sm90::kPanels;
  static constexpr int kRowBytes = kSize, kPanelBytes = kPanelKeys * kSize;
  static constexpr int kQBytes = 128 * kSize, kKBytes = 128 * kSize, kVBytes = kPanels * kPanelBytes;
  static constexpr float kShift = 8.80735492f;  // 448 = 2^kShift
  using Tensors = CodeTensors;
  using Copies = CodeCopies<CodeShape>;
  using Group = CodeGroup<CodeShape>;
};

template <int kSize>
int32_t run_codes(const char* name, const Job& job, void* stream) {
  CodeTensors tensors;
  const int64_t items = job.in.q_offsets == nullptr ? job.batch : 1;
  const auto flatten = [&](const Strided& x, int64_t heads, int64_t rows, Flat* flat) {
    return make_flat(x.data, 1, {std::max<int64_t>(items * heads * rows, 1), kSize}, kSize, kSize, flat);
  };
  GATUN_TRY(flatten(job.codes.q, job.query_heads, job.query_length, &tensors.q));
  GATUN_TRY(flatten(job.codes.k, job.kv_heads, job.kv_length, &tensors.k));
  return run<CodeShape<kSize>>(name, job, stream, tensors);
}

}  // namespace
}  // namespace sm90

int32_t run_attention_i8_f8_m128n128k64_sm90(const Job& job, void* stream) {
  return sm90::run_codes<64>("attention_i8_f8_m128n128k64_sm90", job, stream);
}
int32_t run_attention_i8_f8_m128n128k128_sm90(const Job& job, void* stream) {
  return sm90::run_codes<128>("attention_i8_f8_m128n128k128_sm90", job, stream);
}

}  // namespace gatun::cuda::attention
