// Products with N:M sparse weights, beside cuBLAS in bf16 on the same shape with all weights, cuSPARSELt through
// PyTorch, and the bandwidth of reading.
#include <cmath>
#include <cstdio>
#include <vector>

#include "base/dtype.h"
#include "gatun/cuda_nm_format.h"
#include "gatun/cuda_nm_matmul.h"
#include "kernels.h"
#include "matmul.h"
#include "nm_format/layout.h"
#include "nm_matmul/reference.h"

namespace gatun::bench {
namespace {

struct Format {
  const char* name;
  int32_t n, m, value_dtype, scale_dtype;
  int64_t group;  // 0: the depth
  int32_t mode;
  const char* torch;  // a request of torch_peer.py, or null
};

constexpr Format kBf16 = {"2:4 bf16", 2, 4, GATUN_BF16, 0, 0, GATUN_NM_BF16, "sparse_mm_bf16"};
constexpr Format kI8 = {"2:4 int8 row", 2, 4, GATUN_I8, GATUN_F32, 0, GATUN_NM_INT8, "sparse_mm_i8"};
constexpr Format kU4 = {"2:4 int4 g128", 2, 4, GATUN_U4, GATUN_F32, 128, GATUN_NM_BF16, nullptr};
constexpr Format kOneOfFour = {"1:4 bf16", 1, 4, GATUN_BF16, 0, 0, GATUN_NM_BF16, nullptr};
constexpr Format kU4OfEight = {"2:8 int4 g128", 2, 8, GATUN_U4, GATUN_F32, 128, GATUN_NM_BF16, nullptr};

// Rows with a format on a square matrix of weights.
struct Work {
  Format format;
  int64_t size;
  std::vector<int64_t> rows, quick_rows;
};

const std::vector<Work>& works() {
  static const std::vector<Work> all = {
      {kBf16, 16384, {1, 16, 128, 1024, 4096}, {1, 1024, 4096}},
      {kBf16, 4096, {1, 16, 128, 1024, 4096}, {1024, 4096}},
      {kU4, 16384, {1, 2, 4, 8, 16, 32, 128, 1024}, {1, 4, 16, 1024}},
      {kU4, 4096, {1, 16, 128}, {1, 16}},
      {kI8, 16384, {1, 16, 1024, 4096}, {1, 4096}},
      {kOneOfFour, 16384, {1, 16, 1024}, {1, 1024}},
      {kU4OfEight, 16384, {1, 16, 1024}, {1}},
  };
  return all;
}

// What is to be reached on 16384 x 16384: times cuBLAS in bf16, times cuSPARSELt.
struct Goal {
  double cublas = 0, cusparselt = 0;
};
Goal goal_of(const Work& work, int64_t rows) {
  if (work.size != 16384) return {};
  if (work.format.name == kBf16.name && rows >= 1024) return {1.3, 1};
  if (work.format.name == kU4.name && rows <= 16) return {4, 0};
  return {};
}

// What is kept of weights in bf16, as bf16 or as any codes, and packed several times the cache.
struct Weights {
  gatun_nm_weights description{};
  nm_format::Layout layout{};
  Memory values, indices, scales;
  int64_t scales_row;
  std::vector<Memory> packed;

  Weights(const Session& session, const Format& format, int64_t columns, int64_t depth, const Memory& w) {
    gatun_nm_format kept = {sizeof(kept), format.n, format.m, 1, GATUN_BF16, 0, columns, depth, 0};
    gatun_prune_params prune{};
    prune.struct_size = sizeof(prune);
    prune.w_dtype = GATUN_BF16;
    prune.n = format.n;
    prune.m = format.m;
    prune.vector = 1;
    prune.columns = columns;
    prune.depth = depth;
    must(nm_format::layout_of(&kept, &layout), "layout_of");
    values = Memory(layout.values_bytes);
    indices = Memory(layout.indices_bytes);
    Memory faults(sizeof(gatun_cuda_nm_format_faults) + sizeof(gatun_cuda_nm_faults));
    must(gatun_cuda_nm_prune(&kept, &prune, w.get(), nullptr, nullptr, values.get(), indices.as<uint8_t>(),
                             faults.as<gatun_cuda_nm_format_faults>(), stream()),
         "gatun_cuda_nm_prune");
    // Codes are the first bytes of the values, which are any.
    kept.value_dtype = format.value_dtype;
    must(nm_format::layout_of(&kept, &layout), "layout_of");
    const bool scaled = format.scale_dtype != 0;
    const int64_t group = !scaled ? 0 : format.group == 0 ? depth : format.group;
    const int64_t groups = scaled ? (depth + group - 1) / group : 0;
    description = {sizeof(description),
                   format.n,
                   format.m,
                   1,
                   format.value_dtype,
                   0,
                   format.scale_dtype,
                   GATUN_NM_DENSE_NEVER,
                   0,
                   columns,
                   depth,
                   group};
    scales_row = 4 * groups;
    scales = Memory(columns * scales_row);
    if (scaled) must(fill(GATUN_F32, columns * groups, 29, scales.get(), stream()), "fill");
    int64_t bytes = 0;
    must(gatun_cuda_nm_packed_bytes(&description, &bytes), "gatun_cuda_nm_packed_bytes");
    packed.emplace_back(bytes);
    must(gatun_cuda_nm_pack(&description, values.get(), indices.as<uint8_t>(), scaled ? scales.get() : nullptr, nullptr,
                            packed[0].get(), bytes, faults.as<gatun_cuda_nm_faults>(), stream()),
         "gatun_cuda_nm_pack");
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
  gatun_nm_matmul_params params{};
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
    must(gatun_cuda_nm_matmul_workspace_bytes(&params, &weights.description, 0, &bytes),
         "gatun_cuda_nm_matmul_workspace_bytes");
    workspace = Memory(bytes);
    y = Memory(rows * columns * 2);
  }

