// Numbers that are none, extremes, lists and offsets that are nonsense, every order of the emulator, and that results
// are the same each time.
#include <limits>

#include "attention/device_problem.h"

namespace gatun::cuda::attention {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(AttentionNumbers, EveryOrder) {
  in_every_order([] {
    for (const Kind& kind : kKinds) {
      Rng rng(20);
      Spec spec = device_spec(kind, 130, 200);
      spec.mask = MaskKind::mixed;
      spec.query_block = 32;
      spec.head_size = 72;
      spec.causal = true;
      const Problem problem(spec, rng);
      ASSERT_NO_FATAL_FAILURE(compare(problem, rows_for(problem.params()).front()));
    }
  });
}

TEST(AttentionNumbers, LargeAndSmall) {
  Rng rng(21);
  for (const Kind& kind : kKinds) {
    for (const float size : {1e-3f, 30.0f, 300.0f}) {  // of q and k: logits up to 1e6
      Spec spec = device_spec(kind, 40, 100);
      const float v_size = size == 30.0f ? 1e-6f : 3e3f;
      spec.sinks = size == 30.0f;
      Problem problem(spec, rng);
      problem.set_q([&](int64_t, int64_t, int64_t, int64_t) { return size * rng.normal(); });
      problem.set_k([&](int64_t, int64_t, int64_t, int64_t) { return size * rng.normal(); });
      problem.set_v([&](int64_t, int64_t, int64_t, int64_t) { return v_size * rng.normal(); });
      next_way();
      for (const KernelRow* row : rows_for(problem.params())) ASSERT_NO_FATAL_FAILURE(compare(problem, row));
    }
  }
}

// A long tail of small weights, which f16 must not lose.
TEST(AttentionNumbers, ManySmallWeights) {
  Rng rng(22);
  for (const Kind& kind : kKinds) {
    Spec spec = device_spec(kind, 3, 1500);
    spec.scale = 1;
    spec.head_size = 8;
    Problem problem(spec, rng);
    problem.set_q([](int64_t, int64_t, int64_t, int64_t x) { return x == 0 ? 4.0f : 0.0f; });
    problem.set_k([](int64_t, int64_t, int64_t j, int64_t x) { return x == 0 && j == 700 ? 4.0f : 0.0f; });
    problem.set_v([](int64_t, int64_t, int64_t j, int64_t) { return j == 700 ? 0.0f : 1.0f; });
    for (const KernelRow* row : rows_for(problem.params())) ASSERT_NO_FATAL_FAILURE(compare(problem, row));
  }
}

// Of q and k they reach the rows that see them, of v these rows' columns, in tiles where others do not see them, too.
TEST(AttentionNumbers, NotANumber) {
  Rng rng(23);
  int i = 0;
  for (const Kind& kind : kKinds) {
    for (const int where : {0, 1, 2}) {
      for (const bool causal : {true, false}) {
        Spec spec = device_spec(kind, 90, 100);
        spec.query_heads = spec.kv_heads = 2;
        spec.causal = causal;
        spec.window_left = causal ? 60 : -1;
        spec.mask = causal ? MaskKind::none : MaskKind::mixed;
        spec.query_block = spec.key_block = 16;
        Problem problem(spec, rng);
        const float bad = std::array{kNan, kInfinity, -kInfinity}[static_cast<size_t>(++i % 3)];
        const auto spoiled = [&](int64_t, int64_t head, int64_t row, int64_t x) {
          return head == 1 && row == 37 && x == 13 ? bad : rng.normal();
        };
        where == 0 ? problem.set_q(spoiled) : where == 1 ? problem.set_k(spoiled) : problem.set_v(spoiled);
        next_way();
        for (const KernelRow* row : rows_for(problem.params())) ASSERT_NO_FATAL_FAILURE(compare(problem, row));
      }
    }
  }
}

// The first head of the first item has the same bits, whatever the rows of others are: no kernel multiplies them, or
// does a tile again for them.
TEST(AttentionNumbers, OtherHeadsAndItems) {
  for (const Kind& kind : device_kinds()) {
    for (const bool ragged : {false, true}) {
      Spec spec = device_spec(kind, 70, 100);
      spec.head_size = spec.value_size = 128;
      spec.query_heads = spec.kv_heads = 2;
      spec.batch = 2;
      if (ragged) {
        spec.q_offsets = {0, 70, 140};
        spec.kv_offsets = {0, 100, 200};
        spec.kv_order = Order::nhd;
      }
      const auto outputs_of = [&](const KernelRow* row, float others) {
        Rng rng(27);
        Problem problem(spec, rng);
        const auto element = [&](int64_t b, int64_t head, int64_t r, int64_t x) {
          return b + head > 0 ? others : static_cast<float>((r * 37 + x * 11) % 61) / 30.0f - 1.0f;
        };
        problem.set_k(element);
        problem.set_v(element);
        Outputs outputs;
        call(problem, row, &outputs);
        std::vector<uint8_t> first;
        problem.for_each_row([&](int64_t b, int64_t head, int64_t, int64_t out_at, int64_t) {
          if (b + head > 0) return;
          const int64_t element_bytes = dtype_bytes(spec.out_dtype, 1);
          const auto from = outputs.out.begin() + out_at * element_bytes;
          first.insert(first.end(), from, from + spec.value_size * element_bytes);
        });
        return first;
      };
      Rng rng(27);
      next_way();
      for (const KernelRow* row : rows_for(Problem(spec, rng).params(), ragged)) {
        EXPECT_TRUE(outputs_of(row, 1.0f) == outputs_of(row, kNan)) << row->name << (ragged ? ", ragged" : "");
      }
    }
  }
}

TEST(AttentionNumbers, SinksSlopesAndCorrections) {
  Rng rng(24);
  for (const Kind& kind : kKinds) {
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      Spec spec = device_spec(kind, 20, 30);
      spec.query_heads = 2;
      spec.causal = true;
      spec.sinks = spec.slopes = spec.correction = true;
      spec.query_length = 35;  // of which some see nothing
      Problem problem(spec, rng);
      problem.set_sink(0, bad);
      problem.set_slope(1, bad);
      problem.set_correction(3, bad);
      for (const KernelRow* row : rows_for(problem.params())) ASSERT_NO_FATAL_FAILURE(compare(problem, row));
    }
  }
}

