// The work of a call: heads of k and v, cut into runs of tiles where there are few, taken one by one by threads.
#include <algorithm>
#include <atomic>

#include "attention/check.h"
#include "attention/table.h"
#include "attention/tensor.h"
#include "base/check.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "base/text.h"

namespace gatun::attention {
namespace {

// Products of q, k and v for which waking another thread pays.
constexpr int64_t kGrain = 1 << 21;
// Parts for each thread, so that all end together; a part packs its head's keys anew, so it has many rows.
constexpr int64_t kPartsPerThread = 8;
constexpr int64_t kPartTiles = 4;
// Of a head: far beyond any memory, and its scratch memory's size is far below 2^63.
constexpr int64_t kMostKeys = int64_t{1} << 40;

thread_local Scratch own_scratch;

class Work {
 public:
  Work(const gatun_attention_params& p, const Inputs& in) : p_(p), in_(in) {
    const int64_t items = in.q_offsets != nullptr ? p.batch : std::min<int64_t>(1, p.batch);
    double cost = 0;
    for (int64_t b = 0; b < items; ++b) {
      const int64_t length = in.kv_offsets == nullptr ? p.kv_length : stretch(in.kv_offsets, b, p.kv_length).length;
      longest_ = std::max(longest_, length);
      const Head head = head_of(b, 0);
      const int64_t tiles = tiles_of_head(p, head.query_length);
      most_tiles_ = std::max(most_tiles_, tiles);
      cost += static_cast<double>(tiles) * kTileRows * static_cast<double>(head.kv_length);
    }
    if (most_tiles_ == 0 || p.query_heads == 0) return;  // batch and heads may be any numbers then
    cost *= static_cast<double>(p.batch / items) * static_cast<double>(p.query_heads) *
            static_cast<double>(p.head_size + p.value_size);
    // explain may ask about sizes that no memory holds.
    heads_ = static_cast<int64_t>(std::min(0x1p40, static_cast<double>(p.batch) * static_cast<double>(p.kv_heads)));
    const int64_t heads = heads_;
    if (heads == 0) return;
    const double group_tiles = static_cast<double>(most_tiles_) * static_cast<double>(p.query_heads / p.kv_heads);
    const int64_t most_parts = blocks_of(static_cast<int64_t>(std::min(0x1p40, group_tiles)), kPartTiles);
    threads_ =
        useful_threads(p.threads, std::min(heads, int64_t{kMaxThreads}) * std::min<int64_t>(most_parts, kMaxThreads),
                       static_cast<int64_t>(std::min(cost, 0x1p60)), kGrain);
    if (threads_ > 1) {
      parts_ = std::clamp<int64_t>(blocks_of(threads_ * kPartsPerThread, heads), 1, most_parts);
    }
    items_ = heads * parts_;
  }

  // Offsets were checked; what another thread has changed since stays within q, k, v, the mask and the scratch memory.
  Head head_of(int64_t b, int64_t kv_head) const {
    if (in_.q_offsets == nullptr) return {b, kv_head, p_.query_length, p_.kv_length, 0, 0};
    Stretch q = stretch(in_.q_offsets, b, p_.query_length);
    const Stretch kv = stretch(in_.kv_offsets, b, p_.kv_length);
    if (p_.query_block != 0 && blocks_of(q.length, p_.query_block) > p_.query_blocks) {
      q.length = p_.query_blocks * p_.query_block;
    }
    return {b, kv_head, q.length, std::min(kv.length, longest_), q.first, kv.first};
  }

  // An item's head and tiles.
  struct Item {
    Head head;
    int64_t begin, end;
  };
  Item item(int64_t index) const {
    const Head head = head_of(index / parts_ / p_.kv_heads, index / parts_ % p_.kv_heads);
    const int64_t part = index % parts_;
    const int64_t tiles = tiles_of_head(p_, head.query_length) * (p_.query_heads / p_.kv_heads);
    return {head, tiles * part / parts_, tiles * (part + 1) / parts_};
  }

  int64_t heads() const { return heads_; }
  int64_t items() const { return items_; }
  int64_t parts() const { return parts_; }
  int64_t longest() const { return longest_; }
  int32_t threads() const { return threads_; }

 private:
  struct Stretch {
    int64_t first, length;
  };
  static Stretch stretch(const int64_t* offsets, int64_t b, int64_t rows) {
    const int64_t begin = __atomic_load_n(offsets + b, __ATOMIC_RELAXED);
    const int64_t end = __atomic_load_n(offsets + b + 1, __ATOMIC_RELAXED);
    const int64_t first = std::clamp<int64_t>(begin, 0, rows);
    return {first, std::clamp<int64_t>(end, first, rows) - first};
  }

