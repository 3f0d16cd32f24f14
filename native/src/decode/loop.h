// The loop over the tiles of a part:
//
//   products = q . keys                     a kernel of keys
//   weights  = exp(logit - maximum)         maximum of the row so far; when it grows, what was summed before is scaled
//   sums    += weights . values             a kernel of values
//
// A tile of keys of all heads of a part is multiplied, then made weights, then come their values.
#pragma once

#include "decode/floats.h"
#include "decode/kernel.h"
#include "simd/math.h"

namespace gatun::GATUN_ISA {
namespace {

inline constexpr float kNothingSeen = -0x1.fffffep127f;  // the maximum of a row that has seen nothing
inline constexpr float kLog2e = 1.44269504f;

// What a row of q sees of the keys: [begin, end), and sinks.
struct Sight {
  int64_t begin, end;
};

// A thread's memory.
struct LoopMemory {
  float* q;                          // [heads][rows][kMaxSize]
  uint8_t* query;                    // [heads][blocks of rows][query_bytes]
  float* products;                   // [heads][rows][kTileKeys]; then logits, then weights
  float* sums;                       // [heads][rows][kMaxSize], by positions
  Sight* sights;                     // [rows], of each head alike
  decode::Tile* tiles;               // this one and the one to come
  int64_t rows, query_bytes, bytes;  // of a head; of all

  LoopMemory(const decode::Job& job, uint8_t* memory) {
    const int64_t blocks = (decode::rows_of(job.call) + decode::kBlockRows - 1) / decode::kBlockRows;
    const int64_t heads = job.heads_together;
    rows = blocks * decode::kBlockRows;
    query_bytes = blocks * job.key_kernel->query_bytes;
    int64_t end = 0;
    const auto take = [&](int64_t size) {
      const int64_t at = end;
      end += (size + 63) / 64 * 64;
      return memory == nullptr ? nullptr : memory + at;
    };
    q = reinterpret_cast<float*>(take(heads * rows * decode::kMaxSize * 4));
    query = take(heads * query_bytes);
    products = reinterpret_cast<float*>(take(heads * rows * decode::kTileKeys * 4));
    sums = reinterpret_cast<float*>(take(heads * rows * decode::kMaxSize * 4));
    sights = reinterpret_cast<Sight*>(take(rows * static_cast<int64_t>(sizeof(Sight))));
    tiles = reinterpret_cast<decode::Tile*>(take(2 * sizeof(decode::Tile)));
    bytes = end;
  }
};

// Lanes below n.
GATUN_INLINE uint32_t lanes_below(int64_t n) { return n <= 0 ? 0 : n >= kLanes ? ~0u : (1u << n) - 1; }

class PartLoop {
  using Tile = decode::Tile;

 public:
  PartLoop(const decode::Job& job, const decode::Part& part, uint8_t* memory)
      : job_(job), p_(job.call.p), part_(part), memory_(job, memory) {
    rows_ = static_cast<int>(decode::rows_of(job.call));
    const int64_t table_row = part.item * p_.table_heads + (p_.table_heads == 1 ? 0 : part.first_head);
    table_ = job.in.table == nullptr ? nullptr : job.in.table + table_row * p_.table_stride;
  }

  void load_queries() {
    for (int64_t h = 0; h < part_.heads; ++h) {
      enter(h);
      for (int64_t r = 0; r < memory_.rows; ++r) {
        for (int c = 0; c < decode::kMaxSize; c += kLanes) store_f32(q_ + r * decode::kMaxSize + c, zero_f32());
        if (r < rows_) load_query(r, q_ + r * decode::kMaxSize);
      }
      if (!job_.keys.per_channel) prepare(nullptr, nullptr);
    }
  }

  void run() {
    for (int64_t r = 0; r < rows_; ++r) memory_.sights[r] = {window_begin(r), seen_end(r)};
    for (int64_t h = 0; h < part_.heads; ++h) {
      enter(h);
      for (int r = 0; r < rows_; ++r) {
        maxima_[r] = kNothingSeen;
        totals_[r] = 0;
        for (int c = 0; c < decode::kMaxSize; c += kLanes) store_f32(sums_ + r * decode::kMaxSize + c, zero_f32());
      }
    }
    Tile *tile = memory_.tiles, *ahead = tile + 1;
    Step step = {next_seen(part_.first), 0, false, job_.keys.per_channel};
    gather(step, tile);
    while (step.first < part_.last) {
      const Step next = after(step);
      gather(next, ahead);
      const Tile* const to_come = next.first < part_.last ? ahead : nullptr;
      enter(step.head);
      if (step.values) {
        multiply_values(*tile, to_come);
      } else {
        multiply_keys(step, *tile, to_come);
        if (step.head == part_.heads - 1) make_weights(step.first, tile->count);
      }
      Tile* const free = tile;
      tile = ahead;
      ahead = free;
      step = next;
    }
    for (int64_t h = 0; job_.value_kernel != nullptr && h < part_.heads; ++h) {
      enter(h);
      store_sums();
    }
  }

