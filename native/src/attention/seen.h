// Which keys a tile's rows see: panels of keys in chunks, and the keys of a panel that a row sees.
#pragma once

#include <cstdint>

#include "attention/kernel.h"

namespace gatun::GATUN_ISA {
namespace {

// Key j is seen by a row if j < end and (j >= begin or j < sinks), as far as causal, windows and lengths go.
struct Seen {
  int64_t begin, end, sinks;
};

inline Seen seen_by(const gatun_attention_params& p, const attention::Head& head, int64_t row) {
  const int64_t position = row + head.kv_length - head.query_length;
  Seen seen{0, head.kv_length, p.sink_keys};
  if (p.causal != 0 && position + 1 < seen.end) seen.end = position + 1;
  if (p.window_right >= 0 && p.window_right < seen.end - position - 1) seen.end = position + 1 + p.window_right;
  if (p.window_left >= 0 && p.window_left < position) seen.begin = position - p.window_left;
  return seen;
}

// Bits below n.
inline uint32_t bits_below(int64_t n) {
  return n <= 0 ? 0 : n >= attention::kPanelKeys ? (1u << attention::kPanelKeys) - 1 : (1u << n) - 1;
}

// The keys of a panel that a row sees, but for the mask's bits.
inline uint32_t seen_of_panel(const Seen& seen, int64_t first_key) {
  const uint32_t outside = bits_below(seen.begin - first_key) & ~bits_below(seen.sinks - first_key);
  return bits_below(seen.end - first_key) & ~outside;
}

struct Chunk {
  int32_t count = 0;  // panels
  bool whole = true;  // every row sees all keys of all panels
  int64_t panel[attention::kChunkPanels];
  // Of the tile's first row; null: all. Rows are bits_stride bytes apart.
  const uint8_t* bits[attention::kChunkPanels];
  bool edge[attention::kChunkPanels];  // some row does not see all of it
};

// One step of a tile: a chunk of the keys that some of its rows see.
struct Step {
  attention::Tile tile{};  // without rows at the end of all steps
  bool first = false;      // of the tile
  Chunk chunk;             // empty if the tile sees nothing
};

// Gives the steps of tiles [begin, end) of a head.
class Steps {
 public:
  Steps(const attention::Job& job, const attention::Head& head, int64_t begin, int64_t end)
      : job_(job), head_(head), next_tile_(begin), end_(end) {}

  Step next() {
    Step step;
    fill(step.chunk);
    while (step.chunk.count == 0) {
      if (!next_tile()) return step;
      step.first = true;
      fill(step.chunk);
      if (step.chunk.count == 0) break;
    }
    step.tile = tile_;
    return step;
  }

  // Of the bits of a chunk.
  int64_t bits_stride() const { return job_.p.key_block / 8; }

 private:
  struct Stretch {
    int64_t begin = 0, end = 0;
  };
  static int64_t minimum(int64_t a, int64_t b) { return a < b ? a : b; }
  static int64_t panels_to(int64_t keys) {
    return keys <= 0 ? 0 : (keys + attention::kPanelKeys - 1) / attention::kPanelKeys;
  }

  // The next tile that has rows.
  bool next_tile() {
    do {
      if (next_tile_ == end_) return false;
      tile_ = attention::tile_of(job_.p, head_, next_tile_++);
    } while (tile_.rows <= 0);
    const gatun_attention_params& p = job_.p;
    first_ = seen_by(p, head_, tile_.row);
    last_ = seen_by(p, head_, tile_.row + tile_.rows - 1);
    panel_ = panel_end_ = 0;
    stretch_bits_ = bits_ = nullptr;
    stretch_ = 2;
    if (tile_.mask_row < 0) {
      // Keys before the window that are sinks, then the window.
      stretches_[0] = {0, first_.begin > 0 ? panels_to(minimum(p.sink_keys, last_.end)) : 0};
      stretches_[1] = {first_.begin / attention::kPanelKeys, panels_to(last_.end)};
      if (stretches_[1].begin < stretches_[0].end) stretches_[1].begin = stretches_[0].end;
      stretch_ = 0;
      return true;
    }
    // Lists were checked before the call began; what another thread has changed since must not lead anywhere else.
    const attention::Inputs& in = job_.in;
    const auto offset = [&](const int64_t* offsets, int64_t row, int64_t count) {
      const int64_t at = __atomic_load_n(offsets + row, __ATOMIC_RELAXED);
      return at < 0 ? 0 : minimum(at, count);
    };
    const int64_t partial = offset(in.partial_offsets, tile_.mask_row, p.partial_count);
    full_ = in.full_blocks + offset(in.full_offsets, tile_.mask_row, p.full_count);
    full_end_ = in.full_blocks + offset(in.full_offsets, tile_.mask_row + 1, p.full_count);
    partial_ = in.partial_blocks + partial;
    partial_end_ = in.partial_blocks + offset(in.partial_offsets, tile_.mask_row + 1, p.partial_count);
    if (in.partial_bits != nullptr) {
      bits_ = in.partial_bits + (partial * p.query_block + tile_.block_row) * bits_stride();
    }
    return true;
  }

