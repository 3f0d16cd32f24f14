#include "attention/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/dtype.h"

namespace gatun::attention {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// The scale of some values, and their codes.
float quantized(const float* values, size_t count, int32_t* codes) {
  float amax = 0;
  bool finite = true;
  for (size_t i = 0; i < count; ++i) {
    finite = finite && std::isfinite(values[i]);
    amax = std::max(amax, std::fabs(values[i]));
  }
  std::fill(codes, codes + count, 0);
  if (!finite) return std::numeric_limits<float>::quiet_NaN();
  const float scale = amax / 127.0f;
  if (scale < 0x1p-120f) return 0;
  const float inverse = 1.0f / scale;
  for (size_t i = 0; i < count; ++i) codes[i] = static_cast<int32_t>(std::nearbyint(values[i] * inverse));
  return scale;
}

bool bf16_weights(const gatun_attention_params& p) { return p.dtype == GATUN_BF16 || p.mode == GATUN_ATTENTION_INT8; }

bool listed_in(const int64_t* offsets, const int32_t* blocks, int64_t mask_row, int64_t block, int64_t* place) {
  for (*place = offsets[mask_row]; *place < offsets[mask_row + 1]; ++*place) {
    if (blocks[*place] == block) return true;
  }
  return false;
}

}  // namespace

float element(const void* data, int32_t dtype, int64_t index) {
  if (dtype == GATUN_F32) {
    float value;
    std::memcpy(&value, static_cast<const char*>(data) + index * 4, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, static_cast<const char*>(data) + index * 2, 2);
  return dtype == GATUN_BF16 ? bf16_to_f32(half) : f16_to_f32(half);
}

double out_bound(const gatun_attention_params& p, const Row& row, size_t c) {
  const double magnitude = row.magnitude[c], both = magnitude + std::fabs(row.out[c]);
  double bound = 0x1p-23 * (row.leverage[c] + (static_cast<double>(row.seen) / 128 + 4) * both);
  if (bf16_weights(p)) bound += 0x1p-8 * magnitude + 0x1p-18 * both;
  if (p.mode == GATUN_ATTENTION_INT8 && p.dtype != GATUN_BF16) bound += 0x1p-8 * magnitude;  // v is rounded, too
  return bound;
}

double lse_bound(const gatun_attention_params& p, const Row& row) {
  const double sums = static_cast<double>(row.seen) / 128 + 4 + 2 * std::fabs(row.lse);
  return 0x1p-23 * (row.lse_leverage + sums) + (bf16_weights(p) ? 0x1p-18 : 0);
}

Reference::Reference(const gatun_attention_params& params, const Inputs& inputs) : p_(params), in_(inputs) {}

bool Reference::listed(int64_t b, int64_t h, int64_t i, int64_t j) const {
  if (in_.full_offsets == nullptr) return true;
  const int64_t mask_b = p_.mask_batch == 1 ? 0 : b, mask_h = p_.mask_heads == 1 ? 0 : h;
  const int64_t mask_row = (mask_b * p_.mask_heads + mask_h) * p_.query_blocks + i / p_.query_block;
  const int64_t block = j / p_.key_block;
  int64_t place;
  if (listed_in(in_.full_offsets, in_.full_blocks, mask_row, block, &place)) return true;
  if (!listed_in(in_.partial_offsets, in_.partial_blocks, mask_row, block, &place)) return false;
  if (in_.partial_bits == nullptr) return true;
  const int64_t bit_row = place * p_.query_block + i % p_.query_block, bit = j % p_.key_block;
  return in_.partial_bits[bit_row * (p_.key_block / 8) + bit / 8] >> bit % 8 & 1;
}

bool Reference::sees(int64_t b, int64_t h, int64_t i, int64_t j) const {
  const int64_t position = i + keys(b) - queries(b);
  if (p_.causal != 0 && j > position) return false;
  if (p_.window_left >= 0 && position - j > p_.window_left && j >= p_.sink_keys) return false;
  if (p_.window_right >= 0 && j - position > p_.window_right) return false;
  return listed(b, h, i, j);
}

void Reference::quantize(const std::vector<float>& values, int64_t rows, Matrix& matrix) const {
  const size_t part = static_cast<size_t>(rows * p_.head_size);
  matrix.codes.resize(values.size());
  matrix.scales.clear();
  for (size_t first = 0; first < values.size(); first += part) {
    const size_t count = std::min(part, values.size() - first);
    matrix.scales.push_back(static_cast<double>(quantized(values.data() + first, count, matrix.codes.data() + first)));
  }
}

void Reference::load(int64_t b, int64_t h, int64_t g) {
  const auto fresh = [&](Matrix& matrix, const void* data, int64_t head, int64_t rows, int64_t columns,
                         const int64_t* offsets, int64_t batch_stride, int64_t head_stride, int64_t row_stride) {
    if (data == nullptr || (matrix.b == b && matrix.head == head)) return false;
    matrix.b = b;
    matrix.head = head;
    matrix.values.clear();
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t first = index(offsets, b, head, row, batch_stride, head_stride, row_stride);
      for (int64_t c = 0; c < columns; ++c) matrix.values.push_back(element(data, p_.dtype, first + c));
    }
    return true;
  };
  const bool fresh_q = fresh(q_, in_.q, h, queries(b), p_.head_size, in_.q_offsets, p_.q_batch_stride, p_.q_head_stride,
                             p_.q_row_stride);
  const bool fresh_k =
      fresh(k_, in_.k, g, keys(b), p_.head_size, in_.kv_offsets, p_.k_batch_stride, p_.k_head_stride, p_.k_row_stride);
  fresh(v_, in_.v, g, keys(b), p_.value_size, in_.kv_offsets, p_.v_batch_stride, p_.v_head_stride, p_.v_row_stride);
  if (p_.mode != GATUN_ATTENTION_INT8) return;
  if (fresh_q) quantize({q_.values.begin(), q_.values.end()}, 1, q_);
  if (fresh_k) {
    const size_t columns = static_cast<size_t>(p_.head_size);
    std::vector<float> sums(columns);
    for (size_t at = 0; at < k_.values.size(); ++at) sums[at % columns] += static_cast<float>(k_.values[at]);
    k_.mean.clear();
    for (const float sum : sums) k_.mean.push_back(static_cast<double>(sum / static_cast<float>(keys(b))));
    std::vector<float> centred;
    for (size_t at = 0; at < k_.values.size(); ++at) {
      centred.push_back(static_cast<float>(k_.values[at]) - static_cast<float>(k_.mean[at % columns]));
    }
    quantize(centred, kQuantizedKeys, k_);
  }
}

