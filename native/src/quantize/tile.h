// Quantization and dequantization of groups, per the definition in gatun/quantize.h:
//
//   scale  = amax / 127, (high - low) / 255, extreme / -8 or (high - low) / 15, rounded to its storage type
//   codes[r][k] = clamp(round(x[r][k] * (1 / scale)) + zero point),   x[r][k] = (codes[r][k] - zero point) * scale
//
// Operands: x, codes, scales and zero points as the caller has them; nothing is packed.
//
//   x row      [ group 0        | group 1        | .. | last, shorter ]    pass 1: low and high, kLanes at a time
//   scales row [ s0             | s1             | .. ]                    pass 2: codes, while the group is in cache
//
// Strided columns: chunks of 32 rows x 64 columns are copied to the stack, walking down the rows, so that each cache
// line of a transposed matrix is used whole; both passes gather, the second one from cache unless a group is very long.
//
// Overflow: |x * (1 / scale)| <= 255 * 2 (a scale rounded to an f16 subnormal may halve), far below 2^31.
// Tails: a last round of the same body with fewer lanes, the rest read as 0, which low <= 0 <= high ignores. A group
// that starts in the middle of a byte of 4-bit codes does its first element alone.
// Bound: none, all tiers agree with the reference bit for bit.
// Measured (quantize_bench below the tests, AMD EPYC 9004, one core, 4096 x 4096 f32): see test.cc.
#pragma once

#include "quantize/kernel.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {
namespace {

using quantize::Job;

// Code types: range, zero code without a zero point, and where the codes of a row begin and lie.
struct i8 {
  static constexpr int kLowest = -127, kHighest = 127, kZero = 0, kBits = 8;
  static GATUN_INLINE I32 load(const uint8_t* row, int64_t k) { return load_n(row, k, kLanes); }
  static GATUN_INLINE I32 load_n(const uint8_t* row, int64_t k, int n) {
    const int8_t* p = reinterpret_cast<const int8_t*>(row) + k;
    return n == kLanes ? load_i8_i32(p) : load_i8_i32_n(p, n);
  }
  static GATUN_INLINE void store(uint8_t* row, int64_t k, I32 codes) { store_n(row, k, codes, kLanes); }
  static GATUN_INLINE void store_n(uint8_t* row, int64_t k, I32 codes, int n) {
    int8_t* p = reinterpret_cast<int8_t*>(row) + k;
    n == kLanes ? store_i8(p, codes) : store_i8_n(p, codes, n);
  }
};

struct u8 : i8 {
  static constexpr int kLowest = 0, kHighest = 255;
  static GATUN_INLINE I32 load(const uint8_t* row, int64_t k) { return load_u8_i32(row + k); }
  static GATUN_INLINE I32 load_n(const uint8_t* row, int64_t k, int n) { return load_u8_i32_n(row + k, n); }
};

struct u4 {
  static constexpr int kLowest = 0, kHighest = 15, kZero = 8, kBits = 4;
  static GATUN_INLINE I32 load(const uint8_t* row, int64_t k) { return load_u4_i32(row + k / 2); }
  static GATUN_INLINE I32 load_n(const uint8_t* row, int64_t k, int n) { return load_u4_i32_n(row + k / 2, n); }
  static GATUN_INLINE void store(uint8_t* row, int64_t k, I32 codes) { store_u4(row + k / 2, codes); }
  static GATUN_INLINE void store_n(uint8_t* row, int64_t k, I32 codes, int n) { store_u4_n(row + k / 2, codes, n); }
};

template <class Codes>
GATUN_INLINE uint8_t* codes_row(const Job& job, int64_t row) {
  return static_cast<uint8_t*>(job.codes) + row * (Codes::kBits == 8 ? job.depth : job.depth / 2 + job.depth % 2);
}

template <class X>
GATUN_INLINE typename X::Type* x_row(const Job& job, int64_t row) {
  return static_cast<typename X::Type*>(job.x) + row * job.x_row_stride;
}

// One unit of work: rows [row, row + rows), elements [begin, begin + count).
struct Unit {
  int64_t row, group;
  int64_t rows, begin, count;
};

GATUN_INLINE void measure(const Job& job, Unit& unit) {
  const int64_t rows_left = job.rows - unit.row;
  unit.rows = rows_left < job.unit_rows ? rows_left : job.unit_rows;
  unit.begin = unit.group * job.group;
  const int64_t left = job.depth - unit.begin;
  unit.count = left < job.group ? left : job.group;
}

GATUN_INLINE Unit unit_at(const Job& job, int64_t index) {
  Unit unit{index / job.groups * job.unit_rows, index % job.groups, 0, 0, 0};
  measure(job, unit);
  return unit;
}

GATUN_INLINE void advance(const Job& job, Unit& unit) {
  if (++unit.group == job.groups) {
    unit.group = 0;
    unit.row += job.unit_rows;
  }
  measure(job, unit);
}

// Pass 1.
struct Extremes {
  F32 low, high;
  F32 poison;  // 0, or NaN once a value is NaN or infinite
};

GATUN_INLINE void take(Extremes& e, F32 x) {
  e.low = min(x, e.low);
  e.high = max(x, e.high);
  e.poison = add(e.poison, sub(x, x));
}

template <class X>
GATUN_INLINE void scan(const typename X::Type* x, int64_t count, Extremes& e) {
  int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) take(e, X::load(x + k));
  if (k < count) take(e, X::load_n(x + k, static_cast<int>(count - k)));
}

