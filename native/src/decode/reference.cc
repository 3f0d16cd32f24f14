#include "decode/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/dtype.h"

namespace gatun::decode {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kRoundedKeys = 64;  // whose largest exponential decides how all of theirs are rounded

float f32_at(const void* data, int32_t dtype, int64_t index) {
  const uint8_t* const at = static_cast<const uint8_t*>(data) + dtype_bytes(dtype, 1) * index;
  uint16_t half = 0;
  float value = 0;
  switch (dtype) {
    case GATUN_F32:
      std::memcpy(&value, at, 4);
      return value;
    case GATUN_F8E4M3:
      return small_to_f32<F8E4M3>(*at);
    case GATUN_F8E5M2:
      return small_to_f32<F8E5M2>(*at);
    default:
      std::memcpy(&half, at, 2);
      return dtype == GATUN_BF16 ? bf16_to_f32(half) : f16_to_f32(half);
  }
}

// As a number that a scale multiplies: less 8 or 2 without a zero point.
double code_at(const uint8_t* row, const gatun_kv_layout& layout, int64_t c) {
  if (layout.dtype == GATUN_I8) return static_cast<int8_t>(row[c]);
  const bool u4 = layout.dtype == GATUN_U4;
  const int code = u4 ? row[c / 2] >> c % 2 * 4 & 15 : row[c / 4] >> c % 4 * 2 & 3;
  return layout.zero_point != GATUN_ZERO_NONE ? code : code - (u4 ? 8 : 2);
}

// What x becomes as multiples of its amax / levels.
std::vector<double> rounded(const std::vector<float>& x, float levels) {
  float amax = 0;
  bool finite = true;
  for (const float value : x) {
    finite = finite && std::isfinite(value);
    amax = std::max(amax, std::fabs(value));
  }
  if (!finite) return std::vector<double>(x.size(), kNan);
  const float scale = amax / levels, inverse = 1 / scale;
  std::vector<double> result;
  for (const float value : x) {
    const double code = static_cast<double>(std::nearbyint(value * inverse));
    result.push_back(amax < 0x1p-100f ? 0 : code * static_cast<double>(scale));
  }
  return result;
}

}  // namespace

double Reference::Element::magnitude() const { return std::fabs(code * scale) + std::fabs(zero); }

Reference::Reference(const Call& call, const Inputs& inputs) : call_(call), in_(inputs) {}

int64_t Reference::length(int64_t b, int64_t h) const {
  return in_.lengths[lengths_index(b, h / (call_.p.query_heads / call_.k.heads))];
}

bool Reference::sees(int64_t b, int64_t h, int64_t i, int64_t j) const {
  const gatun_decode_params& p = call_.p;
  const int64_t position = i + length(b, h) - p.query_length;
  if (p.causal != 0 && j > position) return false;
  return p.window_left < 0 || position - j <= p.window_left || j < p.sink_keys;
}

int64_t Reference::page_of(int64_t b, int64_t g, int64_t j) const {
  if (in_.table == nullptr) return b;
  return in_.table[lengths_index(b, g) * call_.p.table_stride + j / call_.k.page_size];
}

void Reference::load(const gatun_kv_layout& l, const void* rows, const void* scales, const void* zeros, int64_t b,
                     int64_t g, Rows& into) const {
  if (into.b == b && into.g == g) return;
  into.b = b;
  into.g = g;
  into.elements.clear();
  const auto scale_at = [&](const void* data, int64_t page, int64_t r, int64_t c) {
    const bool channels = l.scaling == GATUN_KV_PER_CHANNEL;
    const int64_t t = channels ? r / l.group : r, column = channels ? c : c / l.group;
    const int64_t index = page * l.scale_page_stride + g * l.scale_head_stride + t * l.scale_row_stride + column;
    return static_cast<double>(f32_at(data, GATUN_F16, index));
  };
  for (int64_t j = 0; j < in_.lengths[lengths_index(b, g)]; ++j) {
    const int64_t page = page_of(b, g, j), r = j % l.page_size;
    const uint8_t* const row =
        static_cast<const uint8_t*>(rows) + page * l.page_stride + g * l.head_stride + r * l.row_stride;
    for (int64_t c = 0; c < l.size; ++c) {
      if (l.scaling == GATUN_KV_UNSCALED) {
        into.elements.push_back({static_cast<double>(f32_at(row, l.dtype, c)), 1, 0});
      } else {
        into.elements.push_back({code_at(row, l, c), scale_at(scales, page, r, c),
                                 l.zero_point != GATUN_ZERO_NONE ? scale_at(zeros, page, r, c) : 0});
      }
    }
  }
}

std::vector<float> Reference::query(int64_t b, int64_t h, int64_t i) const {
  const gatun_decode_params& p = call_.p;
  const int64_t first = b * p.q_batch_stride + h * p.q_head_stride + i * p.q_row_stride;
  std::vector<float> q;
  for (int64_t c = 0; c < call_.k.size; ++c) q.push_back(f32_at(in_.q, p.dtype, first + c));
  return q;
}

