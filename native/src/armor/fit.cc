// ARMOR's fit: w = A S B, block-diagonal x N:M x block-diagonal, by block coordinate descent on
//
//   L = sum_ij s_j (w - A S B)_ij^2,   s_j = norms[j]^2
//
// Source: Liu et al. 2025, "ARMOR: High-Performance Semi-Structured Pruning via Adaptive Matrix Factorization", which
// takes steps of Adam for A, B and the values of S, and in turns re-selects one group of S in each pair of blocks by
// trying all of its masks with their best values. Here every part is deterministic and goes as far down as it can:
//
//   start   A = I, B = I, S = w pruned by |w| * norms: the loss of pruning itself
//   round   1. A. L is a sum over blocks of columns (rows of w). For block I with T = S_I B and the error
//              E = A_I T - w_I the normal equations of least squares in the step X are X (T D T^T + e 1) = -E D T^T, D
//              = diag(s); A_I += X.
//           2. B. L is a sum over blocks of depths, too. For block J with Z = A S_J and E = Z B_J - w_J, each depth is
//              least squares with the same matrix, whatever its s_j: (Z^T Z + e 1) X = -Z^T E; B_J += X.
//           3. S, group after group (Gauss-Seidel): the change of L in the values y of a group of row i is
//              y^T H y - 2 c^T y, H = (A_I^T A_I)_ii * (B D B^T)_group, c = H x - (A_I^T E D B^T)_i,group with the
//              values x that the group has: the best N positions and their values together (group.h). The group's
//              change is then part of E for all groups after it.
//
// Why no round makes L larger: 1 and 2 minimize L + e |X|^2, which equals L at X = 0, so L(X) <= L(0) - e |X|^2; in 3
// the current group is among the choices, so each keeps L or lowers it. All of this is up to rounding; so each block's
// sum, as measured from the factors in f32, must fall by more than a billionth, or the block is put back, bit for bit.
// A round hence either leaves the measured L as it is, or lowers it.
//
// e: a hundred thousandth of the matrix's mean diagonal. It keeps the steps of nearly dependent rows small, which
// rounding of f32 products could spoil.
//
// Numbers: w is scaled by a power of 2 to magnitudes below 2, norms to at most 1, so that squares stay in range;
// products are f32 (gemm), systems and sums of L are double. Work is split by blocks, whose results do not depend on
// each other, and L is added up in a fixed order: threads change nothing.
//
// Cost of a round: O(columns * depth * d), about 12 times that many multiply-adds.
#include "armor/fit.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "armor/cholesky.h"
#include "armor/core.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"

namespace gatun::armor {
namespace {

// Parts of a matrix without columns or depth have no address.
void copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

constexpr double kDamping = 1e-5;
constexpr double kLeastGain = 1e-9;

thread_local Scratch own_scratch;

// Slices of a thread's memory.
class Slices {
 public:
  explicit Slices(uint8_t* base) : at_(base) {}
  template <class T>
  T* take(int64_t count) {
    T* const slice = reinterpret_cast<T*>(at_);
    at_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return slice;
  }

 private:
  uint8_t* at_;
};

// A row-major matrix, or its transpose.
struct Matrix {
  const float* data;
  int64_t stride;
  bool transposed = false;
};

class Fit {
 public:
  Fit(const gemm::Kernel& kernel, const gatun_armor_fit_params& p, const float* w, const float* weights, float* left,
      float* core, uint8_t* mask, float* right)
      : kernel_(kernel),
        p_(p),
        left_{p.columns, p.block},
        right_{p.depth, p.block},
        searches_(p.n, p.m, p.depth),
        w_(w),
        weights_(weights),
        a_(left),
        s_(core),
        mask_(mask),
        b_(right),
        mask_row_(blocks_of(p.depth, 8)),
        errors_(static_cast<size_t>(p.columns * p.depth)),
        gram_b_(static_cast<size_t>(right_.floats())),
        losses_(static_cast<size_t>(left_.count())) {
    for (int64_t i = 0; i < p_.columns; ++i) {
      for (int64_t k = 0; k < p_.depth; ++k) {
        const int64_t at = i * p_.depth + k;
        s_[at] = mask_[i * mask_row_ + k / 8] >> k % 8 & 1 ? w_[at] : 0;
        errors_[static_cast<size_t>(at)] = s_[at] - w_[at];
      }
    }
    set_identity(left_, a_);
    set_identity(right_, b_);
    for (int64_t i = 0; i < left_.count(); ++i) losses_[static_cast<size_t>(i)] = loss_of_rows(i, errors_of(i));
  }

