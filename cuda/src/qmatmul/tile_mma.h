// What kernels of matrix instructions (mma.h) share: weights as left operands, for every code and arithmetic, and the
// scales and zero points of their columns.
//
// Sums are those of y^T = w x^T: the columns of y are rows of the instruction, rows of x are its columns. A slice is
// the depth of one instruction: 16 of f16 and bf16, 32 of int8; of x that is 32 bytes of a row either way. A warp has
// 32 columns, which are two strips (form.h), and lane l keeps scale and zero point of column l; those of columns r and
// r + 8 of a strip, which a lane's sums belong to, come by shuffles.
//
// An interval is as many slices, a power of two, as divide the group. Sums of an interval get its scale in f32:
//
//   total[i] = scale[column(i)] * sum[i] + total[i]         one fma
//
// In int8 a code is lowered by its zero point before it is multiplied (codes of 2 and 4 bits stay within 8), so sums
// that cancel do so exactly, wherever the depth is cut: |sum| <= 127 * 128 * 32 for a slice.
//
// Codes that decode alike share an instance: u8 and i8 in 16 bits differ by a sign bit that is flipped, floats of 6 and
// 8 bits by shifts and masks. Values of code books come from a table in shared memory, of which neighbouring lanes have
// their own copies in other banks; an entry belongs to a byte of the unit, so two codes of 4 bits are one lookup.
#pragma once

#include <cstdint>
#include <type_traits>

#include "ptx/ldmatrix.h"
#include "ptx/mma.h"
#include "ptx/warp.h"
#include "qmatmul/finish.h"
#include "qmatmul/fragments.h"
#include "qmatmul/job.h"
#include "qmatmul/values.h"

namespace gatun::cuda::qmatmul {

inline constexpr int kSliceBytes = 32;              // of a row of x
inline constexpr int kWarpStrips = 2;               // of a warp
inline constexpr int kWarpColumns = 32;             // of its strips
inline constexpr int64_t kSharedBytes = 99 * 1024;  // that every device has from 8.0 on

// The instance of a kernel that takes these codes.
constexpr Codes instance_of(Codes codes, Arithmetic arithmetic) {
  if (arithmetic != Arithmetic::i8 && codes == Codes::i8) return Codes::u8;
  return codes == Codes::f8e5m2 || codes == Codes::f6e3m2 || codes == Codes::f6e2m3 ? Codes::f8e4m3 : codes;
}

// Calls `run` with the instance for the job's codes, a constant of type Codes.
template <Arithmetic kArithmetic, class Run>
int32_t run_instance(const Job& job, Run run) {
  const Codes codes = instance_of(job.kind, kArithmetic);
  if (codes == Codes::u4) return run(std::integral_constant<Codes, Codes::u4>());
  if (codes == Codes::u2) return run(std::integral_constant<Codes, Codes::u2>());
  if (codes == Codes::u8) return run(std::integral_constant<Codes, Codes::u8>());
  if constexpr (kArithmetic == Arithmetic::i8) {
    return run(std::integral_constant<Codes, Codes::i8>());
  } else {
    if (codes == Codes::f4e2m1) return run(std::integral_constant<Codes, Codes::f4e2m1>());
    if (codes == Codes::book4) return run(std::integral_constant<Codes, Codes::book4>());
    if (codes == Codes::book8) return run(std::integral_constant<Codes, Codes::book8>());
    return run(std::integral_constant<Codes, Codes::f8e4m3>());
  }
}

// The group of step k / 16 without a division: exact where depth * group is at most 2^39 (sm80_takes).
struct GroupOf {
  uint32_t multiplier;
  uint32_t last;

  explicit GroupOf(const Job& job)
      : multiplier(job.groups == 1
                       ? 0
                       : static_cast<uint32_t>(((uint64_t{1} << 31) + static_cast<uint64_t>(job.group / 16) - 1) /
                                               static_cast<uint64_t>(job.group / 16))),
        last(static_cast<uint32_t>(job.groups - 1)) {}

