// Decoding on tensor cores: 16 rows of q that share keys, and a part of these, each block.
//
//   out[r][c] = sum over j of p[r][j] v[j][c],  p[r][j] = exp(logit[r][j] - m[r]),  logit[r][j] = scale q[r] . k[j] ..
//
// Each warp is on its own: it has tiles of 32 keys, every warps-th of the part, which it copies asynchronously to a
// ring of two in shared memory, a tile ahead, straight from the pages; scales of tokens go through registers. q lies in
// shared memory as the left operand, of codes as multiples of amax / 16256 in two int8, whose products are exact.
//
//   [32 keys][k bytes]  right operand, columns are keys      ->  logits [16][32], in registers as mma.h's d
//   exponentials of them, packed in pairs                     =   left operand [16][2 x 16 keys], without moving
//   [32 keys][v bytes]  right operand, columns are channels  ->  sums [16][size], in registers
//
// The maximum of a row is a running one; the sums are rescaled when it grows. Exponentials are rounded to bf16 with
// values of BF16, otherwise, times 2^14, to f16: 2^-25 and less of the largest one become 2^-39. Of codes, scales of
// tokens multiply exponentials before that, as multiples of a running power of two that none exceeds; zero points are
// eight further columns, one of each group: Z[r][group] = sum over j of p[r][j] z[j][group].
//
// In the end the warps' sums are added in ascending order.
//
//   shared memory   q [16][q bytes], low halves of codes' the same | row scales f32 [16] | sums of q by lanes i32
//                   [16][32] | the Block | of each warp: 2 stages of keys [32][stride], values [32][stride]; scales and
//                   zero points of keys f32, scales of values f32, [8 groups][32] each, zero points of values f16
//                   [8][32]; instead of all stages, at the end, maxima [16], totals [16], sums [16][size] of each warp
//
// Rows are 16 bytes further apart than an even number of chunks: eight of them are in different banks.
// Of 128 channels of U4 a warp takes about 900 instructions for 32 keys, 4.2 KB; of BF16 750 for 16 KB
// (bench/NOTES.md).
#pragma once

#include "decode/tile_keys.h"
#include "ptx/cp_async.h"
#include "ptx/launch.h"

namespace gatun::cuda::decode {
namespace tiles {

// What a warp keeps of its work.
template <int kSize>
class Warp {
 public:
  GATUN_DEVICE Warp(const TilesJob& tiles, const Block& block)
      : tiles_(tiles),
        job_(tiles.job),
        block_(block),
        part_(block.part),
        stages_(shared_memory() + tiles.stages_at + warp() * tiles.warp_bytes) {
    const int warps = thread_count() / 32;
    const int visible = (block.keys + kKeys - 1) / kKeys + block.before - block.after;
    count_ = visible > warp() ? (visible - warp() + warps - 1) / warps : 0;
#pragma unroll
    for (int i = 0; i < kSize / 2; ++i) sum_[i / 4][i % 4] = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) zero_sum_[i] = 0;
    const gatun_decode_params& p = job_.params;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int64_t position = query(i).position - part_.first;
      last_seen_[i] = p.causal != 0 ? near(position) : kFar;
      first_seen_[i] = p.window_left < 0 ? -kFar : near(position - p.window_left);
    }
  }

  GATUN_DEVICE void run() {
    if (count_ == 0) return;
    NearPlace place = find(0);
    uint32_t here = ballot(place.page >= 0);
    load_scales(place);
    store_scales(place);
    copy(0, place);
    place = find(1);
    copy(1, place);
#pragma unroll 1
    for (int n = 0; n < count_; ++n) {
      load_scales(place);  // of the next tile
      const NearPlace next = find(n + 2);
      copy_async_wait<1>();
      warp_barrier();
      add_tile(n, here);
      warp_barrier();
      here = ballot(place.page >= 0);
      store_scales(place);
      copy(n % kStages, next);
      place = next;
    }
    copy_async_wait<0>();
  }

