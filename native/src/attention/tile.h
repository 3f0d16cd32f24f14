// Attention of one head of k and v, tile by tile of rows of q.
//
//   for each chunk of up to 256 keys that the tile sees:
//     logits[64][256] = q[64][d] . k[256][d]^T           products.h, 4 rows by 4 vectors of keys in registers
//     weights, maxima, totals                            softmax.h
//     sums[64][dv] = factors * sums + weights . v[256][dv]
//   out = sums / totals
//
// Keys and values are packed (pack.h), 64 at a time, when a tile first sees some of them; others are never read, but
// by INT8 for the mean of all keys. Chunks are the same for every number of threads, and a tile is one thread's: so are
// results.
// Tails: a tile's last rows are zeros in what we packed; keys beyond the end likewise, and their logits minus infinity.
// int8 sums: |sum| <= 256 * 255 * 127 < 2^23.
// Error: see gatun/attention.h. A logit is a chain of head_size / (values of a word) fmas; 2^x takes its error times
// ln 2 and adds 2^-22.5 (bf16: 2^-18.5, and 2^-8 by the rounding); a weight's sum is a chain of at most 256 fmas in a
// chunk, and the running sum one multiplication a chunk.
#pragma once

#include "attention/finish.h"
#include "attention/packed_head.h"
#include "attention/softmax.h"

namespace gatun::GATUN_ISA {
namespace {

template <int N>
struct Int {
  static constexpr int value = N;
};
// of(Int<n>()) for n in 1..N.
template <int N, class Of>
GATUN_INLINE void with_count(int n, Of of) {
  if constexpr (N > 1) {
    if (n < N) return with_count<N - 1>(n, of);
  }
  of(Int<N>());
}

template <class Keys, class Values, class Weights>
class HeadRun : public PackedHead<Keys, Values> {
  using Base = PackedHead<Keys, Values>;
  using KeyWords = typename Keys::Words;
  using ValueWords = typename Values::Words;
  using Base::add_unpacked, Base::element_of, Base::group, Base::pack, Base::queries_of, Base::width;
  using Base::element_, Base::head_, Base::job_, Base::p_, Base::s_, Base::sizes_, Base::values_;

 public:
  using Base::Base;

  void run(int64_t begin, int64_t end) {
    Steps steps(job_, head_, begin, end);
    Step now = steps.next();
    while (now.tile.rows > 0) {
      if (now.first) begin_tile(now.tile);
      pack(now.chunk);
      const Step next = steps.next();
      plan(now, next);
      add_chunk(now, steps.bits_stride());
      if (next.first || next.tile.rows == 0) {
        finish_tile({job_, head_, now.tile, s_, sizes_.value_columns, has_sums_, has_rule_});
      }
      now = next;
    }
  }

 private:
  void add_chunk(const Step& step, int64_t bits_stride) {
    if (step.chunk.count == 0) return;
    count_needed(step);
    multiply_keys(step.chunk);
    soften(step.chunk, step.tile, bits_stride);
    if (job_.out == nullptr) return;
    multiply_values(step.chunk);
    has_sums_ = true;
    add_not_finite(step.chunk, step.tile, bits_stride);
  }

  void begin_tile(const attention::Tile& tile) {
    rows_ = tile.rows;
    padded_rows_ = (rows_ + kRows - 1) / kRows * kRows;
    Keys::pack_queries(p_, queries_of(tile), tile, s_);
    for (int64_t i = rows_ * sizes_.key_words; i < padded_rows_ * sizes_.key_words; ++i) s_.q[i] = 0;
    for (int r = 0; r < rows_; ++r) s_.maxima[r] = kLowest;
    for (int i = 0; i < rows_ * kLanes; ++i) s_.totals[i] = 0;
    has_sums_ = false;
    slope_ = job_.in.slopes == nullptr ? 0 : job_.in.slopes[tile.head];
    // Of ordinary scales, products with them and with ln 2 are neither subnormal nor infinite.
    has_rule_ = p_.soft_cap > 0 || slope_ != 0 || !(p_.scale >= 0x1p-60f && p_.scale <= 0x1p60f);
  }

  // What comes next from memory is asked for while this step multiplies, a few rows with each tile of registers: rows
  // of queries, and of keys and values that are not packed.
  void plan(const Step& now, const Step& next) {
    rows_ahead_.count = rows_ahead_.part = 0;
    rows_ahead_.next = 0;
    if (next.first) rows_ahead_.add(queries_of(next.tile), next.tile.rows, p_.head_size * element_);
    add_unpacked(next.chunk, rows_ahead_);
    const int64_t tiles = padded_rows_ / kRows * ((now.chunk.count + kTilePanels - 1) / kTilePanels);
    rows_ahead_.each = tiles == 0 ? 0 : static_cast<int32_t>((rows_ahead_.total() + tiles - 1) / tiles);
  }