std::vector<Reference::Logit> Reference::logits(int64_t b, int64_t h, int64_t i) {
  const int64_t position = i + keys(b) - queries(b);
  const size_t columns = static_cast<size_t>(p_.head_size), q_at = static_cast<size_t>(i) * columns;
  const double scale = static_cast<double>(p_.scale), cap = static_cast<double>(p_.soft_cap);
  const double slope = in_.slopes != nullptr ? static_cast<double>(in_.slopes[h]) : 0;
  const double terms = static_cast<double>(p_.head_size) / 64 + 4;
  const bool int8 = p_.mode == GATUN_ATTENTION_INT8;
  std::vector<Logit> logits;
  for (int64_t j = 0; j < keys(b); ++j) {
    if (!sees(b, h, i, j)) continue;
    const size_t k_at = static_cast<size_t>(j) * columns;
    double product = 0, magnitude = 0, of_codes = 0;
    for (size_t c = 0; c < columns; ++c) {
      const double term = q_.values[q_at + c] * (int8 ? k_.mean[c] : k_.values[k_at + c]);
      product += term;
      magnitude += std::fabs(term);
      if (int8) of_codes += static_cast<double>(q_.codes[q_at + c] * k_.codes[k_at + c]);
    }
    if (int8) {
      of_codes *= q_.scales[static_cast<size_t>(i)];
      of_codes *= k_.scales[static_cast<size_t>(j / kQuantizedKeys)];
      product += of_codes;
      magnitude += std::fabs(of_codes);
    }
    double logit = scale * product;
    if (cap > 0) logit = cap * std::tanh(logit / cap);
    const double capped = cap > 0 ? std::fabs(logit) : 0;
    const double bias = slope != 0 ? slope * static_cast<double>(j - position) : 0;
    logit += bias;
    // What is -infinity has no weight, whatever was rounded.
    const double error =
        std::isinf(logit) ? 0
                          : terms * std::fabs(scale) * magnitude + 4 * capped + std::fabs(bias) + std::fabs(logit) + 2;
    logits.push_back({j, logit, error});
  }
  return logits;
}

Row Reference::row(int64_t b, int64_t h, int64_t i) {
  const int64_t g = h / (p_.query_heads / p_.kv_heads);
  load(b, h, g);
  const std::vector<Logit> all = logits(b, h, i);
  const size_t columns = in_.v != nullptr ? static_cast<size_t>(p_.value_size) : 0;
  Row row{std::vector<double>(columns),    std::vector<double>(columns), std::vector<double>(columns), 0, 0,
          static_cast<int64_t>(all.size())};
  const double sink = in_.sinks != nullptr ? static_cast<double>(in_.sinks[h]) : -kInfinity;
  double largest = -kInfinity;
  bool number = true;
  for (const Logit& logit : all) {
    number = number && logit.value < kInfinity;  // nor NaN
    largest = std::max(largest, logit.value);
  }
  if (number && (largest == -kInfinity || sink == kInfinity)) {
    row.lse = sink;
    return row;
  }
  if (!number || std::isnan(sink)) {
    std::fill(row.out.begin(), row.out.end(), kNan);
    row.lse = kNan;
    return row;
  }
  largest = std::max(largest, sink);
  double sum = std::exp(sink - largest);
  for (const Logit& logit : all) sum += std::exp(logit.value - largest);
  row.lse = largest + std::log(sum);
  for (const Logit& logit : all) {
    row.lse_leverage += std::exp(logit.value - row.lse) * (logit.error + std::fabs(row.lse));
  }
  const double share = in_.correction == nullptr ? 1 : static_cast<double>(in_.correction[lse_index(b, h, i)]);
  double weighted_error = 0;
  for (const Logit& logit : all) {
    const double weight = std::exp(logit.value - largest) / sum;
    const double error = weight * (logit.error + std::fabs(row.lse));
    for (size_t c = 0; c < columns; ++c) {
      const double v = v_.values[static_cast<size_t>(logit.key) * columns + c];
      row.out[c] += weight * v;
      row.magnitude[c] += weight * std::fabs(v);
      row.leverage[c] += error * std::fabs(v);
    }
    weighted_error += error;
  }
  for (size_t c = 0; c < columns; ++c) {
    row.leverage[c] += weighted_error * std::fabs(row.out[c]);  // the denominator's error
    row.out[c] *= share;
    row.magnitude[c] *= std::fabs(share);
    row.leverage[c] *= std::fabs(share);
  }
  return row;
}

}  // namespace gatun::attention
