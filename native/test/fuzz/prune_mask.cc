// gatun_mask_apply, gatun_mask_count and gatun_prune_observe: a status, or the definition's bits.
#include <cstring>

#include "base/dtype.h"
#include "gatun/prune.h"
#include "input.h"
#include "prune.h"

namespace gatun::fuzz {
namespace {

bool is_one(const std::vector<uint8_t>& mask, int64_t row_bytes, int64_t row, int64_t k) {
  return (mask[static_cast<size_t>(row * row_bytes + k / 8)] >> k % 8 & 1) != 0;
}

void fuzz_count(int64_t rows, int64_t depth, const Buffer& mask) {
  const int64_t row_bytes = (depth + 7) / 8;
  const std::vector<uint8_t> bits = mask.copy();
  int64_t expected = 0;
  bool clean = true;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t k = 0; k < row_bytes * 8; ++k) {
      expected += is_one(bits, row_bytes, row, k);
      clean = clean && (k < depth || !is_one(bits, row_bytes, row, k));
    }
  }
  int64_t ones = -7;
  check_status(gatun_mask_count(rows, depth, mask.data(), &ones), clean, "gatun_mask_count");
  if (ones != (clean ? expected : -7))
    defect("%lld ones, expected %lld", static_cast<long long>(ones), static_cast<long long>(expected));
}

}  // namespace

void fuzz_mask(Input& input) {
  const int32_t dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U8});
  const int32_t threads = input.choice({0, 1, 2, 8});
  const int64_t rows = input.size(), depth = input.size();
  const int64_t x_stride = input.stride(depth), y_stride = input.stride(depth);
  bool valid = (is_float(dtype) || dtype == GATUN_I8 || dtype == GATUN_U8) && threads >= 0 && threads <= 1024 &&
               rows >= 0 && depth >= 0 && (rows < 2 || (x_stride >= depth && y_stride >= depth));
  const int64_t element = valid ? dtype_bytes(dtype, 1) : 1;
  int64_t x_size = 1, y_size = 1;
  if (valid) {
    x_size = extent(rows, depth, x_stride, 1, element);
    y_size = extent(rows, depth, y_stride, 1, element);
    valid = x_size != kImpossible && y_size != kImpossible;
    if (valid && (x_size == kUnaffordable || y_size == kUnaffordable)) return;
  }
  const bool exists = valid && x_size > 0;
  const int64_t row_bytes = exists ? (depth + 7) / 8 : 0;
  Buffer x(valid ? x_size : 1), y(valid ? y_size : 1), mask(exists ? rows * row_bytes : 1);
  test::Rng rng = input.rng();
  x.fill_integers(rng, 0, 255);
  mask.fill_integers(rng, 0, 255);
  const bool in_place = exists && x_stride == y_stride && input.range(0, 3) == 0;
  if (!in_place) {
    for (Buffer* buffer : {&x, &y}) {
      buffer->spoil(input);
      if (exists && (buffer->is_null() || (buffer->misaligned() && element > 1))) valid = false;
    }
  }
  Buffer& out = in_place ? x : y;
  const std::vector<uint8_t> x_before = x.copy(), bits = mask.copy();
  std::vector<uint8_t> expected = out.copy();
  const int32_t status =
      gatun_mask_apply(dtype, rows, depth, x_stride, x.data(), mask.data(), threads, y_stride, out.data());
  check_status(status, valid, "gatun_mask_apply");
  for (int64_t row = 0; status == GATUN_OK && exists && row < rows; ++row) {
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t b = 0; b < element; ++b) {
        expected[static_cast<size_t>((row * y_stride + k) * element + b)] =
            is_one(bits, row_bytes, row, k) ? x_before[static_cast<size_t>((row * x_stride + k) * element + b)] : 0;
      }
    }
  }
  if (out.copy() != expected) defect("gatun_mask_apply: other bytes than the definition's, status %d", status);
  if (!exists) return;
  if (input.range(0, 1) == 0) {  // without unused bits
    for (int64_t row = 0; depth % 8 != 0 && row < rows; ++row) {
      uint8_t& last = mask.data()[row * row_bytes + row_bytes - 1];
      last = static_cast<uint8_t>(last & ((1 << depth % 8) - 1));
    }
  }
  fuzz_count(rows, depth, mask);
}

void fuzz_observe(Input& input) {
  const int32_t dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
  const int32_t threads = input.choice({0, 1, 2, 8});
  const int64_t rows = input.size(), depth = input.size(), stride = input.stride(depth);
  bool valid =
      is_float(dtype) && threads >= 0 && threads <= 1024 && rows >= 0 && depth >= 0 && (rows < 2 || stride >= depth);
  int64_t size = 1, sum_size = 1;
  if (valid) {
    size = extent(rows, depth, stride, 1, dtype_bytes(dtype, 1));
    sum_size = extent(rows > 0, depth, depth, 1, 8);
    valid = size != kImpossible && sum_size != kImpossible;
    if (valid && (size == kUnaffordable || sum_size == kUnaffordable)) return;
  }
  const bool exists = valid && size > 0;
  Buffer x(valid ? size : 1), sums(exists ? sum_size : 8), squares(exists ? sum_size : 8);
  test::Rng rng = input.rng();
  if (valid) x.fill_floats(rng, dtype, values(input));
  const bool with_sums = input.range(0, 1) == 1;
  x.spoil(input);
  squares.spoil(input);
  if (exists) {
    for (const Buffer* buffer : {&x, &squares}) valid = valid && !buffer->is_null() && !buffer->misaligned();
  }
  const std::vector<uint8_t> before = squares.copy();
  const int32_t status = gatun_prune_observe(dtype, rows, depth, stride, x.data(), threads,
                                             with_sums ? reinterpret_cast<double*>(sums.data()) : nullptr,
                                             reinterpret_cast<double*>(squares.data()));
  check_status(status, valid, "gatun_prune_observe");
  if (status != GATUN_OK && squares.copy() != before) defect("gatun_prune_observe failed and wrote squares");
  if (status != GATUN_OK || !exists) return;
  const std::vector<float> values = floats(x, dtype);
  for (int64_t k = 0; k < depth; ++k) {
    double sum = 0, square = 0, actual;
    for (int64_t row = 0; row < rows; ++row) {
      const double value = static_cast<double>(values[static_cast<size_t>(row * stride + k)]);
      sum += value;
      square += value * value;
    }
    const auto differs = [&](const Buffer& buffer, double expected) {
      std::memcpy(&actual, buffer.data() + 8 * k, 8);
      return !(actual == expected || (actual != actual && expected != expected));
    };
    if (differs(squares, square) || (with_sums && differs(sums, sum))) {
      defect("other sums of depth %lld than the definition's", static_cast<long long>(k));
    }
  }
}

}  // namespace gatun::fuzz
