// Loops over rows as the caller has them; nothing is packed.
//
//   largest    amax = max |x|, as the pattern of a float without its sign: patterns are in the order of magnitudes,
//              with NaN on top
//   fake       y = min(hi, max(lo, round(x / s))) * s; the comparisons let NaN through
//   gradients  dx = inside ? dy : 0 and sums += dy * (clamp(round(v)) - (inside ? v : 0)), with v = x / s and
//              inside = lo < v < hi
//   squares    errors += (x - y)^2, squares += x^2
//   narrow     q' = clamp(round((q - z) * 2^-n) + z')
//
//   row  [ 16 elements | 16 elements | .. | rest ]   each to its own of 16 sums of doubles, which the caller folds
//
// Sums: a product of two floats is exact in a double, a difference of two is rounded once; squares neither overflow nor
// vanish. The sums are plain C++ on arrays of 16, which compilers turn into vectors; no fma, so every tier gives the
// same bits. In narrow all numbers are multiples of 2^-6 below 2^9, so f32 is exact. Tails: a last round of the same
// body with fewer lanes; nothing is read or written past a row.
#pragma once

#include "calibrate/kernel.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {
namespace {

using calibrate::Grid;
using calibrate::kSums;
using calibrate::Narrowing;
using calibrate::Part;

// Calls visit(k, n) for vectors of a row: columns [k, k + n), n = kLanes but at the end.
template <class Visit>
GATUN_INLINE void for_each_vector(int64_t columns, Visit visit) {
  int64_t k = 0;
  for (; k + kLanes <= columns; k += kLanes) visit(k, kLanes);
  if (k < columns) visit(k, static_cast<int>(columns - k));
}

template <class X>
GATUN_INLINE F32 load(const typename X::Type* x, int n) {
  return n == kLanes ? X::load(x) : X::load_n(x, n);
}

template <class X>
GATUN_INLINE void store(typename X::Type* x, F32 values, int n) {
  if (n == kLanes) {
    X::store(x, values);
  } else {
    X::store_n(x, values, n);
  }
}

// Calls visit(k, n) for columns [k, k + n), n = kSums but at the end.
template <class Visit>
GATUN_INLINE void for_each_sums(int64_t columns, Visit visit) {
  int64_t k = 0;
  for (; k + kSums <= columns; k += kSums) visit(k, kSums);
  if (k < columns) visit(k, static_cast<int>(columns - k));
}

// Columns of a row, one for each sum; those that do not exist are 0.
struct Summands {
  float at[kSums];
  GATUN_INLINE explicit Summands(int n) {
    for (int i = n < kSums ? 0 : kSums; i < kSums; ++i) at[i] = 0;
  }
};

template <class X>
uint32_t largest(const Part& part, const void* x) {
  constexpr int kChains = 4;
  I32 most[kChains] = {zero_i32(), zero_i32(), zero_i32(), zero_i32()};
  for (int64_t r = 0; r < part.rows; ++r) {
    const auto* row = static_cast<const typename X::Type*>(x) + r * part.row_stride;
    int64_t k = 0;
    for (; k + kChains * kLanes <= part.columns; k += kChains * kLanes) {
      for (int i = 0; i < kChains; ++i) most[i] = max_i32(most[i], as_i32(abs(X::load(row + k + i * kLanes))));
    }
    for_each_vector(part.columns - k, [&](int64_t i, int n) GATUN_INLINE_LAMBDA {
      most[0] = max_i32(most[0], as_i32(abs(load<X>(row + k + i, n))));
    });
  }
  return static_cast<uint32_t>(reduce_max_i32(max_i32(max_i32(most[0], most[1]), max_i32(most[2], most[3]))));
}

GATUN_INLINE F32 clamp(F32 x, F32 lowest, F32 highest) { return min(highest, max(lowest, x)); }

template <class X>
void fake(const Part& part, const Grid& grid, const void* x, void* y) {
  const F32 scale = set1(grid.scale), lowest = set1(grid.lowest), highest = set1(grid.highest);
  for (int64_t r = 0; r < part.rows; ++r) {
    const auto* from = static_cast<const typename X::Type*>(x) + r * part.row_stride;
    auto* to = static_cast<typename X::Type*>(y) + r * part.out_row_stride;
    for_each_vector(part.columns, [&](int64_t k, int n) GATUN_INLINE_LAMBDA {
      const F32 code = clamp(round_even(div(load<X>(from + k, n), scale)), lowest, highest);
      store<X>(to + k, mul(code, scale), n);
    });
  }
}

template <class X>
void gradients(const Part& part, const Grid& grid, const void* x, const void* dy, void* dx, double* sums) {
  const F32 scale = set1(grid.scale), lowest = set1(grid.lowest), highest = set1(grid.highest);
  double local[kSums] = {};
  for (int64_t r = 0; r < part.rows; ++r) {
    const auto* values = static_cast<const typename X::Type*>(x) + r * part.row_stride;
    const auto* from = static_cast<const typename X::Type*>(dy) + r * part.row_stride;
    auto* to = static_cast<typename X::Type*>(dx) + r * part.out_row_stride;
    for_each_sums(part.columns, [&](int64_t k, int count) GATUN_INLINE_LAMBDA {
      Summands factor(count), gradient(count);
      for_each_vector(count, [&](int64_t i, int n) GATUN_INLINE_LAMBDA {
        const F32 v = div(load<X>(values + k + i, n), scale), g = load<X>(from + k + i, n);
        const auto inside = [&](F32 given) GATUN_INLINE_LAMBDA {
          return select_less(lowest, v, select_less(v, highest, given, zero_f32()), zero_f32());
        };
        store<f32>(factor.at + i, sub(clamp(round_even(v), lowest, highest), inside(v)), n);
        store<f32>(gradient.at + i, g, n);
        store<X>(to + k + i, inside(g), n);
      });
      for (int i = 0; i < kSums; ++i) {
        local[i] += static_cast<double>(gradient.at[i]) * static_cast<double>(factor.at[i]);
      }
    });
  }
  for (int i = 0; i < kSums; ++i) sums[i] += local[i];
}

template <class X>
void squares(const void* x, const float* y, int64_t count, double* errors, double* squares) {
  const auto* values = static_cast<const typename X::Type*>(x);
  double error[kSums], square[kSums];
  for (int i = 0; i < kSums; ++i) {
    error[i] = errors[i];
    square[i] = squares[i];
  }
  for_each_sums(count, [&](int64_t k, int left) GATUN_INLINE_LAMBDA {
    Summands a(left), b(left);
    for_each_vector(left, [&](int64_t i, int n) GATUN_INLINE_LAMBDA {
      store<f32>(a.at + i, load<X>(values + k + i, n), n);
      store<f32>(b.at + i, load<f32>(y + k + i, n), n);
    });
    for (int i = 0; i < kSums; ++i) {
      const double value = static_cast<double>(a.at[i]), difference = value - static_cast<double>(b.at[i]);
      error[i] += difference * difference;
      square[i] += value * value;
    }
  });
  for (int i = 0; i < kSums; ++i) {
    errors[i] = error[i];
    squares[i] = square[i];
  }
}

template <class X>
constexpr calibrate::Kernel calibrate_kernel() {
  return {largest<X>, fake<X>, gradients<X>, squares<X>};
}

struct i8 {
  static GATUN_INLINE I32 load(const void* p, int64_t k, int n) {
    return load_i8_i32_n(static_cast<const int8_t*>(p) + k, n);
  }
};
struct u8 {
  static GATUN_INLINE I32 load(const void* p, int64_t k, int n) {
    return load_u8_i32_n(static_cast<const uint8_t*>(p) + k, n);
  }
};

// The low bytes of the new codes.
template <class Codes>
void narrow_codes(const Narrowing& narrowing, const void* codes, int64_t count, uint8_t* out) {
  const F32 zero = set1(narrowing.zero), factor = set1(narrowing.factor), out_zero = set1(narrowing.out_zero);
  const F32 lowest = set1(narrowing.lowest), highest = set1(narrowing.highest);
  for_each_vector(count, [&](int64_t k, int n) GATUN_INLINE_LAMBDA {
    const F32 rounded = round_even(mul(sub(to_f32(Codes::load(codes, k, n)), zero), factor));
    const I32 code = round_to_i32(clamp(add(rounded, out_zero), lowest, highest));
    store_i8_n(reinterpret_cast<int8_t*>(out) + k, code, n);
  });
}

inline void join_codes(const uint8_t* codes, int64_t count, int bits, uint8_t* out) {
  constexpr int kStep = 4 * kLanes;
  static_assert(kStep <= calibrate::kJoinRoom);
  for (int64_t k = 0; k < count; k += kStep, out += kStep * bits / 8) {
    const Bytes bytes = load_bytes(codes + k);
    const int n = count - k < kStep ? static_cast<int>(count - k) : kStep;
    if (bits == 4) {
      store_nibbles_n(out, bytes, n);
    } else {
      store_crumbs_n(out, bytes, n);
    }
  }
}

template <class Codes>
constexpr calibrate::CodeKernel requantize_kernel() {
  return {narrow_codes<Codes>, join_codes};
}

}  // namespace
}  // namespace gatun::GATUN_ISA