  const gatun_attention_params& p_;
  const Inputs& in_;
  int64_t heads_ = 0, longest_ = 0, most_tiles_ = 0, parts_ = 1, items_ = 0;
  int32_t threads_ = 1;
};

}  // namespace

int32_t run(Tier limit, const gatun_attention_params* params, const Inputs& inputs, void* out, float* lse) {
  Job job{{}, inputs, out, lse};
  GATUN_TRY(read_params(params, &job.p));
  GATUN_TRY(check(job.p, inputs, out, lse));
  settle({{job.p.query_length, &job.p.q_row_stride}});
  settle({{job.p.kv_length, &job.p.k_row_stride}});
  settle({{job.p.kv_length, &job.p.v_row_stride}});
  const Work work(job.p, job.in);
  if (work.items() == 0) return GATUN_OK;
  const Kernel& kernel = *table().select(job.p.dtype, job.p.mode, limit).kernel;
  if (work.longest() > kMostKeys) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld packed keys", static_cast<long long>(work.longest()));
  }
  const int64_t bytes = kernel.scratch_bytes(job.p, work.longest());
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  // Threads take items as they get done with others: how long they take depends on what is seen.
  parallel_for(work.threads(), work.threads(), [&](int64_t, int64_t) {
    uint8_t* const memory = own_scratch.get(bytes);
    if (memory == nullptr) {
      failed = true;
      return;
    }
    int64_t last = -1;
    for (int64_t i = next.fetch_add(1); i < work.items(); i = next.fetch_add(1)) {
      const Work::Item item = work.item(i);
      const int64_t head = i / work.parts();
      kernel.run(job, item.head, item.begin, item.end, head != last, memory);
      last = head;
    }
  });
  if (!failed) return GATUN_OK;
  return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch; out and lse may be written in part",
              static_cast<long long>(bytes));
}

int32_t explain(const gatun_attention_params* params, char* text, int64_t capacity) {
  gatun_attention_params p;
  GATUN_TRY(read_params(params, &p));
  GATUN_TRY(check_mode_of_cpu(p));
  if (p.query_block != 0) GATUN_TRY(check_multiple(p.query_block, 16, 16, 128, "params.query_block"));
  const Inputs none{};
  const Work work(p, none);
  const KernelTable<Kernel> kernels = table();
  const Kernel& kernel = *kernels.select(p.dtype, p.mode, active_tier()).kernel;
  Text out;
  kernels.explain("q, k, v", p.dtype, p.mode == GATUN_ATTENTION_INT8 ? "INT8" : "EXACT", "products", p.mode, out);
  out.add("  q . k in %s; exponentials . v in %s\n", kernel.key_products, kernel.value_products);
  out.add("  %lld queries by up to %d keys at a time\n", static_cast<long long>(queries_of_tile(p)),
          kChunkPanels * kPanelKeys);
  const auto add = [&](int64_t count, const char* what) {
    out.add("%lld %s%s", static_cast<long long>(count), what, count == 1 ? "" : "s");
  };
  out.add("  ");
  add(work.heads(), "head");
  out.add(" of k and v, each in ");
  add(work.parts(), "part");
  out.add(", on ");
  add(work.threads(), "thread");
  out.add("; %lld bytes of scratch memory for each\n",
          static_cast<long long>(kernel.scratch_bytes(p, std::min(work.longest(), kMostKeys))));
  return out.copy_to(text, capacity);
}

}  // namespace gatun::attention

using namespace gatun;

int32_t gatun_attention_explain(const gatun_attention_params* params, char* text, int64_t capacity) {
  return attention::explain(params, text, capacity);
}

int32_t gatun_attention(const gatun_attention_params* params, const void* q, const void* k, const void* v,
                        const int64_t* q_offsets, const int64_t* kv_offsets, const float* slopes, const float* sinks,
                        const float* correction, const int64_t* full_offsets, const int32_t* full_blocks,
                        const int64_t* partial_offsets, const int32_t* partial_blocks, const uint8_t* partial_bits,
                        void* out, float* lse) {
  return attention::run(active_tier(), params,
                        {q, k, v, q_offsets, kv_offsets, slopes, sinks, correction, full_offsets, full_blocks,
                         partial_offsets, partial_blocks, partial_bits},
                        out, lse);
}
