// Formats, head sizes, lengths, pages and options, each kernel against the CPU's reference.
#include "decode/test_device.h"

namespace gatun::cuda::decode {
namespace {

using gatun::decode::all_formats;
using gatun::decode::kSomeFormats;

struct Kind {
  int32_t dtype, out_dtype, mode;
};
constexpr Kind kKinds[] = {{GATUN_BF16, GATUN_BF16, GATUN_DECODE_EXACT}, {GATUN_F32, GATUN_F32, GATUN_DECODE_EXACT},
                           {GATUN_F16, GATUN_F16, GATUN_DECODE_EXACT},   {GATUN_F16, GATUN_F32, GATUN_DECODE_INT8},
                           {GATUN_BF16, GATUN_F32, GATUN_DECODE_EXACT},  {GATUN_F32, GATUN_F32, GATUN_DECODE_INT8},
                           {GATUN_BF16, GATUN_F32, GATUN_DECODE_INT8}};

Spec spec_of(int64_t number, const Format& k, const Format& v) {
  const Kind& kind = kKinds[number % 7];
  Spec spec;
  spec.dtype = kind.dtype;
  spec.out_dtype = kind.out_dtype;
  spec.mode = kind.mode;
  spec.k = k;
  spec.v = v;
  return spec;
}
void compare(const Spec& spec, int64_t number) {
  DeviceProblem problem(spec, static_cast<uint64_t>(number));
  ASSERT_NO_FATAL_FAILURE(problem.compare(number));
}

// Formats that tiles take, with q of their dtype.
const std::vector<Format> kTileFormats = {{GATUN_BF16},
                                          {GATUN_F16},
                                          {GATUN_F8E4M3},
                                          {GATUN_F8E5M2},
                                          {GATUN_I8, GATUN_KV_PER_TOKEN},
                                          {GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_NONE, 0},
                                          {GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT, 32},
                                          {GATUN_U2, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT, 0},
                                          {GATUN_U2, GATUN_KV_PER_TOKEN, GATUN_ZERO_NONE, 64},
                                          {GATUN_I8, GATUN_KV_PER_TOKEN, GATUN_ZERO_NONE, 32}};

TEST(Decode, KeysOfEachFormatWithQueriesOfEachKind) {
  const std::vector<Format> formats = all_formats();
  int64_t number = 0;
  for (const Format& k : formats) {
    for (int kind = 0; kind < 3; ++kind) {
      Spec spec = spec_of(number, k, formats[static_cast<size_t>(number * 11 + 3) % formats.size()]);
      spec.ratio = 3;
      spec.lengths = {41 + number % 3};
      compare(spec, number++);
    }
  }
}

TEST(Decode, ValuesOfEachFormat) {
  const std::vector<Format> formats = all_formats();
  int64_t number = 0;
  for (const Format& v : formats) {
    Spec spec = spec_of(number, kTileFormats[static_cast<size_t>(number) % kTileFormats.size()], v);
    if (spec.k.scaling == GATUN_KV_UNSCALED) spec.dtype = spec.k.dtype == GATUN_F16 ? GATUN_F16 : GATUN_BF16;
    spec.out_dtype = GATUN_F32;
    spec.ratio = 2;
    spec.lengths = {37 + number % 5};
    compare(spec, number++);
  }
}

TEST(Decode, TilesOfEachFormat) {
  int64_t number = 0;
  for (const Format& k : kTileFormats) {
    for (const Format& v : kTileFormats) {
      Spec spec = spec_of(number, k, v);
      if (k.scaling == GATUN_KV_UNSCALED) {
        spec.dtype = k.dtype == GATUN_F16 || (k.dtype != GATUN_BF16 && number % 2) ? GATUN_F16 : GATUN_BF16;
      }
      spec.out_dtype = GATUN_F32;
      spec.size = k.group == 0 && number % 3 == 0 ? 128 : 64;
      spec.value_size = v.group == 0 && number % 4 == 0 ? 128 : 64;
      spec.ratio = 1 + number % 5;
      spec.query_length = 1 + number % 2;
      spec.lengths = {1 + number * 7 % 70};
      compare(spec, number++);
    }
  }
}

TEST(Decode, HeadsOfEachSize) {
  int64_t number = 0;
  for (const int64_t size : {8, 16, 24, 40, 72, 96, 120, 136, 192, 248, 256}) {
    for (const Format& format : {kTileFormats[0], kTileFormats[2], kTileFormats[4], kTileFormats[5], kTileFormats[7]}) {
      if (number++ % 2 == 1 && size != 256) continue;
      Spec spec = spec_of(number, format, format);
      if (format.scaling == GATUN_KV_UNSCALED) spec.dtype = spec.out_dtype = GATUN_BF16;
      spec.size = size;
      spec.value_size = 264 - size;
      // Strides that are multiples of 16 bytes.
      spec.pool_order = gatun::decode::Order::hnd;
      spec.lengths = {35};
      spec.ratio = 2;
      compare(spec, number);
    }
  }
}

TEST(Decode, LengthsAroundTilesOnPagesOfEachSize) {
  int64_t number = 0;
  for (const Format& format : {kTileFormats[0], kTileFormats[6], kSomeFormats[0], kSomeFormats[6]}) {
    for (const int64_t page_size : {1, 3, 16, 64}) {
      if (format.scaling == GATUN_KV_PER_CHANNEL && page_size % format.group != 0) continue;
      Spec spec = spec_of(number, format, format);
      spec.page_size = page_size;
      spec.lengths = {0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129};
      compare(spec, number++);
    }
    Spec spec = spec_of(number, format, format);
    spec.contiguous = true;
    spec.lengths = {65, 32};
    compare(spec, number++);
  }
}

// Parts are of 256 keys here; with more heads of 1024.
TEST(Decode, LengthsAroundParts) {
  int64_t number = 0;
  for (const Format& format : {kTileFormats[0], kTileFormats[5], kSomeFormats[0], kSomeFormats[5]}) {
    Spec spec = spec_of(number, format, format);
    spec.size = spec.value_size = 32;
    spec.k.group = spec.v.group = format.scaling == GATUN_KV_PER_CHANNEL ? 32 : 0;
    spec.lengths = {255, 256, 257, 520};
    spec.logits = false;
    compare(spec, number++);
  }
  Spec spec = spec_of(1, kTileFormats[4], kTileFormats[4]);
  spec.size = spec.value_size = 16;
  spec.heads = 256;
  spec.head_tables = true;
  spec.lengths = std::vector<int64_t>(256, 0);
  spec.lengths[7] = 1030;
  spec.lengths[9] = 1024;
  spec.logits = false;
  compare(spec, number++);
}

TEST(Decode, QueriesThatShareKeys) {
  int64_t number = 0;
  for (const Format& format : {kTileFormats[0], kTileFormats[5], kSomeFormats[0], kSomeFormats[5]}) {
    for (const auto& [ratio, queries] :
         {std::pair<int64_t, int64_t>{1, 1}, {3, 1}, {4, 1}, {5, 1}, {8, 2}, {16, 1}, {17, 1}, {1, 33}, {5, 5}}) {
      Spec spec = spec_of(number, format, format);
      spec.heads = 2;
      spec.ratio = ratio;
      spec.query_length = queries;
      spec.causal = queries % 2 == 1;
      spec.lengths = {40, 5};
      spec.logits = number % 2;
      compare(spec, number++);
    }
  }
}

TEST(Decode, Options) {
  int64_t number = 0;
  Rng rng(3);
  for (int turn = 0; turn < 60; ++turn) {
    const Format& k =
        turn % 2 ? kTileFormats[static_cast<size_t>(turn / 2) % kTileFormats.size()] : rng.pick(kSomeFormats);
    const Format& v = turn % 2 ? rng.pick(kTileFormats) : rng.pick(kSomeFormats);
    Spec spec = spec_of(turn, k, v);
    spec.heads = 2;
    spec.ratio = rng.integer(1, 3);
    spec.query_length = rng.integer(1, 6);
    spec.lengths = {rng.integer(0, 120), rng.integer(0, 9)};
    spec.causal = rng.integer(0, 1);
    if (rng.integer(0, 1)) {
      spec.window_left = rng.pick(std::vector<int64_t>{0, 3, 17, 40, INT64_MAX});
      spec.sink_keys = rng.pick(std::vector<int64_t>{0, 1, 5, 33, INT64_MAX});
    }
    spec.scale = rng.pick(std::vector<float>{0.0f, -0.3f, 0.125f, 1.0f});
    if (rng.integer(0, 2) == 0) spec.soft_cap = 5;
    spec.slopes = rng.integer(0, 2) == 0;
    spec.sinks = rng.integer(0, 1);
    spec.head_tables = rng.integer(0, 2) == 0;
    if (spec.head_tables) spec.lengths = {rng.integer(0, 120), 3, 64, 0};
    spec.values = turn % 5 != 0;
    spec.lse = turn % 3 != 0;
    spec.logits = turn % 4 == 0 || (!spec.values && !spec.lse);
    spec.q_order = static_cast<gatun::decode::Order>(rng.integer(0, 2));
    spec.out_order = static_cast<gatun::decode::Order>(rng.integer(0, 2));
    spec.pool_order = static_cast<gatun::decode::Order>(rng.integer(0, 1));
    spec.offset = rng.integer(0, 7) == 0;
    compare(spec, number++);
  }
}

// A window that skips most of a part, and parts that no row sees.
TEST(Decode, Windows) {
  int64_t number = 0;
  for (const Format& format : {kTileFormats[0], kTileFormats[5], kSomeFormats[5]}) {
    for (const int64_t sink_keys : {0, 3, 300}) {
      Spec spec = spec_of(number, format, format);
      spec.lengths = {600};
      spec.window_left = 50;
      spec.sink_keys = sink_keys;
      spec.causal = true;
      spec.query_length = 3;
      spec.logits = false;
      spec.size = spec.value_size = 32;
      compare(spec, number++);
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::decode
