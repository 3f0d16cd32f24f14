// The work of a call: the parts of all items and heads, taken one by one by threads; then their merger.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "attention/tensor.h"
#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "base/table.h"
#include "base/text.h"
#include "decode/check.h"
#include "decode/table.h"
#include "kv_cache/layout.h"

namespace gatun::decode {
namespace {

// Products of q, k and v for which waking another thread pays.
constexpr int64_t kGrain = 1 << 19;
// Parts for each thread, so that all end together.
constexpr int64_t kPartsPerThread = 4;
// Heads whose rows in a page are so near one another take turns, as long as what is kept of them fits a cache.
constexpr int64_t kNearBytes = 64 * 1024;
constexpr int64_t kRowsTogether = 128;

thread_local Scratch own_scratch;     // of a thread's loop
thread_local Scratch shared_scratch;  // of the calling thread: what the parts of a call come to

Side side_of(const gatun_kv_layout& layout) {
  Side side{};
  side.dtype = layout.dtype;
  side.size = static_cast<int32_t>(layout.size);
  side.row_bytes = static_cast<int32_t>(kv_cache::row_bytes(layout));
  side.per_token = layout.scaling == GATUN_KV_PER_TOKEN;
  side.per_channel = layout.scaling == GATUN_KV_PER_CHANNEL;
  side.zeros = layout.zero_point != GATUN_ZERO_NONE;
  side.group = side.per_token ? static_cast<int32_t>(layout.group) : side.size;
  side.groups = static_cast<int32_t>(blocks_of(side.size, side.group));
  return side;
}

// The rows of the tables for a call.
struct Kernels {
  const TableRow<KeyKernel>& keys;
  const TableRow<ValueKernel>* values;  // null without values
  const LoopRow& loop;

  void put_into(Job* job) const {
    job->keys = side_of(job->call.k);
    job->key_kernel = keys.kernel;
    if (values == nullptr) return;
    job->values = side_of(job->call.v);
    job->value_kernel = values->kernel;
    for (int c = 0; c < kMaxSize; ++c) job->position_of[c] = values->kernel->position_of(c);
  }
};

Kernels choose(const Call& call, Tier limit) {
  const auto values = [&] {
    return &select(value_table(), call.v.dtype, products_of_values(call.p, call.v.dtype), limit);
  };
  return {select(key_table(), call.k.dtype, products_of_keys(call.p, call.k.dtype), limit),
          call.has_v ? values() : nullptr, select(loop_table(), limit)};
}

class Work {
 public:
  Work(const Job& job, int64_t longest) : p_(job.call.p), heads_(job.call.k.heads), in_(job.in), longest_(longest) {
    rows_ = rows_of(job.call);
    size_ = job.value_kernel != nullptr ? job.values.size : 0;
    parts_ = std::max<int64_t>(1, blocks_of(longest_, kPartKeys));
    heads_of_items_ = rows_ == 0 ? 0 : p_.batch * heads_;
    const double cost = static_cast<double>(heads_of_items_) * static_cast<double>(longest_) *
                        static_cast<double>(rows_) * static_cast<double>(job.keys.size + size_);
    threads_ = useful_threads(p_.threads,
                              std::min(heads_of_items_, int64_t{kMaxThreads}) * std::min(parts_, int64_t{kMaxThreads}),
                              static_cast<int64_t>(std::min(cost, 0x1p60)), kGrain);
    if (heads_of_items_ != 0 && p_.table_heads == 1 && job.call.k.head_stride <= kNearBytes) {
      heads_together_ = std::clamp<int64_t>(kRowsTogether / rows_, 1, heads_);
      while (heads_together_ > 1 && items() < kPartsPerThread * threads_) heads_together_ /= 2;
    }
  }

  int64_t items() const { return heads_of_items_ == 0 ? 0 : p_.batch * groups() * parts_; }
  // Of heads that are together, in an item.
  int64_t groups() const { return blocks_of(heads_, heads_together_); }
  int64_t heads_together() const { return heads_together_; }
  int64_t heads_of_items() const { return heads_of_items_; }
  int64_t parts() const { return parts_; }
  int64_t rows() const { return rows_; }
  int64_t size() const { return size_; }
  int32_t threads() const { return threads_; }

  // Lengths were checked; what another thread has changed since stays within the table.
  int64_t length(int64_t item, int64_t head) const {
    const int64_t* const at = in_.lengths + item * p_.table_heads + (p_.table_heads == 1 ? 0 : head);
    return std::clamp<int64_t>(__atomic_load_n(at, __ATOMIC_RELAXED), 0, longest_);
  }

  // Of a head in a part, and how many there are.
  int64_t floats_of_part() const { return rows_ * (size_ + 2); }
  int64_t results() const { return heads_of_items_ * parts_; }