 private:
  // A tile of keys of a head, or of their values.
  struct Step {
    int64_t first, head;
    bool values;     // their keys otherwise
    bool new_group;  // keys have other scales of channels than those before
  };

  // All heads' keys, then all heads' values: memory is fastest in long runs.
  Step after(Step step) const {
    if (++step.head < part_.heads) return step;
    step.head = 0;
    step.values = !step.values && job_.value_kernel != nullptr;
    if (step.values) return step;
    const int64_t before = step.first;
    step.first = next_seen(tile_end(before));
    step.new_group = job_.keys.per_channel && step.first / job_.call.k.group != before / job_.call.k.group;
    return step;
  }

  // What follows is about head h of the part.
  void enter(int64_t h) {
    head_ = part_.first_head + h;
    q_ = memory_.q + h * memory_.rows * decode::kMaxSize;
    query_ = memory_.query + h * memory_.query_bytes;
    products_ = memory_.products + h * memory_.rows * decode::kTileKeys;
    sums_ = memory_.sums + h * memory_.rows * decode::kMaxSize;
    maxima_ = part_.maxima + h * part_.head_stride;
    totals_ = part_.totals + h * part_.head_stride;
  }

  void load_query(int64_t r, float* to) const {
    const int64_t offset =
        part_.item * p_.q_batch_stride + query_head(r) * p_.q_head_stride + r % p_.query_length * p_.q_row_stride;
    const auto copy = [&](auto element, int64_t bytes) {
      using Element = decltype(element);
      const uint8_t* const from = static_cast<const uint8_t*>(job_.in.q) + offset * bytes;
      for (int c = 0; c < job_.keys.size; c += kLanes) {
        store_f32(to + c, load_channels<Element>(from, c, job_.keys.size));
      }
    };
    if (p_.dtype == GATUN_F32) {
      copy(f32(), 4);
    } else if (p_.dtype == GATUN_BF16) {
      copy(bf16(), 2);
    } else {
      copy(f16(), 2);
    }
  }

  int64_t query_head(int64_t row) const { return head_ * (p_.query_heads / job_.call.k.heads) + row / p_.query_length; }
  // Of a row's query among the keys.
  int64_t position(int64_t row) const { return row % p_.query_length + part_.length - p_.query_length; }
  // The first key that the window of a row does not hide, sinks aside, and the one after the last that it sees. A
  // window of 2^61 keys holds all of them.
  int64_t window_begin(int64_t row) const {
    constexpr int64_t kAll = int64_t{1} << 61;
    return p_.window_left < 0 ? 0 : position(row) - (p_.window_left < kAll ? p_.window_left : kAll);
  }
  int64_t seen_end(int64_t row) const { return p_.causal ? position(row) + 1 : part_.length; }

  // Key `first`, or the first one after it that a row's window may hold: the first query's begins first.
  int64_t next_seen(int64_t first) const {
    const int64_t begin = window_begin(0), tile = begin - begin % decode::kTileKeys;
    if (job_.logits == nullptr && first >= p_.sink_keys && first < tile) first = tile;
    return first < part_.last ? first : part_.last;
  }

  void prepare(const uint16_t* scales, const uint16_t* zeros) {
    for (int r = 0, b = 0; r < rows_; r += decode::kBlockRows, ++b) {
      job_.key_kernel->prepare(job_.keys, q_ + r * decode::kMaxSize, block_rows(r), scales, zeros,
                               query_ + b * job_.key_kernel->query_bytes);
    }
  }
  int block_rows(int r) const { return rows_ - r < decode::kBlockRows ? rows_ - r : decode::kBlockRows; }

  // Where a tile of keys from `first` on ends: scales of channels are those of a tile.
  int64_t tile_end(int64_t first) const {
    int64_t end = first / decode::kTileKeys * decode::kTileKeys + decode::kTileKeys;
    if (part_.last < end) end = part_.last;
    const auto cut = [&](const gatun_kv_layout& layout) {
      const int64_t next = (first / layout.group + 1) * layout.group;
      if (next < end) end = next;
    };
    if (job_.keys.per_channel) cut(job_.call.k);
    if (job_.values.per_channel) cut(job_.call.v);
    return end;
  }

