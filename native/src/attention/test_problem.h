// A problem of attention: its arguments between guard pages, calls, and the comparison with the reference.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <sstream>
#include <tuple>

#include "attention/reference.h"
#include "attention/table.h"
#include "attention/test_tensor.h"
#include "base/check.h"
#include "gatun/gatun.h"

namespace gatun::attention {

// The outputs of a call, as they lie in memory.
struct Outputs {
  std::vector<uint8_t> out;
  std::vector<float> lse;
};

class Problem {
 public:
  // q and k standard normal, v too.
  Problem(const Spec& spec, Rng& rng) : spec_(spec) {
    Spec& s = spec_;
    if (!s.q_offsets.empty()) {
      s.batch = static_cast<int64_t>(s.q_offsets.size()) - 1;
      s.query_length = std::max(s.query_length, s.q_offsets.back());
      s.kv_length = std::max(s.kv_length, s.kv_offsets.back());
    }
    const int64_t items = s.q_offsets.empty() ? s.batch : std::min<int64_t>(s.batch, 1);
    out_strides_ = strides_of(s.out_order, s.query_heads, s.query_length, s.value_size);
    const int64_t lse_gap = s.out_order == Order::gaps ? 5 : 0;
    lse_strides_ = {(s.query_length + lse_gap) * s.query_heads + lse_gap, s.query_length + lse_gap, 1};
    q_ = TestTensor(s, s.q_order, s.q_offsets, s.query_heads, s.query_length, s.head_size, rng);
    k_ = TestTensor(s, s.kv_order, s.kv_offsets, s.kv_heads, s.kv_length, s.head_size, rng);
    v_ = TestTensor(s, s.kv_order, s.kv_offsets, s.kv_heads, s.kv_length, s.value_size, rng);
    out_elements_ = extent(out_strides_, items, s.query_heads, s.query_length, s.value_size);
    lse_elements_ = extent(lse_strides_, items, s.query_heads, s.query_length, 1);
    q_offsets_ = buffer(s.q_offsets);
    kv_offsets_ = buffer(s.kv_offsets);
    slopes_ = floats(rng, s.slopes ? s.query_heads : 0, 0.2f);
    sinks_ = floats(rng, s.sinks ? s.query_heads : 0, 2.0f);
    correction_ = floats(rng, s.correction ? lse_elements_ : 0, 1.0f);
    make_mask(rng);
  }

  Spec& spec() { return spec_; }

  // What element x of row r of a head of a batch item is, instead of a random number; before the first call.
  using Element = TestTensor::Element;
  void set_q(const Element& value) { q_.set(spec_, spec_.q_offsets, value); }
  void set_k(const Element& value) { k_.set(spec_, spec_.kv_offsets, value); }
  void set_v(const Element& value) { v_.set(spec_, spec_.kv_offsets, value); }
  void set_correction(int64_t index, float value) { (*correction_)[index] = value; }
  void set_correction(float value) { std::fill_n(correction_->data(), correction_->size(), value); }
  void set_slope(int64_t head, float value) { (*slopes_)[head] = value; }
  void set_sink(int64_t head, float value) { (*sinks_)[head] = value; }

  gatun_attention_params params() const {
    const Spec& s = spec_;
    gatun_attention_params p{};
    p.struct_size = sizeof(p);
    p.dtype = s.dtype;
    p.out_dtype = s.out_dtype;
    p.mode = s.mode;
    p.threads = s.threads;
    p.causal = s.causal;
    p.scale = scale_of(s);
    p.soft_cap = s.soft_cap;
    p.window_left = s.window_left;
    p.window_right = s.window_right;
    p.sink_keys = s.sink_keys;
    p.batch = s.batch;
    p.query_heads = s.query_heads;
    p.kv_heads = s.kv_heads;
    p.query_length = s.query_length;
    p.kv_length = s.kv_length;
    p.head_size = s.head_size;
    p.value_size = s.value_size;
    std::tie(p.q_batch_stride, p.q_head_stride, p.q_row_stride) = tied(q_.strides);
    std::tie(p.k_batch_stride, p.k_head_stride, p.k_row_stride) = tied(k_.strides);
    std::tie(p.v_batch_stride, p.v_head_stride, p.v_row_stride) = tied(v_.strides);
    std::tie(p.out_batch_stride, p.out_head_stride, p.out_row_stride) = tied(out_strides_);
    p.lse_batch_stride = lse_strides_.batch;
    p.lse_head_stride = lse_strides_.head;
    if (s.mask != MaskKind::none) {
      p.query_block = s.query_block;
      p.key_block = s.key_block;
      p.mask_batch = mask_batch();
      p.mask_heads = mask_heads();
      p.query_blocks = query_blocks();
      p.full_count = mask_.full_count();
      p.partial_count = mask_.partial_count();
    }
    return p;
  }

