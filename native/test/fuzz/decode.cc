// Decoding: layouts, strides, tables, lengths and options, good and bad, against the reference.
#include "gatun/decode.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/dtype.h"
#include "decode/check.h"
#include "decode/reference.h"
#include "input.h"

namespace gatun::fuzz {
namespace {

using Params = gatun_decode_params;
using Layout = gatun_kv_layout;

bool float_dtype(int32_t dtype) { return dtype == GATUN_F32 || dtype == GATUN_BF16 || dtype == GATUN_F16; }
bool code_dtype(int32_t dtype) { return dtype == GATUN_I8 || dtype == GATUN_U4 || dtype == GATUN_U2; }

struct Strides {
  int64_t batch, head, row;
};

// Heads outside rows or inside, with gaps or without.
Strides strides_of(Input& input, int64_t heads, int64_t rows, int64_t columns, int64_t unit = 1) {
  const int64_t gap = input.range(0, 3) == 0 ? input.range(1, 5) * unit : 0;
  if (input.range(0, 1) == 0) {
    const int64_t row = columns + gap, head = rows * row + gap;
    return {heads * head + gap, head, row};
  }
  const int64_t head = columns + gap, row = heads * head + gap;
  return {rows * row + gap, head, row};
}

int64_t bytes_of(const Strides& s, int64_t batch, int64_t heads, int64_t rows, int64_t columns, int64_t element) {
  if (batch <= 0 || heads <= 0 || rows <= 0) return 0;
  return ((batch - 1) * s.batch + (heads - 1) * s.head + (rows - 1) * s.row + columns) * element;
}

// Rows of keys or values.
class Pool {
 public:
  Pool(Input& input, test::Rng& rng, Values kind, const Layout& shape) : l_(shape) {
    l_.struct_size = input.struct_size(sizeof(l_));
    l_.dtype = input.choice({GATUN_F32, GATUN_BF16, GATUN_F16, GATUN_F8E4M3, GATUN_F8E5M2, GATUN_I8, GATUN_U4, GATUN_U2,
                             GATUN_I8, GATUN_U4, GATUN_U2});
    l_.scaling = code_dtype(l_.dtype) ? input.choice({GATUN_KV_PER_TOKEN, GATUN_KV_PER_CHANNEL})
                                      : input.choice({GATUN_KV_UNSCALED});
    const bool zeros = l_.dtype == GATUN_U4 || l_.dtype == GATUN_U2;
    l_.zero_point = zeros ? input.choice({GATUN_ZERO_NONE, GATUN_ZERO_FLOAT}) : input.choice({GATUN_ZERO_NONE});
    l_.size = input.rarely() ? input.size() : 8 * input.range(1, 32);
    l_.group = 0;
    if (l_.scaling == GATUN_KV_PER_TOKEN) l_.group = input.range(0, 1) == 0 ? l_.size : 16 * input.range(1, 8);
    if (l_.scaling == GATUN_KV_PER_CHANNEL) l_.group = 16 * input.range(1, 16);
    if (l_.scaling == GATUN_KV_PER_CHANNEL && input.range(0, 1) == 0) l_.group = l_.page_size;
    if (input.rarely()) l_.group = input.size();
    valid_ = good_format();
    if (valid_) make(input, rng, kind);
    if (input.rarely()) {
      l_.row_stride = input.range(INT64_MIN, -1);
      valid_ = false;
    }
    for (Buffer* const buffer : {&rows_, &scales_, &zeros_}) {
      buffer->spoil(input);
      if (buffer->bytes() > 0 && (buffer->is_null() || (buffer->misaligned() && element_of(*buffer) > 1))) {
        valid_ = false;
      }
    }
  }

  bool valid() const { return valid_; }
  const Layout& layout() const { return l_; }
  const void* rows() const { return rows_.data(); }
  const void* scales() const { return l_.scaling != GATUN_KV_UNSCALED ? scales_.data() : nullptr; }
  const void* zeros() const { return l_.zero_point != GATUN_ZERO_NONE ? zeros_.data() : nullptr; }

 private:
  // gatun/kv_cache.h, but strides.
  bool good_format() const {
    if (l_.struct_size != sizeof(l_) || l_.size < 8 || l_.size > 256 || l_.size % 8 != 0) return false;
    if (l_.heads < 0 || l_.pages < 0 || l_.page_size < 1) return false;
    const bool small = l_.dtype == GATUN_U4 || l_.dtype == GATUN_U2;
    if (l_.zero_point != GATUN_ZERO_NONE && !(small && l_.zero_point == GATUN_ZERO_FLOAT)) return false;
    const bool sixteens = l_.group >= 16 && l_.group % 16 == 0;
    switch (l_.scaling) {
      case GATUN_KV_UNSCALED:
        return (float_dtype(l_.dtype) || l_.dtype == GATUN_F8E4M3 || l_.dtype == GATUN_F8E5M2) && l_.group == 0;
      case GATUN_KV_PER_TOKEN:
        return code_dtype(l_.dtype) && (l_.group == l_.size || (sixteens && l_.group < l_.size));
      case GATUN_KV_PER_CHANNEL:
        return code_dtype(l_.dtype) && sixteens && l_.page_size % l_.group == 0;
      default:
        return false;
    }
  }
  int64_t element_of(const Buffer& buffer) const { return &buffer == &rows_ ? dtype_bytes(l_.dtype, 1) : 2; }

