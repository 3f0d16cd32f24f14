// Random calls of selections: sizes, strides and values, between guard pages.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "attention_select/reference.h"
#include "base/dtype.h"
#include "guard_buffer.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::test {

using attention_select::Reference;

struct Problem {
  gatun_attention_params p{};
  gatun_selection_params s{};
  std::vector<int64_t> q_offsets, kv_offsets;  // empty: not ragged
  std::vector<double> q_values, k_values;      // of the elements, as rounded
  std::unique_ptr<GuardBuffer<unsigned char>> q, k;
  std::vector<float> lse;

  const int64_t* q_starts() const { return q_offsets.empty() ? nullptr : q_offsets.data(); }
  const int64_t* kv_starts() const { return kv_offsets.empty() ? nullptr : kv_offsets.data(); }
  bool ragged() const { return !q_offsets.empty(); }
  int64_t queries(int64_t b) const {
    return ragged() ? q_offsets[static_cast<size_t>(b) + 1] - q_offsets[static_cast<size_t>(b)] : p.query_length;
  }
  int64_t keys(int64_t b) const {
    return ragged() ? kv_offsets[static_cast<size_t>(b) + 1] - kv_offsets[static_cast<size_t>(b)] : p.kv_length;
  }
  Reference reference(int64_t b) const { return Reference(p, s, queries(b), keys(b)); }

  int64_t q_index(int64_t b, int64_t head, int64_t i) const {
    const int64_t first = ragged() ? q_offsets[static_cast<size_t>(b)] * p.q_row_stride : b * p.q_batch_stride;
    return first + head * p.q_head_stride + i * p.q_row_stride;
  }
  int64_t k_index(int64_t b, int64_t head, int64_t j) const {
    const int64_t first = ragged() ? kv_offsets[static_cast<size_t>(b)] * p.k_row_stride : b * p.k_batch_stride;
    return first + head * p.k_head_stride + j * p.k_row_stride;
  }
  int64_t lse_index(int64_t b, int64_t head, int64_t i) const {
    const int64_t first = ragged() ? q_offsets[static_cast<size_t>(b)] : b * p.lse_batch_stride;
    return first + head * p.lse_head_stride + i;
  }
  // Rows of a query head, and those of k that it uses.
  std::vector<double> q_rows(int64_t b, int64_t head) const {
    return rows(q_values, queries(b), [&](int64_t i) { return q_index(b, head, i); });
  }
  std::vector<double> k_rows(int64_t b, int64_t head) const {
    return rows(k_values, keys(b), [&](int64_t j) { return k_index(b, head / (p.query_heads / p.kv_heads), j); });
  }
  std::vector<double> lse_rows(int64_t b, int64_t head) const {
    std::vector<double> result;
    for (int64_t i = 0; i < queries(b); ++i) result.push_back(double{lse[static_cast<size_t>(lse_index(b, head, i))]});
    return result;
  }

  // What the reference is asked for: of PROXY the means of the group's heads.
  std::vector<double> reference_scores(Reference& reference, int64_t b, int64_t head) const {
    std::vector<double> q_used = q_rows(b, head), k_used = k_rows(b, head);
    if (s.kind == GATUN_SELECT_PROXY) {
      const int64_t heads = p.query_heads / s.proxy_heads, first = head / heads * heads;
      q_used.assign(q_used.size(), 0);
      k_used.assign(k_used.size(), 0);
      for (int64_t h = first; h < first + heads; ++h) {
        const std::vector<double> x = q_rows(b, h), y = k_rows(b, h);
        for (size_t i = 0; i < x.size(); ++i) q_used[i] += x[i] / static_cast<double>(heads);
        for (size_t i = 0; i < y.size(); ++i) k_used[i] += y[i] / static_cast<double>(heads);
      }
    }
    return reference.scores(q_used, k_used, s.kind == GATUN_SELECT_MASS ? lse_rows(b, head) : std::vector<double>());
  }