  // Maxima, totals and sums of the warp, where the stages of all warps were.
  GATUN_DEVICE void put(float* maxima, float* totals, float* sums, float* zeros) {
    const DevicePool& v = job_.v;
    const int size = static_cast<int>(v.layout.size), per = 128 / kChannels / bits_of(form_of(v.layout.dtype));
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      for (int mask = 1; mask < 4; mask *= 2) total_[i] += shuffle_xor(total_[i], mask);
      const int row = lane() / 4 + 8 * i;
      if (lane() % 4 == 0) {
        maxima[row] = maximum_[i];
        totals[row] = total_[i];
      }
      zeros[row * kMostGroups + lane() % 4 * 2] = zero_sum_[2 * i];
      zeros[row * kMostGroups + lane() % 4 * 2 + 1] = zero_sum_[2 * i + 1];
    }
    warp_barrier();
    const float down = v.layout.dtype == GATUN_BF16 ? 1.0f : 1 / kUp;
    const float of_sums = v.scales != nullptr ? down * unit_ : down;
#pragma unroll
    for (int n = 0; n < kSize / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int channel = (n / per * 8 + lane() % 4 * 2 + e % 2) * per + n % per, row = lane() / 4 + e / 2 * 8;
        if (channel >= size) continue;
        float sum = sum_[n][e] * of_sums;
        if (v.zeros != nullptr) sum = fused(zeros[row * kMostGroups + channel / tiles_.v.group], down, sum);
        sums[row * size + channel] = sum;
      }
    }
  }

 private:
  // A key's place; a page of -1: no key.
  struct NearPlace {
    int32_t page, row;
  };

  // Rows lane() / 4 and that + 8 of the tile; the first one for what is not there.
  GATUN_DEVICE bool there(int i) const { return lane() / 4 + 8 * i < part_.rows; }
  GATUN_DEVICE Query query(int i) const {
    return query_of(job_, part_, part_.row + (there(i) ? lane() / 4 + 8 * i : 0));
  }

  // The first key of the warp's tile number n.
  GATUN_DEVICE int first_key(int n) const {
    const int number = warp() + n * (thread_count() / 32);
    return (number < block_.before ? number : number - block_.before + block_.after) * kKeys;
  }

  // The lane's key of a tile.
  GATUN_DEVICE NearPlace find(int n) const {
    if (n >= count_) return {-1, 0};
    const int key = first_key(n) + lane();
    if (key >= block_.keys) return {-1, 0};
    const Place place = place_of(job_, part_, part_.first + key);
    return {static_cast<int32_t>(place.page), static_cast<int32_t>(place.row)};
  }

  GATUN_DEVICE uint8_t* keys(int stage) const { return stages_ + stage * kKeys * (tiles_.k.stride + tiles_.v.stride); }
  GATUN_DEVICE uint8_t* values(int stage) const { return keys(stage) + kKeys * tiles_.k.stride; }
  GATUN_DEVICE float* key_scales() const { return reinterpret_cast<float*>(stages_ + tiles_.scales_at); }
  GATUN_DEVICE float* key_zeros() const { return key_scales() + kPlaneBytes / 4; }
  GATUN_DEVICE float* value_scales() const { return key_zeros() + kPlaneBytes / 4; }
  GATUN_DEVICE uint16_t* value_zeros() const { return reinterpret_cast<uint16_t*>(value_scales() + kPlaneBytes / 4); }

  // Rows that are there; zeros for the others.
  GATUN_DEVICE void copy(int stage, const NearPlace& place) const {
    copy_side(job_.k, tiles_.k, keys(stage), place);
    if (job_.v.rows != nullptr) copy_side(job_.v, tiles_.v, values(stage), place);
    copy_async_commit();
  }
  GATUN_DEVICE void copy_side(const DevicePool& pool, const Side& side, uint8_t* to, const NearPlace& place) const {
    const uint8_t* const from = pool.rows + part_.g * pool.layout.head_stride;
#pragma unroll 4
    for (int i = lane(); i < kKeys * side.chunks; i += 32) {
      const int key = i * side.division >> 16, chunk = i - key * side.chunks;
      const int page = shuffle(place.page, key), row = shuffle(place.row, key);
      const bool there = page >= 0 && chunk * 16 < side.row_bytes;
      const uint8_t* const at =
          from + (there ? page * pool.layout.page_stride + row * pool.layout.row_stride + chunk * 16 : 0);
      copy_async_16(to + key * side.stride + chunk * 16, at, there ? 16 : 0);
    }
  }

  // Scales of the lane's key: of a single group they are asked for a tile ahead.
  GATUN_DEVICE uint16_t scale_of(const DevicePool& pool, const uint16_t* plane, const NearPlace& place,
                                 int group) const {
    if (plane == nullptr || place.page < 0) return 0;
    return plane[kv_cache::scales_at(pool, place.page, part_.g, place.row) + group];
  }
  GATUN_DEVICE void load_scales(const NearPlace& place) {
    asked_[0] = scale_of(job_.k, job_.k.scales, place, 0);
    asked_[1] = scale_of(job_.k, job_.k.zeros, place, 0);
    asked_[2] = scale_of(job_.v, job_.v.scales, place, 0);
    asked_[3] = scale_of(job_.v, job_.v.zeros, place, 0);
  }
  GATUN_DEVICE void store_scales(const NearPlace& place) {
    if (job_.k.scales != nullptr) {
      for (int group = 0; group < tiles_.k.groups; ++group) {
        const uint16_t scale = group == 0 ? asked_[0] : scale_of(job_.k, job_.k.scales, place, group);
        const uint16_t zero = group == 0 ? asked_[1] : scale_of(job_.k, job_.k.zeros, place, group);
        key_scales()[group * kKeys + lane()] = f16_to_f32(scale);
        key_zeros()[group * kKeys + lane()] = f16_to_f32(zero);
      }
    }
    if (job_.v.scales == nullptr) return;
    float largest = 0;
    for (int group = 0; group < tiles_.v.groups; ++group) {
      const uint16_t scale = group == 0 ? asked_[2] : scale_of(job_.v, job_.v.scales, place, group);
      const uint16_t zero = group == 0 ? asked_[3] : scale_of(job_.v, job_.v.zeros, place, group);
      largest = max_number(largest, absolute(f16_to_f32(scale)));
      value_scales()[group * kKeys + lane()] = f16_to_f32(scale);
      value_zeros()[group * kKeys + lane()] = zero;
    }
    for (int mask = 1; mask < 32; mask *= 2) largest = max_number(largest, shuffle_xor(largest, mask));
    // The next power of two; f16 has none above 2^16.
    const float power = min_number(as_float((as_bits(largest) + 0x7fffff) & 0xff800000), 65536.0f);
    next_unit_ = max_number(unit_, power);
  }

  GATUN_DEVICE void add_tile(int n, uint32_t here) {
    const int first = first_key(n);
    float s[4][4];
    Keys(tiles_, key_scales(), key_zeros()).multiply(keys(n % kStages), s);
    finish_logits(first, here, s);
    if (job_.logits != nullptr) store_logits(first, s);
    if (job_.v.rows == nullptr) return exponentials(s, 1);
    exponentials(s, job_.v.scales != nullptr ? unit_ / next_unit_ : 1.0f);
    if (job_.v.scales != nullptr) unit_ = next_unit_;
    add_values(values(n % kStages), s);
  }

  // ---- exponentials ----

  GATUN_DEVICE void finish_logits(int first, uint32_t here, float (&s)[4][4]) const {
    const gatun_decode_params& p = job_.params;
#pragma unroll
    for (int i = 0; i < 16; ++i) s[i / 4][i % 4] = p.scale * s[i / 4][i % 4];
    if (p.soft_cap > 0) {
#pragma unroll
      for (int i = 0; i < 16; ++i) s[i / 4][i % 4] = p.soft_cap * tanhf(s[i / 4][i % 4] / p.soft_cap);
    }
    if (job_.slopes != nullptr) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const Query own = query(i);
        const float slope = job_.slopes[own.head];
        const int64_t distance = part_.first + first - own.position;
#pragma unroll
        for (int e = 0; e < 8; ++e) {
          float& x = s[e / 2][2 * i + e % 2];
          if (slope != 0) x = x + slope * static_cast<float>(distance + key_of(e / 2 * 4 + e % 2));
        }
      }
    }
    const int last = first + kKeys - 1;
    bool all = true;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      all = all && last <= last_seen_[i] && (first >= first_seen_[i] || last < block_.sink_keys);
    }
    if (here == 0xffffffffu && ballot(!all) == 0) return;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int row = i % 4 / 2, key = first + key_of(i);
      const bool seen =
          (here >> key_of(i) & 1) != 0 && key <= last_seen_[row] && (key >= first_seen_[row] || key < block_.sink_keys);
      if (!seen) s[i / 4][i % 4] = as_float(kMinusInfinityBits);
    }
  }
  // The key, within the tile, of element i of the logits.
  static GATUN_DEVICE int key_of(int i) { return i / 4 * 8 + lane() % 4 * 2 + i % 2; }

  GATUN_DEVICE void store_logits(int first, const float (&s)[4][4]) const {
    const gatun_decode_params& p = job_.params;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const Query own = query(i);
      float* const to = job_.logits + part_.b * p.logits_batch_stride + own.head * p.logits_head_stride +
                        own.query * p.logits_row_stride + part_.first;
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        const int key = first + key_of(e / 2 * 4 + e % 2);
        if (there(i) && key < block_.keys) to[key] = s[e / 2][2 * i + e % 2];
      }
    }
  }

  // Logits become exponentials; sums so far are rescaled to the new maximum, those of values by `of_units`, too.
  GATUN_DEVICE void exponentials(float (&s)[4][4], float of_units) {
    float factor[2], base[2];
    bool same = of_units == 1;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float largest = maximum_[i];
#pragma unroll
      for (int e = 0; e < 8; ++e) largest = max_number(largest, s[e / 2][2 * i + e % 2]);
      for (int mask = 1; mask < 4; mask *= 2) largest = max_number(largest, shuffle_xor(largest, mask));
      base[i] = largest == as_float(kMinusInfinityBits) ? 0 : largest;  // -infinity less itself is no number
      same = same && largest == maximum_[i];
      factor[i] = exp2_fast((maximum_[i] - base[i]) * kLog2E);
      maximum_[i] = largest;
    }
    if (ballot(!same) != 0) {
#pragma unroll
      for (int i = 0; i < kSize / 2; ++i) sum_[i / 4][i % 4] *= factor[i % 4 / 2] * of_units;
#pragma unroll
      for (int i = 0; i < 4; ++i) zero_sum_[i] *= factor[i / 2];
#pragma unroll
      for (int i = 0; i < 2; ++i) total_[i] *= factor[i];
    }
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float& x = s[i / 4][i % 4];
      x = exp2_fast((x - base[i % 4 / 2]) * kLog2E);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int e = 0; e < 8; ++e) total_[i] += s[e / 2][2 * i + e % 2];
    }
  }

  // ---- p v ----

  GATUN_DEVICE void add_values(const uint8_t* rows, const float (&s)[4][4]) {
    switch (form_of(job_.v.layout.dtype)) {
      case Form::bf16:
        return add_values_of<Form::bf16>(rows, s);
      case Form::f16:
        return add_values_of<Form::f16>(rows, s);
      case Form::e4m3:
        return add_values_of<Form::e4m3>(rows, s);
      case Form::e5m2:
        return add_values_of<Form::e5m2>(rows, s);
      case Form::i8:
        return add_values_of<Form::i8>(rows, s);
      case Form::u4:
        return add_values_of<Form::u4>(rows, s);
      default:
        return add_values_of<Form::u2>(rows, s);
    }
  }

  // Left operands of both steps of 16 keys: exponentials, times the scales of a group if there are scales.
  template <bool kBf16>
  static GATUN_DEVICE void weights(const float (&s)[4][4], const float* scales, float up, uint32_t (&a)[2][4]) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int key = 8 * n + lane() % 4 * 2;
      const float first = scales != nullptr ? scales[key] * up : up,
                  second = scales != nullptr ? scales[key + 1] * up : up;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        a[n / 2][n % 2 * 2 + i] = qmatmul::pack_halves<kBf16>(s[n][2 * i] * first, s[n][2 * i + 1] * second);
      }
    }
  }

  template <Form kForm>
  GATUN_DEVICE void add_values_of(const uint8_t* rows, const float (&s)[4][4]) {
    constexpr bool kBf16 = kForm == Form::bf16;
    constexpr int kPer = chunk_operands(kForm);
    const ValueDecoder<kForm> decode(job_.v.zeros != nullptr ? 0
                                     : kForm == Form::i8     ? 128
                                                             : kv_cache::code_of_zero(job_.v.layout.dtype));
    uint32_t a[2][4];
    if (job_.v.zeros != nullptr) add_zeros(s);
    const float up = kBf16 ? 1.0f : is_codes(kForm) ? kUp / unit_ : kUp;
    weights<kBf16>(s, is_codes(kForm) ? value_scales() : nullptr, up, a);
    int next = is_codes(kForm) ? tiles_.v.group : INT32_MAX;  // where the next group begins
    const float* scales = value_scales();
#pragma unroll
    for (int chunk = 0; chunk < kSize / 8 / kPer; ++chunk) {
      if (chunk * 16 >= tiles_.v.row_bytes) break;
      if (is_codes(kForm) && chunk * 8 * kPer == next) {
        scales += kKeys;
        next += tiles_.v.group;
        weights<kBf16>(s, scales, up, a);
      }
      uint32_t word[4];
      load_matrix_x4_transposed(word, rows + lane() * tiles_.v.stride + chunk * 16);
#pragma unroll
      for (int i = 0; i < kPer; ++i) {
#pragma unroll
        for (int step = 0; step < 2; ++step) {
          const uint32_t b[2] = {decode(word[2 * step], i), decode(word[2 * step + 1], i)};
          if (kBf16) {
            mma_bf16(sum_[chunk * kPer + i], a[step], b);
          } else {
            mma_f16(sum_[chunk * kPer + i], a[step], b);
          }
        }
      }
    }
  }

  GATUN_DEVICE void add_zeros(const float (&s)[4][4]) {
    uint32_t a[2][4];
    weights<false>(s, nullptr, kUp, a);
    const int group = lane() / 4;
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const uint32_t* const at =
          reinterpret_cast<const uint32_t*>(value_zeros() + group * kKeys + 16 * step) + lane() % 4;
      const bool there = group < tiles_.v.groups;
      const uint32_t b[2] = {there ? at[0] : 0, there ? at[4] : 0};
      mma_f16(zero_sum_, a[step], b);
    }
  }

  const TilesJob& tiles_;
  const Job& job_;
  const Block& block_;
  const Part& part_;
  uint8_t* const stages_;
  int count_;                             // of the warp's tiles
  int32_t first_seen_[2], last_seen_[2];  // keys that the lane's rows see
  uint16_t asked_[4];                     // scales and zero points of the next tile: of keys, of values
  float maximum_[2] = {as_float(kMinusInfinityBits), as_float(kMinusInfinityBits)};
  float total_[2] = {0, 0};  // of the lane's keys
  float unit_ = kv_cache::power_of_two(-24), next_unit_ = unit_;
  float sum_[kSize / 8][4], zero_sum_[4];
};

