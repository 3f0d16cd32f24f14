// What the tests of selections share: a problem of the CPU's tests on a device.
#pragma once

#include "attention/device_problem.h"
#include "attention_select/test_problem.h"
#include "gatun/cuda_attention_select.h"

namespace gatun::cuda::attention_select {

using cuda::attention::in_every_order;
using cuda::attention::next_way;
using gatun::attention_select::Reference;
using gatun::test::DeviceBuffer;
using gatun::test::Edge;
using gatun::test::kDtypes;
using gatun::test::plain_problem;
using gatun::test::Problem;
using gatun::test::random_problem;
using gatun::test::Rng;

inline constexpr int32_t kScored[] = {GATUN_SELECT_MEANS, GATUN_SELECT_ANTIDIAGONAL, GATUN_SELECT_PROXY,
                                      GATUN_SELECT_MASS};

// Memory of at least a byte, so that no array without elements is null by chance.
class Workspace {
 public:
  explicit Workspace(int64_t bytes) : bytes_(bytes), buffer_(bytes) {}
  uint8_t* data() { return buffer_.data(); }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_;
  DeviceBuffer<uint8_t> buffer_;
};

struct OnDevice {
  const Problem& x;
  DeviceBuffer<uint8_t> q, k;
  DeviceBuffer<int64_t> q_starts, kv_starts;
  DeviceBuffer<float> lse;

  // `offset` elements misalign q and k.
  explicit OnDevice(const Problem& problem, int64_t offset = 0)
      : x(problem),
        q(problem.q->copy(), offset * dtype_bytes(problem.p.dtype, 1)),
        k(problem.k->copy(), offset * dtype_bytes(problem.p.dtype, 1)),
        q_starts(problem.q_offsets),
        kv_starts(problem.kv_offsets),
        lse(problem.lse) {}

  const int64_t* q_offsets() const { return x.ragged() ? q_starts.data() : nullptr; }
  const int64_t* kv_offsets() const { return x.ragged() ? kv_starts.data() : nullptr; }
  const float* lse_or_null() const { return x.s.kind == GATUN_SELECT_MASS ? lse.data() : nullptr; }

  std::vector<float> scores() const {
    int64_t bytes = 0;
    EXPECT_EQ(gatun_cuda_attention_select_workspace_bytes(&x.p, &x.s, x.ragged(), 0, &bytes), GATUN_OK)
        << gatun_last_error();
    Workspace workspace(bytes);
    DeviceBuffer<float> scores(x.map_size());
    EXPECT_EQ(gatun_cuda_attention_scores(&x.p, &x.s, q.data(), k.data(), q_offsets(), kv_offsets(), lse_or_null(),
                                          scores.data(), workspace.data(), bytes, nullptr),
              GATUN_OK)
        << gatun_last_error();
    return scores.copy();
  }

