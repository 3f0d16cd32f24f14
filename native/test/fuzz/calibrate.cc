// gatun_amax, gatun_fake_quantize, gatun_fake_quantize_backward and gatun_requantize.
#include "gatun/calibrate.h"

#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "calibrate/reference.h"
#include "input.h"

namespace gatun::fuzz {
namespace {

int64_t blocks_of(int64_t count, int64_t block) { return count == 0 ? 0 : (count - 1) / block + 1; }

gatun_calibrate_params params_from(Input& input) {
  gatun_calibrate_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.x_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
  p.threads = input.choice({0, 1, 2, 3});
  p.lowest = input.rarely() ? input.choice({-(1 << 25), 1 << 25}) : static_cast<int32_t>(input.range(-20, 5));
  p.highest = static_cast<int32_t>(input.range(0, 40));
  p.gradient_scale = input.rarely() ? NAN : 0.25f;
  p.rows = input.size();
  p.depth = input.size();
  p.group = input.range(0, 3) == 0 ? input.range(1, 20) : input.group(p.depth);
  p.group_rows = input.range(1, 3);
  p.x_row_stride = input.stride(p.depth);
  p.y_row_stride = input.stride(p.depth);
  return p;
}

bool valid_blocks(const gatun_calibrate_params& p) {
  return p.struct_size == sizeof(p) && (p.x_dtype == GATUN_F32 || p.x_dtype == GATUN_F16 || p.x_dtype == GATUN_BF16) &&
         p.threads >= 0 && p.threads <= 1024 && p.rows >= 0 && p.depth >= 0 && p.group <= p.depth &&
         p.group >= (p.depth > 0) && p.group_rows >= 1 && p.group_rows <= (p.rows > 0 ? p.rows : 1) &&
         (p.rows < 2 || p.x_row_stride >= p.depth);
}

bool valid_codes(const gatun_calibrate_params& p) {
  constexpr int32_t kMost = 1 << 24;
  return p.lowest >= -kMost && p.lowest < p.highest && p.highest <= kMost && (p.rows < 2 || p.y_row_stride >= p.depth);
}

// Elements bit for bit, but that any NaN may stand for another.
void compare(const Buffer& actual, const Buffer& right, int32_t dtype, const char* what) {
  const int64_t element = dtype_bytes(dtype, 1);
  const auto get = [&](const Buffer& buffer, int64_t at) {
    float value;
    uint16_t half;
    if (dtype == GATUN_F32) {
      std::memcpy(&value, buffer.data() + at, 4);
      return value;
    }
    std::memcpy(&half, buffer.data() + at, 2);
    return dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
  };
  for (int64_t at = 0; at + element <= right.bytes(); at += element) {
    const float a = get(actual, at), b = get(right, at);
    if (a != b && !(std::isnan(a) && std::isnan(b))) {
      defect("%s at byte %lld: %g, reference %g", what, static_cast<long long>(at), static_cast<double>(a),
             static_cast<double>(b));
    }
  }
}

template <class T>
T* at(Buffer& buffer) {
  return reinterpret_cast<T*>(buffer.data());
}

}  // namespace

void fuzz_calibrate(Input& input) {
  const gatun_calibrate_params p = params_from(input);
  test::Rng rng = input.rng();
  bool valid = valid_blocks(p);
  int64_t x_bytes = 1, y_bytes = 1, block_bytes = 1;
  if (valid) {
    const int64_t element = dtype_bytes(p.x_dtype, 1), groups = p.depth == 0 ? 0 : blocks_of(p.depth, p.group);
    x_bytes = extent(p.rows, p.depth, p.x_row_stride, 1, element);
    y_bytes = valid_codes(p) ? extent(p.rows, p.depth, p.y_row_stride, 1, element) : 1;
    block_bytes = extent(blocks_of(p.rows, p.group_rows), groups, groups, 1, 4);
    if (x_bytes == kUnaffordable || y_bytes == kUnaffordable || block_bytes == kUnaffordable) return;
    valid = x_bytes != kImpossible && block_bytes != kImpossible;
    if (!valid) x_bytes = y_bytes = block_bytes = 1;
  }
  const bool fake_sizes = valid && valid_codes(p) && y_bytes != kImpossible;
  if (y_bytes == kImpossible) y_bytes = 1;
  Buffer x(x_bytes), dy(x_bytes), y(y_bytes), scales(block_bytes), blocks(block_bytes);
  if (valid) {
    x.fill_floats(rng, p.x_dtype, values(input));
    dy.fill_floats(rng, p.x_dtype, Values::normal);
    scales.fill_floats(rng, GATUN_F32, input.rarely() ? Values::special : Values::normal, 0.1f);
  }
  bool good_scales = true;
  for (int64_t i = 0; valid && i < block_bytes / 4; ++i) {
    float& scale = at<float>(scales)[i];
    if (!input.rarely()) scale = std::fabs(scale) + 0.01f;
    good_scales = good_scales && scale > 0 && std::isfinite(scale);
  }
  x.spoil(input);
  if (x.bytes() > 0 && (x.is_null() || x.misaligned())) valid = false;
  const std::vector<uint8_t> before = blocks.copy(), y_before = y.copy();

  const int32_t status = gatun_amax(&p, x.data(), at<float>(blocks));
  check_status(status, valid, "gatun_amax");
  Buffer right(block_bytes);
  if (status == GATUN_OK && x_bytes > 0) {
    calibrate::reference_amax(p, x.data(), at<float>(right));
    compare(blocks, right, GATUN_F32, "amax");
  } else if (status != GATUN_OK && blocks.copy() != before) {
    defect("gatun_amax failed and wrote");
  }

  // Scales of a matrix without elements are not looked at.
  const bool fake_valid = fake_sizes && valid && good_scales;
  const int32_t fake_status = gatun_fake_quantize(&p, x.data(), at<float>(scales), y.data());
  check_status(fake_status, fake_valid, "gatun_fake_quantize");
  if (fake_status != GATUN_OK && y.copy() != y_before) defect("gatun_fake_quantize failed and wrote");
  Buffer right_y(y_bytes);
  if (fake_status == GATUN_OK && x_bytes > 0) {
    std::memcpy(right_y.data(), y_before.data(), y_before.size());
    calibrate::reference_fake_quantize(p, x.data(), at<float>(scales), right_y.data());
    compare(y, right_y, p.x_dtype, "y");
  }

  const int32_t backward_status =
      gatun_fake_quantize_backward(&p, x.data(), at<float>(scales), dy.data(), y.data(), at<float>(blocks));
  check_status(backward_status, fake_valid && std::isfinite(p.gradient_scale), "gatun_fake_quantize_backward");
  if (backward_status == GATUN_OK && x_bytes > 0) {
    std::vector<double> ds(static_cast<size_t>(block_bytes / 4)), sizes(ds.size());
    calibrate::reference_backward(p, x.data(), at<float>(scales), dy.data(), right_y.data(), ds.data(), sizes.data());
    compare(y, right_y, p.x_dtype, "dx");
    for (size_t i = 0; i < ds.size(); ++i) {
      const double actual = double{at<float>(blocks)[i]};
      if (std::isnan(ds[i]) && std::isnan(actual)) continue;
      if (!(std::fabs(actual - ds[i]) <= 0x1p-24 * std::fabs(ds[i]) + 0x1p-44 * sizes[i] + 0x1p-149)) {
        defect("ds[%zu] = %g, reference %g", i, actual, ds[i]);
      }
    }
  }
}

void fuzz_requantize(Input& input) {
  gatun_quantize_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.code_dtype = input.choice({GATUN_I8, GATUN_U8});
  p.zero_point = input.rarely() ? input.choice({0, 1, 2}) : p.code_dtype == GATUN_I8 ? 0 : input.choice({1, 2});
  p.scale_dtype = input.choice({GATUN_F32, GATUN_F16});
  p.threads = input.choice({0, 1, 2, 3});
  p.rows = input.size();
  p.depth = input.size();
  p.group = input.group(p.depth);
  p.group_rows = 1;
  const int32_t bits = input.choice({6, 4, 2});
  test::Rng rng = input.rng();

  const bool is_signed = p.code_dtype == GATUN_I8;
  bool valid = p.struct_size == sizeof(p) && (is_signed || p.code_dtype == GATUN_U8) &&
               (is_signed ? p.zero_point == 0 : p.zero_point == 1 || p.zero_point == 2) &&
               (p.scale_dtype == GATUN_F32 || p.scale_dtype == GATUN_F16) && p.threads >= 0 && p.threads <= 1024 &&
               p.rows >= 0 && p.depth >= 0 && (p.group == p.depth || (p.group >= 16 && p.group <= p.depth)) &&
               (bits == 6 || bits == 4 || bits == 2);
  int64_t sizes[] = {1, 1, 1, 1};  // codes, scales, zero points, new codes
  if (valid) {
    const int64_t groups = p.depth == 0 ? 0 : blocks_of(p.depth, p.group);
    const int64_t row = bits == 6 ? p.depth : dtype_bytes(bits == 4 ? GATUN_U4 : GATUN_U2, p.depth);
    sizes[0] = extent(p.rows, p.depth, p.depth, 1, 1);
    sizes[1] = extent(p.rows, groups, groups, 1, dtype_bytes(p.scale_dtype, 1));
    sizes[2] = extent(p.rows, p.zero_point == 0 ? 0 : groups, groups, 1, p.zero_point == 2 ? 4 : 1);
    sizes[3] = extent(p.rows, row, row, 1, 1);
    for (const int64_t size : sizes) {
      if (size == kUnaffordable) return;
      valid = valid && size != kImpossible;
    }
    if (!valid) sizes[0] = sizes[1] = sizes[2] = sizes[3] = 1;
  }
  Buffer codes(sizes[0]), scales(sizes[1]), zeros(sizes[2]), out(sizes[3]), out_scales(sizes[1]), out_zeros(sizes[2]);
  const Values kind = values(input);
  if (valid) {
    codes.fill_integers(rng, 0, 255);
    scales.fill_floats(rng, p.scale_dtype, kind);
    zeros.fill_integers(rng, 0, 255);
    if (p.zero_point == 2) zeros.fill_floats(rng, GATUN_F32, Values::normal);
  }
  for (Buffer* buffer : {&codes, &out}) {
    buffer->spoil(input);
    if (buffer->bytes() > 0 && buffer->is_null()) valid = false;
  }
  for (int64_t i = 0; valid && i < sizes[1] / dtype_bytes(p.scale_dtype, 1); ++i) {
    float scale;
    if (p.scale_dtype == GATUN_F32) {
      scale = at<float>(scales)[i] * static_cast<float>(1 << (8 - bits));
    } else {
      scale = f16_to_f32(f32_to_f16(f16_to_f32(at<uint16_t>(scales)[i]) * static_cast<float>(1 << (8 - bits))));
    }
    if (!std::isfinite(scale)) valid = false;
  }
  const bool with_zeros = p.zero_point != 0;
  const std::vector<uint8_t> before[] = {out.copy(), out_scales.copy(), out_zeros.copy()};
  const int32_t status = gatun_requantize(&p, bits, codes.data(), scales.data(), with_zeros ? zeros.data() : nullptr,
                                          out.data(), out_scales.data(), with_zeros ? out_zeros.data() : nullptr);
  check_status(status, valid, "gatun_requantize");
  if (status != GATUN_OK &&
      (out.copy() != before[0] || out_scales.copy() != before[1] || out_zeros.copy() != before[2])) {
    defect("gatun_requantize failed and wrote");
  }
  if (status != GATUN_OK || sizes[0] == 0) return;
  Buffer right(sizes[3]), right_scales(sizes[1]), right_zeros(sizes[2]);
  calibrate::reference_requantize(p, bits, codes.data(), scales.data(), zeros.data(), right.data(), right_scales.data(),
                                  right_zeros.data());
  if (out.copy() != right.copy()) defect("codes of %d bits differ from the reference", bits);
  if (out_scales.copy() != right_scales.copy()) defect("scales differ from the reference");
  if (out_zeros.copy() != right_zeros.copy()) defect("zero points differ from the reference");
}

}  // namespace gatun::fuzz
