// The best weights of a matrix, or of each of its rows.
//
//   UNSTRUCTURED  the key of the last kept score digit by digit: how many of the keys that begin like it have which
//                 next digit (11, 11 and 10 bits). Scores are computed anew in each pass, so nothing of the matrix's
//                 size is stored. If not all that are equal to it are kept, rows count theirs, and the first ones get
//                 them.
//   ROW           keys of a row, partly sorted
#include <cstring>
#include <mutex>

#include "base/failure.h"
#include "prune/pattern.h"
#include "prune/select.h"

namespace gatun::prune {
namespace {

constexpr int kDigits = 3, kDigitBits[kDigits] = {11, 11, 10};
constexpr int kBins = 1 << 11;

// Adds up, for the keys that begin like `key` above bit shift + bits, how many have which digit there.
void count_digits(const Job& job, uint32_t key, int shift, int bits, int64_t (&counts)[kBins]) {
  std::fill(std::begin(counts), std::end(counts), 0);
  std::mutex mutex;
  const uint32_t digits = (1u << bits) - 1;
  const uint64_t start = uint64_t{key} >> (shift + bits);
  parallel_for(job.p.columns, threads_of(job.p, job.p.columns), [&](int64_t begin, int64_t end) {
    int64_t mine[kBins] = {};
    for (int64_t row = begin; row < end; ++row) {
      for_each_chunk(job, row, 0, job.p.depth, [&](int64_t, const float* scores, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
          const uint32_t each = key_of(scores[i]);
          if (uint64_t{each} >> (shift + bits) == start) ++mine[each >> shift & digits];
        }
      });
    }
    const std::lock_guard<std::mutex> lock(mutex);
    for (int i = 0; i < kBins; ++i) counts[i] += mine[i];
  });
}

// The key of the last score that is kept, how many equal to it are kept and how many there are.
Threshold<uint32_t> threshold_of_matrix(const Job& job, int64_t* equal) {
  uint32_t key = 0;
  int64_t left = job.p.keep;
  int shift = 32;
  for (const int bits : kDigitBits) {
    shift -= bits;
    int64_t counts[kBins];
    count_digits(job, key, shift, bits, counts);
    int digit = (1 << bits) - 1;
    // The digits suffice, unless somebody changes the weights meanwhile.
    for (; digit > 0 && counts[digit] < left; --digit) left -= counts[digit];
    key |= static_cast<uint32_t>(digit) << shift;
    *equal = counts[digit];
  }
  return {key, left};
}

void write_row(const Job& job, int64_t row, Threshold<uint32_t> threshold, uint8_t* mask) {
  uint8_t* bits = mask + row * mask_bytes(job.p.depth);
  for_each_chunk(job, row, 0, job.p.depth, [&](int64_t first, const float* scores, int64_t count) {
    for (int64_t i = 0; i < count; ++i) set_bit(bits, first + i, threshold.keeps(key_of(scores[i])));
  });
}

// Turns the number of keys of each row that are equal to the threshold into how many of them are kept.
void share_ties(const Job& job, const Threshold<uint32_t>& threshold, int64_t* ties) {
  const int64_t rows = job.p.columns;
  parallel_for(rows, threads_of(job.p, rows), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      ties[row] = 0;
      for_each_chunk(job, row, 0, job.p.depth, [&](int64_t, const float* scores, int64_t count) {
        for (int64_t i = 0; i < count; ++i) ties[row] += key_of(scores[i]) == threshold.value;
      });
    }
  });
  int64_t left = threshold.ties;
  for (int64_t row = 0; row < rows; ++row) {
    ties[row] = std::min(ties[row], left);
    left -= ties[row];
  }
}

}  // namespace

int32_t prune_unstructured(const Job& job, uint8_t* mask) {
  const int64_t rows = job.p.columns;
  std::memset(mask, 0, static_cast<size_t>(rows * mask_bytes(job.p.depth)));
  if (job.p.keep == 0) return GATUN_OK;
  int64_t equal;
  const Threshold<uint32_t> threshold = threshold_of_matrix(job, &equal);
  Scratch scratch;
  int64_t* ties = nullptr;
  if (threshold.ties < equal) {
    GATUN_TRY(get_array(scratch, rows, &ties));
    share_ties(job, threshold, ties);
  }
  parallel_for(rows, threads_of(job.p, rows), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      write_row(job, row, {threshold.value, ties != nullptr ? ties[row] : threshold.ties}, mask);
    }
  });
  return GATUN_OK;
}

int32_t prune_row_by_row(const Job& job, uint8_t* mask) {
  const int64_t rows = job.p.columns;
  std::memset(mask, 0, static_cast<size_t>(rows * mask_bytes(job.p.depth)));
  if (job.p.keep == 0) return GATUN_OK;
  FirstFailure failure;
  parallel_for(rows, threads_of(job.p, rows), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    uint32_t* keys;
    if (const int32_t status = get_array(scratch, job.p.depth, &keys); status != GATUN_OK) {
      failure.note(status);
      return;
    }
    for (int64_t row = begin; row < end; ++row) {
      for_each_chunk(job, row, 0, job.p.depth, [&](int64_t first, const float* scores, int64_t count) {
        std::transform(scores, scores + count, keys + first, key_of);
      });
      write_row(job, row, threshold_of(keys, job.p.depth, job.p.keep), mask);
    }
  });
  return failure.result();
}

}  // namespace gatun::prune