  double loss() const {
    double sum = 0;
    for (const double part : losses_) sum += part;
    return sum;
  }

  int32_t round() {
    GATUN_TRY(
        for_each(left_.count(), own_bytes_of_rows(), [&](int64_t i, Slices own) { return improve_left(i, own); }));
    GATUN_TRY(for_each(right_.count(), own_bytes_of_depths(),
                       [&](int64_t j, Slices own) { return improve_right(j, own) && make_gram_b(j, own); }));
    return for_each(left_.count(), own_bytes_of_rows(), [&](int64_t i, Slices own) {
      losses_[static_cast<size_t>(i)] = loss_of_rows(i, errors_of(i));  // of the new blocks of B
      return improve_core(i, own);
    });
  }

 private:
  static void set_identity(const Blocks& blocks, float* data) {
    std::fill_n(data, blocks.floats(), 0.0f);
    for (int64_t b = 0; b < blocks.count(); ++b) {
      for (int64_t i = 0; i < blocks.rows(b); ++i) data[blocks.offset(b) + i * (blocks.rows(b) + 1)] = 1;
    }
  }

  float* errors_of(int64_t i) { return errors_.data() + left_.first(i) * p_.depth; }

  // c [rows][columns] of stride c_stride.
  bool multiply(const Matrix& a, const Matrix& b, float* c, int64_t c_stride, int64_t rows, int64_t columns,
                int64_t depth, bool add = false) const {
    return gemm::run(
        kernel_, {a.data, a.transposed ? 1 : a.stride, a.transposed ? a.stride : 1, b.data, b.transposed ? 1 : b.stride,
                  b.transposed ? b.stride : 1, c, c_stride, rows, columns, depth, add});
  }

  // x [rows][depth] = y times the blocks of B, or of their transposes.
  bool times_right(const float* y, bool transposed, const float* right, int64_t rows, float* x) const {
    for (int64_t j = 0; j < right_.count(); ++j) {
      const int64_t first = right_.first(j), size = right_.rows(j);
      if (!multiply({y + first, p_.depth}, {right + right_.offset(j), size, transposed}, x + first, p_.depth, rows,
                    size, size)) {
        return false;
      }
    }
    return true;
  }

  // Sums of s e^2: in ascending order over a row, then over the rows.
  double loss_of(const float* e, int64_t stride, int64_t rows, const float* weights, int64_t columns) const {
    double sum = 0;
    for (int64_t i = 0; i < rows; ++i) {
      double row = 0;
      for (int64_t k = 0; k < columns; ++k) {
        const double error = double{e[i * stride + k]};
        row += double{weights[k]} * (error * error);
      }
      sum += row;
    }
    return sum;
  }
  double loss_of_rows(int64_t i, const float* e) const {
    return loss_of(e, p_.depth, left_.rows(i), weights_, p_.depth);
  }

  static bool falls(double before, double after) { return after < before - kLeastGain * before; }

  // gram and step [size][size]: step becomes (gram + damping)^-1 step. False where that is not possible.
  static bool solve_damped(const float* gram, int64_t size, float* step, Slices* own) {
    double* const matrix = own->take<double>(size * size);
    double* const x = own->take<double>(size * size);
    double trace = 0;
    for (int64_t i = 0; i < size * size; ++i) {
      matrix[i] = double{gram[i]};
      x[i] = double{step[i]};
    }
    for (int64_t i = 0; i < size; ++i) trace += matrix[i * (size + 1)];
    const double damping = kDamping * trace / static_cast<double>(size);
    for (int64_t i = 0; i < size; ++i) matrix[i * (size + 1)] += damping;
    if (!factor(matrix, size, size)) return false;
    solve(matrix, size, size, x, size);
    for (int64_t i = 0; i < size * size; ++i) step[i] = static_cast<float>(x[i]);
    return true;
  }

