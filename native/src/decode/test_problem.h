// A problem of decoding: its arguments between guard pages, calls, and the comparison with the reference.
#pragma once

#include <numeric>

#include "decode/check.h"
#include "decode/reference.h"
#include "decode/test_pool.h"
#include "gatun/gatun.h"

namespace gatun::decode {

// The outputs of a call, as they lie in memory.
struct Outputs {
  std::vector<uint8_t> out;
  std::vector<float> lse, logits;
};

inline ::testing::AssertionResult identical(const Outputs& a, const Outputs& b) {
  if (const auto same = test::identical(a.out, b.out); !same) return same;
  if (const auto same = test::identical(a.lse, b.lse); !same) return same;
  return test::identical(a.logits, b.logits);
}

// The largest parts of the bounds that were used: printed in the end.
struct Used {
  double out = 0, lse = 0, logits = 0;
};
inline Used used;

class Problem {
 public:
  explicit Problem(const Spec& spec, uint64_t seed = 1) : spec_(spec) {
    Spec& s = spec_;
    Rng rng(seed);
    longest_ = s.lengths.empty() ? 0 : *std::max_element(s.lengths.begin(), s.lengths.end());
    if (s.contiguous) s.page_size = (longest_ / 64 + 1) * 64;
    make_table();
    k_ = TestPool(s, s.k, s.size, pages_, s.page_size);
    v_ = TestPool(s, s.v, s.value_size, pages_, s.page_size);
    for_each_key([&](int64_t page, int64_t g, int64_t r) {
      k_.write(rng, page, g, r);
      v_.write(rng, page, g, r);
    });
    q_strides_ = attention::strides_of(s.q_order, s.query_heads(), s.query_length, s.size);
    out_strides_ = attention::strides_of(s.out_order, s.query_heads(), s.query_length, s.value_size);
    const int64_t gap = s.out_order == Order::gaps ? 5 : 0;
    lse_strides_ = {(s.query_length + gap) * s.query_heads() + gap, s.query_length + gap, 1};
    logits_strides_ = attention::strides_of(s.out_order, s.query_heads(), s.query_length, longest_);
    const auto elements = [&](const Strides& strides, int64_t columns) {
      return attention::extent(strides, s.batch(), s.query_heads(), s.query_length, columns);
    };
    const int64_t element = dtype_bytes(s.dtype, 1);
    const std::vector<uint8_t> values = test::from_floats(rng.normals(elements(q_strides_, s.size)), s.dtype);
    q_ = std::make_unique<GuardBuffer<uint8_t>>(values, s.edge, s.offset * element);
    out_elements_ = s.values ? elements(out_strides_, s.value_size) : 0;
    lse_elements_ = s.lse ? elements(lse_strides_, 1) : 0;
    logits_elements_ = s.logits ? elements(logits_strides_, longest_) : 0;
    lengths_ = buffer(s.lengths);
    slopes_ = buffer(rng.normals(s.slopes ? s.query_heads() : 0, 0.2f));
    sinks_ = buffer(rng.normals(s.sinks ? s.query_heads() : 0, 2.0f));
  }

  Spec& spec() { return spec_; }
  const gatun_kv_layout& k_layout() const { return k_.layout(); }
  const gatun_kv_layout& v_layout() const { return v_.layout(); }
  TestPool& k() { return k_; }
  TestPool& v() { return v_; }

  // Before the first call. An element of q:
  void set_q(int64_t b, int64_t h, int64_t i, int64_t c, float value) {
    const int64_t at = b * q_strides_.batch + h * q_strides_.head + i * q_strides_.row + c;
    const std::vector<uint8_t> bytes = test::from_floats({value}, spec_.dtype);
    std::copy(bytes.begin(), bytes.end(), q_->data() + at * dtype_bytes(spec_.dtype, 1));
  }
  void set_slope(int64_t head, float value) { (*slopes_)[head] = value; }
  void set_sink(int64_t head, float value) { (*sinks_)[head] = value; }
  // The page of a key.
  int64_t page_of(int64_t b, int64_t g, int64_t j) const {
    const int64_t row = b * spec_.table_heads() + (spec_.head_tables ? g : 0);
    return spec_.contiguous ? b : (*table_)[row * table_stride_ + j / spec_.page_size];
  }

