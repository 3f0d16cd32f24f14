#include "armor/core.h"

#include <cstring>

namespace gatun::armor {
namespace {

// One row. `moved` [depth] collects -(change of the row) * gram_b, so that descent + gram * moved is that of the row
// now.
class RowSweep {
 public:
  RowSweep(const GroupSearches& searches, const CoreBlock& block, int64_t row, float* moved)
      : searches_(searches),
        right_(block.right),
        gram_b_(block.gram_b),
        depth_(block.depth),
        gram_(double{block.gram_a[row * block.rows + row]}),
        descent_(block.descent + row * block.depth),
        s_(block.s + row * block.depth),
        mask_(block.mask + row * blocks_of(block.depth, 8)),
        moved_(moved) {}

  void run() {
    std::memset(moved_, 0, static_cast<size_t>(depth_) * sizeof(float));
    if (!(gram_ > 0)) return;  // the row reaches nothing
    for (int64_t k = 0; k < depth_; k += searches_.m()) improve(k, std::min<int64_t>(searches_.m(), depth_ - k));
  }

 private:
  // Of depths i and j; those of different blocks don't meet.
  double product(int64_t i, int64_t j) const {
    const int64_t block = i / right_.block;
    if (j / right_.block != block) return 0;
    const int64_t first = right_.first(block);
    return double{gram_b_[right_.offset(block) + (i - first) * right_.rows(block) + (j - first)]};
  }

  void improve(int64_t first, int64_t size) {
    double h[kMaxGroup * kMaxGroup], c[kMaxGroup], y[kMaxGroup];
    uint32_t kept = 0;
    for (int64_t i = 0; i < size; ++i) {
      const int64_t k = first + i;
      kept |= (uint32_t{mask_[k / 8]} >> k % 8 & 1) << i;
      y[i] = double{s_[k]};
    }
    for (int64_t i = 0; i < size; ++i) {
      c[i] = double{descent_[first + i]} + gram_ * double{moved_[first + i]};
      for (int64_t j = 0; j < size; ++j) {
        h[i * kMaxGroup + j] = gram_ * product(first + i, first + j);
        c[i] += h[i * kMaxGroup + j] * y[j];
      }
    }
    if (!searches_.of_size(size).improve(h, c, &kept, y)) return;
    for (int64_t i = 0; i < size; ++i) {
      const int64_t k = first + i;
      const uint8_t bit = static_cast<uint8_t>(1 << k % 8);
      mask_[k / 8] = static_cast<uint8_t>(kept >> i & 1 ? mask_[k / 8] | bit : mask_[k / 8] & ~bit);
      move(k, static_cast<float>(y[i]));
    }
  }

  void move(int64_t k, float value) {
    const float change = value - s_[k];
    if (change == 0) return;
    s_[k] = value;
    const int64_t block = k / right_.block, size = right_.rows(block);
    const float* const from = gram_b_ + right_.offset(block) + (k - right_.first(block)) * size;
    float* const to = moved_ + right_.first(block);
    for (int64_t j = 0; j < size; ++j) to[j] -= change * from[j];
  }

  const GroupSearches& searches_;
  const Blocks right_;
  const float* gram_b_;
  const int64_t depth_;
  const double gram_;
  const float* descent_;
  float* s_;
  uint8_t* mask_;
  float* moved_;
};

}  // namespace

bool sweep(const gemm::Kernel& kernel, const GroupSearches& searches, const CoreBlock& block) {
  for (int64_t first = 0; first < block.rows; first += kPanelRows) {
    const int64_t end = std::min(first + kPanelRows, block.rows);
    for (int64_t row = first; row < end; ++row) {
      float* const moved = block.moved + (row - first) * block.depth;
      RowSweep(searches, block, row, moved).run();
      for (int64_t below = row + 1; below < end; ++below) {
        const float factor = block.gram_a[below * block.rows + row];
        float* const to = block.descent + below * block.depth;
        for (int64_t k = 0; k < block.depth; ++k) to[k] += factor * moved[k];
      }
    }
    // The rows below the panel, all at once.
    if (!gemm::run(kernel, {block.gram_a + end * block.rows + first, block.rows, 1, block.moved, block.depth, 1,
                            block.descent + end * block.depth, block.depth, block.rows - end, block.depth, end - first,
                            true})) {
      return false;
    }
  }
  return true;
}

}  // namespace gatun::armor
