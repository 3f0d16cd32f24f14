// What the fuzz targets of matrix products share. gatun_qmatmul_params stands for the params of both: their fields are
// the same.
#pragma once

#include "gatun/nm_matmul.h"
#include "gatun/qmatmul.h"
#include "input.h"

namespace gatun::fuzz {

static_assert(sizeof(gatun_qmatmul_params) == sizeof(gatun_nm_matmul_params));

// Multiply-adds that a reference is asked for.
inline constexpr int64_t kMaxWork = 1 << 18;

// Mostly good params for weights [columns, depth].
gatun_qmatmul_params product_from(Input& input, std::initializer_list<int32_t> x_dtypes,
                                  std::initializer_list<int32_t> modes, int64_t columns, int64_t depth);
bool documented_product(const gatun_qmatmul_params& p, std::initializer_list<int32_t> x_dtypes, int32_t first_mode,
                        int32_t last_mode, int64_t columns, int64_t depth, bool with_residual);

// The data of a call. Bytes of nothing, where a call is not valid.
struct ProductData {
  Buffer x, y, bias, residual;
  bool with_bias, with_residual;
  bool affordable = true;

  // *valid becomes false where data would be too large to exist.
  ProductData(const gatun_qmatmul_params& p, bool bias_wanted, bool residual_wanted, bool* valid);
  // All but x.
  void fill(const gatun_qmatmul_params& p, test::Rng& rng);
  // Rarely spoils x and y; whether the call may still be valid. `any_alignment`: of x.
  bool spoil(Input& input, bool any_alignment);
  const float* bias_at() const { return with_bias ? reinterpret_cast<const float*>(bias.data()) : nullptr; }
};

// What a reference says: outputs of the range row by row, and what they may be off by beside the sums' roundings.
struct Expected {
  const std::vector<double>&y, &magnitude, &slack;
  double steps;
};
// That y, which was `before`, is right, and nothing else was written.
void check_product(const char* call, const gatun_qmatmul_params& p, const Expected& expected,
                   const std::vector<uint8_t>& before, const std::vector<uint8_t>& after);

// Flips bytes of the header or behind it, or cuts the end off.
void tamper(Input& input, std::vector<uint8_t>& packed);

}  // namespace gatun::fuzz
