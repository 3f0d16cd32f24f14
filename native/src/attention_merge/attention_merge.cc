// The C entry point: checks, the weights of a row, its kernel.
#include <cmath>
#include <cstring>

#include "attention_merge/check.h"
#include "attention_merge/table.h"
#include "base/check.h"
#include "base/parallel.h"
#include "base/status.h"

namespace gatun::attention_merge {
namespace {

using Params = gatun_attention_merge_params;

// Bytes of out for which waking another thread pays.
constexpr int64_t kGrainBytes = 128 * 1024;

struct Weights {
  double a, b, lse;
};

// Neither is -infinity.
Weights weights_of(double a_lse, double b_lse) {
  const double high = a_lse > b_lse ? a_lse : b_lse, low = a_lse > b_lse ? b_lse : a_lse;
  const double ratio = std::exp(low - high), of_high = 1 / (1 + ratio), of_low = ratio * of_high;
  const double lse = high + std::log1p(ratio);
  return a_lse > b_lse ? Weights{of_high, of_low, lse} : Weights{of_low, of_high, lse};
}

// One row, of which one side may have seen no keys; then the other's is taken, whatever is in this one. Returns the
// lse.
float merge_row(const Kernel& kernel, const void* a, float a_lse, const void* b, float b_lse, void* out, int64_t size,
                size_t bytes) {
  if (a_lse == -INFINITY || b_lse == -INFINITY) {
    const float lse = a_lse == -INFINITY ? b_lse : a_lse;
    if (lse == -INFINITY) {
      std::memset(out, 0, bytes);
    } else {
      std::memmove(out, a_lse == -INFINITY ? b : a, bytes);
    }
    return lse;
  }
  const Weights weights = weights_of(static_cast<double>(a_lse), static_cast<double>(b_lse));
  kernel.blend(a, static_cast<float>(weights.a), b, static_cast<float>(weights.b), out, size);
  return static_cast<float>(weights.lse);
}

}  // namespace

int32_t run(Tier limit, const Params* params, const void* a, const float* a_lse, const void* b, const float* b_lse,
            void* out, float* lse) {
  Params p;
  GATUN_TRY(read_params(params, &p));
  int64_t rows;
  GATUN_TRY(count_rows(p, &rows));
  Buffer buffers[kArguments];
  GATUN_TRY(check(p, rows, a, a_lse, b, b_lse, out, lse, buffers));
  if (rows == 0 || (p.value_size == 0 && lse == nullptr)) return GATUN_OK;
  char none;  // without values there need not be arrays
  if (p.value_size == 0) a = b = out = &none;
  const Kernel& kernel = *table().select(p.dtype, p.dtype, limit).kernel;
  const int64_t element = dtype_bytes(p.dtype, 1);
  const size_t row_bytes = static_cast<size_t>(p.value_size * element);
  const double bytes = static_cast<double>(rows) * static_cast<double>(row_bytes + 4);
  const int32_t threads =
      useful_threads(p.threads, rows, static_cast<int64_t>(bytes < 0x1p60 ? bytes : 0x1p60), kGrainBytes);
  parallel_for(rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t item = row / p.length / p.heads, head = row / p.length % p.heads, i = row % p.length;
      const auto at = [&](int64_t batch_stride, int64_t head_stride, int64_t row_stride) {
        return p.value_size == 0 ? 0 : (item * batch_stride + head * head_stride + i * row_stride) * element;
      };
      const float merged =
          merge_row(kernel, static_cast<const char*>(a) + at(p.a_batch_stride, p.a_head_stride, p.a_row_stride),
                    a_lse[row], static_cast<const char*>(b) + at(p.b_batch_stride, p.b_head_stride, p.b_row_stride),
                    b_lse[row], static_cast<char*>(out) + at(p.out_batch_stride, p.out_head_stride, p.out_row_stride),
                    p.value_size, row_bytes);
      if (lse != nullptr) lse[row] = merged;
    }
  });
  return GATUN_OK;
}

}  // namespace gatun::attention_merge

using namespace gatun;

int32_t gatun_attention_merge(const gatun_attention_merge_params* params, const void* a, const float* a_lse,
                              const void* b, const float* b_lse, void* out, float* lse) {
  return attention_merge::run(active_tier(), params, a, a_lse, b, b_lse, out, lse);
}
