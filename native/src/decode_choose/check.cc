#include "decode_choose/check.h"

#include "attention/tensor.h"
#include "base/parallel.h"
#include "base/status.h"

namespace gatun::decode_choose {
namespace {

using attention::Axis;
using attention::Tensor;
using LongLong = long long;

constexpr int64_t kMaxSize = int64_t{1} << 59;

int32_t check_heads(int64_t batch, int64_t heads, int64_t table_heads) {
  GATUN_TRY(check_range(batch, 0, kMaxSize, "params.batch"));
  GATUN_TRY(check_range(heads, 0, kMaxSize, "params.heads"));
  if (table_heads != 1 && table_heads != heads) {
    return fail(GATUN_INVALID_ARGUMENT, "params.table_heads = %lld; allowed: 1, or params.heads = %lld",
                LongLong{table_heads}, LongLong{heads});
  }
  int64_t rows;
  if (__builtin_mul_overflow(batch, std::max(heads, table_heads), &rows) || rows > kMaxSize) {
    return fail(GATUN_INVALID_ARGUMENT, "params.batch = %lld with %lld heads; allowed: up to 2^59 rows",
                LongLong{batch}, LongLong{std::max(heads, table_heads)});
  }
  return GATUN_OK;
}

// Of [batch, table_heads], each in 0 .. most.
int32_t check_lengths(const int64_t* lengths, int64_t batch, int64_t table_heads, int64_t most, int64_t* longest) {
  *longest = 0;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < table_heads; ++h) {
      const int64_t length = __atomic_load_n(lengths + b * table_heads + h, __ATOMIC_RELAXED);
      if (length < 0 || length > most) {
        return fail(GATUN_INVALID_ARGUMENT, "lengths[%lld, %lld] = %lld; allowed: 0..%lld", LongLong{b}, LongLong{h},
                    LongLong{length}, LongLong{most});
      }
      *longest = std::max(*longest, length);
    }
  }
  return GATUN_OK;
}

// An array without gaps.
int32_t check_array(const char* name, const void* address, int64_t count, int64_t element_bytes, bool output,
                    Buffer* buffer) {
  *buffer = {name, address, 1, count, 0, element_bytes, output};
  return check_buffers(buffer, 1);
}

int32_t check_rows(const char* name, const void* address, Axis batch, Axis heads, Axis rows, int64_t columns,
                   int64_t element_bytes, bool output, Buffer* buffer) {
  if (columns == 0) rows.size = 0;  // strides lead nowhere
  const Tensor tensor = {name, address, {batch, heads, rows}, columns, element_bytes, output};
  GATUN_TRY(attention::check_needed(tensor, ""));
  return attention::check_tensor(tensor, buffer);
}

}  // namespace

int32_t read_scores(const gatun_decode_scores_params* given, gatun_decode_scores_params* params) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*params), "params"));
  *params = *given;
  const gatun_decode_scores_params& p = *params;
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.accumulate, 0, 1, "params.accumulate"));
  GATUN_TRY(check_range(p.reserved, 0, 0, "params.reserved"));
  GATUN_TRY(check_range(p.query_heads, 0, kMaxSize, "params.query_heads"));
  GATUN_TRY(check_range(p.query_length, 0, kMaxSize, "params.query_length"));
  GATUN_TRY(check_heads(p.batch, p.heads, p.table_heads));
  if (p.heads == 0 ? p.query_heads != 0 : p.query_heads % p.heads != 0) {
    return fail(GATUN_INVALID_ARGUMENT, "params.query_heads = %lld; allowed: multiples of params.heads = %lld",
                LongLong{p.query_heads}, LongLong{p.heads});
  }
  return GATUN_OK;
}

int32_t check_scores_arrays(const gatun_decode_scores_params& p, int64_t longest, const float* logits, const float* lse,
                            const int64_t* lengths, const float* scores, Buffer (&buffers)[kScoresBuffers]) {
  GATUN_TRY(check_array("lengths", lengths, p.batch * p.table_heads, 8, false, &buffers[0]));
  const Axis queries = {p.query_length, p.logits_row_stride, "params.logits_row_stride"};
  GATUN_TRY(check_rows("scores", scores, {p.batch, p.scores_batch_stride, "params.scores_batch_stride"},
                       {p.heads, p.scores_head_stride, "params.scores_head_stride"}, {1, 0, ""}, longest, 4, true,
                       &buffers[1]));
  GATUN_TRY(check_rows("logits", logits, {p.batch, p.logits_batch_stride, "params.logits_batch_stride"},
                       {p.query_heads, p.logits_head_stride, "params.logits_head_stride"}, queries, longest, 4, false,
                       &buffers[2]));
  GATUN_TRY(check_rows("lse", lse, {p.batch, p.lse_batch_stride, "params.lse_batch_stride"},
                       {p.query_heads, p.lse_head_stride, "params.lse_head_stride"},
                       {p.query_length, 1, "the row stride of lse"}, longest > 0 ? 1 : 0, 4, false, &buffers[3]));
  return check_buffers(buffers);
}

