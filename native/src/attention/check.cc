#include "attention/check.h"

#include <cmath>

#include "attention/tensor.h"
#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"

namespace gatun::attention {
namespace {

using Params = gatun_attention_params;
using LongLong = long long;

int32_t check_numbers(const Params& p) {
  GATUN_TRY(check_scale(p.scale, p.soft_cap));
  GATUN_TRY(check_range(p.window_left, -1, INT64_MAX, "params.window_left"));
  GATUN_TRY(check_range(p.window_right, -1, INT64_MAX, "params.window_right"));
  return check_range(p.sink_keys, 0, INT64_MAX, "params.sink_keys");
}

int32_t check_shape(const Params& p) {
  GATUN_TRY(check_range(p.batch, 0, kMaxLength, "params.batch"));
  GATUN_TRY(check_range(p.query_heads, 0, kMaxLength, "params.query_heads"));
  GATUN_TRY(check_range(p.kv_heads, 0, kMaxLength, "params.kv_heads"));
  if (p.kv_heads == 0 ? p.query_heads != 0 : p.query_heads % p.kv_heads != 0) {
    return fail(GATUN_INVALID_ARGUMENT, "params.query_heads = %lld; allowed: multiples of params.kv_heads = %lld",
                LongLong{p.query_heads}, LongLong{p.kv_heads});
  }
  GATUN_TRY(check_range(p.query_length, 0, kMaxLength, "params.query_length"));
  GATUN_TRY(check_range(p.kv_length, 0, kMaxLength, "params.kv_length"));
  GATUN_TRY(check_multiple(p.head_size, 8, 8, 256, "params.head_size"));
  return check_multiple(p.value_size, 8, 8, 256, "params.value_size");
}

struct Tensors {
  Tensor q, k, v, out, lse, correction;
};

Tensors tensors_of(const Params& p, const Inputs& in, const void* out, const float* lse) {
  const auto batch = [&](int64_t stride, const char* name) {
    return in.q_offsets != nullptr ? Axis{p.batch > 0, 0, name} : Axis{p.batch, stride, name};
  };
  const Axis lse_batch = batch(p.lse_batch_stride, "params.lse_batch_stride");
  const Axis lse_heads = {p.query_heads, p.lse_head_stride, "params.lse_head_stride"};
  const Axis lse_rows = {p.query_length, 1, "the row stride of lse"};
  const int64_t element = dtype_bytes(p.dtype, 1);
  return {{"q",
           in.q,
           {batch(p.q_batch_stride, "params.q_batch_stride"),
            {p.query_heads, p.q_head_stride, "params.q_head_stride"},
            {p.query_length, p.q_row_stride, "params.q_row_stride"}},
           p.head_size,
           element,
           false},
          {"k",
           in.k,
           {batch(p.k_batch_stride, "params.k_batch_stride"),
            {p.kv_heads, p.k_head_stride, "params.k_head_stride"},
            {p.kv_length, p.k_row_stride, "params.k_row_stride"}},
           p.head_size,
           element,
           false},
          {"v",
           in.v,
           {batch(p.v_batch_stride, "params.v_batch_stride"),
            {p.kv_heads, p.v_head_stride, "params.v_head_stride"},
            {p.kv_length, p.v_row_stride, "params.v_row_stride"}},
           p.value_size,
           element,
           false},
          {"out",
           out,
           {batch(p.out_batch_stride, "params.out_batch_stride"),
            {p.query_heads, p.out_head_stride, "params.out_head_stride"},
            {p.query_length, p.out_row_stride, "params.out_row_stride"}},
           p.value_size,
           dtype_bytes(p.out_dtype, 1),
           true},
          {"lse", lse, {lse_batch, lse_heads, lse_rows}, 1, 4, true},
          {"correction", in.correction, {lse_batch, lse_heads, lse_rows}, 1, 4, false}};
}

Buffer array(const char* name, const void* address, int64_t count, int64_t element_bytes) {
  return {name, address, 1, address != nullptr ? count : 0, 0, element_bytes, false};
}

}  // namespace

int32_t check_scale(float scale, float soft_cap) {
  if (!std::isfinite(scale)) {
    return fail(GATUN_INVALID_ARGUMENT, "params.scale = %g; allowed: finite", static_cast<double>(scale));
  }
  if (!std::isfinite(soft_cap) || soft_cap < 0) {
    return fail(GATUN_INVALID_ARGUMENT, "params.soft_cap = %g; allowed: finite, above 0, or 0 for none",
                static_cast<double>(soft_cap));
  }
  return GATUN_OK;
}

int32_t read_params(const Params* given, Params* params) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*params), "params"));
  *params = *given;
  const Params& p = *params;
  GATUN_TRY(check_dtype(p.dtype, {GATUN_F32, GATUN_BF16, GATUN_F16}, "params.dtype"));
  if (p.dtype == GATUN_F32) {
    GATUN_TRY(check_dtype(p.out_dtype, {GATUN_F32}, "params.out_dtype"));
  } else {
    GATUN_TRY(check_dtype(p.out_dtype, {GATUN_F32, p.dtype}, "params.out_dtype"));
  }
  GATUN_TRY(check_range(p.mode, GATUN_ATTENTION_EXACT, GATUN_ATTENTION_INT8_FP8, "params.mode"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.causal, 0, 1, "params.causal"));
  GATUN_TRY(check_numbers(p));
  return check_shape(p);
}

