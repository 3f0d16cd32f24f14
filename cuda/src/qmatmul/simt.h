// Products without matrix instructions: every format, every group, few rows at a time.
//
//   y[m][n] = sum_g s[g][n] sum_{k in g} x[m][k] (q[n][k] - z[g][n])      sums of a group in f32, or exactly in int32
//
// A block makes a strip of 16 columns by kRows rows, its 8 warps taking units of the strip (form.h) in turn:
//
//             unit 0 | unit 1 | ..  | unit 7 | unit 8 | ..          depth ->
//   16 cols   warp 0 | warp 1 | ..  | warp 7 | warp 0 | ..
//
// A lane has columns r and r + 8 and a quarter of each step's depth, and loads the next two units before it decodes
// one. The sum of a unit is scaled at its end. Lanes of a column add up by shuffles, warps through shared memory in
// their order, so that the result depends on nothing but the shape.
//
// Groups that are not whole units go step by step; a step has at most two groups, since none is smaller than 16: it is
// added twice, each time with x of the other group as 0.
//
// x f32 (rounded to f16 or bf16 before, where the mode wants it), or int8: products with u8 codes by dot_u8_i8x4, minus
// zero point times the sum of x; at most 128 * 255 * 127 a unit, twice that before the difference.
#pragma once

#include "ptx/launch.h"
#include "ptx/warp.h"
#include "qmatmul/finish.h"
#include "qmatmul/fragments.h"
#include "qmatmul/job.h"
#include "qmatmul/values.h"

namespace gatun::cuda::qmatmul {

struct SimtJob {
  Job job;
  Decoding decoding;
  bool whole;           // groups are whole units
  uint32_t multiplier;  // then, unit u is of group u * multiplier / 2^31, exactly
};

namespace simt {

inline constexpr int kWarps = 8, kThreads = 32 * kWarps;
inline constexpr int kMostRows = 8;  // of a block

// Of a group, the scales and zero points of a lane's two columns, as they are stored.
struct Stored {
  uint32_t scale[2], zero[2];
};

template <Codes kCodes>
inline constexpr bool kHasZeros = kCodes == Codes::u8 || kCodes == Codes::u4 || kCodes == Codes::u2;

template <Codes kCodes>
GATUN_DEVICE Stored load_stored(const Job& job, int64_t g, int64_t column) {
  Stored s = {};
  for (int c = 0; c < 2; ++c) {
    const int64_t at = g * job.padded_columns + column + 8 * c;
    s.scale[c] = load_scale(job.scales, job.scale_dtype, at);
    if (!kHasZeros<kCodes>) continue;
    if (job.zero_point == GATUN_ZERO_INTEGER) s.zero[c] = static_cast<const uint8_t*>(job.offsets)[at];
    if (job.zero_point == GATUN_ZERO_FLOAT) s.zero[c] = static_cast<const uint32_t*>(job.offsets)[at];
  }
  return s;
}

// What linear codes are lowered by.
template <Codes kCodes>
GATUN_DEVICE int lower_of(const Job& job, uint32_t zero) {
  if (job.zero_point == GATUN_ZERO_INTEGER) return static_cast<int>(zero);
  return job.zero_point == GATUN_ZERO_FLOAT ? 0 : zero_code(kCodes);
}

// Where the i-th of a lane's codes in a step lies.
GATUN_DEVICE int place(int t, int i) { return 2 * t + i % 2 * 8 + i / 2; }

// A lane's x of one row in one step, in the order of its codes; and the sums of products with it.
struct alignas(8) Two {
  float first, second;
};
struct Floats {
  using Sum = float;
  float x[4];

