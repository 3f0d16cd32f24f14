// INT8: scales and codes are, bit for bit, those of the definition (native/src/attention/reference.h).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention/device_problem.h"
#include "tolerance.h"

namespace gatun::cuda::attention {
namespace {

// Rows of a head of an item, of q or of k.
struct Rows {
  const void* data;
  int32_t dtype;
  int64_t size, first, row_stride;  // the place of row 0

  float at(int64_t row, int64_t column) const {
    const int64_t place = (first + row * row_stride + column) * dtype_bytes(dtype, 1);
    return static_cast<float>(gatun::test::to_doubles(static_cast<const uint8_t*>(data) + place, dtype, 1)[0]);
  }
};

// How many scales and codes of rows from `begin` to `end` that share a scale are others.
int64_t count_wrong(const Rows& rows, int64_t begin, int64_t end, const std::vector<float>& mean, float scale,
                    const int8_t* codes, int64_t columns) {
  float amax = 0;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t c = 0; c < rows.size; ++c)
      amax = std::max(amax, std::fabs(rows.at(row, c) - mean[static_cast<size_t>(c)]));
  }
  int64_t wrong = scale != amax / 127.0f;
  const float inverse = 1.0f / (amax / 127.0f);
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t c = 0; c < columns; ++c) {
      const float x = c < rows.size ? rows.at(row, c) - mean[static_cast<size_t>(c)] : 0.0f;
      wrong += static_cast<float>(codes[(row - begin) * columns + c]) != std::nearbyint(x * inverse);
    }
  }
  return wrong;
}

void check_codes(const Spec& spec, Rng& rng) {
  const Problem problem(spec, rng);
  const gatun_attention_params p = problem.params();
  const Inputs in = problem.inputs();
  const bool ragged = in.q_offsets != nullptr;
  for (const KernelRow* row : rows_for(p, ragged)) {
    SCOPED_TRACE(row->name);
    const Plan plan = plan_on(*row, p, ragged);
    Outputs outputs;
    std::vector<uint8_t> left;
    ASSERT_NO_FATAL_FAILURE(call(problem, row, &outputs, &left));
    const auto float_at = [&](int64_t place, int64_t index) {
      float x;
      std::memcpy(&x, left.data() + place + index * 4, 4);
      return x;
    };
    const auto codes_at = [&](int64_t place, int64_t index) {
      return reinterpret_cast<const int8_t*>(left.data() + place + index * plan.columns);
    };
    for (int64_t b = 0; b < p.batch; ++b) {
      const int64_t query = ragged ? in.q_offsets[b] : 0, key = ragged ? in.kv_offsets[b] : 0;
      const int64_t queries = ragged ? in.q_offsets[b + 1] - query : p.query_length;
      const int64_t keys = ragged ? in.kv_offsets[b + 1] - key : p.kv_length;
      const int64_t item = ragged ? 0 : b;
      for (int64_t head = 0; head < p.kv_heads; ++head) {
        const Rows rows = {in.k, p.dtype, p.head_size,
                           item * p.k_batch_stride + head * p.k_head_stride + key * p.k_row_stride, p.k_row_stride};
        std::vector<float> mean(static_cast<size_t>(p.head_size));
        for (int64_t c = 0; c < p.head_size; ++c) {
          float& sum = mean[static_cast<size_t>(c)];
          for (int64_t j = 0; j < keys; ++j) sum += rows.at(j, c);
          sum /= static_cast<float>(keys);
          EXPECT_EQ(float_at(plan.mean_at, (b * p.kv_heads + head) * p.head_size + c), sum);
        }
        const int64_t units = (item * p.kv_heads + head) * plan.k_units + (ragged ? key / kUnitKeys + b : 0);
        const int64_t codes = (item * p.kv_heads + head) * p.kv_length + key;
        for (int64_t j = 0; j < keys; j += kUnitKeys) {
          EXPECT_EQ(count_wrong(rows, j, std::min(keys, j + kUnitKeys), mean,
                                float_at(plan.k_scales_at, units + j / kUnitKeys), codes_at(plan.k_codes_at, codes + j),
                                plan.columns),
                    0)
              << "item " << b << ", head " << head << ", keys from " << j << " on";
        }
      }
      const std::vector<float> zeros(static_cast<size_t>(p.head_size));
      for (int64_t head = 0; head < p.query_heads; ++head) {
        const Rows rows = {in.q, p.dtype, p.head_size,
                           item * p.q_batch_stride + head * p.q_head_stride + query * p.q_row_stride, p.q_row_stride};
        const int64_t first = (item * p.query_heads + head) * p.query_length + query;
        for (int64_t i = 0; i < queries; ++i) {
          EXPECT_EQ(count_wrong(rows, i, i + 1, zeros, float_at(plan.q_scales_at, first + i),
                                codes_at(plan.q_codes_at, first + i), plan.columns),
                    0)
              << "item " << b << ", head " << head << ", query " << i;
        }
      }
    }
  }
}

TEST(AttentionCodes, AreThoseOfTheDefinition) {
  Rng rng(60);
  for (const Kind& kind : {kKinds[3], kOtherKinds[2], kOtherKinds[3]}) {
    Spec spec = device_spec(kind, 20, 150);
    spec.head_size = 72;
    spec.batch = 2;
    spec.query_heads = 4;
    spec.kv_heads = 2;
    spec.kv_order = Order::gaps;
    next_way();
    ASSERT_NO_FATAL_FAILURE(check_codes(spec, rng));
    spec.q_offsets = {2, 9, 9, 30};
    spec.kv_offsets = {1, 70, 90, 220};
    ASSERT_NO_FATAL_FAILURE(check_codes(spec, rng));
  }
}

}  // namespace
}  // namespace gatun::cuda::attention
