// INT8_FP8 in double precision, from the definition in gatun/attention.h: codes of v, and attention over them by the
// reference of INT8, whose q . k this mode has.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "attention/reference.h"
#include "base/dtype.h"

namespace gatun::cuda::attention {

// How good tensor cores' sums of 128 products are, beside their magnitudes; the emulator's are exact.
#if defined(GATUN_EMULATED)
inline constexpr double kFp8Sums = 0;
#else
inline constexpr double kFp8Sums = 0x1p-6;
#endif

// Of the values of a channel of a head of a batch item.
struct Channel {
  float mean, scale;
  std::vector<uint8_t> codes;  // of keys
};

inline Channel channel_of(const std::vector<float>& values, bool smooth = true) {
  Channel channel = {0, 0, {}};
  for (const float x : values) channel.mean += x;
  channel.mean = smooth ? channel.mean / static_cast<float>(values.size()) : 0.0f;
  float amax = 0;
  bool finite = true;
  for (const float x : values) {
    finite = finite && std::isfinite(x - channel.mean);
    amax = std::max(amax, std::fabs(x - channel.mean));
  }
  channel.scale = finite ? amax / 448.0f : std::numeric_limits<float>::quiet_NaN();
  if (channel.scale < 0x1p-120f) channel.scale = 0;
  const float inverse = channel.scale > 0 ? 1.0f / channel.scale : 0.0f;
  for (const float x : values) {
    channel.codes.push_back(inverse > 0 ? f32_to_small<F8E4M3>((x - channel.mean) * inverse) : uint8_t{0});
  }
  return channel;
}

class Fp8Reference {
 public:
  // smooth: as the definition, or without the means; exact_weights: 448 times a row's weights are numbers of f8e4m3.
  Fp8Reference(const gatun_attention_params& params, const gatun::attention::Inputs& inputs, bool exact_weights = false,
               bool smooth = true)
      : p_(params), in_(inputs), exact_weights_(exact_weights), codes_(p_), codes_in_(in_) {
    // The codes as values, and a channel of ones, whose sum is the share of the weights.
    const int64_t columns = p_.value_size + 8, items = ragged() ? std::min<int64_t>(p_.batch, 1) : p_.batch;
    codes_in_.correction = nullptr;  // row() has it
    codes_.mode = GATUN_ATTENTION_INT8;
    codes_.value_size = columns;
    codes_.v_row_stride = columns;
    codes_.v_head_stride = p_.kv_length * columns;
    codes_.v_batch_stride = p_.kv_heads * codes_.v_head_stride;
    std::vector<float> values(static_cast<size_t>(items * codes_.v_batch_stride));
    for (int64_t b = 0; b < p_.batch; ++b) {
      for (int64_t head = 0; head < p_.kv_heads; ++head) {
        for (int64_t c = 0; c < columns; ++c) {
          if (c < p_.value_size) channels_.push_back(channel_of(values_of(b, head, c), smooth));
          for (int64_t j = 0; j < keys(b); ++j) {
            values[static_cast<size_t>(place(b, head, j, codes_) + c)] =
                c < p_.value_size ? small_to_f32<F8E4M3>(channels_.back().codes[static_cast<size_t>(j)]) : 1.0f;
          }
        }
      }
    }
    if (in_.v == nullptr) return;
    for (const float x : values) {  // which all types hold
      halves_.push_back(p_.dtype == GATUN_BF16 ? f32_to_bf16(x) : f32_to_f16(x));
    }
    values_ = std::move(values);
    if (!values_.empty())
      codes_in_.v = p_.dtype == GATUN_F32 ? static_cast<const void*>(values_.data()) : halves_.data();
  }

  Fp8Reference(const Fp8Reference&) = delete;

  bool ragged() const { return in_.q_offsets != nullptr; }
  int64_t first_key(int64_t b) const { return ragged() ? in_.kv_offsets[b] : 0; }
  int64_t keys(int64_t b) const { return gatun::attention::Reference::length(in_.kv_offsets, p_.kv_length, b); }
  const Channel& channel(int64_t b, int64_t head, int64_t c) const {
    return channels_[static_cast<size_t>((b * p_.kv_heads + head) * p_.value_size + c)];
  }

  // A row of out before it is rounded, and how far a kernel may be off. Weights of 2^-6 / 448 and more are rounded by
  // 2^-4 of them at most, smaller ones by 2^-10 / 448 of the largest.
  struct Expected {
    std::vector<double> out, allowed;
    double lse, lse_allowed;
  };
  Expected row(gatun::attention::Reference& reference, int64_t b, int64_t h, int64_t i) const {
    const gatun::attention::Row row = reference.row(b, h, i);
    Expected expected = {{}, {}, row.lse, lse_bound(codes_, row)};
    if (in_.v == nullptr) return expected;
    gatun_attention_params exact = codes_;
    exact.mode = GATUN_ATTENTION_EXACT;
    exact.dtype = GATUN_F32;
    const double correction =
        in_.correction == nullptr ? 1 : static_cast<double>(in_.correction[reference.lse_index(b, h, i)]);
    const size_t ones = static_cast<size_t>(p_.value_size);
    for (size_t c = 0; c < ones; ++c) {
      const Channel& v = channel(b, h / (p_.query_heads / p_.kv_heads), static_cast<int64_t>(c));
      const double scale = static_cast<double>(v.scale), mean = static_cast<double>(v.mean), share = row.out[ones];
      expected.out.push_back(share == 0 ? 0 : correction * (row.out[c] * scale + mean * share));
      const double weights = (kFp8Sums + (exact_weights_ ? 0 : 0x1p-4)) * row.magnitude[c] +
                             0x1p-10 * static_cast<double>(row.seen) * row.magnitude[ones];
      const double rest = out_bound(exact, row, c) + 0x1p-20 * (row.magnitude[c] + std::fabs(row.out[c]));
      const double of_mean = (0x1p-20 + out_bound(exact, row, ones)) * std::fabs(mean);
      expected.allowed.push_back(share == 0 ? 0 : std::fabs(correction) * ((weights + rest) * scale + of_mean));
    }
    return expected;
  }
  gatun::attention::Reference reference() const { return {codes_, codes_in_}; }

 private:
  // Of row j of a head of v.
  int64_t place(int64_t b, int64_t head, int64_t j, const gatun_attention_params& p) const {
    using gatun::attention::Reference;
    return Reference::index(in_.kv_offsets, b, head, j, p.v_batch_stride, p.v_head_stride, p.v_row_stride);
  }
  std::vector<float> values_of(int64_t b, int64_t head, int64_t c) const {
    std::vector<float> values;
    if (in_.v == nullptr) return std::vector<float>(static_cast<size_t>(keys(b)));
    for (int64_t j = 0; j < keys(b); ++j) {
      values.push_back(gatun::attention::element(in_.v, p_.dtype, place(b, head, j, p_) + c));
    }
    return values;
  }

  gatun_attention_params p_;
  gatun::attention::Inputs in_;
  bool exact_weights_;
  gatun_attention_params codes_;  // of the problem that the reference has
  gatun::attention::Inputs codes_in_;
  std::vector<Channel> channels_;
  std::vector<float> values_;
  std::vector<uint16_t> halves_;
};

}  // namespace gatun::cuda::attention
