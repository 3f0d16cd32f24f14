#include "packing/depth_order.h"

#include <algorithm>

#include "base/scratch.h"
#include "base/status.h"

namespace gatun::packing {
namespace {

using LongLong = long long;

// body(g, begin, end) for the elements of each group.
template <class Body>
void each_group(int64_t depth, int64_t group, Body body) {
  for (int64_t begin = 0, g = 0; begin < depth; begin += group, ++g) body(g, begin, std::min(begin + group, depth));
}

int32_t check_unsorted(const int32_t* group_index, int64_t depth, int64_t group) {
  int32_t status = GATUN_OK;
  each_group(depth, group, [&](int64_t g, int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end && status == GATUN_OK; ++k) {
      if (group_index[k] == g) continue;
      status = fail(GATUN_INVALID_ARGUMENT,
                    "group_index[%lld] = %d without permutation; allowed: %lld, its group of %lld in the order of the "
                    "depth",
                    LongLong{k}, group_index[k], LongLong{g}, LongLong{group});
    }
  });
  return status;
}

}  // namespace

int32_t sort_by_group(const int32_t* group_index, int64_t depth, int64_t group, int32_t* permutation) {
  if (permutation == nullptr) return check_unsorted(group_index, depth, group);
  const int64_t groups = depth == 0 ? 0 : (depth + group - 1) / group;
  thread_local Scratch scratch;
  int64_t* const next = reinterpret_cast<int64_t*>(scratch.get(groups * 8 + 8));
  if (next == nullptr) return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld groups", LongLong{groups});
  // The first pass fills the groups and writes nothing: as depth elements fit, every group is full.
  for (const bool write : {false, true}) {
    for (int64_t g = 0; g < groups; ++g) next[g] = g * group;
    for (int64_t k = 0; k < depth; ++k) {
      const int32_t g = group_index[k];
      if (g < 0 || g >= groups) {
        return fail(GATUN_INVALID_ARGUMENT, "group_index[%lld] = %d; allowed: 0..%lld", LongLong{k}, g,
                    LongLong{groups - 1});
      }
      const int64_t j = next[g]++;
      if (j >= std::min((g + int64_t{1}) * group, depth)) {
        return fail(GATUN_INVALID_ARGUMENT,
                    "group_index[%lld] = %d, of which there are %lld before; allowed: groups of %lld", LongLong{k}, g,
                    LongLong{j - g * group}, LongLong{group});
      }
      if (write) permutation[j] = static_cast<int32_t>(k);
    }
  }
  return GATUN_OK;
}

int32_t invert(const int32_t* permutation, int64_t depth, int32_t* inverse) {
  std::fill(inverse, inverse + depth, -1);
  for (int64_t j = 0; j < depth; ++j) {
    const int32_t k = permutation[j];
    if (k < 0 || k >= depth) {
      return fail(GATUN_INVALID_ARGUMENT, "permutation[%lld] = %d; allowed: 0..%lld", LongLong{j}, k,
                  LongLong{depth - 1});
    }
    if (inverse[k] >= 0) {
      return fail(GATUN_INVALID_ARGUMENT, "permutation[%lld] = %d = permutation[%d]; allowed: each number once",
                  LongLong{j}, k, inverse[k]);
    }
    inverse[k] = static_cast<int32_t>(j);
  }
  return GATUN_OK;
}

void groups_of(const int32_t* permutation, int64_t depth, int64_t group, int32_t* group_index) {
  each_group(depth, group, [&](int64_t g, int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j)
      group_index[permutation == nullptr ? j : permutation[j]] = static_cast<int32_t>(g);
  });
}

}  // namespace gatun::packing