  gatun_decode_params params() const {
    const Spec& s = spec_;
    gatun_decode_params p{};
    p.struct_size = sizeof(p);
    p.dtype = s.dtype;
    p.out_dtype = s.out_dtype;
    p.mode = s.mode;
    p.threads = s.threads;
    p.causal = s.causal;
    p.scale = s.scale_or_default();
    p.soft_cap = s.soft_cap;
    p.window_left = s.window_left;
    p.sink_keys = s.sink_keys;
    p.batch = s.batch();
    p.query_heads = s.query_heads();
    p.query_length = s.query_length;
    p.table_heads = s.table_heads();
    p.table_stride = table_stride_;
    p.q_batch_stride = q_strides_.batch, p.q_head_stride = q_strides_.head, p.q_row_stride = q_strides_.row;
    p.out_batch_stride = out_strides_.batch, p.out_head_stride = out_strides_.head;
    p.out_row_stride = out_strides_.row;
    p.lse_batch_stride = lse_strides_.batch, p.lse_head_stride = lse_strides_.head;
    p.logits_batch_stride = logits_strides_.batch, p.logits_head_stride = logits_strides_.head;
    p.logits_row_stride = logits_strides_.row;
    return p;
  }

  Inputs inputs() const {
    const bool values = spec_.values;
    return {q_->data(),
            k_.rows(),
            k_.scales(),
            k_.zeros(),
            values ? v_.rows() : nullptr,
            values ? v_.scales() : nullptr,
            values ? v_.zeros() : nullptr,
            spec_.contiguous ? nullptr : table_->data(),
            lengths_->data(),
            at(slopes_),
            at(sinks_)};
  }

  // Calls: what lies between the rows stays.
  void call(Outputs* outputs) {
    k_.make_read_only();
    v_.make_read_only();
    q_->make_read_only();
    const int64_t element = dtype_bytes(spec_.out_dtype, 1);
    GuardBuffer<uint8_t> out(out_elements_ * element, spec_.edge, spec_.offset * element);
    GuardBuffer<float> lse(lse_elements_, spec_.edge, spec_.offset);
    GuardBuffer<float> logits(logits_elements_, spec_.edge, spec_.offset);
    const Outputs before = {out.copy(), lse.copy(), logits.copy()};
    const gatun_decode_params p = params();
    const Inputs in = inputs();
    ASSERT_EQ(gatun_decode(&p, &k_.layout(), spec_.values ? &v_.layout() : nullptr, in.q, in.k, in.k_scales, in.k_zeros,
                           in.v, in.v_scales, in.v_zeros, in.table, in.lengths, in.slopes, in.sinks,
                           spec_.values ? out.data() : nullptr, spec_.lse ? lse.data() : nullptr,
                           spec_.logits ? logits.data() : nullptr),
              GATUN_OK)
        << gatun_last_error();
    *outputs = {out.copy(), lse.copy(), logits.copy()};
    Outputs cleaned = *outputs;  // rows as they were before
    for_each_row([&](int64_t b, int64_t h, int64_t i) {
      const auto restore = [](auto& to, const auto& from, int64_t first, int64_t count) {
        std::copy_n(from.begin() + first, count, to.begin() + first);
      };
      if (spec_.values) restore(cleaned.out, before.out, out_at(b, h, i) * element, spec_.value_size * element);
      if (spec_.lse) restore(cleaned.lse, before.lse, lse_at(b, h, i), 1);
      if (spec_.logits) restore(cleaned.logits, before.logits, logits_at(b, h, i), length(b, h));
    });
    ASSERT_TRUE(identical(cleaned, before)) << "beside the rows";
  }