  GATUN_DEVICE void load(const void* row, int64_t k, int t) {
    const Two* at = reinterpret_cast<const Two*>(static_cast<const float*>(row) + k + 2 * t);
    const Two low = at[0], high = at[4];
    x[0] = low.first, x[1] = high.first, x[2] = low.second, x[3] = high.second;
  }
  GATUN_DEVICE void keep(int t, int begin, int end) {
    for (int i = 0; i < 4; ++i) x[i] = place(t, i) >= begin && place(t, i) < end ? x[i] : 0.0f;
  }
  GATUN_DEVICE float sum() const { return x[0] + x[1] + (x[2] + x[3]); }
};
struct Integers {
  using Sum = int32_t;
  uint32_t x;

  GATUN_DEVICE void load(const void* row, int64_t k, int t) {
    x = *reinterpret_cast<const uint32_t*>(static_cast<const uint8_t*>(row) + k + 4 * t);
  }
  GATUN_DEVICE void keep(int t, int begin, int end) {
    for (int i = 0; i < 4; ++i) {
      if (place(t, i) < begin || place(t, i) >= end) x &= ~(0xffu << 8 * i);
    }
  }
  GATUN_DEVICE int32_t sum() const { return dot_i8x4(x, 0x01010101u, 0); }
};

template <Codes kCodes, class X, int kRows>
class Product {
 public:
  GATUN_DEVICE Product(const SimtJob& simt, int64_t strip, int64_t row, const float* table)
      : simt_(simt),
        job_(simt.job),
        table_(table),
        r_(lane() / 4),
        t_(lane() % 4),
        column_(strip * kStripColumns + r_) {
    const Job& job = simt.job;
    constexpr int64_t kElement = kFloat ? 4 : 1;
    for (int m = 0; m < kRows; ++m) {
      row_[m] = row + m < job.rows ? row + m : job.rows - 1;
      x_[m] = static_cast<const uint8_t*>(job.x.x) + row_[m] * job.x.row_stride * kElement;
    }
  }

  // Units [begin, end) of the strip, of which this warp takes each eighth.
  GATUN_DEVICE void add_units(int64_t strip, int64_t begin, int64_t end) {
    const uint8_t* codes = job_.codes + (strip * job_.units * 32 + lane()) * 16;
    const auto load = [&](int64_t u) {
      Ahead ahead = {};
      if (u >= end) return ahead;
      ahead.unit = load_once(codes + u * kUnitBytes);
      ahead.group = group_of_unit(u);
      if (simt_.whole) ahead.stored = load_stored<kCodes>(job_, ahead.group, column_);
      return ahead;
    };
    int64_t u = begin + warp();
    Ahead next = load(u), second = load(u + kWarps);
    for (; u < end; u += kWarps) {
      const Ahead now = next;
      next = second;
      second = load(u + 2 * kWarps);
      if (simt_.whole) {
        add_whole(now, u * kDepth);
      } else {
        add_by_steps(now.unit, u * kDepth);
      }
    }
  }

  // The warp's sums, of all lanes of a column, to sums[kRows][16].
  GATUN_DEVICE void store(float* sums) const {
    for (int m = 0; m < kRows; ++m) {
      for (int c = 0; c < 2; ++c) {
        float sum = sum_[m][c];
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        if (t_ == 0) sums[m * kStripColumns + r_ + 8 * c] = sum;
      }
    }
  }

 private:
  static constexpr bool kFloat = sizeof(X) == 16;
  static constexpr int kDepth = unit_depth(kCodes), kSteps = kDepth / kStepDepth;

  struct Ahead {
    Words4 unit;
    Stored stored;
    int64_t group;
  };

  GATUN_DEVICE int64_t group_of_unit(int64_t u) const {
    return static_cast<int64_t>(static_cast<uint64_t>(u) * simt_.multiplier >> 31);
  }

  struct Sums {
    typename X::Sum products[kRows][2] = {};
    typename X::Sum x[kRows] = {};
  };

