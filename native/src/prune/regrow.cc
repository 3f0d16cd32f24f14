// The C entry point of DSnoT: prunes and grows weights of a mask, as gatun/prune.h defines.
//
// A row's candidates are in four heaps, each with the next one on top:
//
//   to grow   pruned weights with e > 0, with e < 0    the largest |e| / variance^power
//   to prune  kept weights with e > 0, with e < 0      the smallest |w| * norm; with N:M a group's own are looked up
//
// Every weight enters one heap at most, by the mask as it was, so together they take the memory of a row, and a row
// takes O(depth + max_cycles * (log(depth) + m)).
#include <cmath>

#include "base/check.h"
#include "base/dtype.h"
#include "base/failure.h"
#include "base/nm.h"
#include "prune/mask.h"
#include "prune/pattern.h"
#include "prune/table.h"
#include "simd/float_mode.h"

namespace gatun::prune {
namespace {

struct Candidate {
  double value;  // the next candidate has the largest
  int64_t k;     // of equal ones the lowest
  bool operator<(const Candidate& other) const { return value < other.value || (value == other.value && k > other.k); }
};

struct Heap {
  Candidate* first = nullptr;
  Candidate* last = nullptr;

  void add(Candidate candidate) { *last++ = candidate; }
  void order() { std::make_heap(first, last); }
  bool empty() const { return first == last; }
  int64_t next() {
    std::pop_heap(first, last);
    return (--last)->k;
  }
};

struct Inputs {
  const gatun_regrow_params& p;
  const Weights weights;  // as they are, with their signs
  const Kernel* kernel;
  const float* means;
  const float* norms;
  const double* divisors;  // variance^power
};

class Row {
 public:
  Row(const Inputs& inputs, float* w, bool* changed, Candidate* candidates)
      : in_(inputs), w_(w), changed_(changed), candidates_(candidates) {}

  void regrow(int64_t row, uint8_t* mask) {
    mask_ = mask;
    in_.kernel->score(in_.weights, row, 0, in_.p.depth, w_);
    std::fill(changed_, changed_ + in_.p.depth, false);
    double error = sort();
    for (int32_t cycle = 0; cycle < in_.p.max_cycles; ++cycle) {
      int64_t grown, pruned;
      if (std::fabs(error) <= double{in_.p.threshold} || !next(error > 0, &grown, &pruned)) return;
      const double after = (error + change(pruned)) - change(grown);
      if (!(std::fabs(after) < std::fabs(error))) return;
      error = after;
      flip(grown);
      flip(pruned);
    }
  }

 private:
  // What a weight contributes to the expected output.
  double change(int64_t k) const { return double{w_[k]} * double{in_.means[k]}; }
  double cost(int64_t k) const { return std::fabs(double{w_[k]}) * double{in_.norms[k]}; }
  void flip(int64_t k) {
    changed_[k] = true;
    mask_[k / 8] = static_cast<uint8_t>(mask_[k / 8] ^ 1 << k % 8);
  }

  // Fills the heaps; returns the row's error.
  double sort() {
    int64_t counts[2][2] = {};
    double error = 0;
    for (int64_t k = 0; k < in_.p.depth; ++k) {
      const double e = change(k);
      const bool kept = is_kept(mask_, k);
      if (!kept) error += e;
      counts[kept][e > 0] += e != 0;
    }
    Candidate* free = candidates_;
    Candidate* ends[2][2];
    for (const int kept : {0, 1}) {
      for (const int positive : {0, 1}) {
        heaps_[kept][positive].first = heaps_[kept][positive].last = free;
        free += counts[kept][positive];
        ends[kept][positive] = free;
      }
    }
    for (int64_t k = 0; k < in_.p.depth; ++k) {
      const double e = change(k);
      const bool kept = is_kept(mask_, k);
      Heap& heap = heaps_[kept][e > 0];
      // There is room, unless somebody changed the mask or the means since they were counted.
      if (e != 0 && heap.last < ends[kept][e > 0]) heap.add({kept ? -cost(k) : std::fabs(e) / in_.divisors[k], k});
    }
    for (auto& pair : heaps_) {
      for (Heap& heap : pair) heap.order();
    }
    return error;
  }

  // The next two weights that both move an error of this sign towards 0.
  bool next(bool positive, int64_t* grown, int64_t* pruned) {
    Heap& growing = heaps_[0][positive];
    Heap& pruning = heaps_[1][!positive];
    while (!growing.empty()) {
      *grown = growing.next();
      if (in_.p.n == 0) {
        if (pruning.empty()) return false;
        *pruned = pruning.next();
        return true;
      }
      *pruned = cheapest_of_group(*grown / in_.p.m * in_.p.m, !positive);
      if (*pruned >= 0) return true;
    }
    return false;
  }

  // Of a group's kept weights that were not grown; -1 if there is none of this sign.
  int64_t cheapest_of_group(int64_t first, bool positive) const {
    int64_t cheapest = -1;
    for (int64_t k = first; k < std::min(first + in_.p.m, in_.p.depth); ++k) {
      const double e = change(k);
      if (!is_kept(mask_, k) || changed_[k] || e == 0 || (e > 0) != positive) continue;
      if (cheapest < 0 || cost(k) < cost(cheapest)) cheapest = k;
    }
    return cheapest;
  }

