// QMatMul and NmMatMul: y = act(x * w^T + bias) + residual by weights in Gatun's packed form.
//
//   x         float [..., depth]
//   packed    uint8 [bytes], a constant: gatun_qmatmul_pack, gatun_nm_pack
//   bias      float [columns], optional
//   residual  float, the shape of y, optional
//   y         float [..., columns]
//
// Attributes, both optional: mode, what products are made in (gatun_qmatmul_mode, gatun_nm_mode), and activation.
// ONNX Runtime's threads make ranges of rows, or of columns where there are few rows.
#include <algorithm>
#include <memory>

#include "gatun/gatun.h"
#include "gatun/nm_matmul.h"
#include "gatun/qmatmul.h"
#include "kernel.h"

namespace gatun::onnxruntime {
namespace {

struct Quantized {
  using Params = gatun_qmatmul_params;
  using Weights = gatun_qmatmul_weights;
  static constexpr const char* kName = "QMatMul";
  static constexpr auto describe = gatun_qmatmul_describe;
  static constexpr auto run = gatun_qmatmul;

  static Status* read_mode(const Api& api, const KernelInfo* info, int32_t* mode) {
    *mode = GATUN_QMATMUL_INT8_ROW;
    return read_attribute(api, info, "mode",
                          {{"INT8_ROW", GATUN_QMATMUL_INT8_ROW},
                           {"INT8_GROUP", GATUN_QMATMUL_INT8_GROUP},
                           {"PRECISE", GATUN_QMATMUL_PRECISE},
                           {"BF16", GATUN_QMATMUL_BF16}},
                          mode);
  }
};

struct Sparse {
  using Params = gatun_nm_matmul_params;
  using Weights = gatun_nm_weights;
  static constexpr const char* kName = "NmMatMul";
  static constexpr auto describe = gatun_nm_describe;
  static constexpr auto run = gatun_nm_matmul;

  static Status* read_mode(const Api& api, const KernelInfo* info, int32_t* mode) {
    *mode = GATUN_NM_F32;
    return read_attribute(api, info, "mode", {{"F32", GATUN_NM_F32}, {"BF16", GATUN_NM_BF16}, {"INT8", GATUN_NM_INT8}},
                          mode);
  }
};

// Ranges begin at multiples of what kernels take at once; one is worth a thread's while from so many products on. Each
// range reads all weights, or quantizes all of x, so there are no more than threads could make at the same time: those
// of Gatun, as ONNX Runtime does not tell how many a session has. With fewer of these the ranges of columns quantize x
// again and again, which takes less than an eighth of the time of 64 columns of products.
constexpr int64_t kRowsOfPart = 32, kColumnsOfPart = 64, kProductsOfPart = 1 << 18;

struct Ranges {
  int64_t parts, rows, columns;  // of a part
};

Ranges ranges_of(int64_t rows, int64_t columns, int64_t depth) {
  const double products = static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(depth);
  const int64_t wanted =
      std::max<int64_t>(static_cast<int64_t>(std::min<double>(products / kProductsOfPart, gatun_threads())), 1);
  const auto split = [wanted](int64_t count, int64_t unit) {
    const int64_t units = (count + unit - 1) / unit;
    return (units + wanted - 1) / wanted * unit;
  };
  if (rows >= 4 * kRowsOfPart) {
    const int64_t each = split(rows, kRowsOfPart);
    return {(rows + each - 1) / each, each, columns};
  }
  const int64_t each = split(columns, kColumnsOfPart);
  return {(columns + each - 1) / each, rows, each};
}

template <class Op>
class ProductKernel {
 public:
  static constexpr const char* kName = Op::kName;
  static constexpr Input kInputs[] = {{"x", kFloat, kRequired},
                                      {"packed", kUint8, kRequired},
                                      {"bias", kFloat, kOptional},
                                      {"residual", kFloat, kOptional}};

  explicit ProductKernel(const Api& the_api) : api(the_api) {}