  void gather(const Step& step, Tile* tile) const {
    if (step.first >= part_.last) return;
    tile->count = static_cast<int32_t>(tile_end(step.first) - step.first);
    tile->row_bytes = (step.values ? job_.values : job_.keys).row_bytes;
    const int64_t page_size = job_.call.k.page_size;
    int64_t page = step.first / page_size, row = step.first - page * page_size;
    for (int i = 0; i < tile->count; ++page, row = 0) {
      const int n = tile->count - i < page_size - row ? tile->count - i : static_cast<int>(page_size - row);
      // Checked, but another thread may write there.
      int64_t at = part_.item;
      if (table_ != nullptr) {
        at = __atomic_load_n(table_ + page, __ATOMIC_RELAXED);
        if (at < 0 || at >= job_.call.k.pages) at = 0;
      }
      const int64_t head = part_.first_head + step.head;
      if (step.values) {
        add_rows(job_.call.v, job_.values, job_.in.v, job_.in.v_scales, job_.in.v_zeros, at, head, row, i, n, tile);
      } else {
        add_rows(job_.call.k, job_.keys, job_.in.k, job_.in.k_scales, job_.in.k_zeros, at, head, row, i, n, tile);
      }
      i += n;
    }
    if (tile->count < decode::kTileKeys) repeat_first(step.values ? job_.values : job_.keys, tile);
  }

  // Keys i .. i + n - 1 of a tile: rows of one page.
  void add_rows(const gatun_kv_layout& layout, const decode::Side& side, const void* rows, const void* scales,
                const void* zeros, int64_t page, int64_t head, int64_t row, int i, int n, Tile* tile) const {
    const uint8_t* const at = static_cast<const uint8_t*>(rows) + page * layout.page_stride +
                              head * layout.head_stride + row * layout.row_stride;
    for (int k = 0; k < n; ++k) tile->rows[i + k] = at + k * layout.row_stride;
    if (!side.per_token && !side.per_channel) return;
    const int64_t scale_row = side.per_token ? row : row / layout.group;
    const int64_t offset =
        page * layout.scale_page_stride + head * layout.scale_head_stride + scale_row * layout.scale_row_stride;
    const auto* const scale = static_cast<const uint16_t*>(scales) + offset;
    const auto* const zero = side.zeros ? static_cast<const uint16_t*>(zeros) + offset : nullptr;
    if (side.per_channel) {
      tile->channel_scales = scale;
      tile->channel_zeros = zero;
      return;
    }
    widen(scale, layout.scale_row_stride, n, side.groups, tile->scales + i * side.groups);
    if (side.zeros) widen(zero, layout.scale_row_stride, n, side.groups, tile->zeros + i * side.groups);
  }

  // Rows of f16, `stride` apart, to adjacent ones.
  static void widen(const uint16_t* from, int64_t stride, int rows, int columns, float* to) {
    const bool adjacent = stride == columns;
    const int count = adjacent ? rows * columns : columns;
    for (int r = 0; r < (adjacent ? 1 : rows); ++r) {
      for (int c = 0; c < count; c += kLanes) {
        const int n = count - c < kLanes ? count - c : kLanes;
        store_f32_n(to + r * columns + c, load_f16_n(from + r * stride + c, n), n);
      }
    }
  }

  static void repeat_first(const decode::Side& side, Tile* tile) {
    for (int k = tile->count; k < decode::kTileKeys; ++k) tile->rows[k] = tile->rows[0];
    const int from = tile->count * side.groups, to = decode::kTileKeys * side.groups;
    for (int i = from; side.per_token && i < to; ++i) tile->scales[i] = tile->zeros[i] = 0;
  }

  void multiply_keys(const Step& step, const Tile& tile, const Tile* ahead) {
    if (step.new_group) prepare(tile.channel_scales, tile.channel_zeros);
    for (int r = 0, b = 0; r < rows_; r += decode::kBlockRows, ++b) {
      float* const products = products_ + r * decode::kTileKeys;
      job_.key_kernel->multiply(job_.keys, tile, query_ + b * job_.key_kernel->query_bytes, block_rows(r),
                                r == 0 ? ahead : nullptr, products);
    }
  }

  // Of all heads, so that what one row waits for is spent on others.
  void make_weights(int64_t first, int count) {
    for (int64_t h = 0; h < part_.heads; ++h) {
      enter(h);
      for (int64_t r = 0; r < memory_.rows; ++r) {
        float* const x = products_ + r * decode::kTileKeys;
        if (r < rows_) {
          make_logits(r, first, count, x);
          soften(r, x);
        } else {
          for (int j = 0; j < decode::kTileKeys; j += kLanes) store_f32(x + j, zero_f32());
        }
      }
    }
  }

  void multiply_values(const Tile& tile, const Tile* ahead) {
    for (int r = 0; r < rows_; r += decode::kBlockRows) {
      job_.value_kernel->multiply(job_.values, tile, products_ + r * decode::kTileKeys, block_rows(r),
                                  r == 0 ? ahead : nullptr, sums_ + r * decode::kMaxSize);
    }
  }

