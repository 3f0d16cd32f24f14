// The CPU's problems of decoding on a device: what they read is copied there.
#pragma once

#include "decode/select.h"
#include "decode/test_problem.h"
#include "device_buffer.h"
#include "gatun/cuda.h"
#include "gatun/cuda_decode.h"
#if defined(GATUN_EMULATED)
#include "settings.h"
#endif

namespace gatun::cuda::decode {

using gatun::decode::describe;
using gatun::decode::Format;
using gatun::decode::identical;
using gatun::decode::Inputs;
using gatun::decode::Outputs;
using gatun::decode::Problem;
using gatun::decode::Reference;
using gatun::decode::Row;
using gatun::decode::Spec;
using test::DeviceBuffer;
using test::Rng;

// As gatun_cuda_decode, by this kernel if it is not null.
int32_t run(const KernelRow* forced, const gatun_decode_params* params, const gatun_kv_layout* k_layout,
            const gatun_kv_layout* v_layout, const Inputs& inputs, void* out, float* lse, float* logits,
            void* workspace, int64_t workspace_bytes, void* stream);

// Every order of threads with every time of effects, in turn.
inline void change_conditions(int64_t number) {
#if defined(GATUN_EMULATED)
  emulator::settings().order = static_cast<emulator::Order>(number % 3);
  emulator::settings().effects = static_cast<emulator::Effects>(number / 3 % 2);
  emulator::settings().seed = static_cast<uint64_t>(number);
#else
  (void)number;
#endif
}

// A copy of host memory; null stays null.
class Copy {
 public:
  Copy(const void* from, int64_t bytes, int64_t offset = 0)
      : buffer_(from == nullptr ? std::vector<uint8_t>()
                                : std::vector<uint8_t>(static_cast<const uint8_t*>(from),
                                                       static_cast<const uint8_t*>(from) + bytes),
                offset),
        null_(from == nullptr) {}
  template <class T>
  const T* as() const {
    return null_ ? nullptr : reinterpret_cast<const T*>(buffer_.data());
  }

 private:
  DeviceBuffer<uint8_t> buffer_;
  bool null_;
};

inline int64_t rows_bytes(const gatun_kv_layout& l) {
  if (l.pages == 0 || l.heads == 0) return 0;
  return (l.pages - 1) * l.page_stride + (l.heads - 1) * l.head_stride + (l.page_size - 1) * l.row_stride +
         gatun::kv_cache::row_bytes(l);
}
inline int64_t scales_bytes(const gatun_kv_layout& l) {
  const int64_t rows = gatun::kv_cache::scale_rows(l);
  if (l.pages == 0 || l.heads == 0 || rows == 0) return 0;
  return 2 * ((l.pages - 1) * l.scale_page_stride + (l.heads - 1) * l.scale_head_stride +
              (rows - 1) * l.scale_row_stride + gatun::kv_cache::scales_of_row(l));
}

// A problem, with logits in rows of the device's size.
class DeviceProblem {
 public:
  explicit DeviceProblem(const Spec& spec, uint64_t seed = 1) : host(spec, seed) {}

  Problem host;
  std::vector<int32_t> table;    // instead of the host's where it is not empty
  std::vector<int64_t> lengths;  // likewise

