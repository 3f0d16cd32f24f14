// A selection and attention over it in one call.
#include "attention_select/test_problem.h"
#include "gatun/block_mask.h"
#include "gatun/gatun.h"

namespace gatun::test {
namespace {

// The same bits as selection, lists and attention one after the other.
TEST(Selected, IsAllStepsInOne) {
  Rng rng(31);
  for (int round = 0; round < 20; ++round) {
    Problem x = random_problem(rng, kDtypes[round % 3]);
    x.s.kind = static_cast<int32_t>(round % 5);
    gatun_attention_params& p = x.p;
    p.v_row_stride = p.value_size;
    p.v_head_stride = p.kv_length * p.value_size;
    p.v_batch_stride = p.kv_heads * p.v_head_stride;
    p.out_row_stride = p.value_size;
    p.out_head_stride = p.query_length * p.value_size;
    p.out_batch_stride = p.query_heads * p.out_head_stride;
    SCOPED_TRACE(x.name());
    const std::vector<unsigned char> v = from_floats(rng.normals(p.batch * p.v_batch_stride), p.dtype);
    std::vector<float> sinks = rng.normals(p.query_heads);

    const int64_t rows = p.batch * p.query_heads * p.query_blocks, count = p.batch * p.query_heads * p.query_length;
    std::vector<uint8_t> map(static_cast<size_t>(x.map_size()));
    ASSERT_EQ(gatun_attention_select(&p, &x.s, nullptr, x.q->data(), x.k->data(), x.q_starts(), x.kv_starts(),
                                     x.lse_or_null(), map.data()),
              GATUN_OK)
        << gatun_last_error();
    std::vector<int64_t> offsets(static_cast<size_t>(rows + 1)), none(offsets.size());
    std::vector<int32_t> blocks(map.size() + 1);
    ASSERT_EQ(gatun_block_mask_from_map(rows, x.s.key_blocks, map.data(), offsets.data(), blocks.data(),
                                        static_cast<int64_t>(map.size()), none.data(), blocks.data() + map.size(), 0),
              GATUN_OK)
        << gatun_last_error();
    gatun_attention_params with_mask = p;
    with_mask.mask_batch = p.batch;
    with_mask.mask_heads = p.query_heads;
    with_mask.full_count = static_cast<int64_t>(map.size());
    std::vector<float> out(static_cast<size_t>(count * p.value_size), -1), lse(static_cast<size_t>(count), -1);
    ASSERT_EQ(gatun_attention(&with_mask, x.q->data(), x.k->data(), v.data(), x.q_starts(), x.kv_starts(), nullptr,
                              sinks.data(), nullptr, offsets.data(), blocks.data(), none.data(), nullptr, nullptr,
                              out.data(), lse.data()),
              GATUN_OK)
        << gatun_last_error();

    std::vector<float> one_out(out.size(), -1), one_lse(lse.size(), -1),
        density(static_cast<size_t>(p.batch * p.query_heads));
    ASSERT_EQ(gatun_attention_selected(&p, &x.s, nullptr, x.q->data(), x.k->data(), v.data(), x.q_starts(),
                                       x.kv_starts(), nullptr, sinks.data(), nullptr, x.lse_or_null(), one_out.data(),
                                       one_lse.data(), density.data()),
              GATUN_OK)
        << gatun_last_error();
    EXPECT_TRUE(identical(one_out, out, p.value_size));
    EXPECT_TRUE(identical(one_lse, lse));
    for (int64_t b = 0; b < p.batch; ++b) {
      const Reference reference = x.reference(b);
      int64_t allowed = 0;
      for (int64_t a = 0; a < reference.query_blocks(); ++a) {
        for (int64_t c = 0; c < reference.key_blocks(); ++c) allowed += reference.allowed(a, c);
      }
      for (int64_t head = 0; head < p.query_heads; ++head) {
        int64_t kept = 0;
        for (int64_t a = 0; a < p.query_blocks; ++a) {
          for (int64_t c = 0; c < x.s.key_blocks; ++c) kept += map[x.map_index(b, head, a, c)];
        }
        const float expected = allowed == 0 ? 0 : static_cast<float>(kept) / static_cast<float>(allowed);
        EXPECT_EQ(density[static_cast<size_t>(b * p.query_heads + head)], expected);
      }
    }
    if (HasFailure()) return;
  }
}

// Without queries or keys every map is empty, however many rows it has.
TEST(Selected, EmptyWork) {
  Rng rng(32);
  for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{0, 0}, {0, 70}, {70, 0}}) {
    for (const int64_t blocks : {int64_t{2}, int64_t{1} << 58}) {
      Problem x = plain_problem(GATUN_F32, 2, 2, queries, keys, 16);
      if (keys == 0) x.p.query_blocks = blocks;
      x.fill(rng, Edge::back);
      const std::vector<float> v(static_cast<size_t>(2 * keys * 16), 1), sinks = {1, 2};
      std::vector<float> out(static_cast<size_t>(2 * queries * 16), -1), lse(static_cast<size_t>(2 * queries), -1),
          density(2, -1);
      ASSERT_EQ(
          gatun_attention_selected(&x.p, &x.s, nullptr, x.q->data(), x.k->data(), v.data(), nullptr, nullptr, nullptr,
                                   sinks.data(), nullptr, nullptr, out.data(), lse.data(), density.data()),
          GATUN_OK)
          << gatun_last_error();
      EXPECT_EQ(density, std::vector<float>(2, 0));
      EXPECT_EQ(out, std::vector<float>(out.size(), 0));
      for (size_t i = 0; i < lse.size(); ++i) EXPECT_EQ(lse[i], i < lse.size() / 2 ? 1 : 2);
    }
  }
}

}  // namespace
}  // namespace gatun::test