  int64_t map_size() const { return p.batch * p.query_heads * p.query_blocks * s.key_blocks; }
  size_t map_index(int64_t b, int64_t head, int64_t block, int64_t key_block) const {
    return static_cast<size_t>(((b * p.query_heads + head) * p.query_blocks + block) * s.key_blocks + key_block);
  }
  const float* lse_or_null() const { return s.kind == GATUN_SELECT_MASS ? lse.data() : nullptr; }
  std::string name() const {
    return "kind " + std::to_string(s.kind) + ", dtype " + std::to_string(p.dtype) + ", batch " +
           std::to_string(p.batch) + (ragged() ? " ragged" : "") + ", heads " + std::to_string(p.query_heads) + "/" +
           std::to_string(p.kv_heads) + ", lengths " + std::to_string(p.query_length) + "/" +
           std::to_string(p.kv_length) + ", size " + std::to_string(p.head_size) + ", blocks " +
           std::to_string(p.query_block) + "x" + std::to_string(p.key_block) + ", stride " + std::to_string(s.stride) +
           ", causal " + std::to_string(p.causal) + ", windows " + std::to_string(p.window_left) + "/" +
           std::to_string(p.window_right) + ", sinks " + std::to_string(p.sink_keys);
  }

  // Gives q and k their values, rounded to the dtype.
  void fill(Rng& rng, Edge edge) {
    int64_t q_count = 0, k_count = 0;
    for (int64_t b = 0; b < p.batch; ++b) {
      if (queries(b) > 0 && p.query_heads > 0) {
        q_count = std::max(q_count, q_index(b, p.query_heads - 1, queries(b) - 1) + p.head_size);
      }
      if (keys(b) > 0 && p.kv_heads > 0) {
        k_count = std::max(k_count, k_index(b, p.kv_heads - 1, keys(b) - 1) + p.head_size);
      }
    }
    // All rows, since those of no item count as well.
    if (ragged()) {
      q_count = (p.query_heads - 1) * p.q_head_stride + (p.query_length - 1) * p.q_row_stride + p.head_size;
      k_count = (p.kv_heads - 1) * p.k_head_stride + (p.kv_length - 1) * p.k_row_stride + p.head_size;
    }
    set(rng.normals(q_count), rng.normals(k_count), edge);
    lse.resize(static_cast<size_t>((p.batch + 1) * (p.query_heads + 1) * (p.query_length + 3)));
    for (float& value : lse) value = rng.uniform(2, 8);
  }
  void set(const std::vector<float>& q_floats, const std::vector<float>& k_floats, Edge edge) {
    const auto take = [&](const std::vector<float>& values, std::unique_ptr<GuardBuffer<unsigned char>>& buffer) {
      const std::vector<unsigned char> bytes = from_floats(values, p.dtype);
      buffer = std::make_unique<GuardBuffer<unsigned char>>(bytes, edge);
      buffer->make_read_only();
      return to_doubles(bytes.data(), p.dtype, static_cast<int64_t>(values.size()));
    };
    q_values = take(q_floats, q);
    k_values = take(k_floats, k);
  }

 private:
  template <class IndexOf>
  std::vector<double> rows(const std::vector<double>& values, int64_t count, IndexOf index_of) const {
    std::vector<double> result;
    for (int64_t i = 0; i < count; ++i) {
      const auto first = values.begin() + index_of(i);
      result.insert(result.end(), first, first + p.head_size);
    }
    return result;
  }
};

// Contiguous heads, rows of one batch item after the other.
inline Problem plain_problem(int32_t dtype, int64_t heads, int64_t kv_heads, int64_t queries, int64_t keys,
                             int64_t head_size) {
  Problem problem;
  gatun_attention_params& p = problem.p;
  p.struct_size = sizeof(p);
  p.dtype = dtype;
  p.out_dtype = GATUN_F32;
  p.threads = 1;
  p.scale = 1 / std::sqrt(static_cast<float>(head_size));
  p.window_left = p.window_right = -1;
  p.batch = 1;
  p.query_heads = heads;
  p.kv_heads = kv_heads;
  p.query_length = queries;
  p.kv_length = keys;
  p.head_size = p.value_size = head_size;
  p.q_row_stride = p.k_row_stride = p.v_row_stride = p.out_row_stride = head_size;
  p.q_head_stride = p.out_head_stride = queries * head_size;
  p.k_head_stride = p.v_head_stride = keys * head_size;
  p.q_batch_stride = p.out_batch_stride = heads * p.q_head_stride;
  p.k_batch_stride = p.v_batch_stride = kv_heads * p.k_head_stride;
  p.lse_head_stride = queries;
  p.lse_batch_stride = heads * queries;
  p.query_block = p.key_block = 64;
  p.query_blocks = (queries + 63) / 64;
  gatun_selection_params& s = problem.s;
  s.struct_size = sizeof(s);
  s.amount = 0.3f;
  s.similarity = -1;
  s.stride = 16;
  s.key_blocks = (keys + 63) / 64;
  s.last_queries = 64;
  s.verticals = 8;
  s.slashes = 8;
  s.forced_verticals = s.forced_slashes = 3;
  s.proxy_heads = 1;
  return problem;
}