  // x [rows][depth] with each depth times its weight.
  void weigh(const float* x, int64_t rows, float* to) const {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t k = 0; k < p_.depth; ++k) to[i * p_.depth + k] = x[i * p_.depth + k] * weights_[k];
    }
  }

  // Errors of block I with other factors: e = a (s B) - w, with s B left in t.
  bool errors_with(int64_t i, const float* a, float* t, float* e) const {
    const int64_t rows = left_.rows(i), first = left_.first(i) * p_.depth;
    for (int64_t at = 0; at < rows * p_.depth; ++at) e[at] = -w_[first + at];
    return times_right(s_ + first, false, b_, rows, t) &&
           multiply({a, rows}, {t, p_.depth}, e, p_.depth, rows, p_.depth, rows, true);
  }

  void keep_errors(int64_t i, const float* e, double loss) {
    copy(errors_of(i), e, static_cast<size_t>(left_.rows(i) * p_.depth) * sizeof(float));
    losses_[static_cast<size_t>(i)] = loss;
  }

  bool improve_left(int64_t i, Slices own) {
    const int64_t rows = left_.rows(i), depth = p_.depth;
    float* const t = own.take<float>(rows * depth);
    float* const weighted = own.take<float>(rows * depth);
    float* const gram = own.take<float>(rows * rows);
    float* const step = own.take<float>(rows * rows);
    // The step's transpose solves gram X^T = -T D E^T.
    if (!times_right(s_ + left_.first(i) * depth, false, b_, rows, t)) return false;
    weigh(t, rows, weighted);
    if (!multiply({weighted, depth}, {t, depth, true}, gram, rows, rows, rows, depth) ||
        !multiply({weighted, depth}, {errors_of(i), depth, true}, step, rows, rows, rows, depth)) {
      return false;
    }
    if (!solve_damped(gram, rows, step, &own)) return true;
    float* const a = a_ + left_.offset(i);
    float* const changed = gram;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = 0; k < rows; ++k) changed[r * rows + k] = a[r * rows + k] - step[k * rows + r];
    }
    float* const e = weighted;
    if (!errors_with(i, changed, t, e)) return false;
    const double loss = loss_of_rows(i, e);
    if (!falls(losses_[static_cast<size_t>(i)], loss)) return true;
    copy(a, changed, static_cast<size_t>(rows * rows) * sizeof(float));
    keep_errors(i, e, loss);
    return true;
  }

  bool improve_right(int64_t j, Slices own) {
    const int64_t first = right_.first(j), size = right_.rows(j), columns = p_.columns, depth = p_.depth;
    float* const z = own.take<float>(columns * size);
    float* const e = own.take<float>(columns * size);
    float* const gram = own.take<float>(size * size);
    float* const step = own.take<float>(size * size);
    for (int64_t i = 0; i < left_.count(); ++i) {
      const int64_t row = left_.first(i), rows = left_.rows(i);
      if (!multiply({a_ + left_.offset(i), rows}, {s_ + row * depth + first, depth}, z + row * size, size, rows, size,
                    rows)) {
        return false;
      }
    }
    float* const errors = errors_.data() + first;
    if (!multiply({z, size, true}, {z, size}, gram, size, size, size, columns) ||
        !multiply({z, size, true}, {errors, depth}, step, size, size, size, columns)) {
      return false;
    }
    if (!solve_damped(gram, size, step, &own)) return true;
    float* const b = b_ + right_.offset(j);
    float* const changed = gram;
    for (int64_t at = 0; at < size * size; ++at) changed[at] = b[at] - step[at];
    for (int64_t i = 0; i < columns; ++i) {
      for (int64_t k = 0; k < size; ++k) e[i * size + k] = -w_[i * depth + first + k];
    }
    if (!multiply({z, size}, {changed, size}, e, size, columns, size, size, true)) return false;
    const double before = loss_of(errors, depth, columns, weights_ + first, size);
    if (!falls(before, loss_of(e, size, columns, weights_ + first, size))) return true;
    copy(b, changed, static_cast<size_t>(size * size) * sizeof(float));
    for (int64_t i = 0; i < columns; ++i) {
      copy(errors + i * depth, e + i * size, static_cast<size_t>(size) * sizeof(float));
    }
    return true;
  }

  // gram_b_ of block J: B D B^T.
  bool make_gram_b(int64_t j, Slices own) {
    const int64_t size = right_.rows(j);
    const float* const b = b_ + right_.offset(j);
    float* const weighted = own.take<float>(size * size);
    for (int64_t at = 0; at < size * size; ++at) weighted[at] = b[at] * weights_[right_.first(j) + at % size];
    return multiply({weighted, size}, {b, size, true}, gram_b_.data() + right_.offset(j), size, size, size, size);
  }

  bool improve_core(int64_t i, Slices own) {
    const int64_t rows = left_.rows(i), depth = p_.depth, count = rows * depth, row = left_.first(i);
    const float* const a = a_ + left_.offset(i);
    float* const e = own.take<float>(count);
    float* const descent = own.take<float>(count);
    float* const gram_a = own.take<float>(rows * rows);
    float* const moved = own.take<float>(kPanelRows * depth);
    float* const s_before = own.take<float>(count);
    uint8_t* const mask_before = own.take<uint8_t>(rows * mask_row_);
    float* const s = s_ + row * depth;
    uint8_t* const mask = mask_ + row * mask_row_;
    // descent = -(A^T E D) B^T
    if (!multiply({a, rows, true}, {errors_of(i), depth}, e, depth, rows, depth, rows)) return false;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = 0; k < depth; ++k) e[r * depth + k] *= -weights_[k];
    }
    if (!times_right(e, true, b_, rows, descent) ||
        !multiply({a, rows, true}, {a, rows}, gram_a, rows, rows, rows, rows)) {
      return false;
    }
    copy(s_before, s, static_cast<size_t>(count) * sizeof(float));
    copy(mask_before, mask, static_cast<size_t>(rows * mask_row_));
    if (!sweep(kernel_, searches_, {rows, depth, s, mask, gram_a, gram_b_.data(), right_, descent, moved}) ||
        !errors_with(i, a, descent, e)) {
      return false;
    }
    const double loss = loss_of_rows(i, e);
    if (falls(losses_[static_cast<size_t>(i)], loss)) {
      keep_errors(i, e, loss);
    } else {
      copy(s, s_before, static_cast<size_t>(count) * sizeof(float));
      copy(mask, mask_before, static_cast<size_t>(rows * mask_row_));
    }
    return true;
  }

  // Calls of(index, a thread's memory of this many bytes) for each block, on the threads that the caller allows.
  template <class Of>
  int32_t for_each(int64_t count, int64_t bytes, Of of) const {
    std::atomic<bool> failed{false};
    const double products =
        4.0 * static_cast<double>(p_.columns) * static_cast<double>(p_.depth) * static_cast<double>(p_.block);
    constexpr int64_t kGrain = 1 << 20;
    parallel_for(count, useful_threads(p_.threads, count, static_cast<int64_t>(std::min(products, 0x1p60)), kGrain),
                 [&](int64_t begin, int64_t end) {
                   uint8_t* const memory = own_scratch.get(bytes);
                   for (int64_t at = begin; at < end; ++at) {
                     if (memory == nullptr || !of(at, Slices(memory))) failed = true;
                   }
                 });
    if (!failed) return GATUN_OK;
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch a thread; the outputs are unspecified",
                static_cast<long long>(bytes + gemm::kScratchBytes));
  }

  // What improve_left and improve_core take, and improve_right; with room for rounding up each slice.
  int64_t own_bytes_of_rows() const {
    const int64_t rows = std::min(p_.block, p_.columns);
    return (3 * rows * p_.depth + 2 * rows * rows + kPanelRows * p_.depth) * 4 + 2 * rows * rows * 8 +
           rows * mask_row_ + 8 * 64;
  }
  int64_t own_bytes_of_depths() const {
    const int64_t size = std::min(p_.block, p_.depth);
    return (2 * p_.columns * size + 2 * size * size) * 4 + 2 * size * size * 8 + 8 * 64;
  }

  const gemm::Kernel& kernel_;
  const gatun_armor_fit_params& p_;
  const Blocks left_, right_;
  const GroupSearches searches_;
  const float *w_, *weights_;
  float *a_, *s_;
  uint8_t* mask_;
  float* b_;
  const int64_t mask_row_;
  std::vector<float> errors_;  // A S B - w [columns][depth]
  std::vector<float> gram_b_;
  std::vector<double> losses_;  // of each block of A
};

