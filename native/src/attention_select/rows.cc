// Rows in another order: locality-sensitive hashing (HyperAttention), gathers and scatters.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "attention/check.h"
#include "attention/tensor.h"
#include "attention_select/products.h"
#include "attention_select/selection.h"
#include "base/parallel.h"
#include "base/status.h"

namespace gatun::attention_select {
namespace {

using RowsParams = gatun_attention_rows_params;
using LongLong = long long;

constexpr int64_t kMaxRows = INT32_MAX;

uint64_t mix64(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

// r[b][k] of gatun_attention_lsh.
float projection(uint64_t seed, int64_t b, int64_t k) {
  const uint64_t fields = mix64(seed + static_cast<uint64_t>(256 * b + k + 1) * 0x9e3779b97f4a7c15u);
  int32_t sum = -131070;
  for (int i = 0; i < 4; ++i) sum += static_cast<int32_t>(fields >> 16 * i & 0xffff);
  return static_cast<float>(sum);
}

// The place of a code in the Gray code.
uint32_t bucket_of(uint32_t code) {
  for (int shift = 1; shift < 32; shift *= 2) code ^= code >> shift;
  return code;
}

// Reads them once.
int32_t read_rows_params(const RowsParams* params, int64_t most_columns, RowsParams* p) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  *p = *params;
  GATUN_TRY(check_dtype(p->dtype, {GATUN_F32, GATUN_BF16, GATUN_F16}, "params.dtype"));
  GATUN_TRY(check_range(p->threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p->batch, 0, attention::kMaxLength, "params.batch"));
  GATUN_TRY(check_range(p->heads, 0, attention::kMaxLength, "params.heads"));
  GATUN_TRY(check_range(p->length, 0, kMaxRows, "params.length"));
  return check_range(p->head_size, 1, most_columns, "params.head_size");
}

// batch * heads * rows.
int32_t check_count(const RowsParams& p, int64_t rows, int64_t* count) {
  int64_t heads;
  if (!__builtin_mul_overflow(p.batch, p.heads, &heads) && !__builtin_mul_overflow(heads, rows, count) &&
      *count <= attention::kMaxLength) {
    return GATUN_OK;
  }
  return fail(GATUN_INVALID_ARGUMENT, "order: %lld x %lld x %lld elements; allowed: up to 2^60", LongLong{p.batch},
              LongLong{p.heads}, LongLong{rows});
}

attention::Tensor x_of(const RowsParams& p, const void* x, int64_t rows) {
  return {"x",
          x,
          {{p.batch, p.x_batch_stride, "params.x_batch_stride"},
           {p.heads, p.x_head_stride, "params.x_head_stride"},
           {rows, p.x_row_stride, "params.x_row_stride"}},
          p.head_size,
          dtype_bytes(p.dtype, 1),
          false};
}

attention::Tensor y_of(const RowsParams& p, const void* y, int64_t rows) {
  return {"y",
          y,
          {{p.batch, p.y_batch_stride, "params.y_batch_stride"},
           {p.heads, p.y_head_stride, "params.y_head_stride"},
           {rows, p.y_row_stride, "params.y_row_stride"}},
          p.head_size,
          dtype_bytes(p.dtype, 1),
          true};
}

// Codes of a head's rows -> their stable order. `starts` has room for a counter of each bucket.
void sort_rows(const uint32_t* buckets, int64_t length, int64_t bucket_count, int32_t* starts, int32_t* order) {
  std::fill(starts, starts + bucket_count, 0);
  for (int64_t i = 0; i < length; ++i) ++starts[buckets[i]];
  int32_t before = 0;
  for (int64_t b = 0; b < bucket_count; ++b) before += std::exchange(starts[b], before);
  for (int64_t i = 0; i < length; ++i) order[starts[buckets[i]]++] = static_cast<int32_t>(i);
}

struct Hash {
  const RowsParams& p;
  const Kernel& kernel;
  const gemm::Kernel& gemm;
  const std::vector<float>& projections;  // [projections][head_size]

