// Decoding in double precision, key by key from the definition in gatun/decode.h: what kernels are compared with.
//
// Keys and values are code * scale + zero, exactly (values have scale 1 and zero 0). What the header rounds before
// products is rounded here, too, each step one f32 operation, so that kernels and reference have the same codes:
//
//   keys of codes, PER_TOKEN     q: scale = amax |q| / 16256 (INT8: 127), code = round(q * (1 / scale)), ties to even
//   keys of codes, PER_CHANNEL   the same of q[c] * scale[t][c] for each group t of tokens; zero points meet q itself
//
// q with an amax below 2^-100 counts as 0; q which is not finite is NaN. Exponentials are not rounded: what that may do
// is in the bound.
#pragma once

#include <cstdint>
#include <vector>

#include "decode/call.h"
#include "decode/inputs.h"

namespace gatun::decode {

// One row of each output, and how far from it a kernel may be: within the bounds of gatun/decode.h, of which this is
// the form that knows each key. A logit's error is, in units of 2^-23,
//
//   e[j] = (size / 16 + 4) |scale| sum |q k| + 4 |capped| + |slope (j - p)| + |logit| + 2
//
// where |k| of codes with a zero point is |code * scale| + |zero|, and |v| likewise.
struct Row {
  std::vector<double> out, out_error;  // [v.size]; before out is rounded to out_dtype
  std::vector<double> out_magnitude;   // sum of exp(logit - lse) |v|
  double lse = 0, lse_error = 0;
  std::vector<double> logits, logits_error;  // [length]
};

class Reference {
 public:
  // The arguments are good ones, and stay.
  Reference(const Call& call, const Inputs& inputs);

  int64_t length(int64_t b, int64_t h) const;
  bool sees(int64_t b, int64_t h, int64_t i, int64_t j) const;
  Row row(int64_t b, int64_t h, int64_t i);

 private:
  struct Element {
    double code, scale, zero;
    double value() const { return code * scale + zero; }
    double magnitude() const;
  };
  // The keys or the values that the last row asked for needed.
  struct Rows {
    int64_t b = -1, g = -1;
    std::vector<Element> elements;  // [length][size]
  };
  struct Product {
    double value, magnitude;
  };

  int64_t lengths_index(int64_t b, int64_t g) const {
    return b * call_.p.table_heads + (call_.p.table_heads > 1 ? g : 0);
  }
  int64_t page_of(int64_t b, int64_t g, int64_t j) const;
  void load(const gatun_kv_layout& layout, const void* rows, const void* scales, const void* zeros, int64_t b,
            int64_t g, Rows& into) const;
  std::vector<float> query(int64_t b, int64_t h, int64_t i) const;
  Product product(const std::vector<float>& q, int64_t j) const;
  double exponentials_error(const std::vector<double>& weights, int64_t c) const;

  const Call call_;
  const Inputs in_;
  Rows k_, v_;
};

}  // namespace gatun::decode