  Status* create(const KernelInfo* info) {
    GATUN_ORT_TRY(Op::read_mode(api, info, &mode_));
    GATUN_ORT_TRY(read_attribute(api, info, "activation",
                                 {{"NONE", GATUN_ACTIVATION_NONE},
                                  {"RELU", GATUN_ACTIVATION_RELU},
                                  {"GELU", GATUN_ACTIVATION_GELU},
                                  {"GELU_TANH", GATUN_ACTIVATION_GELU_TANH},
                                  {"SILU", GATUN_ACTIVATION_SILU}},
                                 &activation_));
    int32_t is_constant = 0;
    const Value* value = nullptr;
    GATUN_ORT_TRY(api.constant_input(info, 1, &is_constant, &value));
    if (is_constant == 0 || value == nullptr) {
      return fail(api, kInvalidArgument, "io.gatun.%s: input packed must be a constant (an initializer)", kName);
    }
    Tensor packed;
    GATUN_ORT_TRY(read(api, value, &packed));
    weights_.struct_size = sizeof(weights_);
    return check(api, kName, Op::describe(packed.data, packed.elements(), &weights_));
  }

  Status* compute(KernelContext* context) {
    Tensor x, packed, bias, residual;
    GATUN_ORT_TRY(read_input(api, context, 0, &x));
    GATUN_ORT_TRY(read_input(api, context, 1, &packed));
    GATUN_ORT_TRY(read_input(api, context, 2, &bias));
    GATUN_ORT_TRY(read_input(api, context, 3, &residual));
    if (x.shape.empty() || x.shape.back() != weights_.depth) {
      return fail(api, kInvalidArgument, "io.gatun.%s: x has the shape %s; allowed: [..., %lld]", kName,
                  shape_text(x.shape).c_str(), static_cast<long long>(weights_.depth));
    }
    std::vector<int64_t> shape = x.shape;
    shape.back() = weights_.columns;
    if (bias.given && bias.elements() != weights_.columns) {
      return fail(api, kInvalidArgument, "io.gatun.%s: bias has the shape %s; allowed: [%lld]", kName,
                  shape_text(bias.shape).c_str(), static_cast<long long>(weights_.columns));
    }
    if (residual.given && residual.shape != shape) {
      return fail(api, kInvalidArgument, "io.gatun.%s: residual has the shape %s; allowed: that of y, %s", kName,
                  shape_text(residual.shape).c_str(), shape_text(shape).c_str());
    }
    float* y = nullptr;
    GATUN_ORT_TRY(make_output(api, context, shape, &y));

    int64_t rows = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
    if (rows == 0 || weights_.columns == 0) return nullptr;
    typename Op::Params params = {};
    params.struct_size = sizeof(params);
    params.x_dtype = params.y_dtype = GATUN_F32;
    params.mode = mode_;
    params.activation = activation_;
    params.threads = 1;
    params.columns = params.y_row_stride = params.residual_row_stride = weights_.columns;
    params.depth = params.x_row_stride = weights_.depth;
    const Ranges ranges = ranges_of(rows, weights_.columns, weights_.depth);
    return in_parallel(api, kName, context, ranges.parts, [&](int64_t part) {
      const bool of_rows = ranges.rows < rows;
      const int64_t row = of_rows ? part * ranges.rows : 0;
      typename Op::Params own = params;
      own.rows = std::min(ranges.rows, rows - row);
      own.column_begin = of_rows ? 0 : part * ranges.columns;
      own.column_end = of_rows ? params.columns : std::min(own.column_begin + ranges.columns, params.columns);
      const float* const added = residual.as<float>();
      return check(api, kName,
                   Op::run(&own, x.as<float>() + row * params.depth, packed.data, packed.elements(), bias.as<float>(),
                           added == nullptr ? nullptr : added + row * params.columns, y + row * params.columns));
    });
  }

  const Api api;

 private:
  typename Op::Weights weights_ = {};
  int32_t mode_ = 0, activation_ = GATUN_ACTIVATION_NONE;
};

}  // namespace

CustomOp qmatmul_op() { return custom_op<ProductKernel<Quantized>>(); }
CustomOp nm_matmul_op() { return custom_op<ProductKernel<Sparse>>(); }

}  // namespace gatun::onnxruntime