  // The order of a head's rows; false if there is no memory.
  bool sort_head(const uint8_t* x, int32_t* order) const {
    constexpr int64_t kRowsAtOnce = 256;
    Memory& memory = thread_memory();
    float* const rows = get<float>(memory.queries, kRowsAtOnce * p.head_size);
    float* const sums = get<float>(memory.sums, kRowsAtOnce * p.projections);
    uint32_t* const buckets = get<uint32_t>(memory.keys, p.length);
    int32_t* const starts = get<int32_t>(memory.order, int64_t{1} << p.projections);
    if (rows == nullptr || sums == nullptr || buckets == nullptr || starts == nullptr) return false;
    for (int64_t first = 0; first < p.length; first += kRowsAtOnce) {
      const int64_t count = std::min(kRowsAtOnce, p.length - first);
      kernel.widen(x + dtype_bytes(p.dtype, first * p.x_row_stride), p.x_row_stride, count, p.head_size, rows);
      const gemm::Product product = {rows, p.head_size,   1,     projections.data(), 1,           p.head_size,
                                     sums, p.projections, count, p.projections,      p.head_size, false};
      if (!gemm::run(gemm, product)) return false;
      for (int64_t i = 0; i < count; ++i) {
        uint32_t code = 0;
        for (int32_t b = 0; b < p.projections; ++b) code |= static_cast<uint32_t>(sums[i * p.projections + b] > 0) << b;
        buckets[first + i] = bucket_of(code);
      }
    }
    sort_rows(buckets, p.length, int64_t{1} << p.projections, starts, order);
    return true;
  }
};

int32_t threads_of(const RowsParams& p, int64_t heads, int64_t rows) {
  return useful_threads(
      p.threads, heads,
      static_cast<int64_t>(std::min(static_cast<double>(heads * rows) * static_cast<double>(p.head_size), 1e18)),
      1 << 17);
}

int32_t lsh(Tier limit, const RowsParams* params, const void* x, int32_t* order) {
  RowsParams p;
  GATUN_TRY(read_rows_params(params, 256, &p));
  GATUN_TRY(check_range(p.projections, 1, 16, "params.projections"));
  int64_t count;
  GATUN_TRY(check_count(p, p.length, &count));
  const attention::Tensor rows = x_of(p, x, p.length);
  GATUN_TRY(attention::check_needed(rows, ""));
  Buffer buffers[] = {output_of("order", order, count, 4), {}};
  GATUN_TRY(attention::check_tensor(rows, &buffers[1]));
  GATUN_TRY(check_buffers(buffers));
  if (count == 0) return GATUN_OK;
  attention::settle({{p.length, &p.x_row_stride}});
  std::vector<float> projections;
  for (int64_t b = 0; b < p.projections; ++b) {
    for (int64_t k = 0; k < p.head_size; ++k) projections.push_back(projection(static_cast<uint64_t>(p.seed), b, k));
  }
  const Hash hash = {p, *table().select(p.dtype, GATUN_F32, limit).kernel, gemm::kernel_of(limit), projections};
  std::atomic<bool> good{true};
  const int64_t heads = p.batch * p.heads;
  parallel_for(heads, threads_of(p, heads, p.length * p.projections), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i / p.heads * p.x_batch_stride + i % p.heads * p.x_head_stride;
      const uint8_t* const from = static_cast<const uint8_t*>(x) + dtype_bytes(p.dtype, first);
      if (!hash.sort_head(from, order + i * p.length)) good.store(false);
    }
  });
  return good.load() ? GATUN_OK : no_memory();
}

