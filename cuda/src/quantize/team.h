// A thread's way over units, and what the threads of its team find together.
#pragma once

#include <cstdint>

#include "ptx/number.h"
#include "ptx/warp.h"
#include "quantize/chunk.h"
#include "quantize/job.h"

namespace gatun::cuda::quantize {

GATUN_DEVICE int32_t smaller(int64_t a, int32_t b) { return static_cast<int32_t>(a < b ? a : b); }

// a / b; most numbers have 32 bits, which is a quarter of the work.
GATUN_DEVICE int64_t quotient(int64_t a, int64_t b) {
  if ((static_cast<uint64_t>(a | b) >> 32) == 0) return static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
  return a / b;
}

class Walker {
 public:
  explicit GATUN_DEVICE Walker(const Job& job) : job_(job), walk_(job.walk) {
    const int thread = thread_index();
    const int64_t team =
        walk_.whole_block ? block_x() : block_x() * (thread_count() / walk_.team) + thread / walk_.team;
    member_ = walk_.whole_block ? thread : thread % walk_.team;
    slow_ = quotient(team, walk_.fast);
    fast_ = team - slow_ * walk_.fast;
    unit_row_ = member_ / walk_.chunks;
    chunk_ = member_ % walk_.chunks;
  }

  // The number of this thread in its team; threads in the order of values of a block.
  GATUN_DEVICE int member() const { return member_; }

  GATUN_DEVICE void advance() {
    slow_ += walk_.step_slow;
    fast_ += walk_.step_fast;
    if (fast_ >= walk_.fast) {
      fast_ -= walk_.fast;
      ++slow_;
    }
  }

  // Where the thread's chunk of the current unit is; nowhere beyond the last unit.
  GATUN_DEVICE Place place() const {
    const int64_t unit_row = walk_.down_rows ? fast_ : slow_, column = walk_.down_rows ? slow_ : fast_;
    Place at = {0, 0, 0, 0, kChunk};
    if (unit_row >= walk_.rows || column >= walk_.columns || unit_row_ >= walk_.unit_rows) return at;
    const int64_t row = unit_row * walk_.unit_rows + unit_row_;
    if (row >= job_.rows) return at;
    at.row = row;
    const int64_t row_of_blocks = walk_.unit_rows == job_.group_rows ? unit_row : quotient(row, job_.group_rows);
    if (walk_.ragged) {
      at.k = column * kChunk;
      const int64_t group = quotient(at.k, job_.group), left = (group + 1) * job_.group - at.k;
      at.split = smaller(left, kChunk);
      at.block = row_of_blocks * job_.groups + group;
      at.count = smaller(job_.depth - at.k, kChunk);
      return at;
    }
    const int64_t group = walk_.pieces == 1 ? column : quotient(column, walk_.pieces);
    const int64_t begin = (column - group * walk_.pieces) * walk_.piece + chunk_ * kChunk;
    at.block = row_of_blocks * job_.groups + group;
    at.k = group * job_.group + begin;
    const int64_t of_group = job_.group - begin, of_row = job_.depth - at.k;
    const int64_t left = of_group < of_row ? of_group : of_row;
    at.count = left > 0 ? smaller(left, kChunk) : 0;
    if (at.count == 0) at.row = at.k = 0;
    return at;
  }

 private:
  const Job& job_;
  const Walk& walk_;
  int member_, unit_row_, chunk_;
  int64_t slow_, fast_;
};

// The smallest and the largest of values; NaN if one of them is. Of no values: the largest is below the smallest.
struct Extremes {
  float low, high;

  static GATUN_DEVICE Extremes none() { return {as_float(0x7f800000), as_float(0xff800000)}; }

  static GATUN_DEVICE Extremes of(const float (&v)[kChunk], int count) {
    Extremes all = {v[0], v[0]};
#pragma unroll
    for (int i = 1; i < kChunk; ++i) all = {min_or_nan(all.low, v[i]), max_or_nan(all.high, v[i])};
    return count == 0 ? none() : all;
  }

