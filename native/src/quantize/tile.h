// Quantization and dequantization of groups, per the definition in gatun/quantize.h:
//
//   scale  = amax / 127, (high - low) / 255, extreme / -8 or (high - low) / 15, rounded to its storage type
//   codes[r][k] = clamp(round(x[r][k] * (1 / scale)) + zero point),   x[r][k] = (codes[r][k] - zero point) * scale
//
// Operands: x, codes, scales and zero points as the caller has them; nothing is packed.
//
//   x row      [ group 0        | group 1        | .. | last, shorter ]    pass 1: low and high, kLanes at a time
//   scales row [ s0             | s1             | .. ]                    scales of 32 groups side by side
//   codes row  [ q0 q1 q2 ..                                          ]    pass 2: codes, while x is in cache
//
// Strided columns: a batch is one group of 32 rows; chunks of 32 rows x 64 columns are copied to the stack, walking
// down the rows, so that each cache line of a transposed matrix is used whole. Both passes gather.
//
// Overflow: |x * (1 / scale)| <= 255 * 2 (rounding to an f16 subnormal may halve a scale), far below 2^31.
// Tails: a last round of the same body with fewer lanes, the rest read as 0, which low <= 0 <= high ignores. A group
// that starts in the middle of a byte of 4-bit codes does its first element alone.
// Bound: none, all tiers agree with the reference bit for bit.
// Measured (AMD EPYC 9004, one core, f32 in the L2 cache, check and both passes): 1024 values to int8 per row in 194 ns
// (21 GB/s; avx2 283 ns), in groups of 32 with f16 scales in 332 ns, to int4 in groups of 32 in 415 ns (avx2 495 ns).
// From memory the second reading of x counts: about half the speed of memcpy for the bytes of x and codes; back to f32
// at the speed of memcpy.
#pragma once

#include "quantize/codes.h"
#include "quantize/kernel.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {
namespace {

using quantize::Job;

GATUN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <class Codes>
GATUN_INLINE uint8_t* codes_row(const Job& job, int64_t row) {
  return static_cast<uint8_t*>(job.codes) + row * (Codes::kBits == 8 ? job.depth : job.depth / 2 + job.depth % 2);
}

template <class X>
GATUN_INLINE typename X::Type* x_row(const Job& job, int64_t row) {
  return static_cast<typename X::Type*>(job.x) + row * job.x_row_stride;
}

// Up to kBatch groups that are worked on together: consecutive groups of a row, or, if columns are strided, one group
// of consecutive rows. Scales of a batch are computed side by side in vectors.
struct Batch {
  int64_t row, group;
  int64_t lanes;
  bool strided;
  int64_t begin;  // element of the first lane's first value in its row

  int64_t lane_row(int64_t lane) const { return strided ? row + lane : row; }
  int64_t lane_group(int64_t lane) const { return strided ? group : group + lane; }
};

// The batch that starts with unit `index`, of units below `end`.
GATUN_INLINE Batch batch_at(const Job& job, int64_t index, int64_t end) {
  const int64_t block = index / job.groups, group = index % job.groups;
  const bool strided = job.x_column_stride != 1;
  const int64_t row = block * job.unit_rows;
  int64_t lanes = strided ? job.rows - row : smaller(end - index, job.groups - group);
  return {row, group, smaller(lanes, quantize::kBatch), strided, group * job.group};
}

// Elements of lane `lane`.
GATUN_INLINE int64_t lane_count(const Job& job, const Batch& batch, int64_t lane) {
  return smaller(job.group, job.depth - batch.lane_group(lane) * job.group);
}

// Calls visit(lane, x, k, count) for stretches x of values that lie side by side, of each lane; the first one is
// element k of its row. Strided columns are gathered, 64 at a time.
template <class X, class Visit>
GATUN_INLINE void for_each_stretch(const Job& job, const Batch& batch, Visit visit) {
  constexpr int64_t kColumns = 64;
  typename X::Type chunk[quantize::kBatch][kColumns];
  const typename X::Type* x = x_row<X>(job, batch.row) + batch.begin * job.x_column_stride;
  const int64_t group_count = lane_count(job, batch, 0);
  for (int64_t offset = 0; offset < group_count; offset += kColumns) {
    const int64_t columns = smaller(kColumns, group_count - offset);
    if (batch.strided) {
      for (int64_t k = 0; k < columns; ++k, x += job.x_column_stride) {
        for (int64_t r = 0; r < batch.lanes; ++r) chunk[r][k] = x[r * job.x_row_stride];
      }
    }
    for (int64_t lane = 0; lane < batch.lanes; ++lane) {
      if (batch.strided) {
        visit(lane, chunk[lane], batch.begin + offset, columns);
      } else {
        visit(lane, x + lane * job.group, batch.begin + lane * job.group, lane_count(job, batch, lane));
      }
    }
    if (!batch.strided) return;
  }
}

// Pass 1.
template <class X>
inline void scan(const typename X::Type* x, int64_t count, float* low, float* high) {
  F32 least = set1(*low), most = set1(*high);
  const auto take = [&](F32 value) {
    least = min(value, least);
    most = max(value, most);
  };
  int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) take(X::load(x + k));
  if (k < count) take(X::load_n(x + k, static_cast<int>(count - k)));
  *low = -reduce_max(sub(zero_f32(), least));
  *high = reduce_max(most);
}