// The sign of the first element of this magnitude, in a group that has both.
template <class X>
inline bool negative_comes_first(const Job& job, const Unit& unit, int64_t row, float magnitude) {
  const typename X::Type* x = x_row<X>(job, row) + unit.begin * job.x_column_stride;
  for (int64_t k = 0; k < unit.count; ++k) {
    const float value = reduce_add(X::load_n(x + k * job.x_column_stride, 1));
    if (value == magnitude) return false;
    if (value == -magnitude) return true;
  }
  return false;
}

struct Scale {
  float value;    // as stored
  float inverse;  // 0 for a scale of 0
  int32_t zero_point;
};

template <class X, class Codes>
GATUN_INLINE Scale scale_of(const Job& job, const Unit& unit, int64_t row, const Extremes& e) {
  const float high = reduce_max(e.high), low = -reduce_max(sub(zero_f32(), e.low));
  float scale;
  if (job.zero_points != nullptr) {
    scale = (high - low) / Codes::kHighest;
  } else if (Codes::kBits == 8) {
    scale = (high > -low ? high : -low) / 127;
  } else {
    const bool negative = -low != high ? -low > high : high > 0 && negative_comes_first<X>(job, unit, row, high);
    scale = (negative ? low : high) / -8;
  }
  if (job.f16_scales) scale = f16_to_float(float_to_f16(scale));
  if (__builtin_fabsf(scale) < 0x1p-120f) return {0, 0, job.zero_points != nullptr ? 0 : Codes::kZero};
  int32_t zero_point = Codes::kZero;
  if (job.zero_points != nullptr) {
    const float z = __builtin_nearbyintf(-low / scale);
    zero_point = z < Codes::kHighest ? static_cast<int32_t>(z) : Codes::kHighest;
  }
  return {scale, 1 / scale, zero_point};
}

GATUN_INLINE void store_scale(const Job& job, int64_t index, const Scale& scale) {
  if (job.f16_scales) {
    static_cast<uint16_t*>(job.scales)[index] = float_to_f16(scale.value);
  } else {
    static_cast<float*>(job.scales)[index] = scale.value;
  }
  if (job.zero_points != nullptr) job.zero_points[index] = static_cast<uint8_t>(scale.zero_point);
}

// Pass 2: x[0 .. count) to the codes [begin, begin + count) of a row.
template <class X, class Codes>
GATUN_INLINE void encode(const typename X::Type* x, int64_t begin, int64_t count, const Scale& scale, uint8_t* row) {
  const F32 inverse = set1(scale.inverse);
  const I32 zero_point = set1_i32(scale.zero_point);
  const auto code = [=](F32 value) {
    const I32 shifted = add_i32(round_to_i32(mul(value, inverse)), zero_point);
    return min_i32(max_i32(shifted, set1_i32(Codes::kLowest)), set1_i32(Codes::kHighest));
  };
  int64_t k = 0;
  if (Codes::kBits == 4 && begin % 2 != 0) {
    int8_t first;
    store_i8_n(&first, code(X::load_n(x, 1)), 1);
    row[begin / 2] = static_cast<uint8_t>(row[begin / 2] | first << 4);
    k = 1;
  }
  for (; k + kLanes <= count; k += kLanes) Codes::store(row, begin + k, code(X::load(x + k)));
  if (k < count) {
    const int left = static_cast<int>(count - k);
    Codes::store_n(row, begin + k, code(X::load_n(x + k, left)), left);
  }
}