  // All of the outputs as in the host's rows; where `outputs` of the host has gaps, NaN.
  void call(const KernelRow* forced, Outputs* outputs) {
    const Spec& s = host.spec();
    gatun_decode_params p = host.params();
    const gatun_kv_layout &k = host.k_layout(), &v = host.v_layout();
    const int64_t element = dtype_bytes(s.dtype, 1), out_element = dtype_bytes(s.out_dtype, 1),
                  room = p.table_stride * k.page_size;
    const Inputs in = host.inputs();
    const auto extent = [&](int64_t batch, int64_t head, int64_t row, int64_t columns) {
      if (p.batch == 0 || p.query_heads == 0 || p.query_length == 0) return int64_t{0};
      return (p.batch - 1) * batch + (p.query_heads - 1) * head + (p.query_length - 1) * row + columns;
    };
    const int64_t rows = p.batch * p.table_heads;
    const Copy q(in.q, extent(p.q_batch_stride, p.q_head_stride, p.q_row_stride, k.size) * element, s.offset * element),
        k_rows(in.k, rows_bytes(k), s.offset * dtype_bytes(k.dtype, 1)), k_scales(in.k_scales, scales_bytes(k)),
        k_zeros(in.k_zeros, scales_bytes(k)), v_rows(in.v, rows_bytes(v), s.offset * dtype_bytes(v.dtype, 1)),
        v_scales(in.v_scales, scales_bytes(v)), v_zeros(in.v_zeros, scales_bytes(v)),
        in_table(table.empty() ? in.table : table.data(), rows * p.table_stride * 4),
        in_lengths(lengths.empty() ? in.lengths : lengths.data(), rows * 8), slopes(in.slopes, p.query_heads * 4),
        sinks(in.sinks, p.query_heads * 4);
    const int64_t out_count = extent(p.out_batch_stride, p.out_head_stride, p.out_row_stride, v.size);
    const int64_t lse_count = extent(p.lse_batch_stride, p.lse_head_stride, 1, 1);
    // Rows of logits have room for what the table has room for.
    p.logits_row_stride = room + 1;
    p.logits_head_stride = p.query_length * p.logits_row_stride + 2;
    p.logits_batch_stride = p.query_heads * p.logits_head_stride;
    const int64_t logits_count = extent(p.logits_batch_stride, p.logits_head_stride, p.logits_row_stride, room);
    DeviceBuffer<uint8_t> out(s.values ? out_count * out_element : 0, s.offset * out_element);
    DeviceBuffer<float> lse(s.lse ? lse_count : 0), logits(s.logits ? logits_count : 0);
    int64_t bytes = 0;
    const gatun_kv_layout* const v_layout = s.values ? &v : nullptr;
    ASSERT_EQ(gatun_cuda_decode_workspace_bytes(&p, &k, v_layout, 0, &bytes), GATUN_OK) << gatun_cuda_last_error();
    DeviceBuffer<uint8_t> workspace(bytes);
    ASSERT_EQ(run(forced, &p, &k, v_layout,
                  {q.as<void>(), k_rows.as<void>(), k_scales.as<void>(), k_zeros.as<void>(), v_rows.as<void>(),
                   v_scales.as<void>(), v_zeros.as<void>(), in_table.as<int32_t>(), in_lengths.as<int64_t>(),
                   slopes.as<float>(), sinks.as<float>()},
                  s.values ? out.data() : nullptr, s.lse ? lse.data() : nullptr, s.logits ? logits.data() : nullptr,
                  workspace.data(), bytes, nullptr),
              GATUN_OK)
        << gatun_cuda_last_error();
    *outputs = {out.copy(), lse.copy(), {}};
    std::vector<uint8_t> of_out(outputs->out.size(), 1);
    std::vector<uint8_t> of_lse(outputs->lse.size() * 4, 1), of_logits(static_cast<size_t>(logits.count()) * 4, 1);
    const std::vector<float> wide = logits.copy();
    host.for_each_row([&](int64_t b, int64_t h, int64_t i) {
      if (s.values) std::fill_n(of_out.begin() + host.out_at(b, h, i) * out_element, v.size * out_element, 0);
      if (s.lse) std::fill_n(of_lse.begin() + host.lse_at(b, h, i) * 4, 4, 0);
      if (!s.logits) return;
      const int64_t from = b * p.logits_batch_stride + h * p.logits_head_stride + i * p.logits_row_stride;
      const int64_t to = host.logits_at(b, h, i), length = host.length(b, h);
      outputs->logits.resize(std::max(outputs->logits.size(), static_cast<size_t>(to + length)));
      std::copy_n(wide.begin() + from, length, outputs->logits.begin() + to);
      std::fill_n(of_logits.begin() + from * 4, length * 4, 0);
    });
    if (!lengths.empty()) return;
    const auto untouched = [](const void* memory, const std::vector<uint8_t>& beside) {
      int64_t written = 0;
      for (size_t i = 0; i < beside.size(); ++i) {
        written += beside[i] != 0 && static_cast<const uint8_t*>(memory)[i] != 0xff;
      }
      return written == 0;
    };
    ASSERT_TRUE(untouched(outputs->out.data(), of_out)) << "beside the rows of out";
    ASSERT_TRUE(untouched(outputs->lse.data(), of_lse)) << "beside the rows of lse";
    ASSERT_TRUE(untouched(wide.data(), of_logits)) << "beside the rows of logits";
  }

  // The bound of gatun/cuda_decode.h, which is that of the CPU but for what tiles round more.
  ::testing::AssertionResult good_row(const KernelRow& kernel, Reference& reference, const Outputs& outputs, int64_t b,
                                      int64_t h, int64_t i) const {
    if (kernel.most_size == 0) return host.good_row(reference, outputs, b, h, i);
    return host.good_row(reference, outputs, b, h, i, 2, host.v_layout().dtype == GATUN_BF16 ? 0x1p-8 : 0x1p-11);
  }
  ::testing::AssertionResult good(const KernelRow& kernel, const Outputs& outputs) const {
    Reference reference = host.reference();
    ::testing::AssertionResult result = ::testing::AssertionSuccess();
    host.for_each_row([&](int64_t b, int64_t h, int64_t i) {
      if (result) result = good_row(kernel, reference, outputs, b, h, i);
    });
    return result;
  }

  // The kernels that take it, the plain one and another one for tiles of its size.
  std::vector<const KernelRow*> kernels() {
    Call call{};
    const gatun_decode_params p = host.params();
    EXPECT_EQ(gatun::decode::read(&p, &host.k_layout(), host.spec().values ? &host.v_layout() : nullptr, &call),
              GATUN_OK);
    const void* const odd = reinterpret_cast<const void*>(host.spec().offset);
    std::vector<const KernelRow*> rows = {&select(call, odd, odd)};
    if (rows[0]->most_size > 0) rows.push_back(kernel_rows().find("decode_f32_m4n64_sm80"));
    return rows;
  }

  void compare(int64_t number) {
    SCOPED_TRACE(describe(host.spec()));
    for (const KernelRow* kernel : kernels()) {
      SCOPED_TRACE(kernel->name);
      change_conditions(number++);
      Outputs outputs;
      ASSERT_NO_FATAL_FAILURE(call(kernel, &outputs));
      ASSERT_TRUE(good(*kernel, outputs));
    }
  }
};

}  // namespace gatun::cuda::decode
