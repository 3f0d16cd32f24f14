#include "self_test/self_test.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "nm_backward/reference.h"
#include "nm_backward/table.h"

namespace gatun::nm_backward {
namespace {

// Uniform values; group g of a row keeps the n positions from g on, which wrap around. Bounds of tile.h.
class Problem {
 public:
  Problem(int32_t n, int32_t m, int64_t rows)
      : p_{sizeof(p_), n, m, 1, GATUN_F32, 1, 0.5f, 0, rows, kColumns, kDepth, kDepth, kColumns},
        kept_((kDepth + m - 1) / m * n) {
    const int32_t bits = m == 32 ? 8 : m >= 8 ? 4 : 2;
    const int64_t row_bytes = (kept_ * bits + 7) / 8;
    indices_.resize(static_cast<size_t>(kColumns * row_bytes));
    for (int64_t r = 0; r < kColumns; ++r) {
      for (int64_t i = 0; i < kept_; i += n) {
        std::vector<int64_t> positions;
        for (int64_t j = 0; j < n; ++j) positions.push_back((i / n + r + j) % m);
        std::sort(positions.begin(), positions.end());
        for (int64_t j = 0; j < n; ++j) {
          const int64_t bit = (i + j) * bits;
          indices_[static_cast<size_t>(r * row_bytes + bit / 8)] |=
              static_cast<uint8_t>(positions[static_cast<size_t>(j)] << bit % 8);
        }
      }
    }
    fill(&values_, kColumns * kept_);
    fill(&dy_, rows * kColumns);
    fill(&x_, rows * kDepth);
  }

  bool agrees(Tier tier) const {
    const DenseWeights weights(p_, values_.data(), indices_.data());
    std::vector<float> dx(x_.size()), dvalues(values_.size()), dw(weights.kept.size());
    if (run_x(tier, &p_, dy_.data(), values_.data(), indices_.data(), dx.data()) != GATUN_OK ||
        run_values(tier, &p_, dy_.data(), x_.data(), indices_.data(), dvalues.data()) != GATUN_OK ||
        run_dense(tier, &p_, dy_.data(), x_.data(), indices_.data(), dw.data()) != GATUN_OK) {
      return false;
    }
    bool right = true;
    double magnitudes;
    const auto check = [&](float result, double expected, int64_t terms) {
      const double bound = 0x1p-23 * (static_cast<double>(terms) + 8) * magnitudes;
      right = right && std::fabs(double{result} - expected) <= bound;
    };
    for (int64_t k = 0; k < kDepth; ++k) {
      for (int64_t t = 0; t < p_.rows; ++t) {
        const double expected = reference_dx(p_, weights, dy_.data(), t, k, &magnitudes);
        check(dx[static_cast<size_t>(t * kDepth + k)], expected, kColumns);
      }
      for (int64_t n = 0; n < kColumns; ++n) {
        const double expected = reference_dw(p_, dy_.data(), x_.data(), n, k, &magnitudes);
        const size_t at = static_cast<size_t>(n * kDepth + k);
        check(dw[at], weights.kept[at] ? expected : 0.5 * expected, p_.rows);
        if (weights.kept[at]) check(dvalues[static_cast<size_t>(n * kept_ + weights.place[at])], expected, p_.rows);
      }
    }
    return right;
  }

 private:
  static constexpr int64_t kColumns = 101, kDepth = 70;

  void fill(std::vector<float>* to, int64_t count) {
    to->resize(static_cast<size_t>(count));
    std::generate(to->begin(), to->end(), [&] { return random_.next(); });
  }

  SmallValues random_;
  gatun_nm_backward_params p_;
  int64_t kept_;
  std::vector<uint8_t> indices_;
  std::vector<float> values_, dy_, x_;
};

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (const auto& [n, m] : {std::pair<int32_t, int32_t>{2, 4}, {1, 8}, {5, 32}}) {
      for (const int64_t rows : {int64_t{1}, int64_t{33}, int64_t{130}}) {
        ++cases;
        wrong += !Problem(n, m, rows).agrees(tier);
      }
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::nm_backward
