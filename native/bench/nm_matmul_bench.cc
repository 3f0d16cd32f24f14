// Every row of nm_matmul's table on layers of a model, as the entry runs it on one thread: activations are packed, and
// quantized where the row multiplies integers, inside the time.
//
//   <row>/<n>:<m>/<columns>x<depth>/m:<rows of x>
//
// Operations count kept weights, bytes the packed form. U4 has groups of 64, I8 a scale a row.
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "bench.h"
#include "gatun/quantize.h"
#include "nm_matmul/table.h"

namespace gatun::bench {
namespace {

using nm_matmul::Layout;
using nm_matmul::TableRow;

struct Pattern {
  int32_t n, m;
};
constexpr Pattern kPatterns[] = {{2, 4}, {1, 4}, {1, 8}, {4, 8}, {1, 16}};

gatun_nm_weights describe(const Layer& shape, const Pattern& pattern, int32_t values) {
  const bool codes = values == GATUN_I8 || values == GATUN_U4;
  gatun_nm_weights w{};
  w.struct_size = sizeof(w);
  w.n = pattern.n;
  w.m = pattern.m;
  w.vector = 1;
  w.value_dtype = values;
  w.scale_dtype = codes ? GATUN_F16 : 0;
  w.columns = shape.columns;
  w.depth = shape.depth;
  w.group = values == GATUN_U4 ? 64 : codes ? shape.depth : 0;
  return w;
}

// Random weights of one description, packed once. Any bits are positions but for their order: positions of a group are
// n different ones in a circle.
class Weights {
 public:
  explicit Weights(const gatun_nm_weights& w) : description_(w), layout_(w, false), copies_(layout_.bytes()) {
    std::mt19937 random(1);
    const gatun_nm_format format{
        sizeof(gatun_nm_format), w.n, w.m, w.vector, w.value_dtype, 1, w.columns, w.depth, w.group};
    int64_t dense = 0, values = 0, indices = 0, mask_bytes = 0;
    good_ = gatun_nm_bytes(&format, &dense, &values, &indices, &mask_bytes) == GATUN_OK;
    std::vector<uint8_t> weights(static_cast<size_t>(dense)), kept(static_cast<size_t>(values)),
        places(static_cast<size_t>(indices)), mask(static_cast<size_t>(mask_bytes));
    // 0x38 to 0x3b in a float's highest byte: a number from 2^-15 to 1.
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<uint8_t>(0x38 | (random() & 3));
    for (int64_t group = 0; group < w.columns * w.depth / w.m; ++group) {
      const int64_t turn = random() % static_cast<uint32_t>(w.m);
      for (int64_t i = 0; i < w.n; ++i) {
        const int64_t bit = group * w.m + (turn + i) % w.m;
        mask[static_cast<size_t>(bit / 8)] |= static_cast<uint8_t>(1 << bit % 8);
      }
    }
    const size_t scales = w.group == 0 ? 0 : static_cast<size_t>(w.columns * (w.depth / w.group));
    const std::vector<uint16_t> scale(scales, f32_to_f16(0x1p-8f));
    good_ = good_ &&
            gatun_nm_compress(&format, weights.data(), mask.data(), nullptr, kept.data(), places.data()) == GATUN_OK &&
            gatun_nm_pack(&description_, kept.data(), places.data(), scale.data(), nullptr, copies_.first(),
                          layout_.bytes()) == GATUN_OK;
  }

  bool good() const { return good_; }
  const gatun_nm_weights& description() const { return description_; }
  const Layout& layout() const { return layout_; }
  Copies& copies() { return copies_; }

 private:
  const gatun_nm_weights description_;
  const Layout layout_;
  Copies copies_;
  bool good_;
};

void multiply(benchmark::State& state, const TableRow& row, const gatun_nm_weights& description, int64_t rows) {
  Weights& w = of_last_benchmark<Weights>(description);
  if (!w.good()) return state.SkipWithError(gatun_last_error());
  w.copies().rotate(rows);
  const std::vector<float> x = normal_values(rows * description.depth);
  std::vector<float> y(static_cast<size_t>(rows * description.columns));

  gatun_nm_matmul_params params{};
  params.struct_size = sizeof(params);
  params.x_dtype = params.y_dtype = GATUN_F32;
  params.mode = row.x == GATUN_F32 ? GATUN_NM_F32 : row.x == GATUN_BF16 ? GATUN_NM_BF16 : GATUN_NM_INT8;
  params.threads = 1;
  params.rows = rows;
  params.columns = params.column_end = params.y_row_stride = description.columns;
  params.depth = params.x_row_stride = description.depth;
  const double kept =
      static_cast<double>(description.columns) * static_cast<double>(description.depth) * description.n / description.m;
  const Work work{static_cast<double>(w.layout().bytes()), 2 * kept * static_cast<double>(rows)};
  const gatun_limit rate = row.x == GATUN_I8              ? GATUN_LIMIT_INT8_DOT
                           : row.kernel->chunk_slots == 2 ? GATUN_LIMIT_BF16_DOT
                                                          : GATUN_LIMIT_FMA;
  const double limit_seconds =
      std::max(work.bytes / limit(GATUN_LIMIT_READ, active_tier()), work.operations / limit(rate, row.tier));
  run(state, work, limit_seconds, [&] {
    return nm_matmul::run(row, {params, w.layout(), x.data(), w.copies().next(), nullptr, nullptr, y.data()}) ==
           GATUN_OK;
  });
}

}  // namespace

void register_nm_matmul() {
  for (const Layer& shape : kLayers) {
    for (const Pattern& pattern : kPatterns) {
      for (const TableRow& row : nm_matmul::table()) {
        const gatun_nm_weights description = describe(shape, pattern, row.values);
        if (!tier_supported(row.tier) || !row.takes(row.x, Layout(description, false))) continue;
        for (const int64_t rows : kRows) {
          if (rows < row.least_rows) continue;
          const std::string name = std::string(row.name) + "/" + std::to_string(pattern.n) + ":" +
                                   std::to_string(pattern.m) + "/" + std::to_string(shape.columns) + "x" +
                                   std::to_string(shape.depth) + "/m:" + std::to_string(rows);
          benchmark::RegisterBenchmark(name.c_str(), multiply, row, description, rows)->Unit(benchmark::kMillisecond);
        }
      }
    }
  }
}

}  // namespace gatun::bench