  GATUN_DEVICE uint32_t operator()(uint32_t step) const {
    const uint32_t group = static_cast<uint32_t>(uint64_t{step} * multiplier >> 31);
    return group < last ? group : last;
  }
};

// How many slices, at most `most`, an interval has; both are powers of two.
inline int interval_slices(const Job& job, int slice_depth, int most) {
  if (job.groups == 1) return most;
  int slices = 1;
  while (slices < most && job.group / slice_depth % (2 * slices) == 0) slices *= 2;
  return slices;
}

template <Codes kCodes, Arithmetic kArithmetic, int kCopies>
class Operand {
 public:
  static constexpr bool kHalves = kArithmetic != Arithmetic::i8, kBf16 = kArithmetic == Arithmetic::bf16;
  static constexpr bool kBook = kCodes == Codes::book4 || kCodes == Codes::book8;
  static constexpr bool kLowered = is_linear(kCodes) && (kHalves || bits_of(kCodes) < 8);
  static constexpr int kSliceDepth = kHalves ? 16 : 32, kSlices = unit_depth(kCodes) / kSliceDepth;
  static constexpr int kTableBytes = kBook ? 256 * kCopies * 4 : 0;
  using Sum = std::conditional_t<kHalves, float, int32_t>;

  GATUN_DEVICE Operand(const Job& job, const uint32_t* table) : table_(table + lane() % kCopies) {
    if (kCodes == Codes::u8) flip_ = (kBf16 ? 0u : 0x64006400u) ^ (job.kind == Codes::i8 ? 0x00800080u : 0u);
    if (kCodes == Codes::u8 && job.kind == Codes::i8) excess_ = 128;
    if (kCodes == Codes::f8e4m3) {
      const bool five = job.kind == Codes::f8e5m2, e3m2 = job.kind == Codes::f6e3m2, e2m3 = job.kind == Codes::f6e2m3;
      const int mantissas = five || e3m2 ? 2 : 3, exponents = five ? 5 : e3m2 ? 3 : e2m3 ? 2 : 4;
      const int bias = (1 << (exponents - 1)) - 1, rebias = (kBf16 ? 127 : 15) - bias;
      up_ = (kBf16 ? 7 : 10) - mantissas;
      sign_up_ = 15 - exponents - mantissas;
      magnitude_ = ((1u << (exponents + mantissas)) - 1) * 0x00010001u;
      flip_ =
          (kBf16 ? static_cast<uint32_t>(rebias + 127) << 7 : static_cast<uint32_t>(rebias + 15) << 10) * 0x00010001u;
    }
  }

  // What codes of a column with this zero point are lowered by, as left() wants it; `second`: column r + 8.
  GATUN_DEVICE uint32_t lower(int zero, bool second) const {
    if constexpr (!kHalves) return static_cast<uint32_t>(0x80 - zero) * 0x01010101u;
    if constexpr (kWide) return as_bits(-static_cast<float>((1 << 23) + excess_ + zero));
    const int base = kInPlace && second ? 64 : (kBf16 ? 128 : 1024) + excess_;
    return both_halves<kBf16>(-static_cast<float>(base + zero));
  }