template <int kSize>
GATUN_KERNEL(kMostWarps * 32, kSize == 128 ? 3 : 2)
decode(GATUN_GRID_CONSTANT TilesJob tiles) {
  const Job& job = tiles.job;
  const Part part = part_of_block(job, kRows);
  if (part.first >= part.last) return;
  Block& block = *reinterpret_cast<Block*>(shared_memory() + tiles.stages_at - kBlockBytes);
  if (thread_index() == 0) set_block(job, part, block);
  prepare_q(tiles, part);
  block_barrier();
  const int warps = thread_count() / 32, size = static_cast<int>(job.v.layout.size);
  float* const results = reinterpret_cast<float*>(shared_memory() + tiles.stages_at);
  const int warp_floats = kRows * (2 + kMostGroups + size);
  {
    Warp<kSize> own(tiles, block);
    own.run();
    block_barrier();
    float* const maxima = results + warp() * warp_floats;
    own.put(maxima, maxima + kRows, maxima + kRows * (2 + kMostGroups), maxima + 2 * kRows);
  }
  block_barrier();
  // Channel -1 of a row is its total, with its maximum.
  float* const partial = partial_of(job, part);
  for (int i = thread_index(); i < part.rows * (size + 1); i += thread_count()) {
    const int row = i / (size + 1), channel = i - row * (size + 1) - 1;
    float maximum = as_float(kMinusInfinityBits), sum = 0;
    for (int w = 0; w < warps; ++w) maximum = max_number(maximum, results[w * warp_floats + row]);
    for (int w = 0; w < warps; ++w) {
      const float* const of_warp = results + w * warp_floats;
      if (of_warp[kRows + row] == 0) continue;
      const float weight = exp2_fast((of_warp[row] - maximum) * kLog2E);
      sum = fused(channel < 0 ? of_warp[kRows + row] : of_warp[kRows * (2 + kMostGroups) + row * size + channel],
                  weight, sum);
    }
    if (channel < 0) {
      partial[part.row + row] = maximum;
      partial[job.rows + part.row + row] = sum;
    } else {
      partial[2 * job.rows + (part.row + row) * size + channel] = sum;
    }
  }
}

