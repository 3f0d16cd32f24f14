// gatun_quantize and gatun_dequantize.
#include "gatun/quantize.h"

#include <cstring>

#include "base/dtype.h"
#include "input.h"
#include "quantize/reference.h"

namespace gatun::fuzz {
namespace {

gatun_quantize_params params_from(Input& input, bool dequantize) {
  gatun_quantize_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.x_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
  p.code_dtype = input.choice({GATUN_I8, GATUN_U8, GATUN_U4, GATUN_U4});
  p.asymmetric = p.code_dtype == GATUN_I8 ? 0 : p.code_dtype == GATUN_U8 ? 1 : input.choice({0, 1});
  if (input.rarely()) p.asymmetric = input.choice({0, 1});
  p.scale_dtype = input.choice({GATUN_F32, GATUN_F16});
  p.threads = input.choice({0, 1, 2, 3});
  p.rows = input.size();
  p.depth = input.size();
  p.group = input.group(p.depth);
  p.x_column_stride = dequantize || input.range(0, 3) > 0 ? 1 : input.range(1, 9);
  if (input.rarely()) p.x_column_stride = input.size();
  p.x_row_stride = !dequantize && input.rarely() ? input.range(0, 50) : input.stride(p.depth);
  return p;
}

bool documented_valid(const gatun_quantize_params& p, bool dequantize) {
  const bool types =
      (p.x_dtype == GATUN_F32 || p.x_dtype == GATUN_F16 || p.x_dtype == GATUN_BF16) &&
      (p.scale_dtype == GATUN_F32 || p.scale_dtype == GATUN_F16) &&
      ((p.code_dtype == GATUN_I8 && p.asymmetric == 0) || (p.code_dtype == GATUN_U8 && p.asymmetric == 1) ||
       (p.code_dtype == GATUN_U4 && (p.asymmetric == 0 || p.asymmetric == 1)));
  const bool shape = p.threads >= 0 && p.threads <= 1024 && p.rows >= 0 && p.depth >= 0 &&
                     (p.group == p.depth || (p.group >= 16 && p.group <= p.depth));
  // One row of an output has no stride.
  const bool strides = dequantize ? p.x_column_stride == 1 && (p.rows < 2 || p.x_row_stride >= p.depth)
                                  : p.x_column_stride >= 1 && p.x_row_stride >= 0;
  return p.struct_size == sizeof(p) && types && shape && strides;
}

struct Buffers {
  Buffer x, codes, scales, zero_points;
  bool affordable = true, valid;

  Buffers(const gatun_quantize_params& p, bool dequantize) : valid(documented_valid(p, dequantize)) {
    if (!valid) {  // then nothing may be touched
      for (Buffer* buffer : {&x, &codes, &scales, &zero_points}) *buffer = Buffer(1);
      return;
    }
    const int64_t groups = p.depth == 0 ? 0 : (p.depth - 1) / p.group + 1;
    const int64_t code_bytes = dtype_bytes(p.code_dtype, p.depth);
    const int64_t sizes[] = {extent(p.rows, p.depth, p.x_row_stride, p.x_column_stride, dtype_bytes(p.x_dtype, 1)),
                             extent(p.rows, code_bytes, code_bytes, 1, 1),
                             extent(p.rows, groups, groups, 1, dtype_bytes(p.scale_dtype, 1)),
                             extent(p.rows, p.asymmetric ? groups : 0, groups, 1, 1)};
    for (const int64_t size : sizes) {
      affordable = affordable && size != kUnaffordable;
      valid = valid && size != kImpossible;
    }
    if (!valid) {
      affordable = true;  // refused before any access
    } else if (!affordable) {
      return;
    }
    Buffer* const buffers[] = {&x, &codes, &scales, &zero_points};
    for (int i = 0; i < 4; ++i) {
      *buffers[i] = Buffer(valid ? sizes[i] : 1);
    }
  }

  void spoil(Input& input) {
    for (Buffer* buffer : {&x, &codes, &scales, &zero_points}) {
      buffer->spoil(input);
      const bool takes_bytes = buffer == &codes || buffer == &zero_points;
      if (buffer->bytes() > 0 && (buffer->is_null() || (buffer->misaligned() && !takes_bytes))) valid = false;
    }
  }