int32_t check_offsets(const int64_t* offsets, int64_t batch, int64_t length, const char* name,
                      const char* length_name) {
  int64_t before = 0;
  for (int64_t b = 0; b <= batch; ++b) {
    const int64_t offset = offsets[b];
    if (offset < before || offset > length) {
      return fail(GATUN_INVALID_ARGUMENT, "%s[%lld] = %lld; allowed: %lld..%lld, from the one before to %s", name,
                  LongLong{b}, LongLong{offset}, LongLong{before}, LongLong{length}, length_name);
    }
    before = offset;
  }
  return GATUN_OK;
}

int32_t check_offset_arrays(const Params& p, const Inputs& in, Buffer* buffers) {
  if ((in.q_offsets == nullptr) != (in.kv_offsets == nullptr)) {
    return fail(GATUN_INVALID_ARGUMENT, "%s is null; allowed: both of q_offsets and kv_offsets, or none",
                in.q_offsets == nullptr ? "q_offsets" : "kv_offsets");
  }
  buffers[0] = array("q_offsets", in.q_offsets, p.batch + 1, 8);
  buffers[1] = array("kv_offsets", in.kv_offsets, p.batch + 1, 8);
  return GATUN_OK;
}

int32_t check_queries_and_keys(const Params& p, const Inputs& in, const float* lse, Buffer* buffers) {
  Inputs read = in;
  read.correction = lse;
  Tensors tensors = tensors_of(p, read, nullptr, nullptr);
  tensors.correction.name = "lse";
  GATUN_TRY(check_needed(tensors.q, ""));
  GATUN_TRY(check_needed(tensors.k, ""));
  GATUN_TRY(check_tensor(tensors.q, &buffers[0]));
  GATUN_TRY(check_tensor(tensors.k, &buffers[1]));
  return check_tensor(tensors.correction, &buffers[2]);
}

int32_t check_arguments(const Params& p, const Inputs& in, const void* out, const float* lse, const Buffer* further,
                        Arguments* arguments) {
  Buffer(&buffers)[16] = arguments->buffers;
  GATUN_TRY(check_offset_arrays(p, in, &buffers[6]));
  const auto [q, k, v, output, sums, correction] = tensors_of(p, in, out, lse);
  GATUN_TRY(check_needed(q, ""));
  GATUN_TRY(check_needed(k, ""));
  if (out != nullptr) GATUN_TRY(check_needed(v, "; allowed: only if out is"));
  if (out == nullptr && in.v != nullptr) GATUN_TRY(check_needed(output, "; allowed: only if v is"));
  if (out == nullptr) GATUN_TRY(check_needed(sums, "; allowed: only if out is not"));
  GATUN_TRY(check_mask_params(p, in, &arguments->mask_rows));

  GATUN_TRY(check_tensor(output, &buffers[0]));
  GATUN_TRY(check_tensor(sums, &buffers[1]));
  GATUN_TRY(check_tensor(q, &buffers[2]));
  GATUN_TRY(check_tensor(k, &buffers[3]));
  GATUN_TRY(check_tensor(v, &buffers[4]));
  GATUN_TRY(check_tensor(correction, &buffers[5]));
  buffers[8] = array("slopes", in.slopes, p.query_heads, 4);
  buffers[9] = array("sinks", in.sinks, p.query_heads, 4);
  int count = 10;
  if (has_mask(in)) {
    const int64_t mask_rows = arguments->mask_rows;
    GATUN_TRY(check_range(p.full_count, 0, INT64_MAX, "params.full_count"));
    GATUN_TRY(check_range(p.partial_count, 0, INT64_MAX / (128 * 128 / 8), "params.partial_count"));
    GATUN_TRY(check_not_null(in.full_offsets, "full_offsets"));
    GATUN_TRY(check_not_null(in.partial_offsets, "partial_offsets"));
    buffers[10] = array("full_offsets", in.full_offsets, mask_rows + 1, 8);
    buffers[11] = array("full_blocks", in.full_blocks, p.full_count, 4);
    buffers[12] = array("partial_offsets", in.partial_offsets, mask_rows + 1, 8);
    buffers[13] = array("partial_blocks", in.partial_blocks, p.partial_count, 4);
    buffers[14] = array("partial_bits", in.partial_bits, p.partial_count * (p.query_block * p.key_block / 8), 1);
    count = 15;
  }
  if (further != nullptr) buffers[count++] = *further;
  arguments->count = count;
  return check_buffers(buffers, count);
}

int32_t check_mode_of_cpu(const Params& p) {
  if (p.mode != GATUN_ATTENTION_INT8_FP8) return GATUN_OK;
  return fail(GATUN_UNSUPPORTED, "params.mode = %d (INT8_FP8) is of GPUs alone; allowed: %d (EXACT) or %d (INT8)",
              p.mode, GATUN_ATTENTION_EXACT, GATUN_ATTENTION_INT8);
}

int32_t check(const Params& p, const Inputs& in, const void* out, const float* lse, const Buffer* further) {
  GATUN_TRY(check_mode_of_cpu(p));
  Arguments arguments;
  GATUN_TRY(check_arguments(p, in, out, lse, further, &arguments));
  if (in.q_offsets != nullptr) {
    GATUN_TRY(check_offsets(in.q_offsets, p.batch, p.query_length, "q_offsets", "params.query_length"));
    GATUN_TRY(check_offsets(in.kv_offsets, p.batch, p.kv_length, "kv_offsets", "params.kv_length"));
  }
  return has_mask(in) ? check_mask_lists(p, in, arguments.mask_rows) : GATUN_OK;
}

}  // namespace gatun::attention
