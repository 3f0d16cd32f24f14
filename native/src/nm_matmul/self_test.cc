#include "self_test/self_test.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/dtype.h"
#include "nm_matmul/reference.h"
#include "nm_matmul/table.h"

namespace gatun::nm_matmul {
namespace {

constexpr int64_t kColumns = 70, kDepth = 103;  // a full panel and a narrow one; a short last group

struct Pattern {
  int32_t n, m;
};
constexpr Pattern kPatterns[] = {{2, 4}, {1, 4}, {3, 8}, {7, 32}, {4, 4}};

// Random weights in the canonical form, packed.
struct SmallWeights {
  gatun_nm_weights description;
  std::vector<uint8_t> values, indices, zero_points, packed;
  std::vector<float> scales;

  SmallWeights(SmallValues& random, const gatun_nm_weights& w)
      : description(w), packed(static_cast<size_t>(Layout(w, stores_dense(w)).bytes())), scales(kColumns) {
    const Layout layout(w, false);
    values.resize(static_cast<size_t>(kColumns * layout.value_row_bytes()));
    indices.resize(static_cast<size_t>(kColumns * layout.index_row_bytes()));
    zero_points.assign(kColumns, 5);
    for (int64_t row = 0; row < kColumns; ++row) {
      fill_indices(random, layout, &indices[static_cast<size_t>(row * layout.index_row_bytes())]);
    }
    fill_values(random);
    std::generate(scales.begin(), scales.end(), [&] { return random.next(); });
  }
  const uint8_t* zero_point_data() const {
    return description.zero_point == GATUN_ZERO_NONE ? nullptr : zero_points.data();
  }
  const float* scale_data() const { return description.scale_dtype == 0 ? nullptr : scales.data(); }
  bool pack() {
    return gatun_nm_pack(&description, values.data(), indices.data(), scale_data(), zero_point_data(), packed.data(),
                         static_cast<int64_t>(packed.size())) == GATUN_OK;
  }

 private:
  // Ascending in every group: each index is the one before and 1, or now and then 2.
  void fill_indices(SmallValues& random, const Layout& layout, uint8_t* row) const {
    const int bits = layout.canonical_index_bits(), per_byte = 8 / bits;
    int shift = 0;
    for (int64_t slot = 0; slot < layout.kept_depth(); ++slot) {
      const int i = static_cast<int>(slot % layout.kept());
      if (i == 0) shift = 0;
      if (random.next() > 0 && shift < layout.m() - layout.kept()) ++shift;
      uint8_t& byte = row[slot / per_byte];
      byte = static_cast<uint8_t>(byte | (i + shift) << slot % per_byte * bits);
    }
  }

  // Any bytes are codes. Values beyond the depth, which should be 0, are multiplied with no x.
  void fill_values(SmallValues& random) {
    if (description.value_dtype == GATUN_I8 || description.value_dtype == GATUN_U4) {
      std::generate(values.begin(), values.end(),
                    [&] { return static_cast<uint8_t>(static_cast<int8_t>(127 * random.next())); });
      return;
    }
    const size_t element = static_cast<size_t>(dtype_bytes(description.value_dtype, 1));
    for (size_t at = 0; at < values.size(); at += element) {
      const float value = random.next();
      const uint16_t half = description.value_dtype == GATUN_F16 ? f32_to_f16(value) : f32_to_bf16(value);
      std::memcpy(&values[at], element == 4 ? static_cast<const void*>(&value) : &half, element);
    }
  }
};

// The bounds of gatun/nm_matmul.h.
bool agrees(const TableRow& row, const gatun_nm_weights& w, int64_t rows) {
  SmallValues random;
  SmallWeights weights(random, w);
  if (!weights.pack()) return false;
  std::vector<float> x(static_cast<size_t>(rows * kDepth)), bias(kColumns), y(static_cast<size_t>(rows * kColumns));
  std::generate(x.begin(), x.end(), [&] { return random.next(); });
  std::generate(bias.begin(), bias.end(), [&] { return random.next(); });
  const gatun_nm_matmul_params params = params_for(w, rows, mode_of(row));
  const bool dense = stores_dense(w);
  const Layout layout(w, dense);
  if (run(row, {params, layout, x.data(), weights.packed.data(), bias.data(), nullptr, y.data()}) != GATUN_OK) {
    return false;
  }
  const Reference expected =
      reference(params, x.data(),
                {w, weights.values.data(), weights.indices.data(), weights.scale_data(), weights.zero_point_data()},
                bias.data(), nullptr, dense);
  const double steps = reference_steps(w, params.mode, dense);
  for (size_t i = 0; i < y.size(); ++i) {
    const double allowed = 0x1p-23 * (steps + 9) * expected.magnitude[i] + expected.small[i];
    if (!(std::fabs(y[i] - expected.y[i]) <= allowed)) return false;
  }
  return true;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(tier, [&](const TableRow& row) {
    int cases = 0, wrong = 0;
    for (const Pattern& pattern : kPatterns) {
      gatun_nm_weights w = weights_for(row, kColumns, kDepth);
      w.n = pattern.n;
      w.m = pattern.m;
      w.dense = pattern.n == pattern.m ? GATUN_NM_DENSE_IF_FASTER : GATUN_NM_DENSE_NEVER;
      if (!row.takes(row.x, Layout(w, stores_dense(w)))) continue;
      for (const int64_t rows : {1, 9, 70}) {
        for (const int32_t zero_point : {GATUN_ZERO_NONE, GATUN_ZERO_INTEGER}) {
          w.zero_point = zero_point;
          if (zero_point != GATUN_ZERO_NONE && row.values != GATUN_U4) continue;
          ++cases;
          wrong += !agrees(row, w, rows);
        }
      }
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::nm_matmul
