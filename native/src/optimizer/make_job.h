// What a step's params say to kernels, of the CPU and of other devices: their job, and how sums are cut.
#pragma once

#include "base/check.h"
#include "optimizer/check.h"
#include "optimizer/kernel.h"

namespace gatun::optimizer {

// Elements of a block of f32 state.
inline constexpr int64_t kPlainBlock = 1024;

inline int64_t block_of(const gatun_optimizer_params& p) { return p.state == GATUN_STATE_F32 ? kPlainBlock : p.block; }

// What the update as the rule makes it is multiplied by: lr, and what else belongs to ADAM's.
double rate_of(const gatun_optimizer_params& p);

Job job_of(const gatun_optimizer_params& p, const Arguments& a);

// How max_update_norm limits the rate. Norms are roots of the sums of squares of p and of the rule's updates, of which
// the latter is to be multiplied by `unit`: of the update, which lr multiplies.
struct NormLimit {
  double unit, most, rate;
};
NormLimit norm_limit_of(const gatun_optimizer_params& p);

// Sums are made of parts, which merge in ascending order, kMostParts at most. Parts of [0, count) are cut at multiples
// of `unit`, and the cuts depend on the count alone.
inline constexpr int64_t kMostParts = 512;
inline int64_t part_of(int64_t count, int64_t unit) { return blocks_of(blocks_of(count, unit), kMostParts) * unit; }
inline int64_t parts_of(int64_t count, int64_t unit) { return count == 0 ? 0 : blocks_of(count, part_of(count, unit)); }

}  // namespace gatun::optimizer
