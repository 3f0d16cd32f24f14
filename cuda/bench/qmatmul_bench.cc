// Products with compressed weights, beside cuBLAS in bf16 on the same shape and the bandwidth of reading.
#include <cmath>
#include <cstdio>
#include <vector>

#include "base/dtype.h"
#include "gatun/cuda_qmatmul.h"
#include "matmul.h"
#include "qmatmul/reference.h"
#include "session.h"

namespace gatun::bench {
namespace {

struct Format {
  const char* name;
  int32_t code_dtype, book, zero_point, scale_dtype;
  int64_t group;  // 0: the depth
  int32_t mode;
  const char* torch;  // a request of torch_peer.py, or null
};

constexpr Format kW4A16 = {"W4A16 g128", GATUN_U4, GATUN_BOOK_NONE,    GATUN_ZERO_NONE,
                           GATUN_F16,    128,      GATUN_QMATMUL_BF16, "int4_mm"};
constexpr Format kW4ZeroA16 = {"W4A16 zero g128", GATUN_U4, GATUN_BOOK_NONE,    GATUN_ZERO_INTEGER,
                               GATUN_F16,         128,      GATUN_QMATMUL_BF16, nullptr};
constexpr Format kW8A16 = {"W8A16 row", GATUN_I8, GATUN_BOOK_NONE,    GATUN_ZERO_NONE,
                           GATUN_F32,   0,        GATUN_QMATMUL_BF16, "int8_weight_mm"};
constexpr Format kW4A8 = {"W4A8 g128", GATUN_U4, GATUN_BOOK_NONE,        GATUN_ZERO_NONE,
                          GATUN_F16,   128,      GATUN_QMATMUL_INT8_ROW, nullptr};
constexpr Format kW8A8 = {"W8A8 row", GATUN_I8, GATUN_BOOK_NONE,        GATUN_ZERO_NONE,
                          GATUN_F32,  0,        GATUN_QMATMUL_INT8_ROW, "int_mm"};
constexpr Format kF8 = {"FP8 e4m3 row",     GATUN_F8E4M3,  GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_F32, 0,
                        GATUN_QMATMUL_BF16, "scaled_mm_f8"};
constexpr Format kNf4 = {"NF4 g64", GATUN_U4, GATUN_BOOK_NF4,     GATUN_ZERO_NONE,
                         GATUN_F32, 64,       GATUN_QMATMUL_BF16, nullptr};

// Rows with a format on a square matrix of weights.
struct Work {
  Format format;
  int64_t size;
  std::vector<int64_t> rows, quick_rows;
};

const std::vector<Work>& works() {
  static const std::vector<Work> all = {
      {kW4A16, 16384, {1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096}, {1, 2, 4, 8, 16, 128, 1024, 4096}},
      {kW8A8, 16384, {1, 16, 128, 1024, 4096}, {16, 1024, 4096}},
      {kW8A16, 16384, {1, 16, 128, 1024, 4096}, {1, 16, 1024}},
      {kW4A8, 16384, {1, 16, 128, 1024, 4096}, {1, 16, 1024}},
      {kF8, 16384, {1, 16, 128, 1024, 4096}, {1, 16, 1024}},
      {kNf4, 16384, {1, 16, 128, 1024, 4096}, {1, 16, 1024}},
      {kW4ZeroA16, 16384, {1, 16, 128, 1024}, {16}},
      {kW4A16, 4096, {1, 16, 128, 1024, 4096}, {1, 16, 1024}},
      {kW8A8, 4096, {1, 16, 128, 1024, 4096}, {16, 1024}},
  };
  return all;
}

// What is to be reached, of a format and rows on 16384 x 16384: times cuBLAS in bf16, % of the bandwidth.
struct Goal {
  double ratio = 0, percent = 0;
};

Goal goal_of(const Work& work, int64_t rows) {
  const std::string name = work.format.name;
  if (name == kW4A16.name && work.size == 16384) {
    if (rows <= 16) return {3.3, 75};
    if (rows == 128) return {1.3, 0};
    if (rows >= 1024) return {0.95, 0};
  }
  if (name == kW8A8.name && rows >= 1024) return {1.5, 0};
  return {};
}

// A matrix of weights in bf16, and what it became.
struct Weights {
  gatun_qmatmul_weights description{};
  Memory codes, scales, zeros;
  int64_t codes_row, scales_row, zeros_row;  // bytes
  std::vector<Memory> packed;                // the same, several times the cache