// Every dimension by chance.
inline Problem random_problem(Rng& rng, int32_t dtype) {
  const int64_t kv_heads = rng.integer(1, 3), ratio = rng.integer(1, 3);
  Problem problem =
      plain_problem(dtype, kv_heads * ratio, kv_heads, rng.integer(1, 220), rng.integer(1, 330), 8 * rng.integer(1, 6));
  gatun_attention_params& p = problem.p;
  gatun_selection_params& s = problem.s;
  p.batch = rng.integer(1, 3);
  p.scale *= rng.uniform(0.5f, 2.0f);
  p.soft_cap = rng.integer(0, 1) == 1 ? std::pow(10.0f, static_cast<float>(rng.integer(-3, 12))) : 0.0f;
  p.causal = static_cast<int32_t>(rng.integer(0, 1));
  p.window_left = rng.integer(0, 2) == 0 ? rng.integer(0, 90) : -1;
  p.window_right = rng.integer(0, 2) == 0 ? rng.integer(0, 90) : -1;
  p.sink_keys = rng.integer(0, 1) * rng.integer(0, 40);
  p.query_block = 16 * rng.integer(1, 8);
  p.key_block = 16 * rng.integer(1, 8);
  if (rng.integer(0, 1) == 1) {  // rows of all heads side by side
    p.q_row_stride = p.query_heads * p.head_size + 2;
    p.q_head_stride = p.head_size;
    p.q_batch_stride = p.query_length * p.q_row_stride;
    p.k_row_stride = p.kv_heads * p.head_size;
    p.k_head_stride = p.head_size;
    p.k_batch_stride = p.kv_length * p.k_row_stride + 4;
  }
  if (rng.integer(0, 2) == 0) {
    const auto split = [&](int64_t length) {
      const int64_t first = rng.integer(0, std::min<int64_t>(length, 3));
      std::vector<int64_t> offsets = {first};
      for (int64_t b = 0; b < p.batch; ++b) offsets.push_back(rng.integer(offsets.back(), length));
      return offsets;
    };
    problem.q_offsets = split(p.query_length);
    problem.kv_offsets = split(p.kv_length);
  }
  p.query_blocks = s.key_blocks = 0;
  for (int64_t b = 0; b < p.batch; ++b) {
    p.query_blocks = std::max(p.query_blocks, (problem.queries(b) + p.query_block - 1) / p.query_block);
    s.key_blocks = std::max(s.key_blocks, (problem.keys(b) + p.key_block - 1) / p.key_block);
  }
  p.query_blocks += rng.integer(0, 1);
  s.key_blocks += rng.integer(0, 2);
  s.stride = static_cast<int32_t>(rng.pick(std::vector<int64_t>{1, 2, 4, 8, 16}));
  s.keep = static_cast<int32_t>(rng.integer(0, 2));
  s.amount = rng.uniform(0, 1);
  s.keep_first = static_cast<int32_t>(rng.integer(0, 1));
  s.keep_diagonal = static_cast<int32_t>(rng.integer(0, 1));
  s.last_queries = rng.integer(1, 80);
  s.verticals = rng.integer(0, 12);
  s.slashes = rng.integer(0, 12);
  s.forced_verticals = rng.integer(0, 5);
  s.forced_slashes = rng.integer(0, 5);
  std::vector<int64_t> divisors;
  for (int64_t n = 1; n <= p.query_heads; ++n) {
    if (p.query_heads % n == 0) divisors.push_back(n);
  }
  s.proxy_heads = rng.pick(divisors);
  problem.fill(rng, rng.integer(0, 1) == 1 ? Edge::back : Edge::front);
  return problem;
}

inline constexpr int32_t kDtypes[] = {GATUN_F32, GATUN_BF16, GATUN_F16};

}  // namespace gatun::test