  // Products to logits; minus infinity of keys that the row does not see.
  void make_logits(int64_t row, int64_t first, int count, float* x) const {
    alignas(64) static constexpr float kOffsets[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const auto [begin, end] = memory_.sights[row];
    const float slope = job_.in.slopes == nullptr ? 0 : job_.in.slopes[query_head(row)];
    float* exported = nullptr;
    if (job_.logits != nullptr) {
      exported = job_.logits + part_.item * p_.logits_batch_stride + query_head(row) * p_.logits_head_stride +
                 row % p_.query_length * p_.logits_row_stride + first;
    }
    const bool all_seen = begin <= first && first + decode::kTileKeys <= end && count == decode::kTileKeys;
    if (all_seen && p_.soft_cap <= 0 && job_.in.slopes == nullptr && exported == nullptr) {
      for (int j = 0; j < decode::kTileKeys; j += kLanes) store_f32(x + j, mul(load_f32(x + j), set1(p_.scale)));
      return;
    }
    for (int j = 0; j < decode::kTileKeys; j += kLanes) {
      const int64_t key = first + j;
      const int n = count - j < 0 ? 0 : count - j < kLanes ? count - j : kLanes;
      F32 logit = mul(load_f32(x + j), set1(p_.scale));
      if (p_.soft_cap > 0) logit = mul(tanh(div(logit, set1(p_.soft_cap))), set1(p_.soft_cap));
      if (job_.in.slopes != nullptr) {
        const F32 distance = add(load_f32(kOffsets), set1(static_cast<float>(key - position(row))));
        logit = fma(distance, set1(slope), logit);
      }
      const uint32_t window = ~lanes_below(begin - key) | lanes_below(p_.sink_keys - key);
      const uint32_t seen = lanes_below(n) & lanes_below(end - key) & window;
      logit = hide(logit, seen);
      store_f32(x + j, logit);
      if (exported != nullptr && n > 0) store_f32_n(exported + j, logit, n);
    }
  }

  static GATUN_INLINE F32 hide(F32 x, uint32_t seen) {
    const auto keep = [](F32 a, uint32_t bits)
                          GATUN_INLINE_LAMBDA { return as_lanes(keep_bits<4>(as_bytes(as_i32(a)), bits)); };
    return as_f32(or_i32(keep(x, seen), keep(set1(-__builtin_inff()), ~seen)));
  }

  // Logits to weights.
  void soften(int64_t row, float* x) {
    F32 top = load_f32(x);
    for (int j = kLanes; j < decode::kTileKeys; j += kLanes) top = max(top, load_f32(x + j));
    F32 sum = zero_f32();
    const float peak = reduce_max(top), before = maxima_[row];
    const float now = peak > before ? peak : before;
    for (int j = 0; j < decode::kTileKeys; j += kLanes) {
      const F32 logit = load_f32(x + j);
      const F32 weight = exp2<5>(mul(sub(logit, set1(now)), set1(kLog2e)));
      sum = add(sum, weight);
      store_f32(x + j, weight);
    }
    float factor = 1;
    if (now != before) {
      float lanes[kLanes];
      store_f32(lanes, exp2<5>(set1((before - now) * kLog2e)));
      factor = lanes[0];
      if (totals_[row] != 0 && job_.value_kernel != nullptr) {
        float* const sums = sums_ + row * decode::kMaxSize;
        for (int c = 0; c < decode::kMaxSize; c += kLanes) store_f32(sums + c, mul(load_f32(sums + c), set1(factor)));
      }
    }
    maxima_[row] = now;
    totals_[row] = totals_[row] * factor + reduce_add(sum);
  }

  void store_sums() const {
    const int size = job_.values.size;
    float* const to = part_.sums + (head_ - part_.first_head) * part_.head_stride;
    for (int64_t r = 0; r < rows_; ++r) {
      for (int c = 0; c < size; c += kLanes) {
        const F32 x = gather_f32(sums_ + r * decode::kMaxSize, load_i32(job_.position_of + c));
        store_f32_n(to + r * size + c, x, size - c < kLanes ? size - c : kLanes);
      }
    }
  }

  const decode::Job& job_;
  const gatun_decode_params& p_;
  const decode::Part& part_;
  const LoopMemory memory_;
  const int32_t* table_;
  int rows_;
  int64_t head_ = 0;
  float *q_ = nullptr, *products_ = nullptr, *sums_ = nullptr, *maxima_ = nullptr, *totals_ = nullptr;
  uint8_t* query_ = nullptr;
};

void run_part(const decode::Job& job, const decode::Part& part, bool fresh, uint8_t* memory) {
  PartLoop loop(job, part, memory);
  if (fresh) loop.load_queries();
  loop.run();
}

int64_t loop_bytes(const decode::Job& job) { return LoopMemory(job, nullptr).bytes; }

constexpr decode::Loop kLoop = {loop_bytes, run_part};

}  // namespace
}  // namespace gatun::GATUN_ISA