  Inputs inputs() const {
    const bool masked = spec_.mask != MaskKind::none;
    return {q_.bytes->data(),
            k_.bytes->data(),
            spec_.values ? v_.bytes->data() : nullptr,
            at(q_offsets_),
            at(kv_offsets_),
            at(slopes_),
            at(sinks_),
            at(correction_),
            masked ? full_offsets_->data() : nullptr,
            masked ? full_blocks_->data() : nullptr,
            masked ? partial_offsets_->data() : nullptr,
            masked ? partial_blocks_->data() : nullptr,
            at(bits_)};
  }

  // The arguments elsewhere: copy(data, bytes, offset in bytes) says where.
  template <class Copy>
  Inputs copied(Copy copy) const {
    const auto array = [&](const auto& buffer, bool empty_is_null = true) {
      using Type = std::remove_const_t<std::remove_pointer_t<decltype(buffer->data())>>;
      const int64_t element = static_cast<int64_t>(sizeof(Type));
      if (buffer->size() == 0 && empty_is_null) return static_cast<const Type*>(nullptr);
      return static_cast<const Type*>(copy(buffer->data(), buffer->size() * element, spec_.offset * element));
    };
    const auto tensor = [&](const TestTensor& x) {
      return copy(x.bytes->data(), x.bytes->size(), spec_.offset * dtype_bytes(spec_.dtype, 1));
    };
    const bool masked = spec_.mask != MaskKind::none;
    return {tensor(q_),
            tensor(k_),
            spec_.values ? tensor(v_) : nullptr,
            array(q_offsets_),
            array(kv_offsets_),
            array(slopes_),
            array(sinks_),
            array(correction_),
            array(full_offsets_, !masked),
            array(full_blocks_, !masked),
            array(partial_offsets_, !masked),
            array(partial_blocks_, !masked),
            array(bits_)};
  }
  int64_t out_elements() const { return out_elements_; }
  int64_t lse_elements() const { return lse_elements_; }

  // Calls on a tier: what lies between the rows stays.
  void call(Outputs* outputs, Tier tier = static_cast<Tier>(gatun_tier())) {
    for (TestTensor* input : {&q_, &k_, &v_}) input->bytes->make_read_only();
    const int64_t element = dtype_bytes(spec_.out_dtype, 1);
    GuardBuffer<uint8_t> out(out_elements_ * element, spec_.edge, spec_.offset * element);
    GuardBuffer<float> lse(lse_elements_, spec_.edge, spec_.offset);
    const std::vector<uint8_t> out_before = out.copy();
    const std::vector<float> lse_before = lse.copy();
    const gatun_attention_params p = params();
    ASSERT_EQ(run(tier, &p, inputs(), spec_.values ? out.data() : nullptr, spec_.lse ? lse.data() : nullptr), GATUN_OK)
        << gatun_last_error();
    *outputs = {out.copy(), lse.copy()};
    check_gaps({out_before, lse_before}, *outputs);
  }

  // What lies between the rows is as it was.
  void check_gaps(const Outputs& before, const Outputs& after) const {
    const int64_t element = dtype_bytes(spec_.out_dtype, 1);
    std::vector<bool> out_written(after.out.size()), lse_written(after.lse.size());
    for_each_row([&](int64_t, int64_t, int64_t, int64_t out_at, int64_t lse_at) {
      if (spec_.values) std::fill_n(out_written.begin() + out_at * element, spec_.value_size * element, true);
      if (spec_.lse) lse_written[static_cast<size_t>(lse_at)] = true;
    });
    int64_t wrong = 0;
    for (size_t i = 0; i < out_written.size(); ++i) wrong += !out_written[i] && after.out[i] != before.out[i];
    for (size_t i = 0; i < lse_written.size(); ++i) {
      wrong += !lse_written[i] && float_bits(after.lse[i]) != float_bits(before.lse[i]);
    }
    ASSERT_EQ(wrong, 0) << "bytes between rows were written";
  }

  // Calls visit(b, h, i, place in out, place in lse) for all rows.
  template <class Visit>
  void for_each_row(Visit visit) const {
    const Reference reference(params(), inputs());
    for (int64_t b = 0; b < spec_.batch; ++b) {
      for (int64_t h = 0; h < spec_.query_heads; ++h) {
        for (int64_t i = 0; i < reference.queries(b); ++i) {
          visit(b, h, i, reference.out_index(b, h, i), reference.lse_index(b, h, i));
        }
      }
    }
  }