  std::vector<uint8_t> select(const float* budgets = nullptr) const {
    int64_t bytes = 0;
    EXPECT_EQ(gatun_cuda_attention_select_workspace_bytes(&x.p, &x.s, x.ragged(), 0, &bytes), GATUN_OK)
        << gatun_last_error();
    Workspace workspace(bytes);
    DeviceBuffer<uint8_t> map(x.map_size());
    EXPECT_EQ(gatun_cuda_attention_select(&x.p, &x.s, budgets, q.data(), k.data(), q_offsets(), kv_offsets(),
                                          lse_or_null(), map.data(), workspace.data(), bytes, nullptr),
              GATUN_OK)
        << gatun_last_error();
    return map.copy();
  }
};

// The map from scores.
inline std::vector<uint8_t> choose(const Problem& x, const std::vector<float>& scores,
                                   const std::vector<float>* budgets = nullptr) {
  const DeviceBuffer<int64_t> q_starts(x.q_offsets), kv_starts(x.kv_offsets);
  const DeviceBuffer<float> given(scores), amounts(budgets != nullptr ? *budgets : std::vector<float>());
  DeviceBuffer<uint8_t> map(x.map_size());
  EXPECT_EQ(gatun_cuda_attention_choose(&x.p, &x.s, x.ragged() ? q_starts.data() : nullptr,
                                        x.ragged() ? kv_starts.data() : nullptr, given.data(),
                                        budgets != nullptr ? amounts.data() : nullptr, map.data(), nullptr),
            GATUN_OK)
      << gatun_last_error();
  return map.copy();
}

struct Lines {
  std::vector<float> columns, diagonals;
};

inline Lines lines_of(const OnDevice& on) {
  const Problem& x = on.x;
  const int64_t count = (x.ragged() ? 1 : x.p.batch) * x.p.query_heads * x.p.kv_length;
  int64_t bytes = 0;
  EXPECT_EQ(gatun_cuda_attention_lines_workspace_bytes(&x.p, &x.s, x.ragged(), 0, &bytes), GATUN_OK)
      << gatun_last_error();
  Workspace workspace(bytes);
  DeviceBuffer<float> columns(count), diagonals(count);
  EXPECT_EQ(gatun_cuda_attention_lines(&x.p, &x.s, on.q.data(), on.k.data(), on.q_offsets(), on.kv_offsets(),
                                       columns.data(), diagonals.data(), workspace.data(), bytes, nullptr),
            GATUN_OK)
      << gatun_last_error();
  return {columns.copy(), diagonals.copy()};
}

inline std::vector<uint8_t> draw(const Problem& x, const Lines& lines) {
  const DeviceBuffer<int64_t> q_starts(x.q_offsets), kv_starts(x.kv_offsets);
  const DeviceBuffer<float> columns(lines.columns), diagonals(lines.diagonals);
  const bool given = !lines.columns.empty();
  int64_t bytes = 0;
  EXPECT_EQ(gatun_cuda_attention_lines_workspace_bytes(&x.p, &x.s, x.ragged(), 0, &bytes), GATUN_OK)
      << gatun_last_error();
  Workspace workspace(bytes);
  DeviceBuffer<uint8_t> map(x.map_size());
  EXPECT_EQ(gatun_cuda_attention_vertical_slash(&x.p, &x.s, x.ragged() ? q_starts.data() : nullptr,
                                                x.ragged() ? kv_starts.data() : nullptr,
                                                given ? columns.data() : nullptr, given ? diagonals.data() : nullptr,
                                                map.data(), workspace.data(), bytes, nullptr),
            GATUN_OK)
      << gatun_last_error();
  return map.copy();
}

// How far logits may be off: the reference knows of sums in f32, devices round the means of PROXY.
inline double logit_error(const Problem& x, const Reference& reference) {
  const double error = reference.logit_error();
  if (x.s.kind != GATUN_SELECT_PROXY || x.p.dtype == GATUN_F32) return error;
  const double magnitude =
      error / (0x1p-23 * static_cast<double>(x.p.head_size + 2 * x.p.query_heads + 16));  // or less
  return error + magnitude * (x.p.dtype == GATUN_BF16 ? 0x1p-8 + 0x1p-17 : 0x1p-10 + 0x1p-20);
}

// A row's scores are exp(logit - ln of their sum): an error of e in each logit is one of a factor exp(2 e).
inline void expect_scores(const Problem& x, const std::vector<float>& actual) {
  SCOPED_TRACE(x.name());
  std::vector<double> expected(actual.size()), allowed(actual.size());
  for (int64_t b = 0; b < x.p.batch; ++b) {
    Reference reference = x.reference(b);
    const int64_t columns = reference.key_blocks();
    for (int64_t head = 0; head < x.p.query_heads; ++head) {
      const std::vector<double> scores = x.reference_scores(reference, b, head);
      const double factor = std::expm1(2 * logit_error(x, reference) + 0x1p-16);
      for (int64_t a = 0; a < reference.query_blocks(); ++a) {
        for (int64_t c = 0; c < columns; ++c) {
          const size_t i = x.map_index(b, head, a, c);
          expected[i] = scores[static_cast<size_t>(a * columns + c)];
          allowed[i] = std::isinf(expected[i]) ? 0 : expected[i] * factor + 0x1p-100;
        }
      }
    }
  }
  EXPECT_TRUE(gatun::test::within({actual.begin(), actual.end()}, expected, allowed, x.s.key_blocks));
}

// of(reference, b, head) is the map of a head.
template <class Of>
void expect_maps(const Problem& x, const std::vector<uint8_t>& actual, Of of) {
  SCOPED_TRACE(x.name());
  std::vector<uint8_t> expected(actual.size());
  for (int64_t b = 0; b < x.p.batch; ++b) {
    const Reference reference = x.reference(b);
    for (int64_t head = 0; head < x.p.query_heads; ++head) {
      const std::vector<uint8_t> map = of(reference, b, head);
      for (int64_t a = 0; a < reference.query_blocks(); ++a) {
        for (int64_t c = 0; c < reference.key_blocks(); ++c) {
          expected[x.map_index(b, head, a, c)] = map[static_cast<size_t>(a * reference.key_blocks() + c)];
        }
      }
    }
  }
  EXPECT_TRUE(gatun::test::identical(actual, expected, x.s.key_blocks));
}

// Of all scores or sums, those of a head.
inline std::vector<float> scores_of_head(const Problem& x, const Reference& reference, const std::vector<float>& scores,
                                         int64_t b, int64_t head) {
  std::vector<float> part;
  for (int64_t a = 0; a < reference.query_blocks(); ++a) {
    for (int64_t c = 0; c < reference.key_blocks(); ++c) part.push_back(scores[x.map_index(b, head, a, c)]);
  }
  return part;
}
inline std::vector<float> sums_of_head(const Problem& x, const std::vector<float>& sums, int64_t b, int64_t head) {
  if (sums.empty()) return {};
  const int64_t first = ((x.ragged() ? 0 : b * x.p.query_heads) + head) * x.p.kv_length +
                        (x.ragged() ? x.kv_offsets[static_cast<size_t>(b)] : 0);
  return {sums.begin() + first, sums.begin() + first + x.keys(b)};
}

}  // namespace gatun::cuda::attention_select
