// Options one by one, then all of them together by chance; how arguments lie in memory.
#include "decode/test_problem.h"

namespace gatun::decode {
namespace {

// Of each format, with enough queries that rows see different keys.
template <class Change>
void for_each_format(Change change) {
  for (const Format& format : kSomeFormats) {
    for (const int32_t dtype : {GATUN_F32, GATUN_BF16}) {
      Spec spec;
      spec.dtype = dtype;
      spec.k = spec.v = format;
      spec.heads = 2;
      spec.ratio = 2;
      spec.query_length = 5;
      spec.lengths = {150, 3, 64};
      change(spec);
    }
  }
}
void compare(const Spec& spec) {
  Problem problem(spec);
  ASSERT_NO_FATAL_FAILURE(problem.compare());
}

TEST(DecodeOptions, Causal) {
  for_each_format([](Spec& spec) {
    spec.causal = true;
    compare(spec);
    spec.query_length = 80;  // more than keys
    compare(spec);
  });
}

TEST(DecodeOptions, Windows) {
  for_each_format([](Spec& spec) {
    for (const int64_t window : {int64_t{0}, int64_t{17}, int64_t{100}, INT64_MAX}) {
      for (const int64_t sink_keys : {int64_t{0}, int64_t{1}, int64_t{20}, INT64_MAX}) {
        spec.window_left = window;
        spec.sink_keys = sink_keys;
        spec.causal = sink_keys != 1;
        compare(spec);
      }
    }
  });
}

// Parts that no row sees, and rows that see only keys of one part.
TEST(DecodeOptions, WindowsWithinAPart) {
  for_each_format([](Spec& spec) {
    spec.heads = spec.ratio = 1;
    spec.size = spec.value_size = 32;
    spec.k.group = spec.v.group = std::min<int64_t>(spec.k.group, 16);
    spec.lengths = {3100};
    spec.window_left = 50;
    spec.sink_keys = 3;
    spec.causal = true;
    compare(spec);
  });
}

TEST(DecodeOptions, Scales) {
  for_each_format([](Spec& spec) {
    for (const float scale : {0.0f, -0.3f, 1.0f, 1e-6f}) {
      spec.scale = scale;
      compare(spec);
    }
  });
}

TEST(DecodeOptions, SoftCaps) {
  for_each_format([](Spec& spec) {
    for (const float cap : {0.5f, 5.0f, 50.0f}) {
      spec.soft_cap = cap;
      spec.scale = 1.0f;
      compare(spec);
    }
  });
}

TEST(DecodeOptions, SlopesAndSinks) {
  for_each_format([](Spec& spec) {
    for (const bool slopes : {false, true}) {
      spec.slopes = slopes;
      spec.sinks = true;
      compare(spec);
      spec.sinks = false;
      compare(spec);
    }
  });
}

TEST(DecodeOptions, TablesForEachHead) {
  for_each_format([](Spec& spec) {
    spec.head_tables = true;
    spec.lengths = {150, 3, 0, 64, 65, 1};
    compare(spec);
    spec.causal = true;
    spec.contiguous = true;
    compare(spec);
  });
}

TEST(DecodeOptions, PagesThatItemsShare) {
  for_each_format([](Spec& spec) {
    spec.shared = true;
    compare(spec);
    spec.head_tables = true;
    spec.lengths = {150, 3, 0, 64, 65, 1};
    compare(spec);
  });
}

TEST(DecodeOptions, OutputsThatAreAskedFor) {
  for_each_format([](Spec& spec) {
    for (int outputs = 1; outputs < 8; ++outputs) {
      spec.values = outputs & 1;
      spec.lse = outputs & 2;
      spec.logits = outputs & 4;
      compare(spec);
    }
  });
}

// Heads outside rows or inside, with gaps, at either edge of memory, aligned to elements only.
TEST(DecodeOptions, PlacesInMemory) {
  for_each_format([](Spec& spec) {
    int turn = 0;
    for (const Order pool : attention::kOrders) {
      for (const Edge edge : test::kEdges) {
        spec.pool_order = pool;
        spec.q_order = attention::kOrders[turn % 3];
        spec.out_order = attention::kOrders[++turn % 3];
        spec.edge = edge;
        spec.offset = turn % 4;
        spec.size = turn % 2 == 0 ? 72 : 40;
        spec.value_size = turn % 2 == 0 ? 56 : 96;
        compare(spec);
      }
    }
  });
}

TEST(DecodeOptions, NothingToDo) {
  for_each_format([](Spec& spec) {
    for (int what = 0; what < 4; ++what) {
      Spec empty = spec;
      if (what == 0) empty.lengths = {};
      if (what == 1) empty.heads = 0;
      if (what == 2) empty.query_length = 0;
      if (what == 3) empty.lengths = {0, 0};
      compare(empty);
    }
  });
}

TEST(DecodeOptions, AnyCombination) {
  const std::vector<Format> formats = all_formats();
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Rng rng(1000 + seed);
    const auto chance = [&](int64_t of) { return rng.integer(0, of - 1) == 0; };
    Spec spec;
    spec.dtype = rng.pick<int32_t>({GATUN_F32, GATUN_BF16, GATUN_F16});
    spec.out_dtype = chance(2) ? int32_t{GATUN_F32} : spec.dtype;
    spec.mode = chance(3) ? GATUN_DECODE_INT8 : GATUN_DECODE_EXACT;
    spec.k = rng.pick(formats);
    spec.v = rng.pick(formats);
    spec.size = 8 * rng.integer(5, 16);
    spec.value_size = 8 * rng.integer(5, 16);
    spec.heads = rng.integer(1, 3);
    spec.ratio = rng.integer(1, 5);
    spec.query_length = chance(2) ? 1 : rng.integer(1, 9);
    spec.head_tables = chance(3);
    spec.lengths = rng.integers<int64_t>(rng.integer(1, 3) * spec.table_heads(), 0, 140);
    spec.contiguous = chance(4);
    spec.page_size = chance(2) ? 64 : 128;
    if (spec.k.scaling != GATUN_KV_PER_CHANNEL && spec.v.scaling != GATUN_KV_PER_CHANNEL && chance(2)) {
      spec.page_size = rng.integer(1, 70);
    }
    spec.shared = !spec.contiguous && chance(4);
    spec.page_seed = seed;
    spec.q_order = attention::kOrders[rng.integer(0, 2)];
    spec.pool_order = attention::kOrders[rng.integer(0, 2)];
    spec.out_order = attention::kOrders[rng.integer(0, 2)];
    spec.causal = chance(2);
    if (chance(3)) spec.window_left = rng.integer(0, 100);
    if (chance(2)) spec.sink_keys = rng.integer(0, 20);
    if (chance(3)) spec.scale = rng.uniform(-1, 1);
    if (chance(3)) spec.soft_cap = rng.uniform(1, 30);
    spec.slopes = chance(3);
    spec.sinks = chance(3);
    spec.logits = chance(3);
    spec.lse = chance(2);
    spec.values = !chance(8) || !(spec.lse || spec.logits);
    spec.edge = chance(2) ? Edge::front : Edge::back;
    spec.offset = rng.integer(0, 3);
    spec.threads = static_cast<int32_t>(rng.integer(0, 4));
    Problem problem(spec, seed);
    ASSERT_NO_FATAL_FAILURE(problem.compare()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace gatun::decode