  // Every element within its bound. What the reference has no number for must be none.
  ::testing::AssertionResult good(const Outputs& outputs) const {
    const gatun_attention_params p = params();
    Reference reference(p, inputs());
    const int64_t element = dtype_bytes(spec_.out_dtype, 1);
    ::testing::AssertionResult result = ::testing::AssertionSuccess();
    for_each_row([&](int64_t b, int64_t h, int64_t i, int64_t out_at, int64_t lse_at) {
      if (!result) return;
      const Row row = reference.row(b, h, i);
      if (spec_.values) {
        std::vector<double> actual =
            test::to_doubles(outputs.out.data() + out_at * element, spec_.out_dtype, spec_.value_size);
        std::vector<double> expected = row.out, allowed(expected.size());
        for (size_t c = 0; c < allowed.size(); ++c) {
          allowed[c] = out_bound(p, row, c) + spec_.rounded * row.magnitude[c] +
                       test::unit_in_last_place(p.out_dtype, expected[c]);
          used_of(spec_).out = std::max(used_of(spec_).out, std::fabs(actual[c] - expected[c]) / allowed[c]);
          const bool same = std::isnan(expected[c]) ? std::isnan(actual[c]) : expected[c] == actual[c];
          if (!std::isfinite(expected[c]) && same) actual[c] = expected[c] = 0;
        }
        result = test::within(actual, expected, allowed);
        if (!result) result << "; out, row " << b << ", " << h << ", " << i;
      }
      if (spec_.lse && result) {
        const double actual = static_cast<double>(outputs.lse[static_cast<size_t>(lse_at)]);
        used_of(spec_).lse = std::max(used_of(spec_).lse, std::fabs(actual - row.lse) / lse_bound(p, row));
        result = test::within({actual}, {row.lse}, {lse_bound(p, row)});
        if (!result) result << "; lse, row " << b << ", " << h << ", " << i;
      }
    });
    return result;
  }
  void check(const Outputs& outputs) const { ASSERT_TRUE(good(outputs)); }

  // Calls and compares.
  void compare() {
    SCOPED_TRACE(describe(spec_));
    Outputs outputs;
    ASSERT_NO_FATAL_FAILURE(call(&outputs));
    check(outputs);
  }

 private:
  static std::tuple<int64_t, int64_t, int64_t> tied(const Strides& s) { return {s.batch, s.head, s.row}; }

  template <class T>
  std::unique_ptr<GuardBuffer<T>> buffer(const std::vector<T>& values) const {
    return std::make_unique<GuardBuffer<T>>(values, spec_.edge, spec_.offset);
  }
  // Null if there is nothing in it.
  template <class T>
  static const T* at(const std::unique_ptr<GuardBuffer<T>>& buffer) {
    return buffer->size() > 0 ? buffer->data() : nullptr;
  }
  std::unique_ptr<GuardBuffer<float>> floats(Rng& rng, int64_t count, float scale) const {
    return buffer(rng.normals(count, scale));
  }

  int64_t mask_batch() const { return spec_.mask_batch ? spec_.batch : 1; }
  int64_t mask_heads() const { return spec_.mask_heads ? spec_.query_heads : 1; }
  int64_t length(const std::vector<int64_t>& offsets, int64_t all, int64_t b) const {
    return offsets.empty() ? all : offsets[static_cast<size_t>(b) + 1] - offsets[static_cast<size_t>(b)];
  }
  int64_t query_blocks() const {
    int64_t most = 0;
    for (int64_t b = 0; b < spec_.batch; ++b) {
      most = std::max(most, blocks_of(length(spec_.q_offsets, spec_.query_length, b), spec_.query_block));
    }
    return most + spec_.spare_query_blocks;
  }
  // Of the item, or of all that share the mask and have queries.
  int64_t key_blocks(int64_t mask_b) const {
    int64_t least = INT64_MAX;
    for (int64_t b = 0; b < spec_.batch; ++b) {
      if (mask_batch() > 1 ? b != mask_b : length(spec_.q_offsets, spec_.query_length, b) == 0) continue;
      least = std::min(least, blocks_of(length(spec_.kv_offsets, spec_.kv_length, b), spec_.key_block));
    }
    return least == INT64_MAX ? 0 : least;
  }

  void make_mask(Rng& rng) {
    if (spec_.mask != MaskKind::none) {
      mask_.full_offsets = mask_.partial_offsets = {0};
      for (int64_t row = 0; row < mask_batch() * mask_heads() * query_blocks(); ++row) {
        mask_.add_row(random_map_row(rng, spec_.mask, key_blocks(row / (mask_heads() * query_blocks()))));
      }
      if (spec_.mask == MaskKind::bits || spec_.mask == MaskKind::mixed) {
        mask_.bits = random_bits(rng, mask_.partial_count(), spec_.query_block, spec_.key_block);
      }
    }
    full_offsets_ = buffer(mask_.full_offsets);
    full_blocks_ = buffer(mask_.full_blocks);
    partial_offsets_ = buffer(mask_.partial_offsets);
    partial_blocks_ = buffer(mask_.partial_blocks);
    bits_ = buffer(mask_.bits);
  }

  Spec spec_;
  TestTensor q_, k_, v_;
  Strides out_strides_, lse_strides_;
  std::unique_ptr<GuardBuffer<uint8_t>> bits_;
  std::unique_ptr<GuardBuffer<int64_t>> q_offsets_, kv_offsets_, full_offsets_, partial_offsets_;
  std::unique_ptr<GuardBuffer<int32_t>> full_blocks_, partial_blocks_;
  std::unique_ptr<GuardBuffer<float>> slopes_, sinks_, correction_;
  TestMask mask_;
  int64_t out_elements_ = 0, lse_elements_ = 0;
};

}  // namespace gatun::attention
