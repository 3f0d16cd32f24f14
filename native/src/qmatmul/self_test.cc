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

struct Codes {
  int32_t dtype, book, zero_point;
};
// Some of each stored form, in its order; any byte is codes of theirs.
constexpr Codes kCodes[kStoredForms][2] = {
    {{GATUN_U4, GATUN_BOOK_NONE, GATUN_ZERO_NONE}, {GATUN_U4, GATUN_BOOK_NONE, GATUN_ZERO_INTEGER}},
    {{GATUN_I8, GATUN_BOOK_NONE, GATUN_ZERO_NONE}, {GATUN_U8, GATUN_BOOK_NONE, GATUN_ZERO_INTEGER}},
    {{GATUN_F4E2M1, GATUN_BOOK_NONE, GATUN_ZERO_NONE}, {GATUN_F4E2M1, GATUN_BOOK_NONE, GATUN_ZERO_NONE}},
    {{GATUN_U4, GATUN_BOOK_NF4, GATUN_ZERO_NONE}, {GATUN_U4, GATUN_BOOK_FP4, GATUN_ZERO_NONE}},
    {{GATUN_U8, GATUN_BOOK_DYNAMIC, GATUN_ZERO_NONE}, {GATUN_U8, GATUN_BOOK_LINEAR, GATUN_ZERO_NONE}},
};

// Random codes and scales, packed.
struct SmallWeights {
  gatun_qmatmul_weights description;
  std::vector<uint8_t> codes, zero_points, packed;
  std::vector<float> scales;

  SmallWeights(SmallValues& values, const Codes& format)
      : description{sizeof(description),
                    format.dtype,
                    format.book,
                    format.zero_point,
                    GATUN_F32,
                    0,
                    1,
                    1.0f,
                    kColumns,
                    kDepth,
                    kGroup},
        codes(static_cast<size_t>(kColumns * dtype_bytes(format.dtype, kDepth))),
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

// The bound of tile_i8.h, tile_f32.h and tile_bf16.h.
bool agrees(const TableRow& row, int32_t mode, int64_t rows, const Codes& codes) {
  SmallValues values;
  SmallWeights weights(values, codes);
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
  const double pieces = static_cast<double>(layout.pieces()), depth = static_cast<double>(kDepth);
  const double steps = mode == GATUN_QMATMUL_PRECISE ? depth
                       : mode == GATUN_QMATMUL_BF16  ? depth / 2 + 2 * pieces
                                                     : pieces;
  for (size_t i = 0; i < y.size(); ++i) {
    const double allowed = 0x1p-23 * (steps + 9) * expected.magnitude[i] + expected.fixed_point[i];
    if (!(std::fabs(y[i] - expected.y[i]) <= allowed)) return false;
  }
  return true;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const TableRow& row) {
    int cases = 0, wrong = 0;
    const Stored stored = static_cast<Stored>(row.to);
    for (const int64_t rows : {1, 6, 9}) {
      for (const Codes& codes : kCodes[row.to]) {
        for (const int32_t mode :
             {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_PRECISE, GATUN_QMATMUL_BF16}) {
          if (multiplied_dtype(mode) != row.from || !takes_mode(stored, mode)) continue;
          ++cases;
          wrong += !agrees(row, mode, rows, codes);
        }
      }
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::qmatmul