  // Calls visit(b, h, i) for all rows.
  template <class Visit>
  void for_each_row(Visit visit) const {
    for (int64_t b = 0; b < spec_.batch(); ++b) {
      for (int64_t h = 0; h < spec_.query_heads(); ++h) {
        for (int64_t i = 0; i < spec_.query_length; ++i) visit(b, h, i);
      }
    }
  }
  int64_t out_at(int64_t b, int64_t h, int64_t i) const { return place(out_strides_, b, h, i); }
  int64_t lse_at(int64_t b, int64_t h, int64_t i) const { return place(lse_strides_, b, h, i); }
  int64_t logits_at(int64_t b, int64_t h, int64_t i) const { return place(logits_strides_, b, h, i); }
  std::vector<double> out_row(const Outputs& outputs, int64_t b, int64_t h, int64_t i) const {
    const int64_t first = out_at(b, h, i) * dtype_bytes(spec_.out_dtype, 1);
    return test::to_doubles(outputs.out.data() + first, spec_.out_dtype, spec_.value_size);
  }
  int64_t length(int64_t b, int64_t h) const {
    const int64_t g = spec_.head_tables ? h / spec_.ratio : 0;
    return spec_.lengths[static_cast<size_t>(b * spec_.table_heads() + g)];
  }

  // Every element of a row within its bound. What the reference has no number for must be none. Other kernels than the
  // CPU's may round more: errors of f32 by a factor, exponentials by a part of each.
  ::testing::AssertionResult good_row(Reference& reference, const Outputs& outputs, int64_t b, int64_t h, int64_t i,
                                      double factor = 1, double of_exponentials = 0) const {
    Row row = reference.row(b, h, i);
    for (std::vector<double>* errors : {&row.out_error, &row.logits_error}) {
      for (double& error : *errors) error *= factor;
    }
    row.lse_error *= factor;
    for (size_t c = 0; c < row.out.size(); ++c) row.out_error[c] += of_exponentials * row.out_magnitude[c];
    ::testing::AssertionResult result = ::testing::AssertionSuccess();
    if (spec_.values) {
      std::vector<double> allowed = row.out_error;
      for (size_t c = 0; c < allowed.size(); ++c) allowed[c] += test::unit_in_last_place(spec_.out_dtype, row.out[c]);
      result = within(out_row(outputs, b, h, i), row.out, allowed, &used.out);
      if (!result) return result << "; out, row " << b << ", " << h << ", " << i;
    }
    if (spec_.lse) {
      const double lse = static_cast<double>(outputs.lse[static_cast<size_t>(lse_at(b, h, i))]);
      result = within({lse}, {row.lse}, {row.lse_error}, &used.lse);
      if (!result) return result << "; lse, row " << b << ", " << h << ", " << i;
    }
    if (spec_.logits) {
      const auto first = outputs.logits.begin() + logits_at(b, h, i);
      result = within({first, first + length(b, h)}, row.logits, row.logits_error, &used.logits);
      if (!result) return result << "; logits, row " << b << ", " << h << ", " << i;
    }
    return result;
  }
  Reference reference() const {
    Call call{};
    EXPECT_EQ(read(params(), &call), GATUN_OK) << gatun_last_error();
    return Reference(call, inputs());
  }
  ::testing::AssertionResult good(const Outputs& outputs) const {
    Reference definition = reference();
    ::testing::AssertionResult result = ::testing::AssertionSuccess();
    for_each_row([&](int64_t b, int64_t h, int64_t i) {
      if (result) result = good_row(definition, outputs, b, h, i);
    });
    return result;
  }

  // Calls and compares.
  void compare() {
    SCOPED_TRACE(describe(spec_));
    Outputs outputs;
    ASSERT_NO_FATAL_FAILURE(call(&outputs));
    ASSERT_TRUE(good(outputs));
  }