// Each within 0..length - 1; within a head none twice, if `once`.
int32_t check_order(const RowsParams& p, const int32_t* order, bool once) {
  std::vector<uint64_t> named(once ? static_cast<size_t>(blocks_of(p.length, 64)) : 0);
  for (int64_t head = 0; head < p.batch * p.heads; ++head) {
    std::fill(named.begin(), named.end(), 0);
    for (int64_t i = 0; i < p.rows; ++i) {
      const int32_t row = order[head * p.rows + i];
      if (row < 0 || row >= p.length) {
        return fail(GATUN_INVALID_ARGUMENT, "order[%lld] = %d; allowed: 0..%lld", LongLong{head * p.rows + i}, row,
                    LongLong{p.length - 1});
      }
      if (!once) continue;
      uint64_t& word = named[static_cast<size_t>(row / 64)];
      if (word >> row % 64 & 1) {
        return fail(GATUN_INVALID_ARGUMENT, "order[%lld] = %d, as one before; allowed: each row of a head once",
                    LongLong{head * p.rows + i}, row);
      }
      word |= uint64_t{1} << row % 64;
    }
  }
  return GATUN_OK;
}

int32_t move_rows(const RowsParams* params, const void* x, const int32_t* order, void* y, bool scatter) {
  RowsParams p;
  GATUN_TRY(read_rows_params(params, attention::kMaxLength, &p));
  GATUN_TRY(check_range(p.rows, 0, kMaxRows, "params.rows"));
  int64_t count;
  GATUN_TRY(check_count(p, p.rows, &count));
  const attention::Tensor from = x_of(p, x, scatter ? p.rows : p.length), to = y_of(p, y, scatter ? p.length : p.rows);
  if (count > 0) {
    GATUN_TRY(attention::check_needed(from, ""));
    GATUN_TRY(attention::check_needed(to, ""));
  }
  Buffer buffers[] = {{}, {}, {"order", order, 1, count, 0, 4, false}};
  GATUN_TRY(attention::check_tensor(to, &buffers[0]));
  GATUN_TRY(attention::check_tensor(from, &buffers[1]));
  GATUN_TRY(check_buffers(buffers));
  if (count == 0) return GATUN_OK;
  const std::vector<int32_t> rows(order, order + count);  // as checked
  GATUN_TRY(check_order(p, rows.data(), scatter));
  const int64_t row_bytes = dtype_bytes(p.dtype, p.head_size), heads = p.batch * p.heads;
  parallel_for(heads, threads_of(p, heads, p.rows), [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      const int64_t b = head / p.heads, h = head % p.heads;
      const int64_t x_first = b * p.x_batch_stride + h * p.x_head_stride;
      const int64_t y_first = b * p.y_batch_stride + h * p.y_head_stride;
      for (int64_t i = 0; i < p.rows; ++i) {
        const int64_t other = rows[static_cast<size_t>(head * p.rows + i)];
        const int64_t x_row = scatter ? i : other, y_row = scatter ? other : i;
        std::memcpy(static_cast<uint8_t*>(y) + dtype_bytes(p.dtype, y_first + y_row * p.y_row_stride),
                    static_cast<const uint8_t*>(x) + dtype_bytes(p.dtype, x_first + x_row * p.x_row_stride),
                    static_cast<size_t>(row_bytes));
      }
    }
  });
  return GATUN_OK;
}

}  // namespace
}  // namespace gatun::attention_select

using namespace gatun;

int32_t gatun_attention_lsh(const gatun_attention_rows_params* params, const void* x, int32_t* order) {
  return attention_select::or_no_memory([&] { return attention_select::lsh(active_tier(), params, x, order); });
}

int32_t gatun_attention_gather(const gatun_attention_rows_params* params, const void* x, const int32_t* order,
                               void* y) {
  return attention_select::or_no_memory([&] { return attention_select::move_rows(params, x, order, y, false); });
}

int32_t gatun_attention_scatter(const gatun_attention_rows_params* params, const void* x, const int32_t* order,
                                void* y) {
  return attention_select::or_no_memory([&] { return attention_select::move_rows(params, x, order, y, true); });
}