  void run(int64_t turn) {
    const Memory& packed = weights.packed[static_cast<size_t>(turn)];
    must(gatun_cuda_nm_matmul(&params, &weights.description, x.get(), packed.get(), packed.bytes(), nullptr, nullptr,
                              y.get(), workspace.get(), workspace.bytes(), stream()),
         "gatun_cuda_nm_matmul");
  }

  // ||y - expected|| / ||expected|| over sampled outputs, or nothing if one is beyond the definition's bound.
  std::optional<double> error() const {
    const std::vector<int64_t> rows = sampled_rows(params.rows), columns = sampled_columns(params.columns);
    const auto x_rows = rows_of(x, params.depth * 2, rows);
    const nm_format::Layout& l = weights.layout;
    const auto values = rows_of(weights.values, l.values_row, columns),
               indices = rows_of(weights.indices, l.indices_row, columns),
               scales = rows_of(weights.scales, weights.scales_row, columns);
    nm_matmul::ReferenceWeights w{weights.description, values.data(), indices.data(), scales.data()};
    gatun_nm_matmul_params p = params;
    p.rows = static_cast<int64_t>(rows.size());
    w.description.columns = p.columns = p.column_end = p.y_row_stride = static_cast<int64_t>(columns.size());
    const nm_matmul::Reference reference = nm_matmul::reference(p, x_rows.data(), w, nullptr, nullptr);
    const double groups = static_cast<double>(weights.scales_row / 4 + 1);
    std::vector<double> bounds;
    for (size_t i = 0; i < reference.y.size(); ++i) {
      // The definition's, and a unit in the last place of a bf16, which has 8 bits.
      bounds.push_back(std::ldexp((static_cast<double>(l.slots) + 2 * groups + 8) * reference.magnitude[i], -23) +
                       reference.small[i] + std::ldexp(std::fabs(reference.y[i]), -7));
    }
    return error_of(y, params.rows, params.columns, reference.y, bounds);
  }

  std::string kernel() const {
    return first_line([&](char* text, int64_t capacity) {
      return gatun_cuda_nm_matmul_explain(&params, &weights.description, 0, text, capacity);
    });
  }
};

void measure(Session& session, const Work& work, const Weights& weights, const std::vector<Memory>& plain,
             int64_t rows) {
  const int64_t columns = weights.description.columns, depth = weights.description.depth;
  const std::string name = std::string(work.format.name) + " " + std::to_string(columns) + "x" + std::to_string(depth) +
                           " m=" + std::to_string(rows);
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
      {"nm_matmul", name, product.kernel(), rows, columns, depth, weights.packed[0].bytes(),
       static_cast<int64_t>(weights.packed.size()), *error, [&](int64_t turn) { product.run(turn); }},
      plain_product, static_cast<int64_t>(plain.size()));
  const Goal goal = goal_of(work, rows);
  if (goal.cublas > 0) {
    session.records.add(Target{name, "x cuBLAS bf16", goal.cublas, compared.ours.ratio_to_peer});
  }
  if (work.format.torch == nullptr) return;
  const double theirs = compare_with_torch(session, "nm_matmul", name,
                                           std::string(work.format.torch) + " " + std::to_string(rows) + " " +
                                               std::to_string(columns) + " " + std::to_string(depth),
                                           compared.cublas_seconds);
  if (goal.cusparselt > 0 && theirs > 0) {
    session.records.add(Target{name, "x cuSPARSELt", goal.cusparselt, theirs / compared.seconds});
  }
}

}  // namespace

void bench_nm_matmul(Session& session) {
  print_heading("nm_matmul");
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