  Weights(const Session& session, const Format& format, int64_t columns, int64_t depth, const Memory& w) {
    gatun_quantize_params p{};
    p.struct_size = sizeof(p);
    p.x_dtype = GATUN_BF16;
    p.code_dtype = format.code_dtype;
    p.book = format.book;
    p.zero_point = format.zero_point;
    p.scale_dtype = format.scale_dtype;
    p.tensor_scale = 1;
    p.rows = columns;
    p.depth = p.x_row_stride = depth;
    p.group = format.group == 0 ? depth : format.group;
    p.group_rows = p.x_column_stride = 1;
    description = {
        sizeof(description), p.code_dtype, p.book, p.zero_point, p.scale_dtype, 0, 1, 1, columns, depth, p.group};
    const int64_t groups = (depth + p.group - 1) / p.group;
    codes_row = dtype_bytes(p.code_dtype, depth);
    scales_row = dtype_bytes(p.scale_dtype, groups);
    zeros_row = p.zero_point == GATUN_ZERO_NONE ? 0 : groups;
    codes = Memory(columns * codes_row);
    scales = Memory(columns * scales_row);
    zeros = Memory(columns * zeros_row);
    Memory faults(sizeof(gatun_cuda_faults));
    int64_t bytes = 0;
    must(gatun_cuda_quantize_workspace_bytes(&p, &bytes), "gatun_cuda_quantize_workspace_bytes");
    Memory workspace(bytes);
    must(gatun_cuda_quantize(&p, w.get(), nullptr, nullptr, codes.get(), scales.get(), zeros.get(),
                             faults.as<gatun_cuda_faults>(), workspace.get(), bytes, stream()),
         "gatun_cuda_quantize");
    must(gatun_cuda_qmatmul_packed_bytes(&description, &bytes), "gatun_cuda_qmatmul_packed_bytes");
    packed.emplace_back(bytes);
    must(gatun_cuda_qmatmul_pack(&description, codes.get(), nullptr, scales.get(), zeros.get(), packed[0].get(), bytes,
                                 faults.as<gatun_cuda_faults>(), stream()),
         "gatun_cuda_qmatmul_pack");
    while (static_cast<int64_t>(packed.size()) < turns_for(bytes, session.device.l2_bytes)) {
      packed.emplace_back(bytes);
      copy_on_device(packed.back().get(), packed[0].get(), bytes);
    }
    wait();
  }
};

// One product by us.
struct Product {
  const Weights& weights;
  const Memory& x;
  gatun_qmatmul_params params{};
  Memory y, workspace;

  Product(const Weights& the_weights, const Memory& the_x, int32_t mode, int64_t rows)
      : weights(the_weights), x(the_x) {
    const int64_t columns = weights.description.columns, depth = weights.description.depth;
    params.struct_size = sizeof(params);
    params.x_dtype = params.y_dtype = GATUN_BF16;
    params.mode = mode;
    params.rows = rows;
    params.columns = params.y_row_stride = params.residual_row_stride = params.column_end = columns;
    params.depth = params.x_row_stride = depth;
    int64_t bytes = 0;
    must(gatun_cuda_qmatmul_workspace_bytes(&params, &weights.description, 0, &bytes),
         "gatun_cuda_qmatmul_workspace_bytes");
    workspace = Memory(bytes);
    y = Memory(rows * columns * 2);
  }

  void run(int64_t turn) {
    const Memory& packed = weights.packed[static_cast<size_t>(turn)];
    must(gatun_cuda_qmatmul(&params, &weights.description, x.get(), packed.get(), packed.bytes(), nullptr, nullptr,
                            y.get(), workspace.get(), workspace.bytes(), stream()),
         "gatun_cuda_qmatmul");
  }

