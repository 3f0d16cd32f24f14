// Attention in double precision, key by key from the definition in gatun/attention.h: what kernels are compared with.
//
// INT8 differs from the exact mode in the products q . k alone. Each number below is the one f32 that the steps in
// their order give, so that kernels and reference have the same codes:
//
//   mean[c]  of the keys of a batch item and kv head: their sum from key 0 on, ascending, divided by their number
//   k'       k - mean
//   scale    of 64 keys of the item from a multiple of 64 on (the last ones perhaps fewer): amax |k'| / 127; of each
//            query likewise amax |q| / 127. Below 2^-120 it counts as 0, and so do the codes
//   code     round(x * (1 / scale)), ties to even, the reciprocal in f32 and the product in f32
//   q . k    scale_q * scale_k * (sum of code products) + q . mean, with q itself; in what order that is rounded is
//            open
//
// A scale of values of which one is NaN or infinite is NaN, the codes 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "attention/inputs.h"
#include "gatun/attention.h"

namespace gatun::attention {

inline constexpr int64_t kQuantizedKeys = 64;

// Of dtype F32, BF16 or F16.
float element(const void* data, int32_t dtype, int64_t index);

// One row of out, and how far errors of the logits reach in it: `logit_error` of a key, in units of 2^-23, is
//
//   (head_size / 64 + 4) |scale| sum |q k| + 4 |capped| + |slope (j - p)| + |logit| + |lse| + 2
//
// for partial sums, tanh, bias, the subtraction of the maximum (all of which, without the sums, may be in base 2), exp.
// All but lse are times the row's correction. Rounding errors of sums go both ways: they grow like the root of the
// number of terms, so these are few.
struct Row {
  std::vector<double> out;        // [value_size]
  std::vector<double> magnitude;  // [value_size]: sum of weight |v|
  std::vector<double> leverage;   // [value_size]: sum of weight logit_error (|v| + |out|)
  double lse;
  double lse_leverage;  // the sum of exp(logit - lse) logit_error
  int64_t seen;         // keys
};

// Bounds of the errors of element c of out, before it is rounded to out_dtype, and of lse: what the leverage stands
// for; the sums over keys, in chunks of up to 256; and, where exponentials are made for bf16, to which they are rounded
// after their sum, that they are good to 2^-18.5 before. A correct kernel in f32 uses a quarter of them (test.cc prints
// it).
double out_bound(const gatun_attention_params& params, const Row& row, size_t c);
double lse_bound(const gatun_attention_params& params, const Row& row);

class Reference {
 public:
  // The arguments are good ones, and stay.
  Reference(const gatun_attention_params& params, const Inputs& inputs);

  int64_t queries(int64_t b) const { return length(in_.q_offsets, p_.query_length, b); }
  int64_t keys(int64_t b) const { return length(in_.kv_offsets, p_.kv_length, b); }

  // The place of row i of batch item b and query head h.
  int64_t out_index(int64_t b, int64_t h, int64_t i) const {
    return index(in_.q_offsets, b, h, i, p_.out_batch_stride, p_.out_head_stride, p_.out_row_stride);
  }
  int64_t lse_index(int64_t b, int64_t h, int64_t i) const {
    return index(in_.q_offsets, b, h, i, p_.lse_batch_stride, p_.lse_head_stride, 1);
  }

  // Without v only lse and what belongs to it.
  Row row(int64_t b, int64_t h, int64_t i);

  // The rows of batch item b, and the place of one of them, with offsets or without.
  static int64_t length(const int64_t* offsets, int64_t all, int64_t b) {
    return offsets != nullptr ? offsets[b + 1] - offsets[b] : all;
  }
  static int64_t index(const int64_t* offsets, int64_t b, int64_t head, int64_t row, int64_t batch_stride,
                       int64_t head_stride, int64_t row_stride) {
    if (offsets == nullptr) return b * batch_stride + head * head_stride + row * row_stride;
    return head * head_stride + (offsets[b] + row) * row_stride;
  }

 private:
  struct Logit {
    int64_t key;
    double value, error;
  };
  // The rows of one of q, k, v that the last row asked for needed.
  struct Matrix {
    int64_t b = -1, head = -1;
    std::vector<double> values;  // [rows][columns]
    // INT8:
    std::vector<int32_t> codes;  // [rows][columns]
    std::vector<double> scales;  // of rows of q, of every kQuantizedKeys of k
    std::vector<double> mean;    // [columns], of keys
  };

  bool listed(int64_t b, int64_t h, int64_t i, int64_t j) const;
  bool sees(int64_t b, int64_t h, int64_t i, int64_t j) const;
  void load(int64_t b, int64_t h, int64_t g);
  void quantize(const std::vector<float>& values, int64_t rows, Matrix& matrix) const;
  std::vector<Logit> logits(int64_t b, int64_t h, int64_t i);

  const gatun_attention_params p_;
  const Inputs in_;
  Matrix q_, k_, v_;
};

}  // namespace gatun::attention
