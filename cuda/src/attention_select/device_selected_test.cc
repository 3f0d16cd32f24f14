// A selection and attention over it in one call; what entry points refuse; arrays that hold anything.
#include <cstring>

#include "attention_select/device_selection.h"
#include "gatun/cuda.h"

namespace gatun::cuda::attention_select {
namespace {

using gatun::test::from_floats;
using gatun::test::identical;

void set_values(gatun_attention_params& p) {
  p.v_row_stride = p.value_size;
  p.v_head_stride = p.kv_length * p.value_size;
  p.v_batch_stride = p.kv_heads * p.v_head_stride;
  p.out_row_stride = p.value_size;
  p.out_head_stride = p.query_length * p.value_size;
  p.out_batch_stride = p.query_heads * p.out_head_stride;
}

// The same bits as selection, lists and attention one after the other.
TEST(Selected, IsAllStepsInOne) {
  Rng rng(31);
  for (int round = 0; round < 5; ++round) {
    Problem x = random_problem(rng, kDtypes[round % 3]);
    x.s.kind = round;
    gatun_attention_params& p = x.p;
#if defined(GATUN_EMULATED)
    if (round % 2 == 1) p.mode = GATUN_ATTENTION_INT8_FP8;  // of one architecture
#endif
    set_values(p);
    SCOPED_TRACE(x.name());
    const DeviceBuffer<uint8_t> v(from_floats(rng.normals(p.batch * p.v_batch_stride), p.dtype));
    const DeviceBuffer<float> sinks(rng.normals(p.query_heads));
    const OnDevice on(x);
    const int64_t rows = p.batch * p.query_heads * p.query_blocks, heads = p.batch * p.query_heads;
    const int64_t count = heads * p.query_length;
    next_way();

    const DeviceBuffer<uint8_t> map(on.select());
    DeviceBuffer<int64_t> offsets(rows + 1), none(rows + 1);
    DeviceBuffer<int32_t> blocks(x.map_size());
    ASSERT_EQ(gatun_cuda_block_mask_from_map(rows, x.s.key_blocks, map.data(), offsets.data(), blocks.data(),
                                             x.map_size(), none.data(), nullptr, 0, nullptr),
              GATUN_OK)
        << gatun_last_error();
    gatun_attention_params with_mask = p;
    with_mask.mask_batch = p.batch;
    with_mask.mask_heads = p.query_heads;
    with_mask.full_count = x.map_size();
    int64_t bytes = 0;
    ASSERT_EQ(gatun_cuda_attention_workspace_bytes(&with_mask, x.ragged(), 0, &bytes), GATUN_OK) << gatun_last_error();
    Workspace of_attention(bytes);
    DeviceBuffer<float> out(count * p.value_size), lse(count);
    ASSERT_EQ(gatun_cuda_attention(&with_mask, on.q.data(), on.k.data(), v.data(), on.q_offsets(), on.kv_offsets(),
                                   nullptr, sinks.data(), nullptr, offsets.data(), blocks.data(), none.data(), nullptr,
                                   nullptr, out.data(), lse.data(), of_attention.data(), bytes, nullptr),
              GATUN_OK)
        << gatun_last_error();

    ASSERT_EQ(gatun_cuda_attention_selected_workspace_bytes(&p, &x.s, x.ragged(), 0, &bytes), GATUN_OK)
        << gatun_last_error();
    Workspace workspace(bytes);
    DeviceBuffer<float> one_out(count * p.value_size), one_lse(count), density(heads);
    ASSERT_EQ(
        gatun_cuda_attention_selected(&p, &x.s, nullptr, on.q.data(), on.k.data(), v.data(), on.q_offsets(),
                                      on.kv_offsets(), nullptr, sinks.data(), nullptr, on.lse_or_null(), one_out.data(),
                                      one_lse.data(), density.data(), workspace.data(), bytes, nullptr),
        GATUN_OK)
        << gatun_last_error();
    const auto bits = [](const std::vector<float>& values) {  // what is not written is NaN
      std::vector<uint32_t> result(values.size());
      if (!values.empty()) std::memcpy(result.data(), values.data(), values.size() * 4);
      return result;
    };
    EXPECT_EQ(bits(one_out.copy()), bits(out.copy()));
    EXPECT_EQ(bits(one_lse.copy()), bits(lse.copy()));
    const std::vector<int64_t> starts = offsets.copy();
    const std::vector<float> measured = density.copy();
    for (int64_t b = 0; b < p.batch; ++b) {
      const Reference reference = x.reference(b);
      int64_t allowed = 0;
      for (int64_t a = 0; a < reference.query_blocks(); ++a) {
        for (int64_t c = 0; c < reference.key_blocks(); ++c) allowed += reference.allowed(a, c);
      }
      for (int64_t head = b * p.query_heads; head < (b + 1) * p.query_heads; ++head) {
        const int64_t kept = starts[static_cast<size_t>((head + 1) * p.query_blocks)] -
                             starts[static_cast<size_t>(head * p.query_blocks)];
        EXPECT_EQ(measured[static_cast<size_t>(head)],
                  allowed == 0 ? 0.0f : static_cast<float>(kept) / static_cast<float>(allowed));
      }
    }
  }
}

// Without blocks there is nothing to leave out.
TEST(Selected, OfNoBlocks) {
  Rng rng(32);
  Problem x = plain_problem(GATUN_F32, 2, 1, 5, 0, 8);
  x.fill(rng, Edge::back);
  const OnDevice on(x);
  int64_t bytes = 0;
  ASSERT_EQ(gatun_cuda_attention_selected_workspace_bytes(&x.p, &x.s, 0, 0, &bytes), GATUN_OK);
  Workspace workspace(bytes);
  DeviceBuffer<float> out(2 * 5 * 8), density(2);
  ASSERT_EQ(gatun_cuda_attention_selected(&x.p, &x.s, nullptr, on.q.data(), on.k.data(), on.k.data(), nullptr, nullptr,
                                          nullptr, nullptr, nullptr, nullptr, out.data(), nullptr, density.data(),
                                          workspace.data(), bytes, nullptr),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_EQ(out.copy(), std::vector<float>(80));
  EXPECT_EQ(density.copy(), std::vector<float>(2));
}

TEST(Selected, RefusesWhatAttentionDoes) {
  Rng rng(35);
  Problem x = plain_problem(GATUN_F32, 2, 1, 70, 90, 136);
  x.fill(rng, Edge::back);
  x.p.mode = GATUN_ATTENTION_INT8_FP8;
  set_values(x.p);
  const OnDevice on(x);
  Workspace workspace(1 << 20);
  DeviceBuffer<float> out(2 * 70 * 136);
  int64_t bytes = 0;
  EXPECT_EQ(gatun_cuda_attention_selected_workspace_bytes(&x.p, &x.s, 0, 0, &bytes), GATUN_UNSUPPORTED);
  EXPECT_EQ(gatun_cuda_attention_selected(&x.p, &x.s, nullptr, on.q.data(), on.k.data(), on.k.data(), nullptr, nullptr,
                                          nullptr, nullptr, nullptr, nullptr, out.data(), nullptr, nullptr,
                                          workspace.data(), 1 << 20, nullptr),
            GATUN_UNSUPPORTED);
  EXPECT_NE(std::string(gatun_cuda_last_error()).find("params.head_size = 136 in mode INT8_FP8"), std::string::npos)
      << gatun_cuda_last_error();
}

// Offsets and blocks that do not fit anything: no access beyond the arrays, which the emulator would report.
TEST(Select, OfAnyOffsets) {
  Rng rng(33);
  for (const int32_t kind : {0, 1, 2, 3, 4}) {
    Problem x = plain_problem(GATUN_BF16, 2, 1, 70, 90, 16);
    x.s.kind = kind;
    x.p.batch = 4;
    x.q_offsets = {0, 70, 70, 70, 70};
    x.kv_offsets = {0, 90, 90, 90, 90};
    x.p.query_blocks = x.s.key_blocks = 1;  // fewer than needed
    x.fill(rng, Edge::back);
    x.q_offsets = {-5, 1000, 3, INT64_MAX, INT64_MIN};
    x.kv_offsets = {70, 30, INT64_MIN, 90, INT64_MAX};
    next_way();
    for (const uint8_t chosen : OnDevice(x).select()) EXPECT_LE(chosen, 1);
  }
}

TEST(Select, Refusals) {
  Rng rng(34);
  Problem x = plain_problem(GATUN_F32, 2, 1, 70, 90, 16);
  x.fill(rng, Edge::back);
  const OnDevice on(x);
  DeviceBuffer<uint8_t> map(x.map_size());
  int64_t bytes = 0;
  ASSERT_EQ(gatun_cuda_attention_select_workspace_bytes(&x.p, &x.s, 0, 0, &bytes), GATUN_OK);
  Workspace workspace(bytes);
  const auto refused = [&](Problem& y, int32_t status, const char* text, int64_t room) {
    EXPECT_EQ(gatun_cuda_attention_select(&y.p, &y.s, nullptr, on.q.data(), on.k.data(), nullptr, nullptr, nullptr,
                                          map.data(), workspace.data(), room, nullptr),
              status)
        << text;
    EXPECT_NE(std::string(gatun_cuda_last_error()).find(text), std::string::npos) << gatun_cuda_last_error();
  };
  refused(x, GATUN_INVALID_ARGUMENT, "workspace", bytes - 1);
  const auto with = [&](auto change, int32_t status, const char* text) {
    Problem y = plain_problem(GATUN_F32, 2, 1, 70, 90, 16);
    change(y);
    refused(y, status, text, bytes);
  };
  with([](Problem& y) { y.s.kind = 5; }, GATUN_INVALID_ARGUMENT, "selection.kind = 5");
  with([](Problem& y) { y.s.amount = 2; }, GATUN_INVALID_ARGUMENT, "selection.amount = 2");
  with([](Problem& y) { y.p.query_block = 24; }, GATUN_INVALID_ARGUMENT, "params.query_block");
  with([](Problem& y) { y.p.query_blocks = 1; }, GATUN_INVALID_ARGUMENT, "params.query_blocks = 1");
  with([](Problem& y) { y.s.key_blocks = 1; }, GATUN_INVALID_ARGUMENT, "selection.key_blocks = 1");
  with([](Problem& y) { y.s.kind = GATUN_SELECT_MASS; }, GATUN_INVALID_ARGUMENT, "lse_before");
  with([](Problem& y) { y.p.kv_length = (int64_t{1} << 30) + 1; }, GATUN_UNSUPPORTED, "params.kv_length");
  with(
      [](Problem& y) {
        y.s.keep = GATUN_KEEP_MASS;
        y.s.key_blocks = 12289;
      },
      GATUN_UNSUPPORTED, "selection.key_blocks = 12289");
  char text[2048];
  for (const int32_t kind : {0, 1, 2, 3, 4}) {
    x.s.kind = kind;
    ASSERT_EQ(gatun_cuda_attention_select_explain(&x.p, &x.s, 0, 0, text, 2048), GATUN_OK) << gatun_cuda_last_error();
    EXPECT_NE(std::string(text).find("m128n128_sm80"), std::string::npos) << text;
  }
  x.s.kind = GATUN_SELECT_VERTICAL_SLASH;
  EXPECT_EQ(gatun_cuda_attention_scores(&x.p, &x.s, on.q.data(), on.k.data(), nullptr, nullptr, nullptr, nullptr,
                                        workspace.data(), bytes, nullptr),
            GATUN_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace gatun::cuda::attention_select