  // ||y - expected|| / ||expected|| over sampled outputs, or nothing if one is beyond the definition's bound.
  std::optional<double> error() const {
    const std::vector<int64_t> rows = sampled_rows(params.rows), columns = sampled_columns(params.columns);
    const auto x_rows = rows_of(x, params.depth * 2, rows);
    const auto codes = rows_of(weights.codes, weights.codes_row, columns),
               scales = rows_of(weights.scales, weights.scales_row, columns),
               zeros = rows_of(weights.zeros, weights.zeros_row, columns);
    qmatmul::ReferenceWeights w{weights.description, codes.data(), scales.data(), zeros.data()};
    gatun_qmatmul_params p = params;
    p.rows = static_cast<int64_t>(rows.size());
    w.description.columns = p.columns = p.column_end = p.y_row_stride = static_cast<int64_t>(columns.size());
    const qmatmul::Reference reference = qmatmul::reference(p, x_rows.data(), w, nullptr, nullptr);
    const double groups = std::ceil(static_cast<double>(params.depth) / static_cast<double>(weights.description.group));
    std::vector<double> bounds;
    for (size_t i = 0; i < reference.y.size(); ++i) {
      // The definition's, and a unit in the last place of a bf16, which has 8 bits.
      bounds.push_back(std::ldexp((static_cast<double>(params.depth) + 2 * groups + 8) * reference.magnitude[i], -23) +
                       reference.fixed_point[i] + std::ldexp(std::fabs(reference.y[i]), -7));
    }
    return error_of(y, params.rows, params.columns, reference.y, bounds);
  }

  std::string kernel() const {
    return first_line([&](char* text, int64_t capacity) {
      return gatun_cuda_qmatmul_explain(&params, &weights.description, 0, text, capacity);
    });
  }
};

void measure(Session& session, const Work& work, const Weights& weights, const std::vector<Memory>& plain,
             int64_t rows) {
  const int64_t columns = weights.description.columns, depth = weights.description.depth;
  const std::string shape = std::to_string(columns) + "x" + std::to_string(depth) + " m=" + std::to_string(rows);
  const std::string name = std::string(work.format.name) + " " + shape;
  PlainProduct plain_product(session, plain, rows, columns, depth);
  Product product(weights, plain_product.x(), work.format.mode, rows);
  product.run(0);
  const std::optional<double> error = product.error();
  if (!error) {
    std::printf("WRONG: %s, %s\n", name.c_str(), product.kernel().c_str());
    session.failed = true;
    return;
  }
  const Compared compared = compare_with_cublas(
      session,
      {"qmatmul", name, product.kernel(), rows, columns, depth, weights.packed[0].bytes(),
       static_cast<int64_t>(weights.packed.size()), *error, [&](int64_t turn) { product.run(turn); }},
      plain_product, static_cast<int64_t>(plain.size()));
  const Goal goal = goal_of(work, rows);
  if (goal.ratio > 0) {
    session.records.add(Target{name, "x cuBLAS bf16", goal.ratio, compared.ours.ratio_to_peer});
  }
  if (goal.percent > 0) {
    session.records.add(Target{name, "% of read bandwidth", goal.percent, compared.ours.percent_of_limit});
  }

  const std::string sizes = " " + std::to_string(rows) + " " + std::to_string(columns) + " " + std::to_string(depth);
  std::vector<std::string> requests;
  if (work.format.name == std::string(kW4A16.name)) requests.push_back("matmul_bf16" + sizes);
  if (work.format.torch != nullptr) {
    requests.push_back(work.format.torch + sizes + (work.format.torch == std::string("int4_mm") ? " 128" : ""));
  }
  for (const std::string& request : requests) {
    compare_with_torch(session, "qmatmul", name, request, compared.cublas_seconds);
  }
}

}  // namespace

void bench_qmatmul(Session& session) {
  print_heading("qmatmul");
  for (const Work& work : works()) {
    const int64_t columns = session.is_tiny() ? 96 : work.size, depth = session.is_tiny() ? 128 : work.size;
    const std::vector<Memory> plain = plain_weights(session, columns, depth);
    const Weights weights(session, work.format, columns, depth, plain[0]);
    for (const int64_t rows : session.scale == Scale::full ? work.rows : work.quick_rows) {
      if (session.is_tiny() && rows > 16) continue;
      measure(session, work, weights, plain, rows);
      session.save();
    }
  }
}

}  // namespace gatun::bench
