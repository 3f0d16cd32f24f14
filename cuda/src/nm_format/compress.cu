// Compression by a mask or by what is not 0, and back.
#include "nm_format/compress.h"

namespace gatun::cuda::nm_format {
namespace {

// What a row keeps of a group.
struct ByMask {
  GATUN_DEVICE static bool keeps(const FormatJob& job, int64_t row, int64_t k) {
    return (job.mask[row * job.mask_row + k / 8] >> k % 8 & 1) != 0;
  }
  static constexpr bool kSameInRows = true;
};
struct ByValue {
  GATUN_DEVICE static bool keeps(const FormatJob& job, int64_t row, int64_t k) {
    const uint32_t bits = bits_at(job, row, k);
    const int sign = job.value_dtype == GATUN_F32 ? 31 : 15;
    return job.value_dtype == GATUN_I8 ? bits != 0 : (bits & ~(1u << sign)) != 0;
  }
  static constexpr bool kSameInRows = false;
};

template <class By>
struct Choose {
  GATUN_DEVICE static uint32_t kept(const FormatJob& job, const Place& at) {
    uint32_t kept = 0, first = 0;
    bool same = true;
#pragma unroll 1
    for (int64_t row = first_row(job, at); row < end_row(job, at); ++row) {
      uint32_t own = 0;
#pragma unroll 1
      for (int i = 0; i < job.m && at.group * job.m + i < job.depth; ++i) {
        if (By::keeps(job, row, at.group * job.m + i)) own |= 1u << i;
      }
      if (row == first_row(job, at)) first = own;
      same = same && own == first;
      kept |= own;
    }
    if (count_ones(kept) > job.n || (By::kSameInRows && !same)) {
      report(&job.faults->group, at.vector * job.groups + at.group);
    }
    return kept;
  }
};

GATUN_KERNEL(kThreads, 2) decompress(const FormatJob job, uint8_t* const dense) {
  const int64_t count = job.columns * job.groups;
  const auto store = [&](int64_t row, int64_t k, uint32_t bits) {
    uint8_t* const to = dense + row * job.dense_row;
    if (job.value_dtype == GATUN_F32) {
      reinterpret_cast<uint32_t*>(to)[k] = bits;
    } else if (job.value_dtype == GATUN_I8) {
      to[k] = static_cast<uint8_t>(bits);
    } else if (job.value_dtype == GATUN_U4) {
      // A byte belongs to one group: m is even. Its first code comes first.
      to[k / 2] = static_cast<uint8_t>(k % 2 == 0 ? (to[k / 2] & 0xf0) | bits : (to[k / 2] & 15) | bits << 4);
    } else {
      reinterpret_cast<uint16_t*>(to)[k] = static_cast<uint16_t>(bits);
    }
  };
#pragma unroll 1
  for (int64_t i = block_x() * kThreads + thread_index(); i < count; i += blocks_x() * kThreads) {
    const int64_t row = i / job.groups, group = i % job.groups, begin = group * job.m;
    const int64_t end = begin + job.m < job.depth ? begin + job.m : job.depth;
    if (job.value_dtype == GATUN_U4 && end % 2 == 1) dense[row * job.dense_row + end / 2] = 0;
#pragma unroll 1
    for (int64_t k = begin; k < end; ++k) store(row, k, zero_at(job, row, k));
    const uint8_t* const indices = job.indices + row / job.vector * job.indices_row;
    const uint8_t* const values = job.values + row * job.values_row;
#pragma unroll 1
    for (int64_t slot = group * job.n; slot < (group + 1) * job.n; ++slot) {
      const int index = index_of(indices, job.index_bits, slot);
      if (begin + index < end) store(row, begin + index, bits_of(values, job.value_dtype, slot));
    }
  }
}

}  // namespace

int32_t run_compress(const FormatJob& job, void* stream) {
  return job.mask != nullptr ? run<Choose<ByMask>>("nm_compress", job, stream)
                             : run<Choose<ByValue>>("nm_compress", job, stream);
}

int32_t run_decompress(const FormatJob& job, uint8_t* dense, void* stream) {
  return launch("nm_decompress", decompress, grid_for(job.columns * job.groups), stream, job, dense);
}

}  // namespace gatun::cuda::nm_format