  Part part(int64_t index, float* memory) const {
    Part part;
    const int64_t group = index / parts_, number = index % parts_;
    part.item = group / groups();
    part.first_head = group % groups() * heads_together_;
    part.heads = std::min(heads_together_, heads_ - part.first_head);
    part.length = length(part.item, part.first_head);
    part.first = number * kPartKeys;
    part.last = std::min(part.first + kPartKeys, part.length);
    part.maxima = memory + ((part.item * heads_ + part.first_head) * parts_ + number) * floats_of_part();
    part.totals = part.maxima + rows_;
    part.sums = part.totals + rows_;
    part.head_stride = parts_ * floats_of_part();
    return part;
  }

 private:
  const gatun_decode_params& p_;
  const int64_t heads_;
  const Inputs& in_;
  const int64_t longest_;
  int64_t rows_ = 0, size_ = 0, parts_ = 1, heads_of_items_ = 0, heads_together_ = 1;
  int32_t threads_ = 1;
};

// What a row's parts come to, in ascending order.
class Merger {
 public:
  Merger(const Job& job, const Work& work, const float* memory, void* out, float* lse)
      : job_(job), p_(job.call.p), work_(work), memory_(memory), out_(out), lse_(lse) {}

  void merge(int64_t head_of_item) const {
    const int64_t item = head_of_item / job_.call.k.heads, head = head_of_item % job_.call.k.heads;
    const int64_t parts = blocks_of(work_.length(item, head), kPartKeys);
    for (int64_t row = 0; row < work_.rows(); ++row) merge_row(head_of_item, item, head, parts, row);
  }

 private:
  void merge_row(int64_t head_of_item, int64_t item, int64_t head, int64_t parts, int64_t row) const {
    const int64_t query_head = head * (p_.query_heads / job_.call.k.heads) + row / p_.query_length;
    const int64_t query = row % p_.query_length, rows = work_.rows(), size = work_.size();
    const float sink = job_.in.sinks != nullptr ? job_.in.sinks[query_head] : -std::numeric_limits<float>::infinity();
    const auto of_part = [&](int64_t n) {
      return memory_ + (head_of_item * work_.parts() + n) * work_.floats_of_part();
    };
    float maximum = sink;
    bool seen = false;
    for (int64_t n = 0; n < parts; ++n) {
      if (of_part(n)[rows + row] == 0) continue;
      maximum = std::max(maximum, of_part(n)[row]);
      seen = true;
    }
    float total = sink == -std::numeric_limits<float>::infinity() ? 0 : sink == maximum ? 1 : std::exp(sink - maximum);
    float sums[kMaxSize] = {};
    for (int64_t n = 0; n < parts; ++n) {
      const float* const part = of_part(n);
      if (part[rows + row] == 0) continue;
      const float weight = std::exp(part[row] - maximum);
      total += part[rows + row] * weight;
      const float* const from = part + 2 * rows + row * size;
      for (int64_t c = 0; c < size; ++c) sums[c] += from[c] * weight;
    }
    if (lse_ != nullptr) {
      float* const to = lse_ + item * p_.lse_batch_stride + query_head * p_.lse_head_stride + query;
      *to = total == 0 ? maximum : maximum + std::log(total);
    }
    if (out_ == nullptr) return;
    const int64_t at = item * p_.out_batch_stride + query_head * p_.out_head_stride + query * p_.out_row_stride;
    for (int64_t c = 0; c < size; ++c) sums[c] = seen ? sums[c] / total : 0;
    if (p_.out_dtype == GATUN_F32) {
      std::copy(sums, sums + size, static_cast<float*>(out_) + at);
    } else {
      uint16_t* const to = static_cast<uint16_t*>(out_) + at;
      for (int64_t c = 0; c < size; ++c)
        to[c] = p_.out_dtype == GATUN_BF16 ? f32_to_bf16(sums[c]) : f32_to_f16(sums[c]);
    }
  }