  // Of a step from k on; with kPart, only elements [begin, end) of it.
  template <bool kPart>
  GATUN_DEVICE void add_step(const uint32_t (&codes)[2], int64_t k, int begin, int end, const Stored& stored,
                             Sums* sums) const {
    float values[2][kFloat ? 4 : 1];
    if constexpr (kFloat) {
      for (int c = 0; c < 2; ++c) {
        const Values<kCodes> of(simt_.decoding, lower_of<kCodes>(job_, stored.zero[c]), table_);
        for (int i = 0; i < 4; ++i) values[c][i] = of(codes[c], i);
      }
    }
    const bool summed = kHasZeros<kCodes> && (!kFloat || job_.zero_point == GATUN_ZERO_FLOAT);
    for (int m = 0; m < kRows; ++m) {
      X x;
      x.load(x_[m], k, t_);
      if (kPart) x.keep(t_, begin, end);
      for (int c = 0; c < 2; ++c) {
        auto& sum = sums->products[m][c];
        if constexpr (kFloat) {
          for (int i = 0; i < 4; ++i) sum = fused(x.x[i], values[c][i], sum);
        } else {
          sum = kCodes == Codes::i8 ? dot_i8x4(codes[c], x.x, sum) : dot_u8_i8x4(codes[c], x.x, sum);
        }
      }
      if (summed) sums->x[m] += x.sum();
    }
  }

  GATUN_DEVICE void add_group(const Sums& sums, const Stored& stored, int64_t g) {
    for (int m = 0; m < kRows; ++m) {
      const float of_x = !kFloat && job_.x.scales_of_groups ? job_.x.scales[row_[m] * job_.groups + g] : 1.0f;
      for (int c = 0; c < 2; ++c) {
        const float scale = scale_value(stored.scale[c], job_.scale_dtype);
        typename X::Sum sum = sums.products[m][c];
        if (!kFloat && kHasZeros<kCodes>) {
          sum -= static_cast<typename X::Sum>(lower_of<kCodes>(job_, stored.zero[c])) * sums.x[m];
        }
        sum_[m][c] = fused(static_cast<float>(sum), of_x * scale, sum_[m][c]);
        if (kHasZeros<kCodes> && job_.zero_point == GATUN_ZERO_FLOAT) {
          sum_[m][c] = fused(static_cast<float>(sums.x[m]), of_x * as_float(stored.zero[c]), sum_[m][c]);
        }
      }
    }
  }

  GATUN_DEVICE void add_whole(const Ahead& now, int64_t k) {
    Sums sums;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const uint32_t codes[2] = {quad<kCodes>(now.unit, step, 0), quad<kCodes>(now.unit, step, 1)};
      add_step<false>(codes, k + step * kStepDepth, 0, kStepDepth, now.stored, &sums);
    }
    add_group(sums, now.stored, now.group);
  }

  GATUN_DEVICE void add_by_steps(Words4 unit, int64_t k) {
    int64_t g = k / job_.group, group_end = (g + 1) * job_.group;
    Stored stored = load_stored<kCodes>(job_, g, column_);
    Sums sums;
#pragma unroll 1
    for (int step = 0; step < kSteps; ++step, k += kStepDepth) {
      const uint32_t codes[2] = {quad<kCodes>(unit, 0, 0), quad<kCodes>(unit, 0, 1)};
      const int in_group = group_end - k < kStepDepth ? static_cast<int>(group_end - k) : kStepDepth;
#pragma unroll 1
      for (int begin = 0, end = in_group; begin < kStepDepth; begin = end, end = kStepDepth) {
        add_step<true>(codes, k, begin, end, stored, &sums);
        if (k + end < group_end) continue;
        add_group(sums, stored, g);
        sums = Sums();
        if (group_end >= job_.depth) return;
        group_end += job_.group;
        stored = load_stored<kCodes>(job_, ++g, column_);
      }
      drop_step(&unit, step);
    }
    add_group(sums, stored, g);
  }

  // The codes of the next step to the place of those of the first one.
  GATUN_DEVICE static void drop_step(Words4* unit, int step) {
    constexpr int kWords = bits_of(kCodes) == 8 ? 2 : 1;
    if (bits_of(kCodes) == 2 && step % 2 == 0) {
      unit->word[0] >>= 4;
      return;
    }
    for (int i = 0; i + kWords < 4; ++i) unit->word[i] = unit->word[i + kWords];
  }

