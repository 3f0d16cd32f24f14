// Every kernel of the tier in use (GATUN_MAX_ISA) against reference.cc: types, lengths, sizes, layouts, heads.
#include <cstdio>

#include "attention/test_problem.h"

namespace gatun::attention {
namespace {

constexpr int64_t kLengths[] = {0, 1, 15, 16, 17, 63, 64, 65, 129, 257, 300};

class PrintsUsedBounds : public ::testing::Environment {
 public:
  void TearDown() override {
    for (const Spec& spec :
         {spec_of(kKinds[0], 0, 0), spec_of(kKinds[1], 0, 0), spec_of(kKinds[2], 0, 0), spec_of(kKinds[3], 0, 0)}) {
      std::printf("%s: at most %.2f of the bound of out, %.2f of that of lse\n",
                  spec.mode == GATUN_ATTENTION_INT8 ? "INT8" : dtype_name(spec.dtype), used_of(spec).out,
                  used_of(spec).lse);
    }
  }
};
const auto* const kPrints = ::testing::AddGlobalTestEnvironment(new PrintsUsedBounds);

TEST(Attention, Lengths) {
  Rng rng(1);
  for (const Kind& kind : kKinds) {
    for (const int64_t queries : kLengths) {
      for (const int64_t keys : kLengths) {
        for (const bool causal : {false, true}) {
          Spec spec = spec_of(kind, queries, keys);
          spec.head_size = spec.value_size = 16;
          spec.causal = causal;
          Problem problem(spec, rng);
          ASSERT_NO_FATAL_FAILURE(problem.compare());
        }
      }
    }
  }
}

TEST(Attention, HeadSizes) {
  Rng rng(2);
  for (const Kind& kind : kKinds) {
    for (const int64_t head_size : {8, 32, 40, 64, 72, 80, 96, 128, 192, 256}) {
      for (const int64_t value_size : {head_size, int64_t{8}, int64_t{88}, int64_t{256}}) {
        Spec spec = spec_of(kind, 35, 83);
        spec.head_size = head_size;
        spec.value_size = value_size;
        spec.causal = head_size % 16 == 0;
        Problem problem(spec, rng);
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

TEST(Attention, OtherTypesAndModes) {
  Rng rng(3);
  for (const Kind& kind : kOtherKinds) {
    for (const int64_t queries : {1, 17, 130}) {
      for (const int64_t keys : {1, 65, 200}) {
        Spec spec = spec_of(kind, queries, keys);
        spec.causal = keys == 200;
        Problem problem(spec, rng);
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

TEST(Attention, HeadsAndBatch) {
  Rng rng(4);
  for (const Kind& kind : kKinds) {
    for (const auto& [query_heads, kv_heads] :
         {std::pair<int64_t, int64_t>{0, 0}, {0, 2}, {1, 1}, {3, 3}, {6, 2}, {5, 1}}) {
      for (const int64_t batch : {0, 1, 3}) {
        Spec spec = spec_of(kind, 19, 37);
        spec.batch = batch;
        spec.query_heads = query_heads;
        spec.kv_heads = kv_heads;
        spec.causal = batch == 3;
        Problem problem(spec, rng);
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

TEST(Attention, Layouts) {
  Rng rng(5);
  for (const Kind& kind : kKinds) {
    for (const Order q : kOrders) {
      for (const Order kv : kOrders) {
        for (const Order out : kOrders) {
          Spec spec = spec_of(kind, 33, 70);
          spec.head_size = 40;
          spec.value_size = 24;
          spec.batch = 2;
          spec.query_heads = 4;
          spec.kv_heads = 2;
          spec.q_order = q;
          spec.kv_order = kv;
          spec.out_order = out;
          Problem problem(spec, rng);
          ASSERT_NO_FATAL_FAILURE(problem.compare());
        }
      }
    }
  }
}

// Strides of 0.
TEST(Attention, HeadsAndRowsThatAreTheSame) {
  Rng rng(10);
  for (const Kind& kind : kKinds) {
    for (const Order q : {Order::hnd, Order::one_head, Order::one_row}) {
      for (const Order kv : {Order::one_head, Order::one_row}) {
        Spec spec = spec_of(kind, 33, 200);
        spec.batch = 2;
        spec.query_heads = 4;
        spec.kv_heads = 2;
        spec.q_order = q;
        spec.kv_order = kv;
        spec.causal = q == Order::hnd;
        Problem problem(spec, rng);
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

// Nothing beside the arguments is touched; bases are aligned to their elements only.
TEST(Attention, GuardPages) {
  Rng rng(6);
  for (const Kind& kind : kKinds) {
    for (const Edge edge : test::kEdges) {
      for (const int64_t offset : {0, 1, 3}) {
        for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {64, 64}, {67, 131}}) {
          for (const int64_t size : {8, 72}) {
            Spec spec = spec_of(kind, queries, keys);
            spec.head_size = size;
            spec.value_size = size == 8 ? 40 : size;
            spec.edge = edge;
            spec.offset = offset;
            spec.query_heads = 2;
            spec.q_order = spec.kv_order = spec.out_order = offset == 1 ? Order::gaps : Order::nhd;
            spec.mask = offset == 3 ? MaskKind::mixed : MaskKind::none;
            spec.slopes = spec.sinks = spec.correction = offset == 1;
            Problem problem(spec, rng);
            ASSERT_NO_FATAL_FAILURE(problem.compare());
          }
        }
      }
    }
  }
}

TEST(Attention, Ragged) {
  Rng rng(7);
  const std::vector<int64_t> q_offsets[] = {{0}, {0, 0}, {0, 33, 33, 34, 100}, {5, 6, 70, 70, 150}, {0, 0, 0, 90, 91}};
  const std::vector<int64_t> kv_offsets[] = {{0}, {3, 9}, {0, 0, 17, 90, 220}, {2, 3, 3, 90, 91}, {0, 64, 65, 66, 196}};
  for (const Kind& kind : kKinds) {
    for (size_t i = 0; i < std::size(q_offsets); ++i) {
      for (const bool causal : {false, true}) {
        for (const MaskKind mask : {MaskKind::none, MaskKind::mixed}) {
          Spec spec = spec_of(kind, 160, 230);  // rows of no item at both ends
          spec.q_offsets = q_offsets[i];
          spec.kv_offsets = kv_offsets[i];
          spec.query_heads = 4;
          spec.kv_heads = 2;
          spec.q_order = Order::nhd;
          spec.kv_order = Order::gaps;
          spec.out_order = causal ? Order::nhd : Order::gaps;
          spec.causal = causal;
          spec.mask = mask;
          spec.query_block = 32;
          spec.key_block = 48;
          Problem problem(spec, rng);
          ASSERT_NO_FATAL_FAILURE(problem.compare());
        }
      }
    }
  }
}

// A longer one, which takes more than one of a kernel's tiles, whatever they are.
TEST(Attention, ManyTiles) {
  Rng rng(8);
  for (const Kind& kind : kKinds) {
    Spec spec = spec_of(kind, 300, 1100);
    spec.head_size = spec.value_size = 128;
    spec.causal = true;
    Problem problem(spec, rng);
    ASSERT_NO_FATAL_FAILURE(problem.compare());
  }
}

// What these tests must find: a row of another query, an element that is off, NaN, a key too many, a lse in base 2.
TEST(Attention, WrongResultsAreFound) {
  Rng rng(9);
  for (const Kind& kind : kKinds) {
    Spec spec = spec_of(kind, 30, 90);
    spec.causal = true;
    Problem problem(spec, rng);
    SCOPED_TRACE(describe(problem.spec()));
    Outputs right;
    ASSERT_NO_FATAL_FAILURE(problem.call(&right));
    ASSERT_TRUE(problem.good(right));
    const Used used_before = used_of(spec);  // what follows uses more
    const size_t row_bytes = static_cast<size_t>(spec.value_size * dtype_bytes(spec.out_dtype, 1));
    Outputs wrong = right;
    std::swap_ranges(wrong.out.begin(), wrong.out.begin() + static_cast<int64_t>(row_bytes),
                     wrong.out.begin() + static_cast<int64_t>(row_bytes));
    EXPECT_FALSE(problem.good(wrong)) << "rows swapped";
    wrong = right;
    uint8_t& sign = wrong.out[7 * row_bytes + row_bytes - 1];
    sign ^= 0x80;
    EXPECT_FALSE(problem.good(wrong)) << "the sign of an element";
    sign |= 0x7f;  // and what is below it: NaN in all three types
    wrong.out[7 * row_bytes + row_bytes - 2] |= 0xff;
    EXPECT_FALSE(problem.good(wrong)) << "NaN";
    wrong = right;
    wrong.lse[11] *= 1.442695f;
    EXPECT_FALSE(problem.good(wrong)) << "lse in base 2";
    Outputs more;
    problem.spec().window_right = 0;
    problem.spec().causal = false;
    ASSERT_NO_FATAL_FAILURE(problem.call(&more));
    EXPECT_TRUE(problem.good(more)) << "the same as causal";
    problem.spec().window_right = 1;
    EXPECT_FALSE(problem.good(more)) << "the key after the query's own";
    used_of(spec) = used_before;
  }
}

TEST(Attention, EmptyWorkNeedsNoMemory) {
  gatun_attention_params p{};
  p.struct_size = sizeof(p);
  p.dtype = p.out_dtype = GATUN_F32;
  p.scale = 1;
  p.batch = 2;
  p.query_heads = p.kv_heads = 1;
  p.kv_length = 0;
  p.head_size = p.value_size = 8;
  const auto call = [&] {
    return gatun_attention(&p, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                           nullptr, nullptr, nullptr, nullptr, nullptr);
  };
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  p.query_length = 7;
  p.batch = 0;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  p.batch = 2;
  p.query_heads = 0;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  // However many heads of k nobody asks.
  const float k[8] = {};
  p.kv_heads = int64_t{1} << 59;
  p.kv_length = 1;
  EXPECT_EQ(gatun_attention(&p, nullptr, k, k, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                            nullptr, nullptr, nullptr, nullptr),
            GATUN_OK)
      << gatun_last_error();
}

}  // namespace
}  // namespace gatun::attention