  void make(Input& input, test::Rng& rng, Values kind) {
    const int64_t element = dtype_bytes(l_.dtype, 1), row = dtype_bytes(l_.dtype, l_.size);
    const Strides s = strides_of(input, l_.heads, l_.page_size, row, element);
    l_.page_stride = s.batch, l_.head_stride = s.head, l_.row_stride = s.row;
    rows_ = Buffer(bytes_of(s, l_.pages, l_.heads, l_.page_size, row, 1));
    if (float_dtype(l_.dtype)) {
      rows_.fill_floats(rng, l_.dtype, kind);
    } else if (!code_dtype(l_.dtype)) {
      for (int64_t i = 0; i < rows_.bytes(); ++i) {
        const float value = rng.normal();
        rows_.data()[i] = l_.dtype == GATUN_F8E4M3 ? f32_to_small<F8E4M3>(value) : f32_to_small<F8E5M2>(value);
      }
    } else {
      rows_.fill_integers(rng, 0, 255);
      // -128 is no code.
      for (int64_t i = 0; l_.dtype == GATUN_I8 && i < rows_.bytes(); ++i) {
        if (rows_.data()[i] == 0x80) rows_.data()[i] = 0;
      }
    }
    if (l_.scaling == GATUN_KV_UNSCALED) return;
    const bool tokens = l_.scaling == GATUN_KV_PER_TOKEN;
    const int64_t scale_rows = tokens ? l_.page_size : l_.page_size / l_.group;
    const int64_t columns = tokens ? blocks_of(l_.size, l_.group) : l_.size;
    const Strides t = strides_of(input, l_.heads, scale_rows, columns);
    l_.scale_page_stride = t.batch, l_.scale_head_stride = t.head, l_.scale_row_stride = t.row;
    scales_ = Buffer(bytes_of(t, l_.pages, l_.heads, scale_rows, columns, 2));
    scales_.fill_floats(rng, GATUN_F16, kind, l_.dtype == GATUN_I8 ? 0x1p-6f : 0.25f);
    if (l_.zero_point == GATUN_ZERO_NONE) return;
    zeros_ = Buffer(scales_.bytes());
    zeros_.fill_floats(rng, GATUN_F16, kind);
  }

