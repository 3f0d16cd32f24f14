// Quantized weights from the fuzzer's bytes.
#pragma once

#include "gatun/qmatmul.h"
#include "input.h"

namespace gatun::fuzz {

gatun_qmatmul_weights weights_from(Input& input);
bool documented_valid(const gatun_qmatmul_weights& weights);

// Codes, scales and zero points of a description.
struct Planes {
  Buffer codes, scales, zero_points;
  bool affordable = true;

  // `description` is valid.
  explicit Planes(const gatun_qmatmul_weights& description);
  void fill(Input& input, const gatun_qmatmul_weights& description);
  // Symmetric codes have no zero points.
  void* zero_points_of(const gatun_qmatmul_weights& w) { return w.asymmetric ? zero_points.data() : nullptr; }
  // All scales finite and below `limit` in magnitude.
  bool scales_below(double limit, const gatun_qmatmul_weights& w) const;
};

}  // namespace gatun::fuzz
