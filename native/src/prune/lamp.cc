// LAMP's scores: of weights in descending magnitude,
//
//   sum += (number of weights of this magnitude) * |w|^2
//   score of each = (float)(|w|^2 / sum)
//
// in double. Magnitudes are sorted by four digits of their bits, the lowest first; a weight finds its own by its upper
// 16 bits, which are where a table says, and bisection.
#include <algorithm>
#include <functional>

#include "base/dtype.h"
#include "prune/pattern.h"
#include "simd/float_mode.h"

namespace gatun::prune {
namespace {

constexpr int kUpper = 1 << 16;

// Descending, in `magnitudes`; `other` is as large.
void sort_magnitudes(uint32_t* magnitudes, uint32_t* other, int64_t count) {
  for (int shift = 0; shift < 32; shift += 8) {
    int64_t at[256] = {};
    for (int64_t i = 0; i < count; ++i) ++at[magnitudes[i] >> shift & 255];
    int64_t sum = 0;
    for (int digit = 255; digit >= 0; --digit) {
      const int64_t bin = at[digit];
      at[digit] = sum;
      sum += bin;
    }
    for (int64_t i = 0; i < count; ++i) other[at[magnitudes[i] >> shift & 255]++] = magnitudes[i];
    std::swap(magnitudes, other);
  }
}

// Makes sorted magnitudes distinct, and their scores. Returns how many there are.
int64_t score_distinct(uint32_t* magnitudes, int64_t count, float* scores) {
  const DefaultFloatMode mode;
  int64_t distinct = 0;
  double sum = 0;
  for (int64_t i = 0; i < count; ++distinct) {
    const uint32_t bits = magnitudes[i];
    int64_t equal = 0;
    for (; i < count && magnitudes[i] == bits; ++i) ++equal;
    const double magnitude = double{float_from_bits(bits)}, square = magnitude * magnitude;
    sum += static_cast<double>(equal) * square;
    magnitudes[distinct] = bits;
    scores[distinct] = square == 0 ? 0.0f : static_cast<float>(square / sum);
  }
  return distinct;
}

}  // namespace

int32_t lamp_scores(const Job& magnitudes, float* scores) {
  const int64_t rows = magnitudes.p.columns, depth = magnitudes.p.depth, count = rows * depth;
  Scratch sorted_memory, other_memory, starts_memory;
  uint32_t *sorted, *other;
  int64_t* starts;
  GATUN_TRY(get_array(sorted_memory, count, &sorted));
  GATUN_TRY(get_array(other_memory, count + 1, &other));
  GATUN_TRY(get_array(starts_memory, kUpper + 1, &starts));
  const auto each_row = [&](auto visit) {
    parallel_for(rows, threads_of(magnitudes.p, rows), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        for_each_chunk(magnitudes, row, 0, depth, [&](int64_t k, const float* values, int64_t values_count) {
          for (int64_t i = 0; i < values_count; ++i) visit(row * depth + k + i, float_bits(values[i]));
        });
      }
    });
  };
  each_row([&](int64_t i, uint32_t bits) { sorted[i] = bits; });
  sort_magnitudes(sorted, other, count);
  // The memory of `other` is free now; a float takes as much.
  float* const distinct_scores = reinterpret_cast<float*>(other);
  const int64_t distinct = score_distinct(sorted, count, distinct_scores);
  distinct_scores[distinct] = 0;  // of magnitudes below all of them: somebody changed a weight meanwhile
  // starts[u]: the first magnitude whose upper bits are not above u; one behind the last of those with bits u is
  // starts[u - 1], or all.
  int64_t next = 0;
  for (int upper = kUpper - 1; upper >= 0; --upper) {
    while (next < distinct && sorted[next] >> 16 > static_cast<uint32_t>(upper)) ++next;
    starts[upper + 1] = next;
  }
  starts[0] = distinct;
  each_row([&](int64_t i, uint32_t bits) {
    const uint32_t upper = bits >> 16;
    const uint32_t* first = sorted + starts[upper + 1];
    const uint32_t* last = sorted + starts[upper];
    scores[i] = distinct_scores[std::lower_bound(first, last, bits, std::greater<uint32_t>()) - sorted];
  });
  return GATUN_OK;
}

}  // namespace gatun::prune