  const Inputs& in_;
  float* w_;
  bool* changed_;
  Candidate* candidates_;
  uint8_t* mask_ = nullptr;
  Heap heaps_[2][2];  // [kept][e > 0]
};

int32_t check_regrow_params(const gatun_regrow_params* params) {
  GATUN_TRY(check_not_null(params, "params"));
  const gatun_regrow_params& p = *params;
  GATUN_TRY(check_struct_size(p.struct_size, sizeof(p), "params"));
  GATUN_TRY(check_dtype(p.w_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.w_dtype"));
  if (p.n == 0) {
    GATUN_TRY(check_range(p.m, 0, 0, "params.m (params.n is 0)"));
  } else {
    GATUN_TRY(check_nm(p.n, p.m, "params"));
  }
  GATUN_TRY(check_range(p.max_cycles, 0, INT32_MAX, "params.max_cycles"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  for (const auto& [name, value] : {std::pair<const char*, float>{"threshold", p.threshold},
                                    std::pair<const char*, float>{"variance_power", p.variance_power}}) {
    if (!std::isfinite(value) || value < 0) {
      return fail(GATUN_INVALID_ARGUMENT, "params.%s = %g; allowed: finite, at least 0", name,
                  static_cast<double>(value));
    }
  }
  GATUN_TRY(check_range(p.columns, 0, INT64_MAX, "params.columns"));
  return check_range(p.depth, 0, INT64_MAX, "params.depth");
}

int32_t check_regrow_memory(const gatun_regrow_params& p, const void* w, const float* means, const float* variances,
                            const float* norms, const uint8_t* mask) {
  const int64_t row_bytes = mask_bytes(p.depth), any = p.columns > 0;
  Buffer buffers[] = {{"w", w, p.columns, p.depth, p.depth, dtype_bytes(p.w_dtype, 1), false},
                      {"mask", mask, p.columns, row_bytes, row_bytes, 1, true},
                      {"means", means, any, p.depth, p.depth, 4, false},
                      {"variances", variances, any, p.depth, p.depth, 4, false},
                      {"norms", norms, any, p.depth, p.depth, 4, false}};
  return check_buffers(buffers);
}

int32_t check_groups(const gatun_regrow_params& p, const uint8_t* mask) {
  for (int64_t row = 0; row < p.columns; ++row) {
    const uint8_t* bits = mask + row * mask_bytes(p.depth);
    int kept = 0;
    for (int64_t k = 0; k < p.depth; ++k) {
      kept = k % p.m == 0 ? is_kept(bits, k) : kept + is_kept(bits, k);
      if (kept > p.n) {
        return fail(GATUN_INVALID_ARGUMENT,
                    "mask: row %lld keeps more than %d of the weights from %lld on; allowed: params.n = %d of every %d",
                    LongLong{row}, p.n, LongLong{k / p.m * p.m}, p.n, p.m);
      }
    }
  }
  return GATUN_OK;
}

int32_t check_means(const float* means, int64_t depth) {
  for (int64_t k = 0; k < depth; ++k) {
    if (!std::isfinite(means[k])) {
      return fail(GATUN_INVALID_ARGUMENT, "means[%lld] = %g; allowed: finite numbers", LongLong{k},
                  static_cast<double>(means[k]));
    }
  }
  return GATUN_OK;
}

int32_t regrow_rows(const Inputs& in, uint8_t* mask) {
  const gatun_regrow_params& p = in.p;
  FirstFailure failure;
  parallel_for(p.columns, useful_threads(p.threads, p.columns, p.columns * p.depth * 4, kGrainBytes),
               [&](int64_t begin, int64_t end) {
                 Scratch w_memory, changed_memory, candidates_memory;
                 float* w;
                 bool* changed;
                 Candidate* candidates;
                 int32_t status = get_array(w_memory, p.depth, &w);
                 if (status == GATUN_OK) status = get_array(changed_memory, p.depth, &changed);
                 if (status == GATUN_OK) status = get_array(candidates_memory, p.depth, &candidates);
                 failure.note(status);
                 if (status != GATUN_OK) return;
                 Row each(in, w, changed, candidates);
                 for (int64_t row = begin; row < end; ++row) each.regrow(row, mask + row * mask_bytes(p.depth));
               });
  return failure.result();
}

}  // namespace
}  // namespace gatun::prune

using namespace gatun;

int32_t gatun_prune_regrow(const gatun_regrow_params* params, const void* w, const float* means, const float* variances,
                           const float* norms, uint8_t* mask) {
  GATUN_TRY(prune::check_regrow_params(params));
  const gatun_regrow_params& p = *params;
  GATUN_TRY(prune::check_regrow_memory(p, w, means, variances, norms, mask));
  if (p.columns == 0 || p.depth == 0) return GATUN_OK;
  const DefaultFloatMode mode;
  GATUN_TRY(prune::check_means(means, p.depth));
  GATUN_TRY(prune::check_nonnegative(variances, p.depth, "variances"));
  GATUN_TRY(prune::check_nonnegative(norms, p.depth, "norms"));
  GATUN_TRY(prune::check_mask(p.columns, p.depth, mask));
  if (p.n > 0) GATUN_TRY(prune::check_groups(p, mask));
  gatun_prune_params as_scores{};
  as_scores.threads = p.threads;
  as_scores.columns = p.columns;
  as_scores.depth = p.depth;
  prune::Job job;
  job.p = as_scores;
  job.weights = {w, nullptr, false, p.depth};
  job.kernel = prune::table().select(p.w_dtype, p.w_dtype, active_tier()).kernel;
  GATUN_TRY(prune::check_scores(job, prune::kFinite, "finite numbers"));
  Scratch divisors_memory;
  double* divisors;
  GATUN_TRY(prune::get_array(divisors_memory, p.depth, &divisors));
  for (int64_t k = 0; k < p.depth; ++k) divisors[k] = std::pow(double{variances[k]}, double{p.variance_power});
  return prune::regrow_rows({p, {w, nullptr, true, p.depth}, job.kernel, means, norms, divisors}, mask);
}
