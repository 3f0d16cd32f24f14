// Gradients through N:M sparse weights and the dense products beside them, on one thread.
//
//   <row>/<rows>x<columns>x<depth>                             c [rows, columns]
//   <row>/x|values|dense/<n>:<m>/<columns>x<depth>/m:<rows>    dense: with decay 0.5
//
// Operations are those of kept weights (dense: of all); limit% compares with the fma limit.
#include <random>
#include <string>

#include "base/nm.h"
#include "bench.h"
#include "gatun/nm_backward.h"
#include "gemm/gemm.h"
#include "nm_backward/table.h"

namespace gatun::bench {
namespace {

Memory normals(int64_t count) {
  Memory memory = allocate(count * 4);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  float* const values = reinterpret_cast<float*>(memory.get());
  for (int64_t i = 0; i < count; ++i) values[i] = normal(random);
  return memory;
}

float* floats(const Memory& memory) { return reinterpret_cast<float*>(memory.get()); }

struct Shape {
  int64_t rows, columns, depth;
};

void multiply(benchmark::State& state, const KernelRow<gemm::Kernel>& row, const Shape& s) {
  const Memory a = normals(s.rows * s.depth), b = normals(s.depth * s.columns), c = allocate(s.rows * s.columns * 4);
  const gemm::Product product = {floats(a), s.depth,   1,      floats(b), s.columns, 1,
                                 floats(c), s.columns, s.rows, s.columns, s.depth,   false};
  const double operations = 2.0 * static_cast<double>(s.rows * s.columns * s.depth);
  run(state, {0, operations}, operations / limit(GATUN_LIMIT_FMA, row.tier),
      [&] { return gemm::run(*row.kernel, product); });
}

struct Sparse {
  int32_t n, m;
  int64_t columns, depth, rows;
};

// Group g of row r keeps n positions from (g + r) % m on, which wrap around.
Memory make_indices(const Sparse& s) {
  const int32_t bits = index_bits(s.m);
  const int64_t kept = s.depth / s.m * s.n, row_bytes = index_row_bytes(kept, s.m);
  Memory indices = allocate(s.columns * row_bytes);
  std::fill_n(indices.get(), s.columns * row_bytes, uint8_t{0});
  for (int64_t r = 0; r < s.columns; ++r) {
    int64_t bit = r * row_bytes * 8;
    for (int64_t group = 0; group < s.depth / s.m; ++group) {
      for (int64_t position = 0; position < s.m; ++position) {
        if ((position + group + r) % s.m >= s.n) continue;
        indices.get()[bit / 8] |= static_cast<uint8_t>(position << bit % 8);
        bit += bits;
      }
    }
  }
  return indices;
}

void gradient(benchmark::State& state, const KernelRow<nm_backward::Kernel>& row, const Sparse& s,
              const std::string& which) {
  gatun_nm_backward_params p{};
  p.struct_size = sizeof(p);
  p.n = s.n;
  p.m = s.m;
  p.vector = p.threads = 1;
  p.value_dtype = GATUN_F32;
  p.decay = 0.5f;
  p.rows = s.rows;
  p.columns = p.dy_row_stride = s.columns;
  p.depth = p.x_row_stride = s.depth;
  const int64_t kept = s.depth / s.m * s.n;
  const Memory dy = normals(s.rows * s.columns), x = normals(s.rows * s.depth), values = normals(s.columns * kept);
  const Memory indices = make_indices(s), out = allocate((s.rows + s.columns) * s.depth * 4);
  const double operations =
      2.0 * static_cast<double>(s.rows * s.columns) * static_cast<double>(which == "dense" ? s.depth : kept);
  run(state, {0, operations}, operations / limit(GATUN_LIMIT_FMA, row.tier), [&] {
    if (which == "x") {
      return nm_backward::run_x(row.tier, &p, floats(dy), values.get(), indices.get(), floats(out)) == GATUN_OK;
    }
    const auto weights = which == "values" ? nm_backward::run_values : nm_backward::run_dense;
    return weights(row.tier, &p, floats(dy), floats(x), indices.get(), floats(out)) == GATUN_OK;
  });
}

}  // namespace

void register_nm_backward() {
  for (const KernelRow<gemm::Kernel>& row : gemm::table()) {
    if (!tier_supported(row.tier)) continue;
    for (const Shape& s : {Shape{512, 1024, 1024}, Shape{512, 128, 128}, Shape{1024, 4096, 512}}) {
      const std::string name = std::string(row.name) + "/" + std::to_string(s.rows) + "x" + std::to_string(s.columns) +
                               "x" + std::to_string(s.depth);
      benchmark::RegisterBenchmark(name.c_str(), multiply, row, s)->Unit(benchmark::kMillisecond);
    }
  }
  for (const KernelRow<nm_backward::Kernel>& row : nm_backward::table()) {
    if (!tier_supported(row.tier)) continue;
    for (const std::string which : {"x", "values", "dense"}) {
      for (const auto& [n, m] : {std::pair<int32_t, int32_t>{2, 4}, {1, 4}, {1, 8}, {4, 8}}) {
        for (const int64_t rows : {64, 512}) {
          const Sparse s = {n, m, 4096, 4096, rows};
          const std::string name = std::string(row.name) + "/" + which + "/" + std::to_string(n) + ":" +
                                   std::to_string(m) + "/4096x4096/m:" + std::to_string(rows);
          benchmark::RegisterBenchmark(name.c_str(), gradient, row, s, which)->Unit(benchmark::kMillisecond);
        }
      }
    }
  }
}

}  // namespace gatun::bench
