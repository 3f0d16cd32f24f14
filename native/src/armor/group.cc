#include "armor/group.h"

#include <cmath>

#include "armor/cholesky.h"

namespace gatun::armor {
namespace {

// How far the objective is below 0, the one of y = 0.
double gain(const double* h, const double* c, int size, const double* y) {
  double sum = 0;
  for (int i = 0; i < size; ++i) {
    if (y[i] == 0) continue;
    double product = 0;
    for (int j = 0; j < size; ++j) product += h[i * kMaxGroup + j] * y[j];
    sum += y[i] * (2 * c[i] - product);
  }
  return sum;
}

// The best values of the positions of `mask`, and 0 elsewhere; false if that is no number. A touch of damping keeps
// dependent positions apart.
bool solve_for(const double* h, const double* c, int size, uint32_t mask, double* y) {
  int place[kMaxGroup], count = 0;
  for (int i = 0; i < size; ++i) {
    y[i] = 0;
    if (mask >> i & 1) place[count++] = i;
  }
  double part[kMaxGroup * kMaxGroup], x[kMaxGroup];
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < count; ++j) part[i * count + j] = h[place[i] * kMaxGroup + place[j]];
    part[i * count + i] *= 1 + 1e-9;
    x[i] = c[place[i]];
  }
  if (!factor(part, count, count)) return false;
  solve(part, count, count, x, 1);
  for (int i = 0; i < count; ++i) y[place[i]] = x[i];
  return true;
}

// Position by position the one that the objective falls most along, then all values anew.
uint32_t pursue(const double* h, const double* c, int size, int kept) {
  uint32_t mask = 0;
  double y[kMaxGroup] = {};
  for (int step = 0; step < kept; ++step) {
    double best = -1;
    int chosen = -1;
    for (int i = 0; i < size; ++i) {
      if (mask >> i & 1) continue;
      double rest = c[i];
      for (int j = 0; j < size; ++j) rest -= h[i * kMaxGroup + j] * y[j];
      const double pivot = h[i * kMaxGroup + i], fall = pivot > 0 ? rest * rest / pivot : 0;
      if (fall > best) {
        best = fall;
        chosen = i;
      }
    }
    if (chosen < 0) break;
    mask |= uint32_t{1} << chosen;
    if (!solve_for(h, c, size, mask, y)) break;
  }
  while (__builtin_popcount(mask) < kept) mask |= mask + 1;  // the lowest that are not kept
  return mask;
}

}  // namespace

GroupSearch::GroupSearch(int size, int kept) : size_(size), kept_(kept) {
  int64_t count = 1;
  for (int i = 1; i <= kept; ++i) count = count * (size - kept + i) / i;  // at most 32 over 16 times 32
  if (count > kMostChoices || kept == 0) return;
  uint64_t mask = (uint64_t{1} << kept) - 1;
  while (mask < uint64_t{1} << size) {
    choices_.push_back(static_cast<uint32_t>(mask));
    // The next number with as many ones (Gosper).
    const uint64_t lowest = mask & (~mask + 1), carried = mask + lowest;
    mask = carried | ((mask ^ carried) >> 2) / lowest;
  }
}

bool GroupSearch::improve(const double* h, const double* c, uint32_t* mask, double* y) const {
  double best = gain(h, c, size_, y);
  bool better = false;
  const auto consider = [&](uint32_t choice) {
    double candidate[kMaxGroup];
    if (!solve_for(h, c, size_, choice, candidate)) return;
    const double candidate_gain = gain(h, c, size_, candidate);
    if (!(candidate_gain > best)) return;
    best = candidate_gain;
    better = true;
    *mask = choice;
    for (int i = 0; i < size_; ++i) y[i] = candidate[i];
  };
  if (!choices_.empty()) {
    for (const uint32_t choice : choices_) consider(choice);
  } else {
    consider(*mask);
    consider(pursue(h, c, size_, kept_));
  }
  return better;
}

}  // namespace gatun::armor
