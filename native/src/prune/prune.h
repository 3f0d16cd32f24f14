// Pruning after the checks: what the entries of this op, and others, call.
#pragma once

#include "base/check.h"
#include "base/cpu.h"
#include "base/scratch.h"
#include "gatun/prune.h"
#include "prune/kernel.h"
#include "prune/params.h"

namespace gatun::prune {

// What selects the weights to keep, of checked arguments.
struct Job {
  gatun_prune_params p;
  Weights weights;  // LAMP: its scores
  const Kernel* kernel;
  Scratch lamp_scores;
};

// The checks of an entry after those of parameters: memory and its overlaps, where `output` is what the entry writes;
// norms; what `prepare` reads.
int32_t check_memory(const gatun_prune_params& p, const void* w, const float* norms, const float* scores,
                     const Buffer& output);

// Fills the job of checked arguments, with kernels of `limit` and lower tiers. Refuses weights and scores that are NaN,
// and scores that are infinite where they are added up. OUT_OF_RESOURCES if there is no memory for LAMP's scores.
int32_t prepare(const gatun_prune_params& p, const void* w, const float* norms, const float* scores, Tier limit,
                Job* job);

// Rows that NM and TRANSPOSABLE keep or prune together; 1 for other patterns.
inline int64_t rows_together(const gatun_prune_params& p) {
  return p.pattern == GATUN_PATTERN_TRANSPOSABLE ? 4 : p.pattern == GATUN_PATTERN_NM ? p.vector : 1;
}

// NM and TRANSPOSABLE: the mask of rows [begin, end), the first one's at `mask`, on the calling thread. `begin` is a
// multiple of rows_together, and so is `end`, unless it is the number of columns.
void prune_rows(const Job& job, int64_t begin, int64_t end, uint8_t* mask);

// The mask of a job by any pattern. OUT_OF_RESOURCES without memory.
int32_t prune_all(const Job& job, uint8_t* mask);

}  // namespace gatun::prune
