// The types of GGUF blocks as template arguments, named as the table of kernels names them, and their kernels.
#pragma once

#include "gguf/tile_exact.h"
#include "gguf/tile_read.h"
#include "gguf/tile_search.h"

namespace gatun::GATUN_ISA {
namespace {

// Blocks of 32 whose making ggml defines.
template <class MadeBy, class ReadBy>
struct Exact {
  template <class X>
  static bool quantize(const Job& job, int64_t begin, int64_t end) {
    return quantize_exact<X, MadeBy>(job, begin, end);
  }
  template <class X>
  static void dequantize(const Job& job, int64_t begin, int64_t end) {
    dequantize_small<X, ReadBy>(job, begin, end);
  }
};
using q4_0 = Exact<Signed<4>, ReadSigned<8, false>>;
using q4_1 = Exact<Offset<4>, ReadOffset<false>>;
using q5_0 = Exact<Signed<5>, ReadSigned<16, true>>;
using q5_1 = Exact<Offset<5>, ReadOffset<true>>;
using q8_0 = Exact<SignedBytes, ReadBytes>;
using mxfp4 = Exact<Powers, ReadPowers>;

// Blocks with a search.
template <class T>
struct Searched {
  template <class X>
  static bool quantize(const Job& job, int64_t begin, int64_t end) {
    return quantize_searched<X, T>(job, begin, end);
  }
  template <class X>
  static void dequantize(const Job& job, int64_t begin, int64_t end) {
    if constexpr (T::kElements == 32) {
      dequantize_small<X, ReadIq4>(job, begin, end);
    } else {
      dequantize_super<X, T>(job, begin, end);
    }
  }
};

template <int32_t kId, int kGroups, int kLargest, int kLargestScale>
struct WithMins {
  static constexpr int32_t kType = kId;
  static constexpr int kElements = 256, kGroup = kGroups, kHighest = kLargest, kZero = 0;
  static constexpr bool kMins = true, kSubScales = true, kTable = false;
  static constexpr float kLowestScale = 0, kHighestScale = kLargestScale, kDivisor = kLargestScale;
  using Coder = FromZero<kLargest>;
};
struct q2_k : Searched<WithMins<GATUN_GGUF_Q2_K, 16, 3, 15>> {};
struct q4_k : Searched<WithMins<GATUN_GGUF_Q4_K, 32, 15, 63>> {};
struct q5_k : Searched<WithMins<GATUN_GGUF_Q5_K, 32, 31, 63>> {};

template <int32_t kId, int kZeros, int kLeastScale>
struct WithoutMins {
  static constexpr int32_t kType = kId;
  static constexpr int kElements = 256, kGroup = 16, kZero = kZeros;
  static constexpr bool kMins = false, kSubScales = true, kTable = false;
  static constexpr float kLowestScale = kLeastScale, kHighestScale = -1 - kLeastScale, kDivisor = kLeastScale;
  using Coder = Around<kZeros>;
  // The extreme's level, from 0.5 below the lowest to 1.5 above.
  static constexpr float kCandidates[] = {-0.5f - kZeros, -0.25f - kZeros, 0.0f - kZeros,
                                          0.25f - kZeros, 0.5f - kZeros,   0.75f - kZeros,
                                          1.0f - kZeros,  1.25f - kZeros,  1.5f - kZeros};
};
struct q3_k : Searched<WithoutMins<GATUN_GGUF_Q3_K, 4, -32>> {};
struct q6_k : Searched<WithoutMins<GATUN_GGUF_Q6_K, 32, -128>> {};

struct TableOf16 {
  static constexpr int kGroup = 32, kZero = 0;
  static constexpr bool kMins = false, kTable = true;
  using Coder = Iq4;
  // The extreme's level: around the lowest and around the highest value of the table.
  static constexpr float kCandidates[] = {-136, -128, -120, -112, -104, 118, 110, 102, 94};
};
struct Iq4Small : TableOf16 {
  static constexpr int32_t kType = GATUN_GGUF_IQ4_NL;
  static constexpr int kElements = 32;
  static constexpr bool kSubScales = false;
  static constexpr float kLowestScale = 1, kHighestScale = 1, kDivisor = 1;
};
struct Iq4Super : TableOf16 {
  static constexpr int32_t kType = GATUN_GGUF_IQ4_XS;
  static constexpr int kElements = 256;
  static constexpr bool kSubScales = true;
  static constexpr float kLowestScale = -32, kHighestScale = 31, kDivisor = -32;
};
struct iq4_nl : Searched<Iq4Small> {};
struct iq4_xs : Searched<Iq4Super> {};

template <class T>
constexpr gguf::Kernel kernel() {
  return {{T::template quantize<f32>, T::template quantize<f16>, T::template quantize<bf16>},
          {T::template dequantize<f32>, T::template dequantize<f16>, T::template dequantize<bf16>}};
}

}  // namespace
}  // namespace gatun::GATUN_ISA