  const SimtJob& simt_;
  const Job& job_;
  const float* table_;
  int r_, t_;
  int64_t column_;
  int64_t row_[kRows];
  const uint8_t* x_[kRows];
  float sum_[kRows][2] = {};
};

// A code book, rounded, in copies for lanes.
template <Codes kCodes>
GATUN_DEVICE void fill_table(const Job& job, float* table) {
  constexpr int kCopies = table_copies(kCodes);
  for (int i = thread_index(); i < book_values(kCodes) * kCopies; i += kThreads) {
    const float value = job.book[i / kCopies];
    table[i] = job.rounding == Arithmetic::f16    ? round_to_f16(value)
               : job.rounding == Arithmetic::bf16 ? round_to_bf16(value)
                                                  : value;
  }
  block_barrier();
}

template <Codes kCodes, class X, int kRows>
GATUN_KERNEL(kThreads, kRows == kMostRows ? 1 : 2)
multiply(const SimtJob simt) {
  const Job& job = simt.job;
  float* const sums = reinterpret_cast<float*>(shared_memory());
  float* const table = sums + kWarps * kRows * kStripColumns;
  if (book_values(kCodes) > 0) fill_table<kCodes>(job, table);
  const int64_t row_blocks = (job.rows + kRows - 1) / kRows;
  const int64_t strip = job.strip_begin + block_x() / row_blocks, row = block_x() % row_blocks * kRows;
  const int64_t part = block_y(), begin = part * job.units_a_part;
  const int64_t used = (job.depth - 1) / unit_depth(kCodes) + 1;  // units that are not padding alone
  const int64_t end = begin + job.units_a_part < used ? begin + job.units_a_part : used;
  Product<kCodes, X, kRows> product(simt, strip, row, table + lane() % table_copies(kCodes));
  product.add_units(strip, begin, end);
  product.store(sums + warp() * kRows * kStripColumns);
  block_barrier();
  const int i = thread_index();
  if (i >= kRows * kStripColumns || row + i / kStripColumns >= job.rows) return;
  float sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += sums[w * kRows * kStripColumns + i];
  put_sum(job, part, row + i / kStripColumns, strip * kStripColumns + i % kStripColumns, sum);
}

// The multiplier is exact as long as units times those of a group are at most 2^31.
inline SimtJob job_of(const Job& job) {
  const Decoding decoding = decoding_of(job.kind);
  if (job.groups == 1) return {job, decoding, true, 0};
  const int64_t unit = unit_depth(job.kind), a_group = job.group / unit;
  if (job.group % unit != 0 || a_group > (int64_t{1} << 31) / job.units) return {job, decoding, false, 0};
  return {job, decoding, true, static_cast<uint32_t>(((int64_t{1} << 31) + a_group - 1) / a_group)};
}

template <Codes kCodes, class X, int kRows>
int32_t run_rows(const char* name, const Job& job, void* stream) {
  const int64_t row_blocks = (job.rows + kRows - 1) / kRows;
  const int64_t shared = 4 * (kWarps * kRows * kStripColumns + book_values(kCodes) * table_copies(kCodes));
  return launch(name, multiply<kCodes, X, kRows>,
                {(job.strip_end - job.strip_begin) * row_blocks, job.parts, 1, kThreads, shared}, stream, job_of(job));
}

template <Codes kCodes, class X>
int32_t run_codes(const char* name, const Job& job, void* stream) {
  if (job.rows == 1) return run_rows<kCodes, X, 1>(name, job, stream);
  return job.rows <= 4 ? run_rows<kCodes, X, 4>(name, job, stream) : run_rows<kCodes, X, kMostRows>(name, job, stream);
}

}  // namespace simt
}  // namespace gatun::cuda::qmatmul