// The batch's groups: extremes (low <= 0 <= high), then what they make.
struct Scales {
  float low[quantize::kBatch], high[quantize::kBatch];
  float value[quantize::kBatch];    // rounded to the storage type
  float inverse[quantize::kBatch];  // 0 for a scale of 0
  float zero_point[quantize::kBatch];
};

// Whether, of the elements of the greatest magnitude, the first one is negative; for a group that has both signs.
template <class X>
inline bool negative_comes_first(const Job& job, const Batch& batch, int64_t lane, float magnitude) {
  const typename X::Type* x =
      x_row<X>(job, batch.lane_row(lane)) + batch.lane_group(lane) * job.group * job.x_column_stride;
  for (int64_t count = lane_count(job, batch, lane); count > 0; --count, x += job.x_column_stride) {
    const float value = reduce_add(X::load_n(x, 1));
    if (value == magnitude) return false;
    if (value == -magnitude) return true;
  }
  return false;
}

template <class X, class Codes>
GATUN_INLINE void compute_scales(const Job& job, const Batch& batch, Scales& scales) {
  const bool asymmetric = job.zero_points != nullptr;
  if (Codes::kBits == 4 && !asymmetric) {
    for (int64_t lane = 0; lane < batch.lanes; ++lane) {
      const float high = scales.high[lane];
      if (high != -scales.low[lane] || high == 0) continue;
      // A tie: only the first extreme counts.
      (negative_comes_first<X>(job, batch, lane, high) ? scales.high : scales.low)[lane] = 0;
    }
  }
  for (int64_t lane = 0; lane < batch.lanes; lane += kLanes) {
    const F32 zero = zero_f32(), low = load_f32(scales.low + lane), high = load_f32(scales.high + lane);
    F32 scale;
    if (asymmetric) {
      scale = div(sub(high, low), set1(Codes::kHighest));
    } else if (Codes::kBits == 8) {
      scale = div(max(high, sub(zero, low)), set1(127));
    } else {
      scale = mul(select_less(high, sub(zero, low), low, high), set1(-0.125f));
    }
    if (job.f16_scales) {
      uint16_t halves[kLanes];
      store_f16(halves, scale);
      scale = load_f16(halves);
    }
    const F32 magnitude = abs(scale), least = set1(0x1p-120f);
    store_f32(scales.value + lane, select_less(magnitude, least, zero, scale));
    store_f32(scales.inverse + lane, select_less(magnitude, least, zero, div(set1(1), scale)));
    F32 zero_point = set1(Codes::kZero);
    if (asymmetric) {
      const F32 z = min(round_even(div(sub(zero, low), scale)), set1(Codes::kHighest));
      zero_point = select_less(magnitude, least, zero, z);
    }
    store_f32(scales.zero_point + lane, zero_point);
  }
  for (int64_t lane = 0; lane < batch.lanes; ++lane) {
    const int64_t index = batch.lane_row(lane) * job.groups + batch.lane_group(lane);
    if (job.f16_scales) {
      static_cast<uint16_t*>(job.scales)[index] = float_to_f16(scales.value[lane]);
    } else {
      static_cast<float*>(job.scales)[index] = scales.value[lane];
    }
    if (asymmetric) job.zero_points[index] = static_cast<uint8_t>(scales.zero_point[lane]);
  }
}