  Layout l_;
  bool valid_ = false;
  Buffer rows_{0}, scales_{0}, zeros_{0};
};

void check_rows(const Params& p, const Pool& k, const Pool* v, const decode::Inputs& in, const Buffer& out,
                const Buffer& lse, const Buffer& logits) {
  decode::Call call{};
  if (decode::read(&p, &k.layout(), v != nullptr ? &v->layout() : nullptr, &call) != GATUN_OK) defect("decode::read");
  decode::Reference reference(call, in);
  const auto near = [](double actual, double expected, double allowed) {
    return actual == expected || std::fabs(actual - expected) <= allowed;
  };
  const int64_t rows = p.batch * p.query_heads * p.query_length;
  for (int64_t row = 0; row < rows; row += rows / 10 + 1) {  // some of many
    const int64_t i = row % p.query_length, h = row / p.query_length % p.query_heads,
                  b = row / p.query_length / p.query_heads;
    const decode::Row expected = reference.row(b, h, i);
    const int64_t first = b * p.out_batch_stride + h * p.out_head_stride + i * p.out_row_stride;
    for (size_t c = 0; c < expected.out.size(); ++c) {
      const double y = expected.out[c], rounding = p.out_dtype == GATUN_BF16  ? 0x1p-8
                                                   : p.out_dtype == GATUN_F16 ? 0x1p-10
                                                                              : 0x1p-23;
      const double actual = static_cast<double>(float_at(out.data(), p.out_dtype, first + static_cast<int64_t>(c)));
      if (!near(actual, y, expected.out_error[c] + rounding * std::max(std::fabs(y), 0x1p-14))) {
        defect("out %lld, %lld, %lld, %zu: %g, reference %g", static_cast<long long>(b), static_cast<long long>(h),
               static_cast<long long>(i), c, actual, y);
      }
    }
    if (lse.bytes() > 0) {
      const int64_t at = b * p.lse_batch_stride + h * p.lse_head_stride + i;
      const double actual = static_cast<double>(float_at(lse.data(), GATUN_F32, at));
      if (!near(actual, expected.lse, expected.lse_error)) defect("lse: %g, reference %g", actual, expected.lse);
    }
    if (logits.bytes() == 0) continue;
    const int64_t keys = b * p.logits_batch_stride + h * p.logits_head_stride + i * p.logits_row_stride;
    for (size_t j = 0; j < expected.logits.size(); ++j) {
      const double actual = static_cast<double>(float_at(logits.data(), GATUN_F32, keys + static_cast<int64_t>(j)));
      if (!near(actual, expected.logits[j], expected.logits_error[j])) {
        defect("logit %zu: %g, reference %g", j, actual, expected.logits[j]);
      }
    }
  }
}

}  // namespace

void fuzz_decode(Input& input) {
  test::Rng rng = input.rng();
  const Values kind = values(input);
  Layout shape{};
  shape.heads = input.range(0, 3);
  shape.pages = input.range(0, 6);
  shape.page_size = input.range(0, 1) == 0 ? 16 * input.range(1, input.range(0, 3) == 0 ? 16 : 4) : input.range(1, 40);
  const Pool k(input, rng, kind, shape);
  const bool has_v = input.range(0, 3) != 0;
  if (has_v && input.rarely()) ++shape.pages;
  const Pool v(input, rng, kind, shape);

  Params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.dtype = input.choice({GATUN_F32, GATUN_BF16, GATUN_F16});
  p.out_dtype = input.range(0, 1) == 0 ? p.dtype : input.choice({GATUN_F32});
  p.mode = input.choice({GATUN_DECODE_EXACT, GATUN_DECODE_INT8});
  p.threads = input.choice({0, 1, 2, 3});
  p.causal = input.choice({0, 1});
  p.scale = input.rarely() ? rng.special() : rng.uniform(-1, 1);
  p.soft_cap = input.rarely() ? rng.special() : input.range(0, 1) == 0 ? 0 : rng.uniform(1, 30);
  p.window_left = input.range(0, 1) == 0 ? -1 : input.rarely() ? input.range(INT64_MIN, INT64_MAX) : input.range(0, 50);
  p.sink_keys = input.rarely() ? input.range(INT64_MIN, INT64_MAX) : input.range(0, 20);
  p.batch = input.range(0, 3);
  p.query_heads = shape.heads * input.range(1, 3) + (input.rarely() ? 1 : 0);
  p.query_length = input.rarely() ? input.range(0, 300) : input.range(0, 5);
  p.table_heads = input.rarely() ? input.range(-1, 3) : input.range(0, 1) == 0 ? 1 : shape.heads;
  const bool with_table = input.range(0, 3) != 0;
  p.table_stride = with_table ? input.range(0, 4) : input.rarely() ? 2 : 1;

  bool valid = k.valid() && (!has_v || (v.valid() && v.layout().pages == k.layout().pages));
  valid = valid && p.struct_size == sizeof(p) && float_dtype(p.dtype) &&
          (p.out_dtype == GATUN_F32 || p.out_dtype == p.dtype) && (p.mode == 0 || p.mode == 1) && p.threads >= 0 &&
          p.threads <= 1024 && (p.causal == 0 || p.causal == 1) && std::isfinite(p.scale) &&
          std::isfinite(p.soft_cap) && p.soft_cap >= 0 && p.window_left >= -1 && p.sink_keys >= 0 &&
          p.query_length <= 256 && (shape.heads == 0 ? p.query_heads == 0 : p.query_heads % shape.heads == 0) &&
          (p.table_heads == 1 || p.table_heads == shape.heads);
  if (!with_table) valid = valid && p.table_stride == 1 && p.batch <= shape.pages;

  const int64_t table_rows = std::max<int64_t>(0, p.batch * p.table_heads);
  Buffer lengths(table_rows * 8), table(table_rows * p.table_stride * 4);
  int64_t longest = 0;
  for (int64_t row = 0; row < table_rows; ++row) {
    const int64_t most = p.table_stride * shape.page_size;
    const int64_t length = input.rarely() ? input.range(-1, most + 1) : input.range(0, most);
    std::memcpy(lengths.data() + row * 8, &length, 8);
    valid = valid && length >= 0 && length <= most;
    longest = std::max(longest, length);
    for (int64_t i = 0; i < p.table_stride; ++i) {
      const int64_t last = shape.pages - 1;
      const int32_t page = static_cast<int32_t>(rng.integer(0, 40) == 0 ? rng.integer(-1, last + 1)
                                                                        : rng.integer(0, std::max<int64_t>(0, last)));
      std::memcpy(table.data() + (row * p.table_stride + i) * 4, &page, 4);
      if (with_table && i < blocks_of(length, shape.page_size)) valid = valid && page >= 0 && page <= last;
    }
  }

  // Sizes that are not good ones are never used.
  const int64_t size = k.valid() ? k.layout().size : 8, value_size = has_v && v.valid() ? v.layout().size : 8;
  const int64_t element = float_dtype(p.dtype) ? dtype_bytes(p.dtype, 1) : 4;
  const int64_t out_element = float_dtype(p.out_dtype) ? dtype_bytes(p.out_dtype, 1) : 4;
  const Strides q_strides = strides_of(input, p.query_heads, p.query_length, size),
                out_strides = strides_of(input, p.query_heads, p.query_length, value_size),
                logits_strides = strides_of(input, p.query_heads, p.query_length, longest);
  p.q_batch_stride = q_strides.batch, p.q_head_stride = q_strides.head, p.q_row_stride = q_strides.row;
  p.out_batch_stride = out_strides.batch, p.out_head_stride = out_strides.head, p.out_row_stride = out_strides.row;
  p.lse_batch_stride = p.query_heads * p.query_length, p.lse_head_stride = p.query_length;
  p.logits_batch_stride = logits_strides.batch, p.logits_head_stride = logits_strides.head;
  p.logits_row_stride = logits_strides.row;
  if (p.query_length == 1 && input.range(0, 1) == 0) p.q_row_stride = p.out_row_stride = INT64_MAX;
  const bool with_lse = !has_v || input.range(0, 1) == 0, with_logits = input.range(0, 2) == 0;
  const auto bytes = [&](const Strides& s, int64_t columns, int64_t bytes_each) {
    return bytes_of(s, p.batch, p.query_heads, p.query_length, columns, bytes_each);
  };
  Buffer q(bytes(q_strides, size, element)), out(has_v ? bytes(out_strides, value_size, out_element) : 0),
      lse(with_lse ? p.batch * p.query_heads * p.query_length * 4 : 0),
      logits(with_logits && longest > 0 ? bytes(logits_strides, longest, 4) : 0), slopes(p.query_heads * 4),
      sinks(p.query_heads * 4);
  q.fill_floats(rng, float_dtype(p.dtype) ? p.dtype : int32_t{GATUN_F32}, kind);
  slopes.fill_floats(rng, GATUN_F32, Values::normal, 0.1f);
  sinks.fill_floats(rng, GATUN_F32, Values::normal);
  for (Buffer* const buffer : {&q, &out, &lengths}) {
    buffer->spoil(input);
    if (buffer->bytes() > 0 && (buffer->is_null() || buffer->misaligned())) valid = false;
  }
  const auto f32 = [](Buffer& buffer, bool given) {
    return given ? reinterpret_cast<float*>(buffer.data()) : static_cast<float*>(nullptr);
  };
  decode::Inputs in{};
  in.q = q.data();
  in.k = k.rows();
  in.k_scales = k.scales();
  in.k_zeros = k.zeros();
  in.v = has_v ? v.rows() : nullptr;
  in.v_scales = has_v ? v.scales() : nullptr;
  in.v_zeros = has_v ? v.zeros() : nullptr;
  in.table = with_table ? reinterpret_cast<const int32_t*>(table.data()) : nullptr;
  in.lengths = reinterpret_cast<const int64_t*>(lengths.data());
  in.slopes = f32(slopes, input.range(0, 3) == 0);
  in.sinks = f32(sinks, input.range(0, 3) == 0);
  const std::vector<uint8_t> out_before = out.copy(), lse_before = lse.copy(), logits_before = logits.copy();
  const int32_t status =
      gatun_decode(&p, &k.layout(), has_v ? &v.layout() : nullptr, in.q, in.k, in.k_scales, in.k_zeros, in.v,
                   in.v_scales, in.v_zeros, in.table, in.lengths, in.slopes, in.sinks, has_v ? out.data() : nullptr,
                   f32(lse, lse.bytes() > 0), f32(logits, logits.bytes() > 0));
  check_status(status, valid, "gatun_decode");
  if (status != GATUN_OK) {
    if (out.copy() != out_before || lse.copy() != lse_before || logits.copy() != logits_before) {
      defect("gatun_decode failed and wrote");
    }
    return;
  }
  const bool comparable = moderate(kind) && std::fabs(p.scale) < 1e3f && std::fabs(p.scale) > 1e-3f &&
                          (p.soft_cap == 0 || p.soft_cap > 1e-3f) && p.soft_cap < 1e3f;
  if (comparable) check_rows(p, k, has_v ? &v : nullptr, in, out, lse, logits);
}

}  // namespace gatun::fuzz
