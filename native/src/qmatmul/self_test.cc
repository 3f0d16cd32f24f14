#include "self_test/self_test.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "qmatmul/reference.h"
#include "qmatmul/table.h"

namespace gatun::qmatmul {
namespace {

constexpr int64_t kColumns = 70, kDepth = 100, kGroup = 32;  // a full panel and a narrow one; a short last group
constexpr int64_t kGroups = (kDepth + kGroup - 1) / kGroup;

// Random codes and scales, packed.
struct SmallWeights {
  gatun_qmatmul_weights description;
  std::vector<uint8_t> codes, zero_points, packed;
  std::vector<float> scales;

  SmallWeights(SmallValues& values, int32_t code_dtype, bool asymmetric)
      : description{sizeof(description),
                    code_dtype,
                    GATUN_BOOK_NONE,
                    asymmetric ? GATUN_ZERO_INTEGER : GATUN_ZERO_NONE,
                    GATUN_F32,
                    0,
                    1,
                    1.0f,
                    kColumns,
                    kDepth,
                    kGroup},
        codes(static_cast<size_t>(kColumns * dtype_bytes(code_dtype, kDepth))),
        zero_points(static_cast<size_t>(kColumns * kGroups)),
        packed(static_cast<size_t>(Layout(description).bytes())),
        scales(static_cast<size_t>(kColumns * kGroups)) {
    std::generate(codes.begin(), codes.end(),
                  [&] { return static_cast<uint8_t>(static_cast<int8_t>(127 * values.next())); });
    std::generate(zero_points.begin(), zero_points.end(), [&] { return static_cast<uint8_t>(8 + 7 * values.next()); });
    std::generate(scales.begin(), scales.end(), [&] { return values.next(); });
  }
  const uint8_t* zero_point_data() const {
    return description.zero_point != GATUN_ZERO_NONE ? zero_points.data() : nullptr;
  }
  bool pack() {
    return gatun_qmatmul_pack(&description, codes.data(), nullptr, scales.data(), zero_point_data(), packed.data(),
                              static_cast<int64_t>(packed.size())) == GATUN_OK;
  }
};

// The bound of tile_i8.h and tile_f32.h.
bool agrees(const TableRow& row, int32_t mode, int64_t rows, int32_t code_dtype, bool asymmetric) {
  SmallValues values;
  SmallWeights weights(values, code_dtype, asymmetric);
  if (!weights.pack()) return false;
  std::vector<float> x(static_cast<size_t>(rows * kDepth)), bias(kColumns), y(static_cast<size_t>(rows * kColumns));
  std::generate(x.begin(), x.end(), [&] { return values.next(); });
  std::generate(bias.begin(), bias.end(), [&] { return values.next(); });
  const gatun_qmatmul_params params{
      sizeof(params), GATUN_F32, GATUN_F32, mode,    GATUN_ACTIVATION_NONE, 1, rows, kColumns, kDepth, kDepth,
      kColumns,       0,         0,         kColumns};
  const Layout layout(weights.description);
  if (run(row, {params, layout, x.data(), weights.packed.data(), bias.data(), nullptr, y.data()}) != GATUN_OK) {
    return false;
  }
  const Reference expected = reference(
      params, x.data(), {weights.description, weights.codes.data(), weights.scales.data(), weights.zero_point_data()},
      bias.data(), nullptr);
  const double steps = static_cast<double>(mode == GATUN_QMATMUL_PRECISE ? kDepth : layout.pieces());
  for (size_t i = 0; i < y.size(); ++i) {
    const double allowed = 0x1p-23 * (steps + 9) * expected.magnitude[i] + expected.fixed_point[i];
    if (!(std::fabs(y[i] - expected.y[i]) <= allowed)) return false;
  }
  return true;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const TableRow& row) {
    if (row.to == static_cast<int32_t>(Stored::t4)) return;
    int cases = 0, wrong = 0;
    const bool four_bits = row.to == static_cast<int32_t>(Stored::u4), precise = row.from == GATUN_F32;
    for (const int64_t rows : {1, 6}) {
      for (const bool asymmetric : {false, true}) {
        const int32_t codes = four_bits ? GATUN_U4 : asymmetric ? GATUN_U8 : GATUN_I8;
        for (const int32_t mode : {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_PRECISE}) {
          if ((mode == GATUN_QMATMUL_PRECISE) != precise) continue;
          ++cases;
          wrong += !agrees(row, mode, rows, codes, asymmetric);
        }
      }
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::qmatmul
