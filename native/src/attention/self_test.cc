#include "self_test/self_test.h"

#include <cmath>
#include <vector>

#include "attention/reference.h"
#include "attention/table.h"
#include "base/dtype.h"

namespace gatun::attention {
namespace {

constexpr int64_t kQueries = 9, kQueryHeads = 2;

// What is at an index of an array of f32, f16 or bf16.
class Values {
 public:
  Values(int32_t dtype, int64_t count, SmallValues& values)
      : dtype_(dtype), f32_(static_cast<size_t>(count)), half_(static_cast<size_t>(count)) {
    for (size_t i = 0; i < f32_.size(); ++i) {
      f32_[i] = values.next();
      half_[i] = dtype == GATUN_F16 ? f32_to_f16(f32_[i]) : f32_to_bf16(f32_[i]);
    }
  }
  const void* data() const { return dtype_ == GATUN_F32 ? static_cast<const void*>(f32_.data()) : half_.data(); }

 private:
  int32_t dtype_;
  std::vector<float> f32_;
  std::vector<uint16_t> half_;
};

// Rows of uniform values, |v| < 1.
bool agrees(Tier tier, int32_t dtype, int32_t mode, int64_t keys, int64_t size, bool causal) {
  SmallValues values;
  const Values q(dtype, kQueries * kQueryHeads * size, values), k(dtype, keys * size, values),
      v(dtype, keys * size, values);
  std::vector<float> out(static_cast<size_t>(kQueries * kQueryHeads * size)),
      lse(static_cast<size_t>(kQueries * kQueryHeads));
  gatun_attention_params p{};
  p.struct_size = sizeof(p);
  p.dtype = dtype;
  p.out_dtype = GATUN_F32;
  p.mode = mode;
  p.threads = 1;
  p.causal = causal;
  p.scale = 4 / static_cast<float>(size);
  p.window_left = p.window_right = -1;
  p.batch = p.kv_heads = 1;
  p.query_heads = kQueryHeads;
  p.query_length = kQueries;
  p.kv_length = keys;
  p.head_size = p.value_size = size;
  p.q_row_stride = p.k_row_stride = p.v_row_stride = p.out_row_stride = size;
  p.q_head_stride = p.out_head_stride = kQueries * size;
  p.lse_head_stride = kQueries;
  Inputs inputs{};
  inputs.q = q.data();
  inputs.k = k.data();
  inputs.v = v.data();
  if (run(tier, &p, inputs, out.data(), lse.data()) != GATUN_OK) return false;
  Reference reference(p, inputs);
  for (int64_t h = 0; h < kQueryHeads; ++h) {
    for (int64_t i = 0; i < kQueries; ++i) {
      const Row row = reference.row(0, h, i);
      const double sum = static_cast<double>(lse[static_cast<size_t>(reference.lse_index(0, h, i))]);
      if (row.seen == 0 ? sum != row.lse : !(std::fabs(sum - row.lse) <= lse_bound(p, row))) return false;
      for (size_t c = 0; c < row.out.size(); ++c) {
        const double result = static_cast<double>(out[static_cast<size_t>(reference.out_index(0, h, i)) + c]);
        if (!(std::fabs(result - row.out[c]) <= out_bound(p, row, c) + 0x1p-24)) return false;
      }
    }
  }
  return true;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (const int64_t keys : {int64_t{1}, int64_t{67}, int64_t{131}}) {
      for (const int64_t size : {int64_t{8}, int64_t{72}}) {
        ++cases;
        wrong += !agrees(tier, row.from, row.to, keys, size, keys != 67);
      }
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::attention