// Calls visit(r, x, offset, count) for each row r of the unit and stretches x of its elements that lie side by side.
template <class X, class Visit>
GATUN_INLINE void for_each_stretch(const Job& job, const Unit& unit, Visit visit) {
  constexpr int64_t kColumns = 64;
  typename X::Type chunk[quantize::kStridedRows][kColumns];
  const bool strided = job.x_column_stride != 1;
  const typename X::Type* x = x_row<X>(job, unit.row) + unit.begin * job.x_column_stride;
  for (int64_t offset = 0; offset < unit.count;) {
    int64_t count = unit.count - offset;
    if (strided) {
      count = count < kColumns ? count : kColumns;
      for (int64_t k = 0; k < count; ++k, x += job.x_column_stride) {
        for (int64_t r = 0; r < unit.rows; ++r) chunk[r][k] = x[r * job.x_row_stride];
      }
    }
    for (int64_t r = 0; r < unit.rows; ++r) visit(r, strided ? chunk[r] : x, offset, count);
    offset += count;
  }
}

template <class X, class Codes, bool kCheck>
GATUN_INLINE int64_t pass_units(const Job& job, int64_t begin, int64_t end) {
  Extremes extremes[quantize::kStridedRows];
  Scale scales[quantize::kStridedRows];
  Unit unit = unit_at(job, begin);
  for (int64_t index = begin; index < end; ++index, advance(job, unit)) {
    for (int64_t r = 0; r < unit.rows; ++r) extremes[r] = {zero_f32(), zero_f32(), zero_f32()};
    for_each_stretch<X>(job, unit, [&](int64_t r, const typename X::Type* x, int64_t, int64_t count) {
      scan<X>(x, count, extremes[r]);
    });
    for (int64_t r = 0; r < unit.rows; ++r) {
      scales[r] = scale_of<X, Codes>(job, unit, unit.row + r, extremes[r]);
      if (kCheck) {
        if (reduce_add(extremes[r].poison) + (scales[r].value - scales[r].value) != 0) return index;
      } else {
        store_scale(job, (unit.row + r) * job.groups + unit.group, scales[r]);
      }
    }
    if (kCheck) continue;
    for_each_stretch<X>(job, unit, [&](int64_t r, const typename X::Type* x, int64_t offset, int64_t count) {
      encode<X, Codes>(x, unit.begin + offset, count, scales[r], codes_row<Codes>(job, unit.row + r));
    });
  }
  return -1;
}

template <class X, class Codes>
int64_t check_units(const Job& job, int64_t begin, int64_t end) {
  return pass_units<X, Codes, true>(job, begin, end);
}

template <class X, class Codes>
void quantize_units(const Job& job, int64_t begin, int64_t end) {
  pass_units<X, Codes, false>(job, begin, end);
}

template <class Codes, class X>
void dequantize_units(const Job& job, int64_t begin, int64_t end) {
  Unit unit = unit_at(job, begin);
  for (int64_t index = begin; index < end; ++index, advance(job, unit)) {
    const F32 scale = set1(job.f16_scales ? f16_to_float(static_cast<const uint16_t*>(job.scales)[index])
                                          : static_cast<const float*>(job.scales)[index]);
    const I32 zero_point = set1_i32(job.zero_points != nullptr ? job.zero_points[index] : Codes::kZero);
    const auto value = [=](I32 codes) { return mul(to_f32(sub_i32(codes, zero_point)), scale); };
    const uint8_t* codes = codes_row<Codes>(job, unit.row);
    typename X::Type* x = x_row<X>(job, unit.row);
    int64_t k = unit.begin;
    const int64_t last = unit.begin + unit.count;
    if (Codes::kBits == 4 && k % 2 != 0) {
      X::store_n(x + k, value(set1_i32(codes[k / 2] >> 4)), 1);
      ++k;
    }
    for (; k + kLanes <= last; k += kLanes) X::store(x + k, value(Codes::load(codes, k)));
    if (k < last) {
      const int left = static_cast<int>(last - k);
      X::store_n(x + k, value(Codes::load_n(codes, k, left)), left);
    }
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