  // Symmetric codes have no zero points.
  void* zero_points_of(const gatun_quantize_params& p) { return p.asymmetric ? zero_points.data() : nullptr; }
};

}  // namespace

void fuzz_quantize(Input& input) {
  const gatun_quantize_params p = params_from(input, false);
  Buffers b(p, false);
  if (!b.affordable) return;
  test::Rng rng = input.rng();
  if (b.valid) b.x.fill_floats(rng, p.x_dtype, values(input));
  b.spoil(input);
  bool valid = b.valid;
  if (valid && b.x.bytes() > 0) valid = quantize::reference_check(p, b.x.data()) == GATUN_OK;
  for (Buffer* output : {&b.codes, &b.scales, &b.zero_points}) {
    if (output->bytes() > 0 && !output->is_null())
      std::memset(output->data(), 0xab, static_cast<size_t>(output->bytes()));
  }
  const std::vector<uint8_t> before[] = {b.codes.copy(), b.scales.copy(), b.zero_points.copy()};

  const int32_t status = gatun_quantize(&p, b.x.data(), b.codes.data(), b.scales.data(), b.zero_points_of(p));
  check_status(status, valid, "gatun_quantize");
  const std::vector<uint8_t> after[] = {b.codes.copy(), b.scales.copy(), b.zero_points.copy()};
  if (status != GATUN_OK) {
    for (int i = 0; i < 3; ++i) {
      if (before[i] != after[i]) defect("gatun_quantize failed and wrote output %d", i);
    }
    return;
  }
  if (b.x.bytes() == 0) return;
  Buffer codes(b.codes.bytes()), scales(b.scales.bytes()), zero_points(b.zero_points.bytes());
  quantize::reference_quantize(p, b.x.data(), codes.data(), scales.data(), zero_points.data());
  if (after[0] != codes.copy()) defect("codes differ from the reference");
  if (after[1] != scales.copy()) defect("scales differ from the reference");
  if (p.asymmetric && after[2] != zero_points.copy()) defect("zero points differ from the reference");
}

void fuzz_dequantize(Input& input) {
  const gatun_quantize_params p = params_from(input, true);
  Buffers b(p, true);
  if (!b.affordable) return;
  test::Rng rng = input.rng();
  if (b.valid) {
    b.codes.fill_integers(rng, 0, 255);
    b.scales.fill_floats(rng, p.scale_dtype, values(input));
    b.zero_points.fill_integers(rng, 0, p.code_dtype == GATUN_U4 ? 15 : 255);
  }
  b.spoil(input);
  const std::vector<uint8_t> before = b.x.copy();
  const int32_t status = gatun_dequantize(&p, b.codes.data(), b.scales.data(), b.zero_points_of(p), b.x.data());
  check_status(status, b.valid, "gatun_dequantize");
  const std::vector<uint8_t> after = b.x.copy();
  if (status != GATUN_OK) {
    if (before != after) defect("gatun_dequantize failed and wrote x");
    return;
  }
  if (b.x.bytes() == 0) return;
  // Between rows nothing is written, so the reference starts from the same bytes.
  Buffer x(b.x.bytes());
  std::memcpy(x.data(), before.data(), before.size());
  quantize::reference_dequantize(p, b.codes.data(), b.scales.data(), b.zero_points_of(p), x.data());
  const int64_t element = dtype_bytes(p.x_dtype, 1);
  for (int64_t at = 0; at < b.x.bytes(); at += element) {
    if (std::memcmp(&after[static_cast<size_t>(at)], x.data() + at, static_cast<size_t>(element)) == 0) continue;
    // NaN times a code is a NaN, whichever.
    float actual, expected;
    if (element == 4) {
      std::memcpy(&actual, &after[static_cast<size_t>(at)], 4);
      std::memcpy(&expected, x.data() + at, 4);
    } else {
      uint16_t halves[2];
      std::memcpy(&halves[0], &after[static_cast<size_t>(at)], 2);
      std::memcpy(&halves[1], x.data() + at, 2);
      actual = p.x_dtype == GATUN_F16 ? f16_to_f32(halves[0]) : bf16_to_f32(halves[0]);
      expected = p.x_dtype == GATUN_F16 ? f16_to_f32(halves[1]) : bf16_to_f32(halves[1]);
    }
    if (actual == actual || expected == expected)
      defect("x[%lld] = %g, reference %g", static_cast<long long>(at / element), double{actual}, double{expected});
  }
}

}  // namespace gatun::fuzz
