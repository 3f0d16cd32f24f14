// LayerNorm: y = (z - mean) / sqrt(var + epsilon) * weight + bias over the last axis, z = x + skip or x.
//
//   x        float [..., columns]
//   weight   float [columns]
//   bias     float [columns], optional
//   skip     float, optional; its axes and those of x are broadcast as ONNX's Add does it
//   y        float [..., columns]
//
// Attribute epsilon, 1e-5 if it is not there. ONNX Runtime's threads make ranges of rows.
#include <algorithm>
#include <optional>

#include "gatun/gatun.h"
#include "gatun/norm.h"
#include "kernel.h"

namespace gatun::onnxruntime {
namespace {

// Less is not worth a thread's while.
constexpr int64_t kNumbersOfPart = 1 << 14;

// The shape of a sum of two, or nothing if there is none. Ranks are made equal by axes of one in front.
std::optional<std::vector<int64_t>> broadcast(std::vector<int64_t>* a, std::vector<int64_t>* b) {
  const size_t rank = std::max(a->size(), b->size());
  a->insert(a->begin(), rank - a->size(), 1);
  b->insert(b->begin(), rank - b->size(), 1);
  std::vector<int64_t> shape(rank);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t of_a = (*a)[i], of_b = (*b)[i];
    if (of_a != of_b && of_a != 1 && of_b != 1) return std::nullopt;
    shape[i] = of_a == 1 ? of_b : of_a;
  }
  return shape;
}

// Where a row of `shape` begins in an operand of `own` shape, of the same rank.
int64_t row_in(const std::vector<int64_t>& own, const std::vector<int64_t>& shape, int64_t row) {
  int64_t found = 0, step = own.back();
  for (size_t i = shape.size() - 1; i-- > 0;) {
    if (own[i] != 1) found += row % shape[i] * step;
    row /= shape[i];
    step *= own[i];
  }
  return found;
}

class LayerNormKernel {
 public:
  static constexpr const char* kName = "LayerNorm";
  static constexpr Input kInputs[] = {{"x", kFloat, kRequired},
                                      {"weight", kFloat, kRequired},
                                      {"bias", kFloat, kOptional},
                                      {"skip", kFloat, kOptional}};

  explicit LayerNormKernel(const Api& the_api) : api(the_api) {}

  Status* create(const KernelInfo* info) { return read_attribute(api, info, "epsilon", &epsilon_); }

  Status* compute(KernelContext* context) {
    Tensor x, weight, bias, skip;
    GATUN_ORT_TRY(read_input(api, context, 0, &x));
    GATUN_ORT_TRY(read_input(api, context, 1, &weight));
    GATUN_ORT_TRY(read_input(api, context, 2, &bias));
    GATUN_ORT_TRY(read_input(api, context, 3, &skip));
    const bool skips = skip.given;
    std::vector<int64_t> shape = x.shape;
    if (skips) {
      if (const auto sum = broadcast(&x.shape, &skip.shape)) {
        shape = *sum;
      } else {
        return fail(api, kInvalidArgument,
                    "io.gatun.LayerNorm: x has the shape %s, skip %s; allowed: shapes that can be added",
                    shape_text(x.shape).c_str(), shape_text(skip.shape).c_str());
      }
    }
    if (shape.empty()) return fail(api, kInvalidArgument, "io.gatun.LayerNorm: x is a number; allowed: [..., columns]");
    const int64_t columns = shape.back();
    if (weight.elements() != columns || (bias.given && bias.elements() != columns)) {
      return fail(api, kInvalidArgument, "io.gatun.LayerNorm: weight has the shape %s, bias %s; allowed: [%lld]",
                  shape_text(weight.shape).c_str(), shape_text(bias.shape).c_str(), static_cast<long long>(columns));
    }
    float* y = nullptr;
    GATUN_ORT_TRY(make_output(api, context, shape, &y));
    int64_t numbers = 1;
    for (const int64_t size : shape) numbers *= size;
    if (numbers == 0) return nullptr;
    const int64_t rows = numbers / columns;
    gatun_norm_params params = {};
    params.struct_size = sizeof(params);
    params.kind = GATUN_NORM_LAYER;
    params.x_dtype = params.y_dtype = GATUN_F32;
    params.threads = 1;
    params.epsilon = epsilon_;
    params.columns = params.x_row_stride = params.y_row_stride = columns;
    const int64_t wanted = std::clamp<int64_t>(numbers / kNumbersOfPart, 1, gatun_threads());
    const int64_t each = (rows + wanted - 1) / wanted, parts = (rows + each - 1) / each;
    return in_parallel(api, kName, context, parts, [&](int64_t part) {
      const int64_t begin = part * each, end = std::min(begin + each, rows);
      for (int64_t row = begin; skips && row < end; ++row) {
        const float* const a = x.as<float>() + row_in(x.shape, shape, row);
        const float* const b = skip.as<float>() + row_in(skip.shape, shape, row);
        const int64_t step_of_a = x.shape.back() == columns, step_of_b = skip.shape.back() == columns;
        float* const sum = y + row * columns;
        for (int64_t i = 0; i < columns; ++i) sum[i] = a[i * step_of_a] + b[i * step_of_b];
      }
      gatun_norm_params own = params;
      own.rows = end - begin;
      float* const to = y + begin * columns;
      return check(
          api, kName,
          gatun_norm(&own, skips ? to : x.as<float>() + begin * columns, weight.as<float>(), bias.as<float>(), to));
    });
  }

  const Api api;

 private:
  float epsilon_ = 1e-5f;
};

}  // namespace

CustomOp layer_norm_op() { return custom_op<LayerNormKernel>(); }

}  // namespace gatun::onnxruntime