template <int kSize>
int32_t run(const Job& job, const char* name, void* stream) {
  TilesJob tiles = {job, side_of(job.k), side_of(job.v), 0, 0, 0, 0, 0};
  const bool codes = job.k.scales != nullptr;
  const int channels = tiles.k.chunks * positions_of(form_of(job.k.layout.dtype)).chunk_channels;
  tiles.q_stride = channels * (codes ? 1 : 2) + 16;
  tiles.q_bytes = kRows * tiles.q_stride;
  tiles.stages_at = tiles.q_bytes * 2 + kRowScalesBytes + kLaneSumsBytes + kBlockBytes;
  tiles.scales_at = kStages * kKeys * (tiles.k.stride + tiles.v.stride);
  tiles.warp_bytes = tiles.scales_at + (codes || job.v.scales != nullptr ? kScalesBytes : 0);
  // Shared memory that every device has.
  const int64_t results = kRows * (2 + kMostGroups + job.v.layout.size) * 4;
  const int64_t of_warp = tiles.warp_bytes > results ? tiles.warp_bytes : results;
  constexpr int64_t kMostBytes = 99 * 1024;
  int32_t warps = kMostWarps;
  while (warps > 1 && tiles.stages_at + warps * of_warp > kMostBytes) warps /= 2;
  return launch(name, decode<kSize>, {job.blocks(), 1, 1, warps * 32, tiles.stages_at + warps * of_warp}, stream,
                tiles);
}

}  // namespace tiles
}  // namespace gatun::cuda::decode
