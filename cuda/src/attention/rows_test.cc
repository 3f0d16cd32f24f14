// Every row of the table of kernels against the reference: sizes, options, masks, ragged batches, orders in memory.
#include "attention/device_problem.h"

namespace gatun::cuda::attention {
namespace {

std::vector<Kind> all_kinds() {
  std::vector<Kind> kinds(std::begin(kKinds), std::end(kKinds));
  kinds.insert(kinds.end(), std::begin(kOtherKinds), std::end(kOtherKinds));
  return kinds;
}

// Lengths around the tiles' edges; sizes, windows and options go round.
TEST(AttentionRows, Lengths) {
  Rng rng(1);
  int i = 0;
  for (const Kind& kind : all_kinds()) {
    for (const auto& [queries, keys] : {std::pair{1, 1}, {2, 130}, {63, 15}, {64, 64}, {65, 33}, {129, 65}, {5, 0}}) {
      Spec spec = device_spec(kind, queries, keys);
      ++i;
      spec.head_size = std::array{64, 40, 256, 8, 72, 200}[static_cast<size_t>(i % 6)];
      spec.value_size = std::array{64, 128, 24, 256}[static_cast<size_t>(i % 4)];
      spec.causal = i / 4 % 2 == 0;
      spec.query_heads = 2;
      spec.kv_heads = 1 + i / 2 % 2;
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_rows(spec, rng));
    }
  }
}

// Windows, sink keys, caps, slopes, sinks, corrections, outputs.
TEST(AttentionRows, Options) {
  Rng rng(2);
  for (const Kind& kind : all_kinds()) {
    for (int i = 0; i < 8; ++i) {
      Spec spec = device_spec(kind, 70, 150);
      spec.query_heads = 2;
      spec.causal = i % 3 == 0;
      spec.window_left = i % 2 == 0 ? 20 : -1;
      spec.window_right = i % 4 == 1 ? 7 : -1;
      spec.sink_keys = i == 2 || i == 4 ? 5 : 0;
      spec.soft_cap = i >= 5 ? 2.0f : 0.0f;
      spec.slopes = i % 3 == 1;
      spec.sinks = i % 2 == 1;
      spec.correction = i == 3 || i == 6;
      spec.values = i != 7;
      spec.lse = i != 1;
      if (i == 2) spec.head_size = spec.value_size = 256;
      if (i == 5) spec.value_size = 200;
      if (i == 4) spec.scale = -0.1f;
      if (i == 5) spec.scale = 0.0f;
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_rows(spec, rng));
    }
  }
}

TEST(AttentionRows, Masks) {
  Rng rng(3);
  int i = 0;
  for (const Kind& kind : kKinds) {
    for (const MaskKind mask : kMaskKinds) {
      constexpr std::pair<int, int> kBlocks[] = {{16, 48}, {64, 64}, {128, 16}, {48, 128}, {32, 16}};
      for (int turn = 0; turn < 2; ++turn) {
        const auto& [query_block, key_block] = kBlocks[++i % 5];
        Spec spec = device_spec(kind, 140, 200);
        spec.mask = mask;
        spec.query_block = query_block;
        spec.key_block = key_block;
        spec.query_heads = 2;
        spec.batch = 1 + i % 2;
        spec.mask_heads = i % 3 != 0;
        spec.mask_batch = i % 4 != 0;
        spec.spare_query_blocks = i % 2;
        spec.causal = i % 5 == 0;
        spec.window_left = i % 7 == 0 ? 50 : -1;
        next_way();
        ASSERT_NO_FATAL_FAILURE(compare_rows(spec, rng));
      }
    }
  }
}

TEST(AttentionRows, Ragged) {
  Rng rng(4);
  int i = 0;
  for (const Kind& kind : all_kinds()) {
    for (const MaskKind mask : {MaskKind::none, MaskKind::mixed}) {
      Spec spec = device_spec(kind, 0, 0);
      ++i;
      spec.q_offsets = {3, 3, 68, 69, 200};
      spec.kv_offsets = {1, 40, 41, 171, 240};
      spec.query_length = 203;
      spec.query_heads = 2;
      spec.kv_heads = 2;
      spec.mask = mask;
      spec.query_block = i % 3 == 0 ? 32 : 64;
      spec.mask_batch = i % 2 == 0;
      if (i % 4 == 1) spec.head_size = 256;
      spec.causal = i % 2 == 0;
      spec.sinks = true;
      spec.q_order = kOrders[i % 3];
      spec.kv_order = kOrders[(i + 1) % 3];
      spec.out_order = kOrders[(i + 2) % 3];
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_rows(spec, rng));
    }
  }
}

// Heads inside or outside of rows, gaps, bases that are aligned to their elements only.
TEST(AttentionRows, Memory) {
  Rng rng(5);
  int i = 0;
  for (const Kind& kind : all_kinds()) {
    for (const int64_t offset : {0, 1}) {
      Spec spec = device_spec(kind, 66, 70);
      ++i;
      spec.offset = offset;
      if (i % 4 == 0) spec.value_size = 256;
      spec.batch = 2;
      spec.query_heads = 4;
      spec.kv_heads = 2;
      spec.q_order = kOrders[i % 3];
      spec.kv_order = kOrders[(i + 1) % 3];
      spec.out_order = kOrders[(i + 2) % 3];
      spec.mask = i % 2 == 0 ? MaskKind::mixed : MaskKind::none;
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_rows(spec, rng));
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::attention