Reference::Product Reference::product(const std::vector<float>& q, int64_t j) const {
  const gatun_kv_layout& l = call_.k;
  const Element* const k = k_.elements.data() + j * l.size;
  const size_t size = q.size();
  std::vector<double> left(q.begin(), q.end()), right, zero(size);
  const bool channels = l.scaling == GATUN_KV_PER_CHANNEL;
  if (l.scaling != GATUN_KV_UNSCALED) {
    std::vector<float> x = q;
    for (size_t c = 0; channels && c < size; ++c) x[c] *= static_cast<float>(k[c].scale);
    left = rounded(x, call_.p.mode == GATUN_DECODE_INT8 ? 127.0f : 16256.0f);
  }
  Product product{0, 0};
  for (size_t c = 0; c < size; ++c) {
    if (channels) {
      product.value += left[c] * k[c].code + static_cast<double>(q[c]) * k[c].zero;
      product.magnitude += std::fabs(left[c] * k[c].code) + std::fabs(static_cast<double>(q[c]) * k[c].zero);
    } else {
      product.value += left[c] * k[c].value();
      product.magnitude += std::fabs(left[c]) * k[c].magnitude();
    }
  }
  if (std::fabs(product.value) > static_cast<double>(std::numeric_limits<float>::max())) product.value *= kInfinity;
  return product;
}

// Of column c of out, where `weights` are those of the keys.
double Reference::exponentials_error(const std::vector<double>& weights, int64_t c) const {
  const gatun_kv_layout& l = call_.v;
  const auto element = [&](size_t j) { return v_.elements[j * static_cast<size_t>(l.size) + static_cast<size_t>(c)]; };
  double error = 0;
  if (l.dtype == GATUN_BF16 && call_.p.dtype == GATUN_BF16) {
    for (size_t j = 0; j < weights.size(); ++j) {
      if (weights[j] > 0) error += 0x1p-8 * weights[j] * std::fabs(element(j).value());
    }
  }
  if (l.scaling == GATUN_KV_UNSCALED) return error;
  const bool of_tokens = l.scaling == GATUN_KV_PER_TOKEN;
  for (size_t first = 0; first < weights.size(); first += kRoundedKeys) {
    double largest = 0, codes = 0;
    for (size_t j = first; j < std::min(weights.size(), first + kRoundedKeys); ++j) {
      if (weights[j] == 0) continue;
      const Element v = element(j);
      largest = std::max(largest, std::fabs(weights[j] * (of_tokens ? v.scale : 1)));
      codes += std::fabs(v.code * (of_tokens ? 1 : v.scale));
    }
    error += 0.5 * largest / 16256 * codes;
  }
  return error;
}

Row Reference::row(int64_t b, int64_t h, int64_t i) {
  const gatun_decode_params& p = call_.p;
  const int64_t g = h / (p.query_heads / call_.k.heads), keys = length(b, h), position = i + keys - p.query_length;
  const size_t count = static_cast<size_t>(keys), columns = call_.has_v ? static_cast<size_t>(call_.v.size) : 0;
  load(call_.k, in_.k, in_.k_scales, in_.k_zeros, b, g, k_);
  if (call_.has_v) load(call_.v, in_.v, in_.v_scales, in_.v_zeros, b, g, v_);
  const std::vector<float> q = query(b, h, i);
  const double scale = static_cast<double>(p.scale), cap = static_cast<double>(p.soft_cap);
  const double slope = in_.slopes != nullptr ? static_cast<double>(in_.slopes[h]) : 0;
  const double sink = in_.sinks != nullptr ? static_cast<double>(in_.sinks[h]) : -kInfinity;

  Row row;
  row.out.resize(columns);
  row.out_error.resize(columns);
  row.out_magnitude.resize(columns);
  row.logits.assign(count, -kInfinity);
  row.logits_error.resize(count);
  double largest = -kInfinity, seen = 0;
  bool number = true;
  for (int64_t j = 0; j < keys; ++j) {
    if (!sees(b, h, i, j)) continue;
    ++seen;
    const Product qk = product(q, j);
    const double capped = cap > 0 ? cap * std::tanh(scale * qk.value / cap) : scale * qk.value;
    const double bias = slope != 0 ? slope * static_cast<double>(j - position) : 0, logit = capped + bias;
    const double error = (static_cast<double>(call_.k.size) / 16 + 4) * std::fabs(scale) * qk.magnitude +
                         (cap > 0 ? 4 * std::fabs(capped) : 0) + std::fabs(bias) + std::fabs(logit) + 2;
    row.logits[static_cast<size_t>(j)] = logit;
    row.logits_error[static_cast<size_t>(j)] = std::isfinite(logit) ? 0x1p-23 * error : 0;
    number = number && logit < kInfinity;  // nor NaN
    largest = std::max(largest, logit);
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
  for (const double logit : row.logits) sum += std::exp(logit - largest);
  row.lse = largest + std::log(sum);

  // Of the sums over keys, in f32: of 1024 at a time, in 16 lanes.
  const double of_sums = 0x1p-23 * std::min(seen / 16 + 8, 78.0);
  std::vector<double> weights;
  double error_of_sum = of_sums;
  for (size_t j = 0; j < count; ++j) {
    weights.push_back(std::exp(row.logits[j] - largest) / sum);
    error_of_sum += weights[j] * (row.logits_error[j] + 0x1p-23 * std::fabs(row.lse));
  }
  row.lse_error = error_of_sum + 0x1p-22 * std::fabs(row.lse);
  for (size_t c = 0; c < columns; ++c) {
    double error = 0;
    for (size_t j = 0; j < count; ++j) {
      if (row.logits[j] == -kInfinity) continue;
      const Element& v = v_.elements[j * columns + c];
      row.out[c] += weights[j] * v.value();
      row.out_magnitude[c] += weights[j] * v.magnitude();
      const double relative = row.logits_error[j] + 0x1p-23 * std::fabs(row.lse) + of_sums;
      error += (weights[j] * relative + 0x1p-126) * v.magnitude();  // what is no normal number may be 0
    }
    row.out_error[c] =
        error + error_of_sum * std::fabs(row.out[c]) + exponentials_error(weights, static_cast<int64_t>(c));
  }
  return row;
}

}  // namespace gatun::decode
