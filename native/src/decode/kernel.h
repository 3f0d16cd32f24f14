// What the entry hands to kernels, and the tables of kernels. Plain data only: ISA units include this file.
//
// A part of the keys of one item goes through the loop of a tier (loop.h) tile by tile: a kernel of keys (floats.h,
// code_keys.h) multiplies the rows of q with the tile's keys, the loop makes weights of the products, and a kernel of
// values (floats.h, code_values.h) adds up the tile's values.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "decode/call.h"
#include "decode/inputs.h"

namespace gatun::decode {

inline constexpr int kTileKeys = 64;
inline constexpr int kBlockRows = 4;          // rows of q that a kernel takes at once
inline constexpr int kMaxSize = 256;          // of a row
inline constexpr int64_t kPartKeys = 1024;    // keys between two cuts
inline constexpr int kFineSteps = 127 * 128;  // of int8 times 2^7 and another int8

// What q and keys are multiplied in: a column of kernels.inc.
enum Products : int32_t {
  kFloat,   // f32
  kBf16,    // bf16 with f32 sums
  kCoarse,  // int8 by codes
  kFine     // two int8 by codes
};

// Rows of keys or values in memory.
struct Side {
  int32_t dtype;
  int32_t size, row_bytes;
  int32_t group, groups;  // of PER_TOKEN scales: channels, and how many a row has; otherwise 0 and 1
  bool per_token, per_channel, zeros;
};

inline constexpr int kMaxGroups = kMaxSize / 16;

// Successive keys of a part, or their values. What follows the last one repeats its first one, with scales of 0.
struct Tile {
  int32_t count;  // 1..kTileKeys
  int32_t row_bytes;
  const uint8_t* rows[kTileKeys];
  // PER_TOKEN: [key][groups], and a vector more to read.
  float scales[(kTileKeys + 1) * kMaxGroups];
  float zeros[(kTileKeys + 1) * kMaxGroups];
  // PER_CHANNEL, f16.
  const uint16_t* channel_scales;
  const uint16_t* channel_zeros;
};

struct KeyKernel {
  const char* products;  // for a person
  int64_t query_bytes;   // of kBlockRows rows made ready, a multiple of 64
  // Rows of q, kMaxSize floats apart, 0 beyond size; scales and zero points of channels, or null.
  void (*prepare)(const Side& side, const float* q, int rows, const uint16_t* scales, const uint16_t* zeros,
                  uint8_t* query);
  // products[row * kTileKeys + key], of all kTileKeys keys or of those below tile.count. `ahead`: the rows of the tile
  // to come, or null.
  void (*multiply)(const Side& side, const Tile& tile, const uint8_t* query, int rows, const Tile* ahead,
                   float* products);
};

struct ValueKernel {
  const char* products;
  // sums[row * kMaxSize + position] += sum over keys of weights[row * kTileKeys + key] * value; weights are >= 0, and 0
  // from tile.count on.
  void (*multiply)(const Side& side, const Tile& tile, const float* weights, int rows, const Tile* ahead, float* sums);
  // The position of a channel.
  int (*position_of)(int channel);
};

struct Job {
  Call call;
  Side keys, values;
  Inputs in;
  const KeyKernel* key_kernel;
  const ValueKernel* value_kernel;  // null without values
  float* logits;
  int32_t position_of[kMaxSize];  // of a channel of values in a kernel's sums
  int64_t heads_together;         // the most heads of a part
};

// Keys [first, last) of an item, of heads of the pools whose rows lie near one another: a tile of keys of all of them,
// then of their values, since memory is fastest in long runs.
struct Part {
  int64_t item, first_head, heads;
  int64_t first, last, length;
  // Results, by row: h * query_length + i, h counting the query heads of the head.
  float* sums;          // [rows][value size]; unspecified without values
  float* maxima;        // of logits, in natural units
  float* totals;        // sums of exp(logit - maximum)
  int64_t head_stride;  // of all three
};

// Rows of q that share a head of the pools.
inline int64_t rows_of(const Call& call) {
  return call.k.heads == 0 ? 0 : call.p.query_heads / call.k.heads * call.p.query_length;
}

struct Loop {
  int64_t (*scratch_bytes)(const Job& job);
  // `fresh`: the scratch holds nothing of this item and these heads yet.
  void (*run)(const Job& job, const Part& part, bool fresh, uint8_t* scratch);
};

#define GATUN_DECODE_EXTERN(type, name, isa) \
  }                                          \
  namespace gatun::isa {                     \
  extern const decode::type name;            \
  }                                          \
  namespace gatun::decode {
#define GATUN_DECODE_KEYS(name, isa, dtype, products) GATUN_DECODE_EXTERN(KeyKernel, name, isa)
#define GATUN_DECODE_VALUES(name, isa, dtype, products) GATUN_DECODE_EXTERN(ValueKernel, name, isa)
#define GATUN_DECODE_LOOP(name, isa) GATUN_DECODE_EXTERN(Loop, name, isa)
#include "decode/kernels.inc"
#undef GATUN_DECODE_KEYS
#undef GATUN_DECODE_VALUES
#undef GATUN_DECODE_LOOP
#undef GATUN_DECODE_EXTERN

}  // namespace gatun::decode
