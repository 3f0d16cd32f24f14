#include "attention_merge/check.h"

#include "attention/tensor.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"

namespace gatun::attention_merge {
namespace {

using Params = gatun_attention_merge_params;
using attention::Tensor;

constexpr int64_t kMaxSize = int64_t{1} << 59;

struct Strides {
  int64_t batch, head, row;
};

bool same_places(const Params& p, const Strides& a, const Strides& b) {
  return (p.batch < 2 || a.batch == b.batch) && (p.heads < 2 || a.head == b.head) && (p.length < 2 || a.row == b.row);
}

}  // namespace

int32_t read_params(const Params* given, Params* params) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*params), "params"));
  *params = *given;
  GATUN_TRY(check_dtype(params->dtype, {GATUN_F32, GATUN_BF16, GATUN_F16}, "params.dtype"));
  GATUN_TRY(check_range(params->threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(params->reserved, 0, 0, "params.reserved"));
  GATUN_TRY(check_range(params->batch, 0, kMaxSize, "params.batch"));
  GATUN_TRY(check_range(params->heads, 0, kMaxSize, "params.heads"));
  GATUN_TRY(check_range(params->length, 0, kMaxSize, "params.length"));
  return check_range(params->value_size, 0, kMaxSize, "params.value_size");
}

int32_t count_rows(const Params& p, int64_t* rows) {
  *rows = 0;
  if (p.batch == 0 || p.heads == 0 || p.length == 0) return GATUN_OK;
  if (__builtin_mul_overflow(p.batch, p.heads, rows) || __builtin_mul_overflow(*rows, p.length, rows) ||
      *rows > kMaxSize) {
    return fail(GATUN_INVALID_ARGUMENT, "a_lse: %lld x %lld x %lld numbers; allowed: up to 2^59",
                static_cast<long long>(p.batch), static_cast<long long>(p.heads), static_cast<long long>(p.length));
  }
  return GATUN_OK;
}

int32_t check(const Params& p, int64_t rows, const void* a, const float* a_lse, const void* b, const float* b_lse,
              const void* out, const float* lse, Buffer (&buffers)[kArguments]) {
  const int64_t batch = p.value_size == 0 ? 0 : p.batch, element = dtype_bytes(p.dtype, 1);
  const auto tensor = [&](const char* name, const void* address, const char* const(&names)[3], const Strides& s) {
    return Tensor{
        name,         address, {{batch, s.batch, names[0]}, {p.heads, s.head, names[1]}, {p.length, s.row, names[2]}},
        p.value_size, element, name[0] == 'o'};
  };
  const Strides a_strides = {p.a_batch_stride, p.a_head_stride, p.a_row_stride};
  const Strides out_strides = {p.out_batch_stride, p.out_head_stride, p.out_row_stride};
  const Tensor tensors[] = {
      tensor("out", out, {"params.out_batch_stride", "params.out_head_stride", "params.out_row_stride"}, out_strides),
      tensor("a", a, {"params.a_batch_stride", "params.a_head_stride", "params.a_row_stride"}, a_strides),
      tensor("b", b, {"params.b_batch_stride", "params.b_head_stride", "params.b_row_stride"},
             {p.b_batch_stride, p.b_head_stride, p.b_row_stride})};
  for (int i = 0; i < 3; ++i) {
    GATUN_TRY(attention::check_needed(tensors[i], ""));
    GATUN_TRY(attention::check_tensor(tensors[i], &buffers[i]));
  }
  buffers[3] = {"lse", lse, 1, lse != nullptr ? rows : 0, 0, 4, true};
  buffers[4] = {"a_lse", a_lse, 1, rows, 0, 4, false};
  buffers[5] = {"b_lse", b_lse, 1, rows, 0, 4, false};
  // In place there is one array, which is written.
  if (out == a && same_places(p, a_strides, out_strides)) buffers[1].columns = 0;
  if (lse == a_lse && lse != nullptr) buffers[4].columns = 0;
  return check_buffers(buffers);
}

}  // namespace gatun::attention_merge