  // How many panels of a chunk the rows of a tile of registers need: no row sees one of those at the end.
  void count_needed(const Step& step) {
    for (int r = 0; r < padded_rows_; r += kRows) {
      int& count = needed_[r / kRows];
      count = step.chunk.count;
      if (step.chunk.whole) continue;
      const int64_t end = seen_by(p_, head_, step.tile.row + smaller(r + kRows, rows_) - 1).end;
      while (count > 0 && step.chunk.panel[count - 1] * attention::kPanelKeys >= end) --count;
    }
  }

  void multiply_keys(const Chunk& chunk) {
    for (int i = 0; i < chunk.count; i += kTilePanels) {
      const uint32_t* b[kVectors];
      int64_t panel[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        panel[v] = chunk.panel[smaller(i + v * kLanes / attention::kPanelKeys, chunk.count - 1)];
        b[v] = s_.keys + panel[v] * sizes_.key_words * attention::kPanelKeys + v * kLanes % attention::kPanelKeys;
      }
      for (int r = 0; r < padded_rows_; r += kRows) {
        rows_ahead_.fetch();
        const int left = needed_[r / kRows] - i;
        if (left <= 0) continue;
        // Of several panels, a tile's vectors are one panel each.
        with_count<kVectors>(kTilePanels > 1 ? smaller(left, kTilePanels) : kVectors, [&](auto vectors) {
          multiply_key_tile<decltype(vectors)::value>(
              b, panel, r, s_.logits + r * attention::kLogitStride + i * attention::kPanelKeys);
        });
      }
    }
  }

  template <int V>
  GATUN_INLINE void multiply_key_tile(const uint32_t* const* b, const int64_t* panel, int r, float* to) const {
    typename KeyWords::Sum sum[kRows * V];
#pragma GCC unroll 16
    for (int t = 0; t < kRows * V; ++t) {
      sum[t] = Keys::start(s_, panel[t % V], t % V * kLanes % attention::kPanelKeys);
    }
    multiply<KeyWords, V>(s_.q + r * sizes_.key_words, sizes_.key_words, b, attention::kPanelKeys, sizes_.key_words,
                          sum);
#pragma GCC unroll 16
    for (int t = 0; t < kRows * V; ++t) {
      store_f32(to + t / V * attention::kLogitStride + t % V * kLanes, Keys::finish(s_, sum[t], panel[t % V]));
    }
  }

  void soften(const Chunk& chunk, const attention::Tile& tile, int64_t bits_stride) {
    for (int r = 0; r < rows_; ++r) {
      const int panels = needed_[r / kRows];
      s_.factors[r] = 1.0f;
      if (panels == 0) continue;
      float* const logits = s_.logits + r * attention::kLogitStride;
      // Weights are made two vectors at a time; those of a panel that is not there are 0.
      const int count = panels * attention::kPanelKeys, padded = (count + 2 * kLanes - 1) / (2 * kLanes) * 2 * kLanes;
      for (int i = count; i < padded; i += kLanes) store_f32(logits + i, set1(-__builtin_inff()));
      float scale = p_.scale * kLog2e * s_.row_scales[r];
      if (scale < 0x1p-126f) scale = 0x1p-126f;  // of a row of zeros; times 0, what is hidden were NaN
      if (has_rule_ || !chunk.whole) {
        const Seen seen = seen_by(p_, head_, tile.row + r);
        if (has_rule_) {
          const LogitRule rule{p_.scale * s_.row_scales[r], p_.scale * s_.row_offsets[r], p_.soft_cap, slope_,
                               tile.row + r + head_.kv_length - head_.query_length};
          apply_rule(rule, chunk, panels, seen, bits_stride, r, logits);
          scale = kLog2e;
        } else {
          hide_unseen(chunk, panels, seen, bits_stride, r, logits);
        }
      }
      s_.factors[r] = soften_row<Weights>(logits, padded, scale, s_.maxima + r, s_.totals + r * kLanes, weights(r));
    }
  }

  uint32_t* weights(int64_t r) const { return s_.weights + r * kWeightWords; }
  static constexpr int64_t kWeightWords = attention::kWeightStride / ValueWords::kValues;