  void fill(Chunk& chunk) {
    while (chunk.count < attention::kChunkPanels && (panel_ < panel_end_ || next_stretch())) add(chunk, panel_++);
  }

  bool next_stretch() {
    while (stretch_ < 2) {
      const Stretch& s = stretches_[stretch_++];
      panel_ = s.begin;
      panel_end_ = s.end;
      if (panel_ < panel_end_) return true;
    }
    const int64_t panels = job_.p.key_block / attention::kPanelKeys;
    while (full_ < full_end_ || partial_ < partial_end_) {
      const bool full = full_ < full_end_;
      const int32_t block = __atomic_load_n(full ? full_++ : partial_++, __ATOMIC_RELAXED);
      panel_ = block < 0 ? panels_to(head_.kv_length) : block * panels;
      panel_end_ = minimum(panel_ + panels, panels_to(last_.end));
      if (!full && bits_ != nullptr) {
        stretch_bits_ = bits_;
        stretch_first_ = panel_;
        bits_ += job_.p.query_block * bits_stride();
      }
      if (panel_ < panel_end_) return true;
    }
    return false;
  }

  void add(Chunk& chunk, int64_t panel) {
    const int64_t key = panel * attention::kPanelKeys;
    // Begins and ends of what rows see ascend with the rows.
    if (seen_of_panel({first_.begin, last_.end, first_.sinks}, key) == 0) return;
    const bool edge = stretch_bits_ != nullptr ||
                      seen_of_panel({last_.begin, first_.end, first_.sinks}, key) != bits_below(attention::kPanelKeys);
    chunk.panel[chunk.count] = panel;
    chunk.edge[chunk.count] = edge;
    chunk.bits[chunk.count] =
        stretch_bits_ == nullptr ? nullptr : stretch_bits_ + (panel - stretch_first_) * (attention::kPanelKeys / 8);
    chunk.whole &= !edge;
    ++chunk.count;
  }

  const attention::Job& job_;
  const attention::Head& head_;
  int64_t next_tile_;
  const int64_t end_;
  attention::Tile tile_{};
  Seen first_{}, last_{};  // of the tile's rows
  Stretch stretches_[2];   // of panels, without a mask
  int stretch_ = 2;
  const int32_t *full_ = nullptr, *full_end_ = nullptr, *partial_ = nullptr, *partial_end_ = nullptr;
  const uint8_t* bits_ = nullptr;  // of the next partial block
  int64_t panel_ = 0, panel_end_ = 0;
  const uint8_t* stretch_bits_ = nullptr;
  int64_t stretch_first_ = 0;
};

// The keys of a panel of a chunk that a row sees.
inline uint32_t seen_bits(const Chunk& chunk, int i, const Seen& seen, int64_t bits_stride, int64_t row) {
  const uint32_t inside = seen_of_panel(seen, chunk.panel[i] * attention::kPanelKeys);
  if (chunk.bits[i] == nullptr) return inside;
  const uint8_t* bits = chunk.bits[i] + row * bits_stride;
  return inside & (bits[0] | static_cast<uint32_t>(bits[1]) << 8);
}

}  // namespace
}  // namespace gatun::GATUN_ISA