int32_t check_scores(const gatun_decode_scores_params* given, const float* logits, const float* lse,
                     const int64_t* lengths, const float* scores, gatun_decode_scores_params* params,
                     int64_t* longest) {
  GATUN_TRY(read_scores(given, params));
  Buffer buffers[kScoresBuffers];
  GATUN_TRY(check_array("lengths", lengths, params->batch * params->table_heads, 8, false, &buffers[0]));
  GATUN_TRY(check_lengths(lengths, params->batch, params->table_heads, kMaxSize, longest));
  return check_scores_arrays(*params, *longest, logits, lse, lengths, scores, buffers);
}

int32_t read_choose(const gatun_decode_choose_params* given, gatun_decode_choose_params* params) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*params), "params"));
  *params = *given;
  const gatun_decode_choose_params& p = *params;
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_heads(p.batch, p.heads, p.table_heads));
  GATUN_TRY(check_range(p.table_stride, 0, int64_t{1} << 32, "params.table_stride"));  // indices of keys that sort
  GATUN_TRY(check_range(p.page_size, 1, kMaxSize, "params.page_size"));
  GATUN_TRY(check_range(p.budget, 0, INT64_MAX, "params.budget"));
  GATUN_TRY(check_range(p.keep_first, 0, INT64_MAX, "params.keep_first"));
  GATUN_TRY(check_range(p.keep_last, 1, INT64_MAX, "params.keep_last"));
  const int64_t most = std::min(p.budget, p.table_stride);
  return check_range(p.chosen_stride, most, INT64_MAX, "params.chosen_stride");
}

int64_t most_tokens(const gatun_decode_choose_params& p) {
  int64_t tokens;
  return __builtin_mul_overflow(p.table_stride, p.page_size, &tokens) ? kMaxSize : std::min(tokens, kMaxSize);
}

int32_t check_choose_arrays(const gatun_decode_choose_params& p, int64_t longest, const float* scores,
                            const int32_t* table, const int64_t* lengths, const int32_t* chosen,
                            const int64_t* chosen_lengths, Buffer (&buffers)[kChooseBuffers]) {
  GATUN_TRY(check_array("lengths", lengths, p.batch * p.table_heads, 8, false, &buffers[0]));
  const int64_t pages = blocks_of(longest, p.page_size), heads = p.table_heads;
  const Axis one = {1, 0, ""};
  const auto times = [](int64_t a, int64_t b) {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
  };
  GATUN_TRY(check_rows("scores", scores, {p.batch, p.scores_batch_stride, "params.scores_batch_stride"},
                       {p.heads, p.scores_head_stride, "params.scores_head_stride"}, one, pages, 4, false,
                       &buffers[1]));
  GATUN_TRY(check_rows("table", table, {p.batch, times(heads, p.table_stride), "params.table_stride"},
                       {heads, p.table_stride, "params.table_stride"}, one, pages, 4, false, &buffers[2]));
  GATUN_TRY(check_rows("chosen", chosen, {p.batch, times(p.heads, p.chosen_stride), "params.chosen_stride"},
                       {p.heads, p.chosen_stride, "params.chosen_stride"}, one, std::min(p.budget, pages), 4, true,
                       &buffers[3]));
  GATUN_TRY(check_array("chosen_lengths", chosen_lengths, p.batch * p.heads, 8, true, &buffers[4]));
  return check_buffers(buffers);
}

int32_t check_choose(const gatun_decode_choose_params* given, const float* scores, const int32_t* table,
                     const int64_t* lengths, const int32_t* chosen, const int64_t* chosen_lengths,
                     gatun_decode_choose_params* params, int64_t* longest) {
  GATUN_TRY(read_choose(given, params));
  Buffer buffers[kChooseBuffers];
  GATUN_TRY(check_array("lengths", lengths, params->batch * params->table_heads, 8, false, &buffers[0]));
  GATUN_TRY(check_lengths(lengths, params->batch, params->table_heads, most_tokens(*params), longest));
  return check_choose_arrays(*params, *longest, scores, table, lengths, chosen, chosen_lengths, buffers);
}

}  // namespace gatun::decode_choose