  void multiply_values(const Chunk& chunk) {
    // Half a chunk's values of a group of columns take half of an L1 cache.
    constexpr int kPart = attention::kChunkPanels / 2;
    for (int part = 0; part < chunk.count; part += kPart) {
      const int end = smaller(part + kPart, chunk.count);
      for (int64_t c = 0; c < sizes_.value_columns; c += attention::kGroupColumns) {
        const int64_t w = width(c);
        for (int64_t column = 0; column < w; column += kTileColumns) {
          with_count<kVectors>(smaller(kVectors, (w - column) / kLanes), [&](auto vectors) {
            for (int r = 0; r < padded_rows_; r += kRows) {
              multiply_tile<decltype(vectors)::value>(chunk, part, smaller(end, needed_[r / kRows]), group(c) + column,
                                                      w, r, s_.sums + r * sizes_.value_columns + c + column);
            }
          });
        }
      }
    }
  }

  // kRows rows from r on of panels [part, end) of a chunk by V vectors of columns.
  template <int V>
  GATUN_INLINE void multiply_tile(const Chunk& chunk, int part, int end, const uint32_t* columns, int64_t w, int r,
                                  float* sums) {
    F32 sum[kRows * V];
#pragma GCC unroll 16
    for (int t = 0; t < kRows * V; ++t) {
      sum[t] = zero_f32();
      if (part > 0 || has_sums_) {
        sum[t] = load_f32(sums + t / V * sizes_.value_columns + t % V * kLanes);
        if (part == 0) sum[t] = mul(sum[t], set1(s_.factors[r + t / V]));
      }
    }
    for (int i = part; i < end;) {
      int next = i + 1;
      while (next < end && chunk.panel[next] == chunk.panel[next - 1] + 1) ++next;
      const uint32_t* b[V];
      for (int v = 0; v < V; ++v) b[v] = columns + chunk.panel[i] * sizes_.value_words * w + v * kLanes;
      multiply<ValueWords, V>(weights(r) + i * sizes_.value_words, kWeightWords, b, w, (next - i) * sizes_.value_words,
                              sum);
      i = next;
    }
#pragma GCC unroll 16
    for (int t = 0; t < kRows * V; ++t) {
      store_f32(sums + t / V * sizes_.value_columns + t % V * kLanes, sum[t]);
    }
  }

  // Values that are not finite were packed as 0, so that rows that don't see them stay clear of them.
  void add_not_finite(const Chunk& chunk, const attention::Tile& tile, int64_t bits_stride) {
    for (int i = 0; i < chunk.count; ++i) {
      if ((s_.units[chunk.panel[i] / attention::kUnitPanels] & attention::kNotFinite) == 0) continue;
      for (int r = 0; r < rows_; ++r) {
        const uint32_t bits = seen_bits(chunk, i, seen_by(p_, head_, tile.row + r), bits_stride, r);
        for (int k = 0; k < attention::kPanelKeys; ++k) {
          if ((bits >> k & 1) == 0) continue;
          add_not_finite(values_.row(chunk.panel[i] * attention::kPanelKeys + k),
                         Values::weight(weights(r), i * attention::kPanelKeys + k), s_.sums + r * sizes_.value_columns);
        }
      }
    }
  }
  void add_not_finite(const uint8_t* row, float weight, float* sums) const {
    for (int64_t c = 0; c < p_.value_size; ++c) {
      const float value = Values::rounded(element_of(row, c));
      if (!(value - value == 0)) sums[c] += weight * value;
    }
  }

  RowsAhead rows_ahead_;
  int rows_ = 0, padded_rows_ = 0;  // of the tile at work
  int needed_[attention::kTileRows / kRows];
  bool has_sums_ = false;  // or they count as zeros
  float slope_ = 0;
  bool has_rule_ = false;  // logits are more than scaled products
};

template <class Run>
int64_t attention_scratch_bytes(const gatun_attention_params& p, int64_t kv_length) {
  return attention::Scratch(Run::sizes(p, kv_length), p, nullptr).bytes;
}

template <class Run>
void attention_run(const attention::Job& job, const attention::Head& head, int64_t begin, int64_t end, bool fresh,
                   uint8_t* memory) {
  Run run(job, head, memory);
  if (fresh) run.begin_head();
  run.run(begin, end);
}

template <class Keys, class Values, class Weights>
constexpr attention::Kernel attention_kernel() {
  using Run = HeadRun<Keys, Values, Weights>;
  return {Keys::Words::kName, Values::Words::kName, attention_scratch_bytes<Run>, attention_run<Run>};
}

}  // namespace
}  // namespace gatun::GATUN_ISA
