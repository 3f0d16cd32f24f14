// The entry points: selection, workspace, refusals, explanations.
#include <string>

#include "attention/device_problem.h"
#include "gatun/cuda.h"

namespace gatun::cuda::attention {
namespace {

gatun_attention_params params_of(const Kind& kind, int64_t head_size) {
  Spec spec = device_spec(kind, 300, 400);
  spec.head_size = head_size;
  Rng rng(30);
  return Problem(spec, rng).params();
}

TEST(AttentionEntry, IsRight) {
  Rng rng(31);
  for (const Kind& kind : kKinds) {
    Spec spec = device_spec(kind, 70, 90);
    spec.mask = MaskKind::mixed;
    spec.batch = 2;
    spec.sinks = true;
    ASSERT_NO_FATAL_FAILURE(compare(Problem(spec, rng), nullptr));
  }
  Spec spec = device_spec(kKinds[3], 0, 0);
  spec.q_offsets = {0, 20, 20, 70};
  spec.kv_offsets = {0, 0, 65, 140};
  ASSERT_NO_FATAL_FAILURE(compare(Problem(spec, rng), nullptr));
  for (const int64_t batch : {0, 2}) {  // nothing to do, and nothing to see
    Spec empty = device_spec(kKinds[1], batch == 0 ? 5 : 3, 0);
    empty.batch = batch;
    ASSERT_NO_FATAL_FAILURE(compare(Problem(empty, rng), nullptr));
  }
}

TEST(AttentionEntry, SelectsByTypeModeAndSize) {
  const Device device = device_of_tests();
  const auto selected = [&](int32_t dtype, int32_t mode, int64_t head_size) {
    return std::string(select(params_of({dtype, dtype, mode}, head_size), false, device).name);
  };
#if defined(GATUN_EMULATED)
  EXPECT_EQ(selected(GATUN_BF16, GATUN_ATTENTION_EXACT, 128), "attention_bf16_m128n48_sm80");  // value_size is 64
  EXPECT_EQ(selected(GATUN_F16, GATUN_ATTENTION_INT8_FP8, 64), "attention_i8_f8_m128n128k64_sm90");
  EXPECT_EQ(selected(GATUN_F32, GATUN_ATTENTION_INT8_FP8, 72), "attention_i8_f8_m128n128k128_sm90");
#endif
  EXPECT_EQ(selected(GATUN_F32, GATUN_ATTENTION_EXACT, 64), "attention_f32_simt_sm80");
  EXPECT_EQ(selected(GATUN_F16, GATUN_ATTENTION_EXACT, 256), "attention_f16_m64n32_sm80");
  EXPECT_EQ(selected(GATUN_BF16, GATUN_ATTENTION_EXACT, 72), "attention_bf16_m128n48_sm80");
  EXPECT_EQ(selected(GATUN_F16, GATUN_ATTENTION_EXACT, 64), "attention_f16_m128n64_sm80");
  EXPECT_EQ(selected(GATUN_BF16, GATUN_ATTENTION_EXACT, 136), "attention_bf16_m64n32_sm80");
  EXPECT_EQ(selected(GATUN_F32, GATUN_ATTENTION_INT8, 128), "attention_i8_m128n48_sm80");
  EXPECT_EQ(selected(GATUN_BF16, GATUN_ATTENTION_INT8, 200), "attention_i8_m64n32_sm80");
}

#if defined(GATUN_EMULATED)
// Strides decide it, too, but those along which there is nothing.
TEST(AttentionEntry, SelectsByStrides) {
  Spec spec = device_spec(kKinds[1], 300, 400);
  spec.head_size = spec.value_size = 128;
  spec.batch = spec.query_heads = spec.kv_heads = 2;
  Rng rng(32);
  const gatun_attention_params good = Problem(spec, rng).params();
  const auto selected = [&](bool ragged, auto change) {
    gatun_attention_params p = good;
    change(p);
    return select(p, ragged, device_of_tests()).whole;
  };
  EXPECT_TRUE(selected(false, [](auto&) {}));
  EXPECT_FALSE(selected(false, [](auto& p) { p.k_row_stride = 129; }));
  EXPECT_FALSE(selected(false, [](auto& p) { p.v_row_stride = 120; }));
  EXPECT_FALSE(selected(false, [](auto& p) { p.q_head_stride += 64; }));
  EXPECT_FALSE(selected(false, [](auto& p) { p.v_batch_stride += 1; }));
  EXPECT_FALSE(selected(false, [](auto& p) { p.k_batch_stride = INT64_MAX / 128 * 128; }));
  EXPECT_FALSE(selected(false, [](auto& p) { p.kv_length = 0; }));
  EXPECT_TRUE(selected(true, [](auto& p) { p.q_batch_stride = p.k_batch_stride = p.v_batch_stride = 1; }));
  EXPECT_TRUE(selected(false, [](auto& p) {
    p.kv_heads = p.kv_length = 1;
    p.k_head_stride = p.v_head_stride = p.k_row_stride = p.v_row_stride = 1;
  }));
}
#endif

TEST(AttentionEntry, WorkspaceGrowsWithTheTotalAlone) {
  gatun_attention_params p = params_of(kKinds[3], 64);
  p.batch = 1000;
  p.query_length = p.kv_length = 1 << 20;
  int64_t dense = 0, ragged = 0;
  ASSERT_EQ(gatun_cuda_attention_workspace_bytes(&p, 0, 0, &dense), GATUN_OK) << gatun_cuda_last_error();
  ASSERT_EQ(gatun_cuda_attention_workspace_bytes(&p, 1, 0, &ragged), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_GT(dense, ragged * 900);
  EXPECT_LT(ragged, int64_t{2} * (1 << 20) * (64 + 8) + (1 << 20));
}

TEST(AttentionEntry, Refuses) {
  const gatun_attention_params good = params_of(kKinds[1], 64);
  DeviceBuffer<uint8_t> memory(1 << 17), out(1 << 17), workspace(1 << 12);
  DeviceBuffer<float> lse(300);
  const auto refused = [&](const gatun_attention_params& p, int32_t status, const char* says, const void* q, void* to,
                           void* work) {
    EXPECT_EQ(gatun_cuda_attention(&p, q, memory.data(), memory.data(), nullptr, nullptr, nullptr, nullptr, nullptr,
                                   nullptr, nullptr, nullptr, nullptr, nullptr, to, lse.data(), work, 1 << 12, nullptr),
              status);
    EXPECT_NE(std::string(gatun_cuda_last_error()).find(says), std::string::npos) << gatun_cuda_last_error();
  };
  const auto wrong = [&](auto change, int32_t status, const char* says) {
    gatun_attention_params p = good;
    change(p);
    refused(p, status, says, memory.data(), out.data(), workspace.data());
  };
  wrong([](auto& p) { p.head_size = 4; }, GATUN_INVALID_ARGUMENT, "params.head_size");
  wrong([](auto& p) { p.dtype = GATUN_I8; }, GATUN_INVALID_ARGUMENT, "params.dtype");
  wrong([](auto& p) { p.query_length = (int64_t{1} << 30) + 1; }, GATUN_UNSUPPORTED, "params.query_length");
  wrong([](auto& p) { p.kv_length = int64_t{1} << 31; }, GATUN_UNSUPPORTED, "params.kv_length");
  wrong([](auto& p) { p.query_block = 24; }, GATUN_INVALID_ARGUMENT, "params.query_block");
  wrong([](auto& p) { p.query_block = 64; }, GATUN_INVALID_ARGUMENT, "params.query_block");  // without a mask
  wrong([](auto& p) { p.out_row_stride = 8; }, GATUN_INVALID_ARGUMENT, "params.out_row_stride");
  refused(good, GATUN_INVALID_ARGUMENT, "q is null", nullptr, out.data(), workspace.data());
  refused(good, GATUN_INVALID_ARGUMENT, "overlaps", memory.data(), memory.data(), workspace.data());
  refused(good, GATUN_INVALID_ARGUMENT, "workspace", memory.data(), out.data(), nullptr);
  refused(good, GATUN_INVALID_ARGUMENT, "overlaps", memory.data(), out.data(), memory.data());

  gatun_attention_params masked = good;
  masked.query_block = masked.key_block = 64;
  masked.mask_batch = masked.mask_heads = 1;
  masked.query_blocks = 4;  // of 5
  DeviceBuffer<int64_t> offsets(5);
  EXPECT_EQ(gatun_cuda_attention(&masked, memory.data(), memory.data(), memory.data(), nullptr, nullptr, nullptr,
                                 nullptr, nullptr, offsets.data(), nullptr, offsets.data(), nullptr, nullptr,
                                 out.data(), nullptr, workspace.data(), 1 << 12, nullptr),
            GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_cuda_last_error()).find("params.query_blocks"), std::string::npos)
      << gatun_cuda_last_error();
}

// Before anything is launched, in every entry.
TEST(AttentionEntry, RefusesGridsThatAreTooLarge) {
  const auto refused = [](const gatun_attention_params& p, int32_t ragged) {
    DeviceBuffer<uint8_t> memory(1 << 16), out(1 << 16), workspace(1 << 16);
    DeviceBuffer<int64_t> offsets(4);
    const int64_t* const given = ragged != 0 ? offsets.data() : nullptr;
    int64_t bytes = 0;
    char text[2048];
    EXPECT_EQ(gatun_cuda_attention_workspace_bytes(&p, ragged, 0, &bytes), GATUN_UNSUPPORTED);
    EXPECT_EQ(gatun_cuda_attention_explain(&p, ragged, 0, text, sizeof(text)), GATUN_UNSUPPORTED);
    EXPECT_EQ(gatun_cuda_attention(&p, memory.data(), memory.data(), memory.data(), given, given, nullptr, nullptr,
                                   nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, out.data(), nullptr,
                                   workspace.data(), 1 << 16, nullptr),
              GATUN_UNSUPPORTED);
    EXPECT_NE(std::string(gatun_cuda_last_error()).find("blocks of threads; allowed: up to 2^31 - 1"),
              std::string::npos)
        << gatun_cuda_last_error();
  };
  gatun_attention_params p = params_of(kKinds[1], 64);
  p.batch = int64_t{1} << 31;
  p.query_length = p.kv_length = 1;
  p.q_batch_stride = p.k_batch_stride = p.v_batch_stride = 0;
  p.out_batch_stride = p.out_row_stride;
  refused(p, 0);
  p.kv_length = 0;
  refused(p, 1);
  p = params_of(kKinds[3], 256);  // by the codes of k alone
  p.query_length = 1;
  p.kv_length = 1 << 30;
  p.batch = 1 << 10;
  p.q_batch_stride = p.k_batch_stride = p.v_batch_stride = 0;
  p.out_batch_stride = p.out_row_stride;
  refused(p, 0);
  p.query_length = 0;
  int64_t bytes = 0;
  EXPECT_EQ(gatun_cuda_attention_workspace_bytes(&p, 0, 0, &bytes), GATUN_OK);
  p = params_of(kKinds[3], 64);  // INT8 has no blocks for columns of v, of which there would be 2^31
  p.batch = 1 << 28;
  p.query_length = p.kv_length = 1;
  p.value_size = 256;
  p.v_row_stride = p.out_row_stride = 256;
  p.q_batch_stride = p.k_batch_stride = p.v_batch_stride = 0;
  p.out_batch_stride = p.out_row_stride;
  EXPECT_EQ(gatun_cuda_attention_workspace_bytes(&p, 0, 0, &bytes), GATUN_OK);
}

// INT8_FP8 where there is no kernel, by every entry and of every device.
TEST(AttentionEntry, RefusesWhatInt8Fp8DoesNotTake) {
  const auto refused = [](const gatun_attention_params& p, const char* says) {
    const Device device = device_of_tests();
    EXPECT_EQ(check_plan(plan_on(select(p, false, device), p, false), p, device), GATUN_UNSUPPORTED);
    DeviceBuffer<uint8_t> memory(1 << 19), out(1 << 19), workspace(1 << 16);
    int64_t bytes = 0;
    char text[2048];
    EXPECT_EQ(gatun_cuda_attention_workspace_bytes(&p, 0, 0, &bytes), GATUN_UNSUPPORTED);
    EXPECT_EQ(gatun_cuda_attention_explain(&p, 0, 0, text, sizeof(text)), GATUN_UNSUPPORTED);
    EXPECT_EQ(gatun_cuda_attention(&p, memory.data(), memory.data(), memory.data(), nullptr, nullptr, nullptr, nullptr,
                                   nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, out.data(), nullptr,
                                   workspace.data(), 1 << 16, nullptr),
              GATUN_UNSUPPORTED);
    EXPECT_NE(std::string(gatun_cuda_last_error()).find(says), std::string::npos) << gatun_cuda_last_error();
  };
  const Kind kind = {GATUN_BF16, GATUN_BF16, GATUN_ATTENTION_INT8_FP8};
  refused(params_of(kind, 136), "params.head_size = 136 in mode INT8_FP8; allowed: up to 128");
  gatun_attention_params p = params_of(kind, 64);
  p.value_size = 256;
  p.v_row_stride = p.out_row_stride = 256;
  refused(p, "params.value_size = 256 in mode INT8_FP8; allowed: up to 128");
  p = params_of(kind, 136);  // both: the first one, with its own number
  p.value_size = 256;
  p.v_row_stride = p.out_row_stride = 256;
  refused(p, "params.head_size = 136 in mode INT8_FP8; allowed: up to 128");
#if defined(GATUN_EMULATED)
  p = params_of(kind, 64);
  p.batch = 1 << 23;
  p.q_batch_stride = p.k_batch_stride = p.v_batch_stride = 0;
  p.out_batch_stride = p.out_row_stride * p.query_length;
  refused(p, "rows of q or of k in mode INT8_FP8; allowed: up to 2^31 - 257");
#endif
  p = params_of(kind, 64);
  Device device = device_of_tests();
  for (const auto& [major, minor] : {std::pair{8, 0}, {8, 9}, {10, 0}, {12, 0}}) {
    device.major = major;
    device.minor = minor;
    EXPECT_EQ(check_plan(plan_on(select(p, false, device), p, false), p, device), GATUN_UNSUPPORTED);
    const std::string says = "params.mode = 2 (INT8_FP8) on compute capability " + std::to_string(major) + "." +
                             std::to_string(minor) + "; allowed: 9.0, or another mode";
    EXPECT_EQ(gatun_last_error(), says);
  }
}

TEST(AttentionEntry, Explains) {
  char text[2048];
  const gatun_attention_params p = params_of(kKinds[0], 64);
  ASSERT_EQ(gatun_cuda_attention_explain(&p, 0, 0, text, sizeof(text)), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_NE(std::string(text).find("passed over attention_bf16_m128n64_sm80: it takes another dtype"),
            std::string::npos)
      << text;
  EXPECT_NE(std::string(text).find("kernel attention_f32_simt_sm80"), std::string::npos) << text;
  EXPECT_EQ(gatun_cuda_attention_explain(&p, 2, 0, text, sizeof(text)), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_cuda_attention_explain(&p, 0, 0, text, 10), GATUN_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace gatun::cuda::attention