  const Job& job_;
  const gatun_decode_params& p_;
  const Work& work_;
  const float* const memory_;
  void* const out_;
  float* const lse_;
};

int32_t run_parts(Job& job, int64_t longest, const Loop& loop, void* out, float* lse) {
  const Work work(job, longest);
  if (work.items() == 0) return GATUN_OK;
  job.heads_together = work.heads_together();
  const int64_t bytes = loop.scratch_bytes(job);
  const double result_bytes = 4.0 * static_cast<double>(work.results()) * static_cast<double>(work.floats_of_part());
  float* const results = result_bytes < 0x1p46
                             ? reinterpret_cast<float*>(shared_scratch.get(work.results() * work.floats_of_part() * 4))
                             : nullptr;
  if (results == nullptr) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for %g bytes of results of parts; nothing is written", result_bytes);
  }
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  parallel_for(work.threads(), work.threads(), [&](int64_t, int64_t) {
    uint8_t* const memory = own_scratch.get(bytes);
    if (memory == nullptr) {
      failed = true;
      return;
    }
    int64_t last = -1;
    for (int64_t i = next.fetch_add(1); i < work.items(); i = next.fetch_add(1)) {
      const Part part = work.part(i, results);
      if (part.first >= part.last) {
        for (int64_t h = 0; h < part.heads; ++h) {
          std::fill_n(part.totals + h * part.head_stride, work.rows(), 0.0f);
        }
        continue;
      }
      const int64_t group = i / work.parts();
      loop.run(job, part, group != last, memory);
      last = group;
    }
  });
  if (failed) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch; nothing but logits is written",
                static_cast<long long>(bytes));
  }
  const Merger merger(job, work, results, out, lse);
  parallel_for(work.heads_of_items(), work.threads(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) merger.merge(i);
  });
  return GATUN_OK;
}

}  // namespace

int32_t run(Tier limit, const gatun_decode_params* params, const gatun_kv_layout* k_layout,
            const gatun_kv_layout* v_layout, const Inputs& inputs, void* out, float* lse, float* logits) {
  Job job{};
  GATUN_TRY(read(params, k_layout, v_layout, &job.call));
  int64_t longest;
  GATUN_TRY(check(job.call, inputs, out, lse, logits, &longest));
  settle(&job.call.p);
  job.in = inputs;
  job.logits = logits;
  const Kernels kernels = choose(job.call, limit);
  kernels.put_into(&job);
  return run_parts(job, longest, *kernels.loop.kernel, out, lse);
}

namespace {

template <class Kernel>
void explain_row(const TableRow<Kernel>& chosen, Table<TableRow<Kernel>> table, Products products, const char* what,
                 Text& out) {
  out.add("%s: the best kernel for %s %s on tier %s; products in %s\n", chosen.name, dtype_name(chosen.dtype), what,
          tier_name(active_tier()), chosen.kernel->products);
  for (const TableRow<Kernel>& row : table) {
    if (&row == &chosen) break;
    if (row.does(chosen.dtype, products)) explain_passed_over(row.name, row.tier, out);
  }
}

int32_t explain(const gatun_decode_params* params, const gatun_kv_layout* k_layout, const gatun_kv_layout* v_layout,
                char* text, int64_t capacity) {
  Job job{};
  GATUN_TRY(read(params, k_layout, v_layout, &job.call));
  const Call& call = job.call;
  const Kernels kernels = choose(call, active_tier());
  kernels.put_into(&job);
  job.heads_together = 1;
  Text out;
  explain_row(kernels.keys, key_table(), products_of_keys(call.p, call.k.dtype), "keys", out);
  if (kernels.values != nullptr) {
    explain_row(*kernels.values, value_table(), products_of_values(call.p, call.v.dtype), "values", out);
  }
  out.add("%s: the loop over tiles\n", kernels.loop.name);
  for (const LoopRow& row : loop_table()) {
    if (&row == &kernels.loop) break;
    explain_passed_over(row.name, row.tier, out);
  }
  out.add("  %lld rows of q pass over each head's keys, %d at a time; keys are cut at multiples of %lld\n",
          static_cast<long long>(rows_of(call)), kBlockRows, static_cast<long long>(kPartKeys));
  out.add("  %lld bytes of scratch memory of a thread that works on one head\n",
          static_cast<long long>(kernels.loop.kernel->scratch_bytes(job)));
  return out.copy_to(text, capacity);
}

}  // namespace
}  // namespace gatun::decode

using namespace gatun;

int32_t gatun_decode_explain(const gatun_decode_params* params, const gatun_kv_layout* k_layout,
                             const gatun_kv_layout* v_layout, char* text, int64_t capacity) {
  return decode::explain(params, k_layout, v_layout, text, capacity);
}

int32_t gatun_decode(const gatun_decode_params* params, const gatun_kv_layout* k_layout,
                     const gatun_kv_layout* v_layout, const void* q, const void* k, const void* k_scales,
                     const void* k_zeros, const void* v, const void* v_scales, const void* v_zeros,
                     const int32_t* table, const int64_t* lengths, const float* slopes, const float* sinks, void* out,
                     float* lse, float* logits) {
  return decode::run(active_tier(), params, k_layout, v_layout,
                     {q, k, k_scales, k_zeros, v, v_scales, v_zeros, table, lengths, slopes, sinks}, out, lse, logits);
}