// The largest magnitude; NaN or infinite if any number is.
float largest_of(const float* numbers, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!(std::fabs(numbers[i]) <= largest)) largest = std::fabs(numbers[i]);
    if (!std::isfinite(largest)) break;
  }
  return largest;
}

// *scaled is w times 2^-exponent, below 2 in magnitude. w is read once: somebody may write to it.
int32_t scale(const float* w, int64_t count, std::vector<float>* scaled, int* exponent) {
  scaled->assign(w, w + count);
  const float largest = largest_of(scaled->data(), count);
  if (!std::isfinite(largest)) {
    return fail(GATUN_INTERNAL, "w: a number is NaN or infinite, and none was when they were checked");
  }
  *exponent = largest > 0 ? std::ilogb(largest) : 0;
  for (float& number : *scaled) number = std::ldexp(number, -*exponent);
  return GATUN_OK;
}

// norms^2, scaled by the square of the largest one, which is returned.
double weights_of(const float* norms, std::vector<float>* weights) {
  if (norms == nullptr) {
    std::fill(weights->begin(), weights->end(), 1.0f);
    return 1;
  }
  const float largest = weights->empty() ? 0 : *std::max_element(norms, norms + weights->size());
  if (largest == 0) return 0;
  for (size_t k = 0; k < weights->size(); ++k) {
    const double ratio = double{norms[k]} / double{largest};
    (*weights)[k] = static_cast<float>(ratio * ratio);
  }
  return double{largest} * double{largest};
}

