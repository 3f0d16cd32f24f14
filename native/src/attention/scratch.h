// A thread's memory for one head: its packed keys and values, and what belongs to the tile at work.
//
//   keys     [panel][key words][16]            words as in products.h: a word holds values of successive depths of a
//   key values   [group of columns][panel][value words][width]    a word holds a column of successive keys; groups of
//            kGroupColumns columns, the last one narrower, a multiple of 16
//   units    flags of every kUnitKeys keys
#pragma once

#include "attention/kernel.h"

namespace gatun::attention {

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Rows are apart by more than a power of two, so that they do not share sets of a cache.
inline constexpr int kLogitStride = kChunkPanels * kPanelKeys + 16;
inline constexpr int kWeightStride = kChunkPanels * kPanelKeys + 32;

struct ScratchSizes {
  int64_t key_words, value_columns, panels, units;

  // key_values, value_values: of a word.
  ScratchSizes(const gatun_attention_params& p, int64_t kv_length, int key_values, int value_values)
      : key_words(p.head_size / key_values),
        value_columns(round_up(p.value_size, 16)),
        panels(round_up(kv_length, kUnitKeys) / kPanelKeys),
        units(panels / kUnitPanels),
        value_words(kPanelKeys / value_values) {}

  int64_t value_words;  // of a panel's column
};

// Carves 64-byte aligned parts out of scratch memory; without memory it counts.
class Carver {
 public:
  explicit Carver(uint8_t* memory) : memory_(memory) {}
  template <class T>
  T* take(int64_t count) {
    T* const part = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + bytes_);
    bytes_ += round_up(count * static_cast<int64_t>(sizeof(T)), 64);
    return part;
  }
  int64_t bytes() const { return bytes_; }

 private:
  uint8_t* memory_;
  int64_t bytes_ = 0;
};

struct Scratch {
  uint32_t *keys, *values;
  uint8_t* units;       // kPacked, kNotFinite
  float* key_scales;    // of units, in int8
  int32_t* key_excess;  // [panel][16], in int8: what kI8Bias adds to products with the key
  float* mean;          // of keys, in int8
  uint8_t* stage;       // rows on their way
  uint32_t* q;          // [kTileRows][key words]
  float* row_scales;    // logits of a row in units of ln 2, per product
  float* row_offsets;   // added to products of a row
  float* logits;        // [kTileRows][kLogitStride]
  uint32_t* weights;    // [kTileRows][kWeightStride] values
  float* factors;       // of a row's sums, when its maximum grows
  float* maxima;        // of a row's products, or of its logits where these are more than scaled products
  float* totals;        // [kTileRows][16]
  float* sums;          // [kTileRows][value_columns]
  int64_t bytes;

  // Inlined always: an ISA unit may define nothing outside of its namespace.
  __attribute__((always_inline)) Scratch(const ScratchSizes& sizes, const gatun_attention_params& p, uint8_t* memory) {
    Carver carver(memory);
    // Behind keys and values lie 64 more bytes, so that what follows starts elsewhere in a page.
    keys = carver.take<uint32_t>(sizes.panels * sizes.key_words * kPanelKeys + 16);
    values = carver.take<uint32_t>(sizes.panels * sizes.value_words * sizes.value_columns + 16);
    units = carver.take<uint8_t>(sizes.units);
    key_scales = carver.take<float>(sizes.units);
    key_excess = carver.take<int32_t>(sizes.panels * kPanelKeys);
    mean = carver.take<float>(p.head_size);
    stage = carver.take<uint8_t>(kUnitKeys * 256 * 4);
    q = carver.take<uint32_t>(kTileRows * sizes.key_words);
    row_scales = carver.take<float>(kTileRows);
    row_offsets = carver.take<float>(kTileRows);
    logits = carver.take<float>(kTileRows * kLogitStride);
    weights = carver.take<uint32_t>(kTileRows * kWeightStride);
    factors = carver.take<float>(kTileRows);
    maxima = carver.take<float>(kTileRows);
    totals = carver.take<float>(kTileRows * 16);
    sums = carver.take<float>(kTileRows * sizes.value_columns);
    bytes = carver.bytes();
  }
};

inline constexpr uint8_t kPacked = 1;
inline constexpr uint8_t kNotFinite = 2;  // some value of v

}  // namespace gatun::attention