  GATUN_DEVICE Extremes with(const Extremes& other) const {
    return {min_or_nan(low, other.low), max_or_nan(high, other.high)};
  }
  GATUN_DEVICE float magnitude() const { return max_or_nan(high, -low); }
  GATUN_DEVICE bool finite() const { return magnitude() < as_float(0x7f800000); }
  // Whether it takes a look at the values to tell which one of the largest magnitude is the first.
  GATUN_DEVICE bool tied() const { return high == -low && high > 0; }

  GATUN_DEVICE uint64_t packed() const { return uint64_t{as_bits(high)} << 32 | as_bits(low); }
  static GATUN_DEVICE Extremes from(uint64_t bits) {
    return {as_float(static_cast<uint32_t>(bits)), as_float(static_cast<uint32_t>(bits >> 32))};
  }
};

// A team, whose threads all call the same functions in the same order; those of other teams in the warp, too.
class Team {
 public:
  explicit GATUN_DEVICE Team(const Walk& walk) : lanes_(walk.team < 32 ? walk.team : 32), warps_(0), turn_(0) {
    if (walk.whole_block && walk.team > 32) warps_ = (walk.team + 31) / 32;
  }

  GATUN_DEVICE Extremes extremes(const Extremes& own) {
    return Extremes::from(fold(own.packed(), Extremes::none().packed(), [](uint64_t a, uint64_t b) {
      return Extremes::from(a).with(Extremes::from(b)).packed();
    }));
  }
  GATUN_DEVICE uint64_t least(uint64_t own) {
    return fold(own, ~uint64_t{0}, [](uint64_t a, uint64_t b) { return a < b ? a : b; });
  }
  // Whether a team says so, all threads alike: this one, or one in the same warp, with which it stays together.
  GATUN_DEVICE bool any(bool own) const { return warps_ == 0 ? ballot(own) != 0 : own; }

 private:
  // What is in turn is read while others may already write what is in the next one, but not what is in the one after
  // that, since the barrier of the next one is in between.
  template <class Combine>
  GATUN_DEVICE uint64_t fold(uint64_t value, uint64_t neutral, Combine combine) {
    for (int mask = lanes_ / 2; mask > 0; mask /= 2) value = combine(value, shuffle_xor(value, mask));
    if (warps_ == 0) return value;
    uint64_t* const slots = reinterpret_cast<uint64_t*>(shared_memory()) + 32 * turn_;
    turn_ = 1 - turn_;
    if (lane() == 0) slots[thread_index() / 32] = value;
    block_barrier();
    value = lane() < warps_ ? slots[lane()] : neutral;
    for (int mask = 16; mask > 0; mask /= 2) value = combine(value, shuffle_xor(value, mask));
    return value;
  }

  const int lanes_;
  int warps_;  // 0: a team is within a warp
  int turn_;
};

// Reports the first of a chunk's values that is NaN or infinite, if there is one.
GATUN_DEVICE void report_value(const Job& job, const Place& at, const float (&v)[kChunk]) {
  int first = kChunk;
#pragma unroll
  for (int i = kChunk - 1; i >= 0; --i) {
    if (!(absolute(v[i]) < as_float(0x7f800000))) first = i;
  }
  if (first < at.count) atomic_min(job.faults, static_cast<uint64_t>(at.row * job.depth + at.k + first));
}
GATUN_DEVICE void report_block(const Job& job, int64_t block) {
  atomic_min(job.faults + 1, static_cast<uint64_t>(block));
}

// Of the values of magnitude `most` the first: its place among those of a unit, and its sign in bit 0. `chunk` is the
// chunk's place.
GATUN_DEVICE uint64_t first_of(float most, int64_t chunk, const Place& at, const float (&v)[kChunk]) {
  int first = kChunk;
  uint32_t sign = 0;
#pragma unroll
  for (int i = kChunk - 1; i >= 0; --i) {
    if (absolute(v[i]) == most) {
      first = i;
      sign = as_bits(v[i]) >> 31;
    }
  }
  return first < at.count ? static_cast<uint64_t>(chunk * kChunk + first) << 1 | sign : ~uint64_t{0};
}
GATUN_DEVICE float extreme_of(float most, uint64_t first) { return first & 1 ? -most : most; }

}  // namespace gatun::cuda::quantize