 private:
  static ::testing::AssertionResult within(std::vector<double> actual, std::vector<double> expected,
                                           const std::vector<double>& allowed, double* most) {
    for (size_t c = 0; c < allowed.size(); ++c) {
      if (allowed[c] > 0) *most = std::max(*most, std::fabs(actual[c] - expected[c]) / allowed[c]);
      const bool same = std::isnan(expected[c]) ? std::isnan(actual[c]) : expected[c] == actual[c];
      if (!std::isfinite(expected[c]) && same) actual[c] = expected[c] = 0;
    }
    return test::within(actual, expected, allowed);
  }
  int32_t read(const gatun_decode_params& p, Call* call) const {
    return decode::read(&p, &k_.layout(), spec_.values ? &v_.layout() : nullptr, call);
  }
  static int64_t place(const Strides& s, int64_t b, int64_t h, int64_t i) {
    return b * s.batch + h * s.head + i * s.row;
  }
  template <class T>
  std::unique_ptr<GuardBuffer<T>> buffer(const std::vector<T>& values) const {
    return std::make_unique<GuardBuffer<T>>(values, spec_.edge, spec_.offset);
  }
  // Null if there is nothing in it.
  static const float* at(const std::unique_ptr<GuardBuffer<float>>& buffer) {
    return buffer->size() > 0 ? buffer->data() : nullptr;
  }

  // Rows of the table: pages in any order, among them some that nobody has; then entries that do not count.
  void make_table() {
    const Spec& s = spec_;
    const int64_t rows = static_cast<int64_t>(s.lengths.size());
    const auto pages_of = [&](int64_t row) {
      const int64_t length = s.shared ? longest_ : s.lengths[static_cast<size_t>(row)];
      return blocks_of(length, s.page_size);
    };
    table_stride_ = s.contiguous ? 1 : blocks_of(longest_, s.page_size) + 2;
    int64_t needed = 0;
    for (int64_t row = 0; row < (s.shared ? s.table_heads() : rows); ++row) needed += pages_of(row);
    pages_ = s.contiguous ? s.batch() : needed + 3;
    std::vector<int32_t> order(static_cast<size_t>(pages_));
    std::iota(order.begin(), order.end(), 0);
    Rng rng(s.page_seed);
    for (int64_t i = pages_ - 1; i > 0; --i) {
      std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(rng.integer(0, i))]);
    }
    std::vector<int32_t> table(static_cast<size_t>(rows * table_stride_), INT32_MIN);
    for (int64_t row = 0, next = 0; row < rows; ++row) {
      if (s.contiguous) continue;
      if (s.shared && row % s.table_heads() == 0) next = 0;
      for (int64_t i = 0; i < pages_of(row); ++i) {
        table[static_cast<size_t>(row * table_stride_ + i)] = order[static_cast<size_t>(next++)];
      }
    }
    table_ = buffer(table);
  }

  // Calls visit(page, head of the pools, row) once for each key that is there.
  template <class Visit>
  void for_each_key(Visit visit) const {
    for (int64_t b = 0; b < (spec_.shared ? std::min<int64_t>(1, spec_.batch()) : spec_.batch()); ++b) {
      for (int64_t g = 0; g < spec_.heads; ++g) {
        const int64_t keys = spec_.shared ? longest_ : length(b, g * spec_.ratio);
        for (int64_t j = 0; j < keys; ++j) visit(page_of(b, g, j), g, j % spec_.page_size);
      }
    }
  }

  Spec spec_;
  int64_t longest_ = 0, pages_ = 0, table_stride_ = 1;
  TestPool k_, v_;
  Strides q_strides_, out_strides_, lse_strides_, logits_strides_;
  int64_t out_elements_ = 0, lse_elements_ = 0, logits_elements_ = 0;
  std::unique_ptr<GuardBuffer<uint8_t>> q_;
  std::unique_ptr<GuardBuffer<int32_t>> table_;
  std::unique_ptr<GuardBuffer<int64_t>> lengths_;
  std::unique_ptr<GuardBuffer<float>> slopes_, sinks_;
};

}  // namespace gatun::decode
