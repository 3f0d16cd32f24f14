// A thread's way over units, and what the threads of its team find together.
#pragma once

#include <cstdint>

#include "base/quotient.h"
#include "ptx/number.h"
#include "ptx/warp.h"
#include "quantize/chunk.h"
#include "quantize/job.h"

namespace gatun::cuda::quantize {

GATUN_DEVICE int32_t smaller(int64_t a, int32_t b) { return static_cast<int32_t>(a < b ? a : b); }

// A number that changes with the unit as a stride says.
class Running {
 public:
  GATUN_DEVICE Running(const Stride& stride, int64_t slow, int64_t fast, int64_t begin)
      : stride_(stride), value_(begin + slow * stride.slow + fast * stride.fast) {}
  GATUN_DEVICE void advance(bool wraps) { value_ += wraps ? stride_.step + stride_.wrap : stride_.step; }
  GATUN_DEVICE int64_t value() const { return value_; }

 private:
  const Stride& stride_;
  int64_t value_;
};

class Walker {
 public:
  explicit GATUN_DEVICE Walker(const Job& job, int kBits)
      : job_(job),
        walk_(job.walk),
        member_(walk_.whole_block ? thread_index() : thread_index() % walk_.team),
        unit_row_(member_ / walk_.unit_chunks),
        first_((member_ - unit_row_ * walk_.unit_chunks) * kChunk),
        slow_(quotient(team(), walk_.fast)),
        fast_(team() - slow_ * walk_.fast),
        x_(walk_.x, slow_, fast_, unit_row_ * job.x_row_stride + first_ * job.x_column_stride),
        codes_(walk_.codes, slow_, fast_, unit_row_ * job.code_row_bytes + first_ * kBits / 8),
        blocks_(walk_.blocks, slow_, fast_, 0) {}

  // The number of this thread in its team; threads in the order of values of a block.
  GATUN_DEVICE int member() const { return member_; }

  GATUN_DEVICE void advance() {
    slow_ += walk_.step_slow;
    fast_ += walk_.step_fast;
    const bool wraps = fast_ >= walk_.fast;
    if (wraps) {
      fast_ -= walk_.fast;
      ++slow_;
    }
    x_.advance(wraps);
    codes_.advance(wraps);
    blocks_.advance(wraps);
  }

  // Where the thread's chunk of the current unit is; nowhere beyond the last unit.
  GATUN_DEVICE Place place() const {
    Place at = {x_.value(), codes_.value(), blocks_.value(), 0, kChunk};
    if (unit_row() >= walk_.rows || column() >= walk_.columns) return at;
    if (unit_row_ >= (unit_row() == walk_.rows - 1 ? walk_.last_rows : walk_.unit_rows)) return at;
    const int32_t left = (column() == walk_.columns - 1 ? walk_.last_width : walk_.width) - first_;
    at.count = left < 0 ? 0 : left < kChunk ? left : kChunk;
    if (walk_.chunks) {
      const int64_t k = column() * kChunk, group = quotient(k, job_.group);
      const int64_t row_of_blocks = job_.group_rows == 1 ? unit_row() : quotient(unit_row(), job_.group_rows);
      at.split = smaller((group + 1) * job_.group - k, kChunk);
      at.block = row_of_blocks * job_.groups + group;
    }
    return at;
  }

  // r * depth + k of the chunk's first value, which few calls need: it is computed where it is asked for.
  GATUN_DEVICE int64_t element() const {
    const int64_t row =
        static_cast<int64_t>(keep_here(static_cast<uint64_t>(unit_row()))) * walk_.unit_rows + unit_row_;
    return row * job_.depth + column() * (walk_.chunks ? kChunk : job_.group) + first_;
  }

 private:
  GATUN_DEVICE int64_t unit_row() const { return walk_.down_rows ? fast_ : slow_; }
  GATUN_DEVICE int64_t column() const { return walk_.down_rows ? slow_ : fast_; }
  GATUN_DEVICE int64_t team() const {
    return walk_.whole_block ? block_x() : block_x() * (thread_count() / walk_.team) + thread_index() / walk_.team;
  }

  const Job& job_;
  const Walk& walk_;
  const int32_t member_, unit_row_, first_;  // of the unit: the thread's row, and the first value in it
  int64_t slow_, fast_;
  Running x_, codes_, blocks_;
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

// Reports the first of a chunk's values that is NaN or infinite, if there is one. `element` is the number of its first.
GATUN_DEVICE void report_value(const Job& job, int64_t element, int count, const float (&v)[kChunk]) {
  int first = kChunk;
#pragma unroll
  for (int i = kChunk - 1; i >= 0; --i) {
    if (!(absolute(v[i]) < as_float(0x7f800000))) first = i;
  }
  if (first < count) atomic_min(job.faults, static_cast<uint64_t>(element + first));
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