  // The left operand of a slice of a unit.
  GATUN_DEVICE void left(const Words4& unit, int slice, const uint32_t (&lower)[2], uint32_t (&a)[4]) const {
    if constexpr (!kHalves) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t codes = quad<kCodes>(unit, 2 * slice + i / 2, i % 2);
        a[i] = kLowered ? (codes + lower[i % 2]) ^ 0x80808080u : codes;
      }
    } else if constexpr (kBook) {
      look_up(unit, slice, a);
    } else if constexpr (kInPlace) {
      // The codes of column r + 8 stay where they are: 1024 + 16 q, and 1 / 16 of that.
      const uint32_t even = unit.word[slice], odd = even >> 8;
      a[0] = fused_f16x2((even & 0x000f000fu) | 0x64006400u, kOnes<false>, lower[0]);
      a[1] = fused_f16x2((even & 0x00f000f0u) | 0x64006400u, 0x2c002c00u, lower[1]);
      a[2] = fused_f16x2((odd & 0x000f000fu) | 0x64006400u, kOnes<false>, lower[0]);
      a[3] = fused_f16x2((odd & 0x00f000f0u) | 0x64006400u, 0x2c002c00u, lower[1]);
    } else {
#pragma unroll
      for (int second = 0; second < 2; ++second) {
        const uint32_t codes = quad<kCodes>(unit, slice, second);
        a[second] = halves(neighbours<0>(codes), lower[second]);
        a[2 + second] = halves(neighbours<1>(codes), lower[second]);
      }
    }
  }

  GATUN_DEVICE static void multiply(Sum (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (kArithmetic == Arithmetic::f16) {
      mma_f16(sum, a, b);
    } else if constexpr (kArithmetic == Arithmetic::bf16) {
      mma_bf16(sum, a, b);
    } else if constexpr (kCodes == Codes::u8) {
      mma_u8_i8(sum, a, b);
    } else {
      mma_i8(sum, a, b);
    }
  }

  // The table of a code book, by all threads of the block; a barrier must follow.
  GATUN_DEVICE static void fill_table(const Job& job, uint32_t* table) {
#pragma unroll 1
    for (int i = thread_index(); kBook && i < 256 * kCopies; i += thread_count()) {
      const int byte = i / kCopies;
      table[i] = kCodes == Codes::book4 ? pack_halves<kBf16>(job.book[byte & 15], job.book[byte >> 4])
                                        : both_halves<kBf16>(job.book[byte]);
    }
  }

 private:
  // bf16 has 7 bits after the point: bytes take the way through f32.
  static constexpr bool kWide = kHalves && kBf16 && kCodes == Codes::u8;
  static constexpr bool kInPlace = kArithmetic == Arithmetic::f16 && kCodes == Codes::u4;

  // Two codes in the low bits of 16 each -> two values.
  GATUN_DEVICE uint32_t halves(uint32_t codes, uint32_t lower) const {
    if constexpr (kCodes == Codes::f4e2m1) return small_floats<2, 1, 1, kBf16>(codes);
    if constexpr (kCodes == Codes::f8e4m3) {
      const uint32_t placed = (codes & magnitude_) << up_ | (codes & (magnitude_ + 0x00010001u)) << sign_up_;
      return fused_halves<kBf16>(placed, flip_, 0x80008000u);  // -0 is added, so that a negative zero stays one
    }
    if constexpr (kWide) {
      codes ^= flip_;
      return pack_halves<kBf16>(as_float((codes & 0xffu) | 0x4b000000u) + as_float(lower),
                                as_float(codes >> 16 | 0x4b000000u) + as_float(lower));
    }
    const uint32_t placed = kCodes == Codes::u8 ? codes ^ flip_ : codes | (kBf16 ? 0x43004300u : 0x64006400u);
    return fused_halves<kBf16>(placed, kOnes<kBf16>, lower);
  }

  GATUN_DEVICE uint32_t entry(uint32_t word, int byte) const { return table_[(word >> 8 * byte & 0xffu) * kCopies]; }

  GATUN_DEVICE void look_up(const Words4& unit, int slice, uint32_t (&a)[4]) const {
    if constexpr (kCodes == Codes::book4) {
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        const uint32_t first = entry(unit.word[slice], odd), next = entry(unit.word[slice], odd + 2);
        a[2 * odd] = pick_bytes(first, next, 0x5410);
        a[2 * odd + 1] = pick_bytes(first, next, 0x7632);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t word = unit.word[2 * slice + i % 2];
        a[i] = pick_bytes(entry(word, i / 2), entry(word, i / 2 + 2), 0x5410);
      }
    }
  }

  const uint32_t* table_;
  uint32_t flip_ = 0;  // what brings bytes to where they count; of floats, the power of two
  uint32_t magnitude_ = 0;
  int excess_ = 0, up_ = 0, sign_up_ = 0;
};

// What lane l keeps of its column in one interval, as it is stored.
struct OfColumn {
  uint32_t scale, zero;
};

// Scales and zero points of lane l's column, the l-th from `column` on; beyond the padded columns that of the last one.
template <class Operand>
class Columns {
 public:
  GATUN_DEVICE Columns(const Job& job, int64_t column) : job_(job) {
    const int64_t last = job.padded_columns - 1, own = column + lane() < last ? column + lane() : last;
    column_ = static_cast<uint32_t>(own);
    const int64_t bytes = job.scale_dtype == GATUN_F32 ? 4 : job.scale_dtype == GATUN_F16 ? 2 : 1;
    group_bytes_ = job.padded_columns * bytes;
    // Groups are a multiple of 16 bytes apart: a scale is always at the same place of an aligned word.
    const int64_t at = own * bytes;
    words_ = static_cast<const uint8_t*>(job.scales) + at / 4 * 4;
    shift_ = static_cast<int>(at % 4) * 8;
    mask_ = bytes == 4 ? ~0u : bytes == 2 ? 0xffffu : 0xffu;
  }

  GATUN_DEVICE bool has_zeros() const { return Operand::kLowered && job_.zero_point == GATUN_ZERO_INTEGER; }

