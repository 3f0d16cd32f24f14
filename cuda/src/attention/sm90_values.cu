// INT8_FP8: the codes of v (gatun/attention.h), for the kernels of sm90_codes.cu.
//
//   mean[c]   as of k (device_codes.cu)
//   scale[c]  a block for 32 channels of a head: amax of v - mean over the item's keys; a maximum does not depend on
//             the order
//   codes     a block for each unit of 64 keys, a warp for each panel of 16: a lane has a channel, whose 16 keys become
//             16 bytes, which lanes write next to each other
//
// Keys lie in the order in which a lane of wgmma's sums has them in registers: those become, four by four, its bytes of
// the left operand, so that weights need no exchange between lanes.
//
//   sums of a panel's products q . k      lane t of four has keys 2t, 2t + 1, 8 + 2t, 9 + 2t
//   left operand of weights . v           lane t of four has bytes 4t .. 4t + 3
//   so byte i of a channel is key         0 1 8 9   2 3 10 11   4 5 12 13   6 7 14 15
//
// Keys beyond an item's last are zeros, as are channels beyond value_size.
//
// Of 16 heads of 16k keys and 128 channels in bf16, 64 MiB, which the L2 cache does not keep: the mean 75 us
// (device_codes.cu); the scales 75 to 100 us, as 64 blocks have 512 KiB under way at best, which take 600 to 800 ns;
// the codes, bound by memory, 25 us. Not measured: emulated only.
#include <cstdint>

#include "attention/code_blocks.h"
#include "base/check.h"
#include "ptx/launch.h"
#include "ptx/memory.h"
#include "ptx/warp.h"

namespace gatun::cuda::attention {
namespace {

constexpr int kPanelKeys = 16, kCodeWarps = kUnitKeys / kPanelKeys, kScaleWarps = 16;
constexpr float kLargest = 448.0f;  // of f8e4m3

// Values of an item's head less their mean.
struct Centred {
  const Job& job;
  int64_t place, of_head;  // of row 0 of v; of channel 0 of means and scales

  GATUN_DEVICE Centred(const Job& all, const Item& item, int64_t head)
      : job(all),
        place(place_of(all, item.index, item.first_key, head, all.v)),
        of_head((item.index * all.kv_heads + head) * all.value_size) {}
  GATUN_DEVICE float at(int64_t key, int column, float mean) const {
    return load_float(job.v.data, job.dtype, place + key * job.v.row_stride + column) - mean;
  }
};

GATUN_KERNEL(32 * kScaleWarps, 1)
attention_scale_values(GATUN_GRID_CONSTANT Job job, float* scales) {
  const Columns own = columns_of_block(job, job.value_size);
  const Centred values(job, own.item, own.head);
  const int column = own.column;
  const bool inside = column < job.value_size;
  float amax = 0;
  if (inside) {
    const float mean = job.codes.v_mean[values.of_head + column];
#pragma unroll 8
    for (int32_t key = warp(); key < own.item.keys; key += kScaleWarps) {
      amax = max_or_nan(amax, absolute(values.at(key, column, mean)));
    }
  }
  float* const of_warps = reinterpret_cast<float*>(shared_memory());
  of_warps[thread_index()] = amax;
  block_barrier();
  if (warp() != 0 || !inside) return;
  for (int i = 1; i < kScaleWarps; ++i) amax = max_or_nan(amax, of_warps[i * 32 + lane()]);
  scales[values.of_head + column] = scale_of(amax, kLargest).scale;
}

GATUN_KERNEL(32 * kCodeWarps, 4)
attention_code_values(GATUN_GRID_CONSTANT Job job, uint8_t* codes) {
  Unit unit;
  if (!unit_of_block(job, &unit)) return;
  const Item& item = unit.item;
  const Centred values(job, item, unit.head);
  const int32_t key = unit.first + warp() * kPanelKeys;
  uint8_t* const to =
      codes + (unit_of(job, item, unit.head, key) * kCodeWarps + warp()) * job.codes.columns * kPanelKeys;
  for (int column = lane(); column < job.codes.columns; column += 32) {
    const bool inside = column < job.value_size;
    const float mean = inside ? job.codes.v_mean[values.of_head + column] : 0.0f;
    const float scale = inside ? job.codes.v_scales[values.of_head + column] : 0.0f;
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    float x[kPanelKeys];
#pragma unroll
    for (int i = 0; i < kPanelKeys; ++i) {
      x[i] = inverse > 0 && key + i < item.keys ? values.at(key + i, column, mean) * inverse : 0.0f;
    }
    Words4 words;
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      words.word[t] = pack_e4m3(x[2 * t], x[2 * t + 1]) | static_cast<uint32_t>(pack_e4m3(x[8 + 2 * t], x[9 + 2 * t]))
                                                              << 16;
    }
    *reinterpret_cast<Words4*>(to + column * kPanelKeys) = words;
  }
}

}  // namespace

int32_t run_quantize_values(const Job& job, void* stream) {
  const int64_t items = job.in.q_offsets == nullptr ? job.batch : 1;
  GATUN_TRY(run_means(job, job.v, job.value_size, job.codes.v_mean, stream));
  GATUN_TRY(launch("attention_scale_values_sm90", attention_scale_values,
                   {job.batch * job.kv_heads * blocks_of(job.value_size, kMeanColumns), 1, 1, 32 * kScaleWarps,
                    32 * kScaleWarps * 4},
                   stream, job, const_cast<float*>(job.codes.v_scales)));
  return launch("attention_code_values_sm90", attention_code_values,
                {items * job.kv_heads * job.codes.k_units, 1, 1, 32 * kCodeWarps, 0}, stream, job,
                const_cast<uint8_t*>(job.codes.v));
}

}  // namespace gatun::cuda::attention
