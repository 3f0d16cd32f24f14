// The packed form of weights on a device (form.h), written in whole: header, codes, scales, zero points, code book.
//
// Codes: a thread makes the 16 bytes of one lane of a unit from two rows of the plane of codes. Scales and zero points:
// a thread copies those of a column in a group, which several rows of weights may share.
#include "ptx/launch.h"
#include "qmatmul/packing.h"
#include "qmatmul/values.h"

namespace gatun::cuda::qmatmul {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1 << 20;
constexpr float kMostScale = 0x1p64f;

// Code k of row n; 0 beyond the matrix.
GATUN_DEVICE uint32_t code_at(const PackJob& job, int64_t n, int64_t k) {
  if (n >= job.form.columns || k >= job.form.depth) return 0;
  const uint8_t* row = job.codes + n * job.row_bytes;
  if (job.code_bits == 8) return row[k];
  const int64_t bit = k * job.code_bits;
  const int shift = static_cast<int>(bit % 8);
  uint32_t code = row[bit / 8] >> shift;
  if (shift + job.code_bits > 8) code |= static_cast<uint32_t>(row[bit / 8 + 1]) << (8 - shift);
  return code & ((1u << job.code_bits) - 1);
}

GATUN_DEVICE void report(int64_t* fault, int64_t index) {
  atomic_min(reinterpret_cast<uint64_t*>(fault), static_cast<uint64_t>(index));
}

// NaN and infinity, which weights have none of.
GATUN_DEVICE bool is_no_number(Codes codes, uint32_t code) {
  const uint32_t magnitude = code & 0x7f;
  return (codes == Codes::f8e4m3 && magnitude > 0x7e) || (codes == Codes::f8e5m2 && magnitude > 0x7b);
}

GATUN_KERNEL(kThreads, 2) pack_codes(const PackJob job) {
  const Form& f = job.form;
  const int bits = bits_of(f.codes), steps_a_word = bits == 2 ? 2 : 1;
  const int64_t count = f.strips * f.units * 32;
  for (int64_t i = block_x() * kThreads + thread_index(); i < count; i += blocks_x() * kThreads) {
    const int lane = static_cast<int>(i % 32);
    const int64_t unit = i / 32, column = unit / f.units * kStripColumns + lane / 4;
    const int64_t depth = unit % f.units * unit_depth(f.codes);
    Words4 words = {};
    // Shares of a word: of 8 bits a column has its own, of 4 and 2 bits both columns and two steps are in one byte.
    for (int w = 0; w < 4; ++w) {
      for (int share = 0; share < 8 / bits; ++share) {
        const int step = bits == 8 ? w / 2 : w * steps_a_word + share / 2;
        const int second = bits == 8 ? w % 2 : share % 2;
        for (int j = 0; j < 4; ++j) {
          const int64_t n = column + 8 * second, k = depth + step * kStepDepth + lane % 4 * 2 + j % 2 * 8 + j / 2;
          const uint32_t code = code_at(job, n, k);
          words.word[w] |= code << (8 * j + bits * share);
          if (is_no_number(f.codes, code)) report(&job.faults->value, n * f.depth + k);
        }
      }
    }
    *reinterpret_cast<Words4*>(job.packed + f.codes_at + i * 16) = words;
  }
}

GATUN_DEVICE bool is_refused(float value) { return !(value >= -kMostScale && value <= kMostScale); }

GATUN_KERNEL(kThreads, 2) pack_scales(const PackJob job, const Book book) {
  const Form& f = job.form;
  uint8_t* const scales = job.packed + f.scales_at;
  uint8_t* const offsets = job.packed + f.offsets_at;
  const int64_t first = block_x() * kThreads + thread_index(), all = blocks_x() * kThreads;
  const int highest = f.codes == Codes::u4 ? 15 : f.codes == Codes::u2 ? 3 : 255;
  for (int64_t i = first; i < f.groups * f.padded_columns(); i += all) {
    const int64_t g = i / f.padded_columns(), n = i % f.padded_columns();
    const bool inside = n < f.columns;
    const int64_t from = inside ? n / f.group_rows * f.groups + g : 0;
    const uint32_t scale = inside ? load_scale(job.scales, f.scale_dtype, from) : 0;
    // 0 as E8M0 is 2^-127, of columns that do not exist.
    bool refused = inside && is_refused(scale_value(scale, f.scale_dtype));
    if (f.scale_dtype == GATUN_F32) {
      reinterpret_cast<uint32_t*>(scales)[i] = scale;
    } else if (f.scale_dtype == GATUN_F16) {
      reinterpret_cast<uint16_t*>(scales)[i] = static_cast<uint16_t>(scale);
    } else {
      scales[i] = static_cast<uint8_t>(scale);
    }
    if (f.zero_point == GATUN_ZERO_INTEGER) {
      offsets[i] = inside ? static_cast<const uint8_t*>(job.zero_points)[from] : uint8_t{0};
      refused |= offsets[i] > highest;
    } else if (f.zero_point == GATUN_ZERO_FLOAT) {
      const float zero = inside ? static_cast<const float*>(job.zero_points)[from] : 0.0f;
      reinterpret_cast<float*>(offsets)[i] = zero;
      refused |= is_refused(zero);
    }
    if (refused) report(&job.faults->block, from);
  }
  if (block_x() > 0) return;
  const int i = thread_index();
  if (i < book_values(f.codes)) reinterpret_cast<float*>(job.packed + f.book_at)[i] = book.values[i];
  if (i == 0) *reinterpret_cast<PackedHeader*>(job.packed) = job.header;
}

int64_t blocks_for(int64_t threads) {
  const int64_t blocks = threads == 0 ? 1 : (threads - 1) / kThreads + 1;
  return blocks < kMostBlocks ? blocks : kMostBlocks;
}

}  // namespace

int32_t run_pack(const PackJob& job, const Book& book, void* stream) {
  const Form& f = job.form;
  if (f.units > 0 && f.strips > 0) {
    const int32_t status =
        launch("qmatmul_pack_codes", pack_codes, {blocks_for(f.strips * f.units * 32), 1, 1, kThreads, 0}, stream, job);
    if (status != 0) return status;
  }
  return launch("qmatmul_pack_scales", pack_scales, {blocks_for(f.groups * f.padded_columns()), 1, 1, kThreads, 0},
                stream, job, book);
}

}  // namespace gatun::cuda::qmatmul