// S times 2^exponent; what f32 cannot hold goes to A.
void scale_back(int exponent, int64_t count, float* core, int64_t left_count, float* left) {
  const float largest = largest_of(core, count);
  const int excess = largest > 0 && std::isfinite(largest) ? std::max(0, std::ilogb(largest) + exponent - 127) : 0;
  for (int64_t i = 0; i < count; ++i) core[i] = std::ldexp(core[i], exponent - excess);
  if (excess == 0) return;
  for (int64_t i = 0; i < left_count; ++i) left[i] = std::ldexp(left[i], excess);
}

}  // namespace

int32_t fit(const gemm::Kernel& kernel, const gatun_armor_fit_params& params, const float* w, const float* norms,
            float* left, float* core, uint8_t* mask, float* right, double* losses) {
  gatun_armor_fit_params p = params;
  p.block = std::min(p.block, std::max<int64_t>({1, p.columns, p.depth}));
  const int64_t count = p.columns * p.depth;
  int exponent;
  std::vector<float> scaled_w;
  GATUN_TRY(scale(w, count, &scaled_w, &exponent));
  std::vector<float> weights(static_cast<size_t>(p.depth));
  const double unit = weights_of(norms, &weights) * std::ldexp(1.0, 2 * exponent);
  Fit state(kernel, p, scaled_w.data(), weights.data(), left, core, mask, right);
  if (losses != nullptr) losses[0] = unit * state.loss();
  if (count == 0) {  // nothing is there to fit, nor has it an address
    if (losses != nullptr) std::fill_n(losses + 1, p.rounds, losses[0]);
    return GATUN_OK;
  }
  for (int32_t round = 0; round < p.rounds; ++round) {
    GATUN_TRY(state.round());
    if (losses != nullptr) losses[round + 1] = unit * state.loss();
  }
  scale_back(exponent, count, core, Blocks{p.columns, p.block}.floats(), left);
  return GATUN_OK;
}

}  // namespace gatun::armor
