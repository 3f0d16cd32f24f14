// From dense weights to the canonical form (gatun/nm_format.h), by what chooses the positions of a group.
//
//   lane    0 | 1 | .. | 7 | 8 ..        a lane has a group of m weights of a vector of rows
//   group   8 o .. 8 o + 7 of a vector, the next eight, ..
//
// A choice gives the positions that are kept as bits. Eight lanes with the groups of as many neighbours make whole
// bytes of indices and of u4 values: they exchange positions by shuffles, and each writes every eighth byte.
//
// Tails: lanes without a group take part in shuffles and keep the lowest n of nothing.
#pragma once

#include <cstdint>

#include "base/quotient.h"
#include "nm_format/canonical.h"
#include "nm_format/format_job.h"
#include "ptx/launch.h"
#include "ptx/number.h"
#include "ptx/warp.h"

namespace gatun::cuda::nm_format {

inline constexpr int kOctet = 8;

// A group of a vector of rows.
struct Place {
  int64_t vector, group;
  bool inside;
};

GATUN_DEVICE int64_t first_row(const FormatJob& job, const Place& at) { return at.vector * job.vector; }
GATUN_DEVICE int64_t end_row(const FormatJob& job, const Place& at) {
  return job.columns - first_row(job, at) < job.vector ? job.columns : first_row(job, at) + job.vector;
}

// A weight as it is stored, in the low bits.
GATUN_DEVICE uint32_t bits_at(const FormatJob& job, int64_t row, int64_t k) {
  return bits_of(job.dense + row * job.dense_row, job.value_dtype, k);
}

// The bits of a weight that is 0.
GATUN_DEVICE uint32_t zero_at(const FormatJob& job, int64_t row, int64_t k) {
  if (job.value_dtype != GATUN_U4) return 0;
  if (job.zero_points == nullptr) return 8;
  const int64_t group = quotient(k < job.depth ? k : job.depth - 1, job.zero_group);
  return job.zero_points[row * job.zero_groups + group] & 15;
}

// The position of 1 number `index` of n ones.
GATUN_DEVICE int position_of(uint32_t ones, int index) {
#pragma unroll 1
  for (; index > 0; --index) ones &= ones - 1;
  return lowest_bit(ones);
}

// n positions: those that are kept, then the lowest others; of more than n the lowest.
GATUN_DEVICE uint32_t filled_up(uint32_t kept, int n) {
#pragma unroll 1
  for (int count = count_ones(kept); count < n; ++count) kept |= kept + 1;
  uint32_t rest = kept;
#pragma unroll 1
  for (int i = 0; i < n; ++i) rest &= rest - 1;
  return kept ^ rest;
}

// Bytes of the eight groups of an octet, of numbers of `bits` bits that number(octet's group, slot of the group) gives
// and that lanes make together; of the row at `to`, which ends after row_bytes.
template <class Number>
GATUN_DEVICE void store_together(uint8_t* to, int64_t row_bytes, int64_t octet, int n, int bits, bool inside,
                                 Number number) {
  const int bytes = n * bits;  // of an octet
#pragma unroll 1
  for (int at = lane() % kOctet; at < (bytes + kOctet - 1) / kOctet * kOctet; at += kOctet) {
    uint32_t byte = 0;
#pragma unroll 1
    for (int i = 0; i < 8 / bits; ++i) {
      const int slot = (at * 8 / bits + i) % (kOctet * n);
      byte |= number(slot / n, slot % n) << i * bits;
    }
    const int64_t place = octet * bytes + at;
    if (inside && at < bytes && place < row_bytes) to[place] = static_cast<uint8_t>(byte);
  }
}

// What is kept of a group and how it is filled up goes to indices and values.
GATUN_DEVICE void store_group(const FormatJob& job, const Place& at, uint32_t kept) {
  const uint32_t all = filled_up(kept, job.n);
  const int64_t octet = at.group / kOctet, first = octet * kOctet;
  const int leader = lane() / kOctet * kOctet;
  // What lies behind the last group is 0.
  const auto in_row = [&](int group) { return first + group < job.groups; };
  store_together(job.indices + at.vector * job.indices_row, job.indices_row, octet, job.n, job.index_bits, at.inside,
                 [&](int group, int slot) {
                   const int position = position_of(shuffle(all, leader + group), slot);
                   return in_row(group) ? static_cast<uint32_t>(position) : 0u;
                 });
  const bool together = job.value_dtype == GATUN_U4;
  const int64_t begin = first_row(job, at), rows = end_row(job, at) - begin;
  // Lanes of other vectors may have fewer rows, and have to take part.
#pragma unroll 1
  for (int64_t i = 0; i < job.vector && i < job.columns; ++i) {
    const bool inside = at.inside && i < rows;
    const int64_t row = inside ? begin + i : 0;
    uint8_t* const to = job.values + row * job.values_row;
    if (together) {
      store_together(to, job.values_row, octet, job.n, 4, inside, [&](int group, int slot) {
        const int position = position_of(shuffle(all, leader + group), slot);
        const bool real = (shuffle(kept, leader + group) >> position & 1) != 0;
        const int64_t k = (first + group) * job.m + position;
        if (!inside || !in_row(group)) return 0u;
        return real ? bits_at(job, row, k) : zero_at(job, row, k);
      });
      continue;
    }
    int64_t slot = at.group * job.n;
#pragma unroll 1
    for (uint32_t left = inside && at.group < job.groups ? all : 0; left != 0; left &= left - 1, ++slot) {
      const int position = lowest_bit(left);
      const uint32_t bits = (kept >> position & 1) != 0 ? bits_at(job, row, at.group * job.m + position) : 0;
      if (job.value_dtype == GATUN_F32) {
        reinterpret_cast<uint32_t*>(to)[slot] = bits;
      } else if (job.value_dtype == GATUN_I8) {
        to[slot] = static_cast<uint8_t>(bits);
      } else {
        reinterpret_cast<uint16_t*>(to)[slot] = static_cast<uint16_t>(bits);
      }
    }
  }
}

// Choose::kept(job, place) for groups that are there.
template <class Choose>
GATUN_KERNEL(kThreads, 1)
compress(const FormatJob job) {
  const int64_t octets = (job.groups + kOctet - 1) / kOctet, count = job.vectors * octets * kOctet;
  const int64_t rounded = (count + 31) / 32 * 32;
#pragma unroll 1
  for (int64_t i = block_x() * kThreads + thread_index(); i < rounded; i += blocks_x() * kThreads) {
    const Place at = {i / kOctet / octets, i / kOctet % octets * kOctet + i % kOctet, i < count};
    const bool has_group = at.inside && at.group < job.groups;
    store_group(job, at, has_group ? Choose::kept(job, at) : 0);
  }
}

template <class Choose>
int32_t run(const char* name, const FormatJob& job, void* stream) {
  return launch(name, compress<Choose>, grid_for(job.vectors * ((job.groups + kOctet - 1) / kOctet) * kOctet), stream,
                job);
}

}  // namespace gatun::cuda::nm_format
