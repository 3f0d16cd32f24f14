// Quantized weights from the fuzzer's bytes.
#pragma once

#include "gatun/gguf.h"
#include "gatun/qmatmul.h"
#include "gatun/quantize.h"
#include "input.h"

namespace gatun::fuzz {

gatun_qmatmul_weights weights_from(Input& input);
bool documented_valid(const gatun_qmatmul_weights& weights);

// Whether the documentation lets all of a call's weights take a mode; `packed` holds the form of `weights`.
bool stands_for_integers(const gatun_qmatmul_weights& weights, const uint8_t* packed);
inline bool documented_mode(bool integers, int32_t mode) {
  return mode == GATUN_QMATMUL_PRECISE || integers == (mode != GATUN_QMATMUL_BF16);
}

// Codes, scales, zero points and code book of a description, or its GGUF blocks in `codes`.
struct Planes {
  Buffer codes, scales, zero_points, book;
  bool affordable = true;

  // `description` is valid.
  explicit Planes(const gatun_qmatmul_weights& description);
  void fill(Input& input, const gatun_qmatmul_weights& description);
  void* zero_points_of(const gatun_qmatmul_weights& w) {
    return w.zero_point != GATUN_ZERO_NONE ? zero_points.data() : nullptr;
  }
  float* book_of(const gatun_qmatmul_weights& w) {
    return w.book == GATUN_BOOK_GIVEN ? reinterpret_cast<float*>(book.data()) : nullptr;
  }
  int32_t pack(const gatun_qmatmul_weights& w, void* packed, int64_t bytes);
  int32_t unpack(const gatun_qmatmul_weights& w, const void* packed, int64_t bytes);
  // All scales, offsets and values of a given book finite and below `limit` in magnitude.
  bool numbers_below(double limit, const gatun_qmatmul_weights& w) const;
};

}  // namespace gatun::fuzz
