// What a problem of decoding is like.
#pragma once

#include <optional>
#include <sstream>

#include "attention/test_spec.h"
#include "gatun/decode.h"

namespace gatun::decode {

using attention::Order;
using attention::Strides;
using test::Edge;
using test::GuardBuffer;
using test::Rng;

// How a pool holds its rows; a group of 0 is the whole row of codes PER_TOKEN.
struct Format {
  int32_t dtype = GATUN_F32, scaling = GATUN_KV_UNSCALED, zero_point = GATUN_ZERO_NONE;
  int64_t group = 0;
};

inline const std::vector<Format> kValueFormats = {
    {GATUN_F32}, {GATUN_BF16}, {GATUN_F16}, {GATUN_F8E4M3}, {GATUN_F8E5M2}};

// Of codes: each dtype with each scaling, groups of some channels or tokens, and with zero points where there may be.
inline std::vector<Format> code_formats() {
  std::vector<Format> formats;
  for (const int32_t dtype : {GATUN_I8, GATUN_U4, GATUN_U2}) {
    for (const int32_t zero_point : {GATUN_ZERO_NONE, GATUN_ZERO_FLOAT}) {
      if (dtype == GATUN_I8 && zero_point != GATUN_ZERO_NONE) continue;
      for (const int64_t group : {0, 16, 32}) formats.push_back({dtype, GATUN_KV_PER_TOKEN, zero_point, group});
      for (const int64_t group : {16, 32, 64}) formats.push_back({dtype, GATUN_KV_PER_CHANNEL, zero_point, group});
    }
  }
  return formats;
}

inline std::vector<Format> all_formats() {
  std::vector<Format> formats = kValueFormats;
  for (const Format& format : code_formats()) formats.push_back(format);
  return formats;
}

// One of each kind, for tests of what has little to do with formats.
inline const std::vector<Format> kSomeFormats = {{GATUN_F32},
                                                 {GATUN_BF16},
                                                 {GATUN_F8E4M3},
                                                 {GATUN_I8, GATUN_KV_PER_TOKEN},
                                                 {GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT, 32},
                                                 {GATUN_U2, GATUN_KV_PER_CHANNEL, GATUN_ZERO_FLOAT, 32},
                                                 {GATUN_U4, GATUN_KV_PER_CHANNEL, GATUN_ZERO_NONE, 16}};

struct Spec {
  int32_t dtype = GATUN_F32, out_dtype = GATUN_F32, mode = GATUN_DECODE_EXACT;
  Format k, v;
  int64_t size = 64, value_size = 64;
  int64_t heads = 1, ratio = 1, query_length = 1;  // heads of the pools, query heads for each
  std::vector<int64_t> lengths = {1};              // of each item, or of each item and head
  bool head_tables = false;
  bool contiguous = false;  // pages for one item each; else a table
  int64_t page_size = 64;
  bool shared = false;     // the pages of all items are those of the longest
  uint64_t page_seed = 1;  // of the order of pages
  Order q_order = Order::hnd, pool_order = Order::hnd, out_order = Order::hnd;
  bool causal = false;
  int64_t window_left = -1, sink_keys = 0;
  std::optional<float> scale;  // or 1 / sqrt(size)
  float soft_cap = 0;
  bool slopes = false, sinks = false;
  bool values = true, lse = true, logits = true;  // which outputs
  Edge edge = Edge::back;
  int64_t offset = 0;  // of all buffers, in elements
  int32_t threads = 1;

  int64_t table_heads() const { return head_tables ? heads : 1; }
  int64_t batch() const { return static_cast<int64_t>(lengths.size()) / table_heads(); }
  int64_t query_heads() const { return heads * ratio; }
  float scale_or_default() const { return scale.value_or(1 / std::sqrt(static_cast<float>(size))); }
};

inline std::string describe(const Format& f) {
  std::ostringstream text;
  text << dtype_name(f.dtype);
  if (f.scaling != GATUN_KV_UNSCALED) {
    text << (f.scaling == GATUN_KV_PER_TOKEN ? " per token" : " per channel") << " of " << f.group;
  }
  text << (f.zero_point != GATUN_ZERO_NONE ? " with zero points" : "");
  return text.str();
}

inline std::string describe(const Spec& s) {
  std::ostringstream text;
  text << dtype_name(s.dtype) << " to " << dtype_name(s.out_dtype) << (s.mode == GATUN_DECODE_INT8 ? " INT8" : "")
       << ", k " << describe(s.k) << ", v " << describe(s.v) << ", sizes " << s.size << ", " << s.value_size
       << ", heads " << s.query_heads() << " of " << s.heads << ", queries " << s.query_length << ", lengths";
  for (const int64_t length : s.lengths) text << ' ' << length;
  text << (s.head_tables ? " of heads" : "") << (s.contiguous ? ", contiguous" : ", pages of ") << s.page_size
       << (s.shared ? ", shared" : "") << ", orders " << static_cast<int>(s.q_order) << static_cast<int>(s.pool_order)
       << static_cast<int>(s.out_order) << (s.causal ? ", causal" : "") << ", window " << s.window_left
       << ", sink keys " << s.sink_keys << ", scale " << s.scale_or_default() << ", cap " << s.soft_cap
       << (s.slopes ? ", slopes" : "") << (s.sinks ? ", sinks" : "") << ", " << s.threads << " threads";
  return text.str();
}

}  // namespace gatun::decode