  GATUN_DEVICE OfColumn load(uint32_t group) const {
    OfColumn of = {};
    of.scale = *reinterpret_cast<const uint32_t*>(words_ + group * group_bytes_);
    if (has_zeros()) of.zero = static_cast<const uint8_t*>(job_.offsets)[group * job_.padded_columns + column_];
    return of;
  }

  GATUN_DEVICE float scale(const OfColumn& of) const {
    return scale_value(of.scale >> shift_ & mask_, job_.scale_dtype);
  }

 private:
  const Job& job_;
  uint32_t column_;
  int64_t group_bytes_;
  const uint8_t* words_;
  int shift_;
  uint32_t mask_;
};

// Of the columns r and r + 8 of both strips, from what lanes keep of theirs.
template <class Operand>
GATUN_DEVICE void lower_columns(const Operand& operand, uint32_t zero, uint32_t (&lower)[kWarpStrips][2]) {
  const uint32_t own = operand.lower(static_cast<int>(zero), lane() % kStripColumns >= 8);
#pragma unroll
  for (int i = 0; i < 4; ++i) lower[i / 2][i % 2] = shuffle(own, i / 2 * kStripColumns + i % 2 * 8 + lane() / 4);
}

// The zero point of codes whose columns have none.
template <class Operand>
GATUN_DEVICE uint32_t common_zero(const Job& job) {
  return job.zero_point == GATUN_ZERO_FLOAT ? 0 : static_cast<uint32_t>(zero_code(job.kind));
}

// Rows of x whose scales a lane keeps, for kTiles * 8 rows: lane l the l-th, and the l-th of the next 32.
template <int kTiles>
inline constexpr int kRowValues = kTiles < 4 ? 1 : kTiles / 4;

// Ends an interval: adds the sums to the totals, by the scales that lanes keep of columns, and of rows in int8 where
// groups of x have their own. The next sums begin at 0.
template <class Operand, int kTiles>
GATUN_DEVICE void fold(const Job& job, float of_column, const float (&of_row)[kRowValues<kTiles>],
                       typename Operand::Sum (&sum)[kWarpStrips][kTiles][4], float (&total)[kWarpStrips][kTiles][4]) {
  const int r = lane() / 4, t = lane() % 4;
#pragma unroll
  for (int strip = 0; strip < kWarpStrips; ++strip) {
    const float of_columns[2] = {shuffle(of_column, strip * kStripColumns + r),
                                 shuffle(of_column, strip * kStripColumns + 8 + r)};
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      float of_rows[2] = {1, 1};
      if (!Operand::kHalves && job.x.scales_of_groups) {
        of_rows[0] = shuffle(of_row[tile / 4], tile % 4 * 8 + 2 * t);
        of_rows[1] = shuffle(of_row[tile / 4], tile % 4 * 8 + 2 * t + 1);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float scale = Operand::kHalves ? of_columns[i / 2] : of_columns[i / 2] * of_rows[i % 2];
        total[strip][tile][i] = fused(scale, static_cast<float>(sum[strip][tile][i]), total[strip][tile][i]);
        sum[strip][tile][i] = 0;
      }
    }
  }
}

// Adds offset * sum of x of groups [begin, end), each `stride`th, to the totals of kTiles * 8 rows from `row` on.
template <int kTiles, class Sum>
GATUN_DEVICE void add_offsets(const Job& job, int64_t column, int64_t row, uint32_t begin, uint32_t end,
                              uint32_t stride, float (&total)[kWarpStrips][kTiles][4]) {
  const int r = lane() / 4, t = lane() % 4;
#pragma unroll 2
  for (uint32_t g = begin; g < end; g += stride) {
    float offset[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t own = column + i / 2 * kStripColumns + i % 2 * 8 + r;
      offset[i] =
          own < job.padded_columns ? static_cast<const float*>(job.offsets)[g * job.padded_columns + own] : 0.0f;
    }
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        int64_t m = row + tile * 8 + 2 * t + i;
        m = m < job.rows ? m : job.rows - 1;
        float sum = static_cast<float>(static_cast<const Sum*>(job.x.sums)[m * job.groups + g]);
        if (job.x.scales_of_groups) sum *= job.x.scales[m * job.groups + g];
#pragma unroll
        for (int strip = 0; strip < kWarpStrips; ++strip) {
          total[strip][tile][i] = fused(offset[2 * strip], sum, total[strip][tile][i]);
          total[strip][tile][2 + i] = fused(offset[2 * strip + 1], sum, total[strip][tile][2 + i]);
        }
      }
    }
  }
}

}  // namespace gatun::cuda::qmatmul