// Whatever is in lists and offsets, kernels end and stay within memory (which ASan, valgrind and canaries tell).
TEST(AttentionNumbers, NonsenseInListsAndOffsets) {
  Rng rng(25);
  for (const Kind& kind : device_kinds()) {
    for (int i = 0; i < 6; ++i) {
      gatun_attention_params p = {};
      p.struct_size = sizeof(p);
      p.dtype = kind.dtype;
      p.out_dtype = kind.out_dtype;
      p.mode = kind.mode;
      p.scale = 1;
      p.window_left = p.window_right = -1;
      p.batch = p.mask_batch = 3;
      p.query_heads = p.kv_heads = p.mask_heads = 1;
      p.query_length = 100;
      p.kv_length = 90;
      p.head_size = p.value_size = 64;
      p.q_row_stride = p.k_row_stride = p.v_row_stride = p.out_row_stride = 64;
      p.query_block = 32;
      p.key_block = 16;
      p.query_blocks = 2;
      p.full_count = p.partial_count = 7;
      const int64_t element = dtype_bytes(kind.dtype, 1), out_element = dtype_bytes(kind.out_dtype, 1);
      const auto random = [&](int64_t count) {
        std::vector<int64_t> values;
        for (int64_t n = 0; n < count; ++n) {
          values.push_back(i % 2 == 0 ? rng.integer(-20, 120) : static_cast<int64_t>(rng.next()));
        }
        return values;
      };
      std::vector<int32_t> blocks[2];
      for (auto& list : blocks) {
        for (const int64_t value : random(7)) list.push_back(static_cast<int32_t>(i < 3 ? value % 8 : value));
      }
      const DeviceBuffer<uint8_t> q(gatun::test::from_floats(rng.normals(6400), kind.dtype)),
          k(gatun::test::from_floats(rng.normals(5760), kind.dtype)), v(rng.integers<uint8_t>(5760 * element, 0, 60)),
          bits(rng.integers<uint8_t>(7 * 32 * 2, 0, 255));
      const DeviceBuffer<int64_t> q_offsets(random(4)), kv_offsets(random(4)), full_offsets(random(7)),
          partial_offsets(random(7));
      const DeviceBuffer<int32_t> full(blocks[0]), partial(blocks[1]);
      DeviceBuffer<uint8_t> out(6400 * out_element);
      for (const KernelRow* row : rows_for(p, true)) {
        const Plan plan = plan_on(*row, p, true);
        DeviceBuffer<uint8_t> workspace(plan.workspace_bytes);
        const Inputs in = {q.data(),
                           k.data(),
                           v.data(),
                           q_offsets.data(),
                           kv_offsets.data(),
                           nullptr,
                           nullptr,
                           nullptr,
                           full_offsets.data(),
                           full.data(),
                           partial_offsets.data(),
                           partial.data(),
                           bits.data()};
        ASSERT_EQ(run_plan(plan, p, in, out.data(), nullptr, workspace.data(), nullptr), GATUN_OK)
            << gatun_last_error();
      }
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::attention
