// State in memory, as quantize's references see it.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/dtype.h"
#include "gatun/quantize.h"
#include "optimizer/check.h"
#include "optimizer/reference.h"
#include "quantize/reference.h"

namespace gatun::optimizer {
namespace {

std::vector<uint8_t> swapped_nibbles(const uint8_t* bytes, int64_t count) {
  std::vector<uint8_t> swapped(bytes, bytes + count);
  for (uint8_t& byte : swapped) byte = static_cast<uint8_t>(byte << 4 | byte >> 4);
  return swapped;
}

}  // namespace

gatun_optimizer_params step_params(int32_t rule, int32_t p_dtype, int32_t state, int64_t count, int64_t block) {
  gatun_optimizer_params p{};
  p.struct_size = sizeof(p);
  p.rule = rule;
  p.p_dtype = p_dtype;
  p.state = state;
  p.threads = 1;
  p.learning_rate = 1e-2f;
  p.beta1 = 0.9f;
  p.beta2 = 0.99f;
  p.beta3 = 0.999f;
  p.alpha = 3;
  p.epsilon = 1e-8f;
  p.weight_decay = 0.1f;
  p.gradient_scale = 1;
  p.step = 2;
  p.count = count;
  p.block = state == GATUN_STATE_F32 ? 0 : block;
  return p;
}

std::vector<float> reference_book4(bool second) {
  std::vector<float> book;
  for (int i = 0; i < 16 && second; ++i) book.push_back(static_cast<float>(i + 1) / 16);
  if (second) return book;
  book = {0.0055f, 0x1.0a3d72p-5f, 0.0775f, 0x1.b33332p-3f, 0.4375f, 0.6625f, 0.8875f};
  const std::vector<float> positive = book;
  for (const float value : positive) book.push_back(-value);
  book.push_back(0);
  book.push_back(1);
  std::sort(book.begin(), book.end());
  return book;
}

gatun_quantize_params reference_quantize_params(const gatun_optimizer_params& params, int64_t rows, bool second) {
  gatun_quantize_params p{};
  p.struct_size = sizeof(p);
  p.x_dtype = GATUN_F32;
  p.scale_dtype = GATUN_F32;
  p.threads = 1;
  p.tensor_scale = 1;
  p.rows = rows;
  p.depth = p.x_row_stride = params.count;
  p.group = std::min(params.block, params.count);
  p.group_rows = p.x_column_stride = 1;
  switch (params.state) {
    case GATUN_STATE_DYNAMIC8:
      p.code_dtype = GATUN_U8;
      p.book = second ? GATUN_BOOK_DYNAMIC_UNSIGNED : GATUN_BOOK_DYNAMIC;
      break;
    case GATUN_STATE_F8E4M3:
      p.code_dtype = GATUN_F8E4M3;
      break;
    default:
      p.code_dtype = GATUN_U4;
      p.book = GATUN_BOOK_GIVEN;
  }
  return p;
}

int64_t state_row_bytes(const gatun_optimizer_params& params) {
  return dtype_bytes(state_dtype(params.state), params.count);
}

int64_t state_row_scales(const gatun_optimizer_params& params) {
  return params.state == GATUN_STATE_F32 ? 0 : blocks_of(params.count, params.block);
}

std::vector<float> reference_state(const gatun_optimizer_params& params, const void* state, const float* scales,
                                   bool second) {
  const int64_t rows = second ? rows_of_state2(params.rule) : rows_of_state1(params.rule);
  std::vector<float> values(static_cast<size_t>(rows * params.count));
  if (values.empty()) return values;
  if (params.state == GATUN_STATE_F32) {
    const float* const floats = static_cast<const float*>(state);
    return std::vector<float>(floats, floats + values.size());
  }
  const uint8_t* const codes = static_cast<const uint8_t*>(state);
  const int64_t bytes = rows * state_row_bytes(params);
  const std::vector<uint8_t> readable =
      params.state == GATUN_STATE_DYNAMIC4 ? swapped_nibbles(codes, bytes) : std::vector<uint8_t>(codes, codes + bytes);
  quantize::reference_dequantize(reference_quantize_params(params, rows, second), reference_book4(second).data(),
                                 readable.data(), scales, nullptr, values.data());
  return values;
}

void reference_store_state(const gatun_optimizer_params& params, const std::vector<float>& values, void* state,
                           float* scales, bool second) {
  if (values.empty()) return;
  if (params.state == GATUN_STATE_F32) {
    std::copy(values.begin(), values.end(), static_cast<float*>(state));
    return;
  }
  const int64_t rows = static_cast<int64_t>(values.size()) / params.count;
  uint8_t* const codes = static_cast<uint8_t*>(state);
  const int64_t bytes = rows * state_row_bytes(params);
  quantize::reference_quantize(reference_quantize_params(params, rows, second), values.data(),
                               reference_book4(second).data(), nullptr, codes, scales, nullptr);
  if (params.state == GATUN_STATE_DYNAMIC4) {
    const std::vector<uint8_t> swapped = swapped_nibbles(codes, bytes);
    std::copy(swapped.begin(), swapped.end(), codes);
  }
  if (params.state != GATUN_STATE_DYNAMIC8 || second) return;
  constexpr uint8_t kZero = 127;
  const int64_t blocks = (params.count - 1) / params.block + 1;
  for (int64_t i = 0; i < bytes; ++i) {
    const float scale = scales[i / params.count * blocks + i % params.count / params.block];
    const float v = scale == 0 ? 0 : values[static_cast<size_t>(i)] * (1 / scale);
    if (codes[i] == kZero && v < -0x1p-60f) codes[i] = kZero - 1;
  }
}

}  // namespace gatun::optimizer