// Pass 2: x[0 .. count) to the codes [begin, begin + count) of a row.
template <class X, class Codes>
inline void encode(const typename X::Type* x, int64_t begin, int64_t count, float scale_inverse, float zero,
                   uint8_t* row) {
  const F32 inverse = set1(scale_inverse);
  const I32 zero_point = set1_i32(static_cast<int32_t>(zero));
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

template <class X, class Codes>
void quantize_units(const Job& job, int64_t begin, int64_t end) {
  Scales scales;
  for (int64_t index = begin; index < end;) {
    const Batch batch = batch_at(job, index, end);
    for (int64_t lane = 0; lane < quantize::kBatch; ++lane) scales.low[lane] = scales.high[lane] = 0;
    for_each_stretch<X>(job, batch, [&](int64_t lane, const typename X::Type* x, int64_t, int64_t count) {
      scan<X>(x, count, &scales.low[lane], &scales.high[lane]);
    });
    compute_scales<X, Codes>(job, batch, scales);
    for_each_stretch<X>(job, batch, [&](int64_t lane, const typename X::Type* x, int64_t k, int64_t count) {
      encode<X, Codes>(x, k, count, scales.inverse[lane], scales.zero_point[lane],
                       codes_row<Codes>(job, batch.lane_row(lane)));
    });
    index += batch.strided ? 1 : batch.lanes;
  }
}

// The largest magnitude; infinity if any value is NaN or infinite.
template <class X>
float largest_magnitude(const void* values, int64_t count, int64_t stride) {
  const typename X::Type* x = static_cast<const typename X::Type*>(values);
  F32 magnitude = zero_f32(), poison = zero_f32();
  const auto take = [&](F32 value) {
    magnitude = max(abs(value), magnitude);
    poison = add(poison, sub(value, value));
  };
  constexpr int64_t kChunk = 64;
  typename X::Type chunk[kChunk];
  for (int64_t offset = 0; offset < count;) {
    int64_t n = count - offset;
    const typename X::Type* part = x + offset;
    if (stride != 1) {
      n = smaller(n, kChunk);
      for (int64_t k = 0; k < n; ++k) chunk[k] = x[(offset + k) * stride];
      part = chunk;
    }
    int64_t k = 0;
    for (; k + kLanes <= n; k += kLanes) take(X::load(part + k));
    if (k < n) take(X::load_n(part + k, static_cast<int>(n - k)));
    offset += n;
  }
  return reduce_add(poison) == 0 ? reduce_max(magnitude) : __builtin_inff();
}

template <class Codes, class X>
void dequantize_units(const Job& job, int64_t begin, int64_t end) {
  for (int64_t index = begin; index < end;) {
    const Batch batch = batch_at(job, index, end);
    const uint8_t* codes = codes_row<Codes>(job, batch.row);
    typename X::Type* x = x_row<X>(job, batch.row);
    int64_t k = batch.begin;
    for (int64_t lane = 0; lane < batch.lanes; ++lane, ++index) {
      const F32 scale = set1(job.f16_scales ? f16_to_float(static_cast<const uint16_t*>(job.scales)[index])
                                            : static_cast<const float*>(job.scales)[index]);
      const I32 zero_point = set1_i32(job.zero_points != nullptr ? job.zero_points[index] : Codes::kZero);
      const auto value = [=](I32 code) { return mul(to_f32(sub_i32(code, zero_point)), scale); };
      const int64_t last = k + lane_count(job, batch, lane);
      if (Codes::kBits == 4 && k % 2 != 0) {
        X::store_n(x + k, value(set1_i32(codes[k / 2] >> 4)), 1);
        ++k;
      }
      for (; k + kLanes <= last; k += kLanes) X::store(x + k, value(Codes::load(codes, k)));
      if (k < last) {
        const int left = static_cast<int>(last - k);
        X::store_n(x + k, value(Codes::load_n(codes, k, left)), left);
      }
      k = last;
    }
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
