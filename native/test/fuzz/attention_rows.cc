// gatun_attention_lsh, and its order there and back: gatun_attention_gather and _scatter.
#include <algorithm>
#include <cstring>
#include <vector>

#include "attention_select.h"
#include "base/dtype.h"
#include "gatun/attention_select.h"

namespace gatun::fuzz {

namespace {

// Rows in the order, then in their places again.
void there_and_back(gatun_attention_rows_params p, const Buffer& x, const int32_t* order) {
  p.rows = p.length;
  p.y_row_stride = p.head_size;
  p.y_head_stride = p.length * p.head_size;
  p.y_batch_stride = p.heads * p.y_head_stride;
  const int64_t row_bytes = dtype_bytes(p.dtype, p.head_size), rows = p.batch * p.heads * p.length;
  Buffer sorted(rows * row_bytes), back(rows * row_bytes);
  check_status(gatun_attention_gather(&p, x.data(), order, sorted.data()), true, "gatun_attention_gather");
  gatun_attention_rows_params contiguous = p;
  contiguous.x_row_stride = p.y_row_stride;
  contiguous.x_head_stride = p.y_head_stride;
  contiguous.x_batch_stride = p.y_batch_stride;
  check_status(gatun_attention_scatter(&contiguous, sorted.data(), order, back.data()), true,
               "gatun_attention_scatter");
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t head = row / p.length;
    const int64_t from =
        head / p.heads * p.x_batch_stride + head % p.heads * p.x_head_stride + row % p.length * p.x_row_stride;
    if (std::memcmp(back.data() + row * row_bytes, x.data() + dtype_bytes(p.dtype, from),
                    static_cast<size_t>(row_bytes)) != 0) {
      defect("row %lld differs after gather and scatter", static_cast<long long>(row));
    }
  }
}

}  // namespace

void fuzz_attention_lsh(Input& input) {
  gatun_attention_rows_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.dtype = input.choice({GATUN_F32, GATUN_BF16, GATUN_F16});
  p.threads = input.choice({0, 1, 2});
  p.projections = input.choice({1, 2, 7, 16});
  test::Rng rng = input.rng();
  p.seed = static_cast<int64_t>(rng.next());
  p.batch = input.rarely() ? input.size() : input.range(0, 3);
  p.heads = input.rarely() ? input.size() : input.range(0, 3);
  p.length = input.rarely() ? 1 : input.size();
  p.head_size = input.size();
  p.x_row_stride = p.length == 1 ? input.size() : input.stride(p.head_size);  // of one row: any number
  p.x_head_stride = input.rarely() ? input.size() : input.range(0, 500);
  p.x_batch_stride = input.rarely() ? input.size() : input.range(0, 500);
  bool valid = p.struct_size == sizeof(p) && (p.dtype == GATUN_F32 || p.dtype == GATUN_BF16 || p.dtype == GATUN_F16) &&
               within(p.threads, 0, 1024) && within(p.projections, 1, 16) && within(p.batch, 0, kMaxLength) &&
               within(p.heads, 0, kMaxLength) && within(p.length, 0, INT32_MAX) && within(p.head_size, 1, 256);
  int64_t x_count = 0, order_count = 0;
  if (valid) {
    x_count = elements(p.batch, p.x_batch_stride, p.heads, p.x_head_stride, p.length, p.x_row_stride, p.head_size);
    const Wide heads = Wide{p.batch} * p.heads, count = heads > kMaxLength ? Wide{kMaxLength} + 1 : heads * p.length;
    valid = x_count != kImpossible && count <= kMaxLength;
    if (valid && (x_count > (1 << 18) || count > (1 << 16) || heads > 100)) return;
    order_count = valid ? static_cast<int64_t>(count) : 0;
  }
  if (!valid) x_count = 0;
  Buffer x(x_count * std::max<int64_t>(dtype_bytes(p.dtype, 1), 1)), order(order_count * 4);
  if (valid) x.fill_floats(rng, p.dtype, values(input));
  const int32_t status = gatun_attention_lsh(&p, x.data(), reinterpret_cast<int32_t*>(order.data()));
  if (valid) check_status(status, true, "gatun_attention_lsh");
  if (!valid || status != GATUN_OK || order_count == 0) return;
  std::vector<int32_t> rows(static_cast<size_t>(order_count));
  std::memcpy(rows.data(), order.data(), rows.size() * 4);
  for (int64_t head = 0; head < p.batch * p.heads; ++head) {
    const auto first = rows.begin() + head * p.length;
    std::sort(first, first + p.length);
    for (int64_t i = 0; i < p.length; ++i) {
      if (first[i] != i) defect("gatun_attention_lsh: no permutation");
    }
  }
  there_and_back(p, x, reinterpret_cast<const int32_t*>(order.data()));
}

}  // namespace gatun::fuzz
