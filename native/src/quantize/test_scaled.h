// What the tests of small floats and code books share: formats, values that make each step of the definition matter.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "quantize/test_call.h"

namespace gatun::quantize::scaled {

struct Format {
  int32_t code_dtype, book, scale_dtype, scale_rule;
};

// Every format with its scales and rules.
inline std::vector<Format> formats() {
  std::vector<Format> all;
  for (const int32_t codes : {GATUN_F8E4M3, GATUN_F8E5M2, GATUN_F6E3M2, GATUN_F6E2M3, GATUN_F4E2M1}) {
    for (const int32_t scales : {GATUN_F32, GATUN_F16}) all.push_back({codes, 0, scales, GATUN_SCALE_DEFAULT});
    for (const int32_t rule : {GATUN_SCALE_FLOOR, GATUN_SCALE_CEIL, GATUN_SCALE_RCEIL, GATUN_SCALE_EVEN}) {
      all.push_back({codes, 0, GATUN_E8M0, rule});
    }
  }
  all.push_back({GATUN_F4E2M1, 0, GATUN_F8E4M3, GATUN_SCALE_DEFAULT});
  for (const int32_t book : {GATUN_BOOK_NF4, GATUN_BOOK_FP4}) {
    all.push_back({GATUN_U4, book, GATUN_F32, GATUN_SCALE_DEFAULT});
  }
  for (const int32_t book :
       {GATUN_BOOK_DYNAMIC, GATUN_BOOK_DYNAMIC_UNSIGNED, GATUN_BOOK_LINEAR, GATUN_BOOK_LINEAR_UNSIGNED}) {
    all.push_back({GATUN_U8, book, GATUN_F32, GATUN_SCALE_DEFAULT});
  }
  all.push_back({GATUN_U4, GATUN_BOOK_GIVEN, GATUN_F32, GATUN_SCALE_DEFAULT});
  all.push_back({GATUN_U8, GATUN_BOOK_GIVEN, GATUN_F32, GATUN_SCALE_DEFAULT});
  return all;
}

inline gatun_quantize_params make_params(const Format& format, int64_t rows, int64_t depth, int64_t group,
                                         int32_t x_dtype = GATUN_F32) {
  gatun_quantize_params p = matrix_params(rows, depth, group, x_dtype);
  p.code_dtype = format.code_dtype;
  p.book = format.book;
  p.scale_dtype = format.scale_dtype;
  p.scale_rule = format.scale_rule;
  p.tensor_scale = format.scale_dtype == GATUN_F8E4M3 ? 0.0123f : 1;
  return p;
}

// What a call has besides x.
struct Extras {
  std::vector<float> book;
  std::vector<uint8_t> round_up;

  Extras(const gatun_quantize_params& p, Rng& rng) {
    if (p.book == GATUN_BOOK_GIVEN) {
      const bool coarse = rng.integer(0, 2) == 0;  // equal values
      for (int i = 0; i < (p.code_dtype == GATUN_U4 ? 16 : 256); ++i) {
        book.push_back(coarse ? static_cast<float>(rng.integer(-4, 4)) / 4 : rng.normal() / 3);
      }
      std::sort(book.begin(), book.end());
      for (float& value : book) {
        if (value == 0 && rng.integer(0, 1) == 0) value = -value;  // zeros in any order
      }
    }
    if (p.rounding == GATUN_ROUND_GIVEN) round_up = rng.integers<uint8_t>(p.rows * p.depth, 0, 2);
  }
  const float* code_book() const { return book.empty() ? nullptr : book.data(); }
  const uint8_t* up() const { return round_up.empty() ? nullptr : round_up.data(); }
};

// Values that make each step of the definition matter.
inline std::vector<float> values(Rng& rng, int64_t count, int64_t kind) {
  std::vector<float> x = rng.normals(count);
  for (float& value : x) {
    switch (kind) {
      case 0:
        break;
      case 1:
        value = static_cast<float>(rng.integer(-32, 32)) / 4;  // ties
        break;
      case 2:
        value = std::ldexp(value, static_cast<int>(rng.integer(-20, 0)));  // subnormal codes
        break;
      case 3:
        value = rng.integer(0, 1) ? 0.0f : -0.0f;
        break;
      case 4:
        value = std::ldexp(value, static_cast<int>(rng.integer(-40, -10)));  // f16 scales underflow
        break;
      case 5:
        value = std::ldexp(1.0f, static_cast<int>(rng.integer(-10, 10))) * (rng.integer(0, 1) ? 1 : -1.5f);
        break;
      default:
        value = std::ldexp(value, static_cast<int>(rng.integer(-149, -100)));  // scales below 2^-120
    }
  }
  return x;
}
inline constexpr int64_t kValueKinds = 7;

// A code of a book may stand for -0, but which zero a zero becomes has nothing to do with its sign.
inline void forget_negative_zeros(const gatun_quantize_params& p, std::vector<float>& x) {
  if (p.book == GATUN_BOOK_NONE) return;
  for (float& value : x) value += 0.0f;
}

}  // namespace gatun::quantize::scaled
