// What is refused, which kernels are selected, and a small problem of each kernel.
#include <cmath>

#include "decode/test_device.h"

namespace gatun::cuda::decode {
namespace {

Spec bf16_spec() {
  Spec spec;
  spec.dtype = spec.out_dtype = GATUN_BF16;
  spec.k = spec.v = {GATUN_BF16};
  spec.lengths = {40};
  return spec;
}

TEST(DecodeBoundary, Refusals) {
  DeviceProblem problem(bf16_spec());
  const gatun_kv_layout &k = problem.host.k_layout(), &v = problem.host.v_layout();
  gatun_decode_params p = problem.host.params();
  p.logits_row_stride = p.logits_head_stride = p.logits_batch_stride = p.table_stride * k.page_size;
  DeviceBuffer<uint16_t> q(64), pool(rows_bytes(k) / 2), values(rows_bytes(k) / 2), out(64);
  DeviceBuffer<int32_t> table(std::vector<int32_t>(static_cast<size_t>(p.table_stride), 0));
  DeviceBuffer<int64_t> lengths(std::vector<int64_t>{1});
  DeviceBuffer<float> lse(1), logits(p.logits_row_stride);
  int64_t bytes = 0;
  ASSERT_EQ(gatun_cuda_decode_workspace_bytes(&p, &k, &v, 0, &bytes), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(bytes, (p.table_stride * k.page_size + 255) / 256 * (64 + 2) * 4);
  DeviceBuffer<uint8_t> workspace(bytes);
  struct Arguments {
    const void* q;
    const int32_t* table;
    void *out, *workspace;
    int64_t bytes;
    float* logits;
  };
  const Arguments good = {q.data(), table.data(), out.data(), workspace.data(), bytes, logits.data()};
  const auto call = [&](const Arguments& a) {
    return gatun_cuda_decode(&p, &k, &v, a.q, pool.data(), nullptr, nullptr, values.data(), nullptr, nullptr, a.table,
                             lengths.data(), nullptr, nullptr, a.out, lse.data(), a.logits, a.workspace, a.bytes,
                             nullptr);
  };
  ASSERT_EQ(call(good), GATUN_OK) << gatun_cuda_last_error();
  const auto refuses = [&](const char* message, auto change) {
    Arguments a = good;
    const gatun_decode_params kept = p;
    change(a);
    EXPECT_EQ(call(a), GATUN_INVALID_ARGUMENT) << message;
    EXPECT_NE(std::strstr(gatun_cuda_last_error(), message), nullptr) << gatun_cuda_last_error();
    p = kept;
  };
  uint16_t host[64];
  refuses("q = ", [&](Arguments& a) { a.q = host; });
  refuses("q", [&](Arguments& a) { a.q = nullptr; });
  refuses("out", [&](Arguments& a) { a.out = nullptr; });
  refuses("params.table_stride", [&](Arguments& a) { a.table = nullptr; });
  refuses("workspace_bytes", [&](Arguments& a) { --a.bytes; });
  refuses("workspace", [&](Arguments& a) { a.workspace = nullptr; });
  refuses("workspace", [&](Arguments& a) { a.workspace = host; });
  refuses("overlap", [&](Arguments& a) { a.out = lse.data(); });
  refuses("params.logits_row_stride", [&](Arguments&) {
    p.query_length = 2;
    --p.logits_row_stride;
  });
  refuses("params.query_length", [&](Arguments&) { p.query_length = 257; });
  refuses("params.struct_size", [&](Arguments&) { p.struct_size = 4; });
  EXPECT_EQ(gatun_cuda_decode(nullptr, &k, &v, q.data(), pool.data(), nullptr, nullptr, values.data(), nullptr, nullptr,
                              table.data(), lengths.data(), nullptr, nullptr, out.data(), nullptr, nullptr,
                              workspace.data(), bytes, nullptr),
            GATUN_INVALID_ARGUMENT);
}

TEST(DecodeBoundary, Explains) {
  char text[2048];
  const auto explain = [&](const Spec& spec) -> std::string {
    DeviceProblem problem(spec);
    const gatun_decode_params p = problem.host.params();
    EXPECT_EQ(gatun_cuda_decode_explain(&p, &problem.host.k_layout(), &problem.host.v_layout(), 0, text, sizeof(text)),
              GATUN_OK)
        << gatun_cuda_last_error();
    return text;
  };
  const auto expect = [&](const Spec& spec, const char* first, const char* why) {
    const std::string said = explain(spec);
    EXPECT_EQ(said.find(first), 0u) << said;
    EXPECT_NE(said.find(why), std::string::npos) << said;
  };
  Spec spec = bf16_spec();
  expect(spec, "decode_tiles_m16n128_sm80:", "cut at multiples of 256");
  spec.size = 136;
  expect(spec, "decode_tiles_m16n256_sm80:", "rows are longer");
  spec.size = 68 * 2;
  spec.dtype = spec.out_dtype = GATUN_F16;
  expect(spec, "decode_f32_m4n64_sm80:", "do not go together");
  spec = bf16_spec();
  spec.k = {GATUN_U4, GATUN_KV_PER_CHANNEL, GATUN_ZERO_NONE, 16};
  expect(spec, "decode_f32_m4n64_sm80:", "scales are those of channels");
  spec.k = {GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_NONE, 16};
  expect(spec, "decode_f32_m4n64_sm80:", "multiples of 32");
  spec.k = {GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_NONE, 0};
  spec.size = 40;
  expect(spec, "decode_f32_m4n64_sm80:", "multiples of 16 bytes");
}

// The rows of q in a part's room are 16; the parts are of the shape alone.
TEST(DecodeBoundary, PartsDoNotDependOnTheBatch) {
  Call call = {};
  call.k.page_size = 16;
  call.p.table_stride = 2048;
  call.k.heads = 8;
  call.p.query_heads = 32;
  call.p.query_length = 1;
  for (const int64_t batch : {0, 1, 100000}) {
    call.p.batch = batch;
    EXPECT_EQ(parts_of(call).keys, 1024);
    EXPECT_EQ(parts_of(call).count, 32);
  }
  call.p.table_stride = 256;
  EXPECT_EQ(parts_of(call).keys, 256);
  call.p.table_stride = int64_t{1} << 40;
  EXPECT_LE(parts_of(call).count, 1 << 15);
  call.p.batch = int64_t{1} << 50;
  int64_t bytes;
  EXPECT_EQ(workspace_bytes(call, &bytes), GATUN_OUT_OF_RESOURCES);
}

TEST(DecodeBoundary, EmptyWorkNeedsNoMemory) {
  DeviceProblem problem(bf16_spec());
  gatun_decode_params p = problem.host.params();
  gatun_kv_layout k = problem.host.k_layout(), v = problem.host.v_layout();
  p.batch = 0;
  int64_t bytes = 1;
  ASSERT_EQ(gatun_cuda_decode_workspace_bytes(&p, &k, &v, 0, &bytes), GATUN_OK);
  EXPECT_EQ(bytes, 0);
  DeviceBuffer<uint8_t> pool(rows_bytes(k)), values(rows_bytes(v));
  EXPECT_EQ(gatun_cuda_decode(&p, &k, &v, nullptr, pool.data(), nullptr, nullptr, values.data(), nullptr, nullptr,
                              nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, nullptr),
            GATUN_INVALID_ARGUMENT);  // without a table its stride is 1
  p.table_stride = 1;
  EXPECT_EQ(gatun_cuda_decode(&p, &k, &v, nullptr, pool.data(), nullptr, nullptr, values.data(), nullptr, nullptr,
                              nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, nullptr),
            GATUN_OK)
      << gatun_cuda_last_error();
}

// Calls of two heads that see no key, with null pools.
void expect_nothing_seen(const Format& format, int64_t table_stride, int64_t pages) {
  Spec spec = bf16_spec();
  spec.k = spec.v = format;
  spec.heads = 2;
  DeviceProblem problem(spec);
  SCOPED_TRACE(describe(spec));
  gatun_decode_params p = problem.host.params();
  gatun_kv_layout k = problem.host.k_layout(), v = problem.host.v_layout();
  k.pages = v.pages = pages;
  p.table_stride = table_stride;
  const int64_t room = table_stride * k.page_size, length = std::min<int64_t>(room, 5);
  p.logits_row_stride = p.logits_head_stride = room + 1;
  p.logits_batch_stride = 2 * p.logits_head_stride;
  int64_t bytes = 0;
  ASSERT_EQ(gatun_cuda_decode_workspace_bytes(&p, &k, &v, 0, &bytes), GATUN_OK) << gatun_cuda_last_error();
  DeviceBuffer<uint16_t> q(2 * k.size), out(2 * v.size);
  DeviceBuffer<int32_t> table(std::vector<int32_t>(static_cast<size_t>(table_stride + 1), 0));
  DeviceBuffer<int64_t> lengths(std::vector<int64_t>{5});
  DeviceBuffer<float> lse(p.lse_head_stride + 1), logits(2 * (room + 1));
  DeviceBuffer<uint8_t> workspace(bytes);
  const DeviceBuffer<uint8_t> rows(pages == 0 ? 0 : rows_bytes(k));
  const void* const pool = pages == 0 ? nullptr : rows.data();
  ASSERT_EQ(gatun_cuda_decode(&p, &k, &v, q.data(), pool, nullptr, nullptr, pool, nullptr, nullptr, table.data(),
                              lengths.data(), nullptr, nullptr, out.data(), lse.data(), logits.data(), workspace.data(),
                              bytes, nullptr),
            GATUN_OK)
      << gatun_cuda_last_error();
  for (const uint16_t y : out.copy()) EXPECT_EQ(y, 0);
  const std::vector<float> of_keys = logits.copy(), of_rows = lse.copy();
  for (const int64_t h : {0, 1}) {
    EXPECT_EQ(of_rows[static_cast<size_t>(h * p.lse_head_stride)], -INFINITY);
    for (int64_t j = 0; j < room + 1; ++j) {
      const float logit = of_keys[static_cast<size_t>(h * (room + 1) + j)];
      EXPECT_TRUE(j < length ? logit == -INFINITY : std::isnan(logit)) << h << ", " << j;
    }
  }
}

TEST(DecodeBoundary, NothingToSee) {
  change_conditions(0);
  for (const Format& format : {Format{GATUN_BF16}, Format{GATUN_I8, GATUN_KV_PER_TOKEN},
                               Format{GATUN_U4, GATUN_KV_PER_CHANNEL, GATUN_ZERO_FLOAT, 16}}) {
    ASSERT_NO_FATAL_FAILURE(expect_nothing_seen(format, 3, 0));
  }
  ASSERT_NO_FATAL_FAILURE(expect_nothing_seen({GATUN_BF16}, 0, 0));
  ASSERT_NO_FATAL_FAILURE(expect_nothing_seen({GATUN_BF16}, 0, 3));
}

// Those of codes may be null then, so that tiles could not tell them from values.
TEST(DecodeBoundary, TilesNeedPages) {
  DeviceProblem problem(bf16_spec());
  Call call = {};
  const gatun_decode_params p = problem.host.params();
  ASSERT_EQ(gatun::decode::read(&p, &problem.host.k_layout(), nullptr, &call), GATUN_OK);
  const KernelRow& tiles = *kernel_rows().find("decode_tiles_m16n128_sm80");
  EXPECT_EQ(why_not(tiles, call, nullptr, nullptr), nullptr);
  call.k.pages = 0;
  EXPECT_STREQ(why_not(tiles, call, nullptr, nullptr), "there are no pages");
}

// Their places in a part have 32 bits.
TEST(DecodeBoundary, TilesOfPartsThatAreTooLong) {
  DeviceProblem problem(bf16_spec());
  Call call = {};
  const gatun_decode_params p = problem.host.params();
  ASSERT_EQ(gatun::decode::read(&p, &problem.host.k_layout(), nullptr, &call), GATUN_OK);
  const KernelRow& tiles = *kernel_rows().find("decode_tiles_m16n128_sm80");
  call.k.page_size = 1 << 20;
  call.p.table_stride = 1 << 25;
  EXPECT_EQ(why_not(tiles, call, nullptr, nullptr), nullptr);
  ++call.p.table_stride;
  EXPECT_STREQ(why_not(tiles, call, nullptr, nullptr), "the table has room for too many keys");
}

TEST(DecodeBoundary, NoQueries) {
  DeviceProblem problem(bf16_spec());
  gatun_decode_params p = problem.host.params();
  p.query_length = 0;
  int64_t bytes = 1;
  const gatun_kv_layout &k = problem.host.k_layout(), &v = problem.host.v_layout();
  ASSERT_EQ(gatun_cuda_decode_workspace_bytes(&p, &k, &v, 0, &bytes), GATUN_OK);
  EXPECT_EQ(bytes, 0);
  DeviceBuffer<uint8_t> pool(rows_bytes(k)), values(rows_bytes(v));
  DeviceBuffer<int32_t> table(p.table_stride);
  DeviceBuffer<int64_t> lengths(std::vector<int64_t>{40});
  EXPECT_EQ(
      gatun_cuda_decode(&p, &k, &v, nullptr, pool.data(), nullptr, nullptr, values.data(), nullptr, nullptr,
                        table.data(), lengths.data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, nullptr),
      GATUN_OK)
      << gatun_cuda_last_error();
}

TEST(DecodeBoundary, MostQueries) {
  int64_t number = 0;
  for (const Format& format : {Format{GATUN_BF16}, Format{GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT, 0}}) {
    Spec spec = bf16_spec();
    spec.k = spec.v = format;
    spec.size = spec.value_size = 32;
    spec.query_length = 256;
    spec.lengths = {270};
    spec.causal = true;
    spec.logits = false;
    DeviceProblem problem(spec);
    ASSERT_NO_FATAL_FAILURE(problem.compare(number++));
  }
}

// Short enough for valgrind.
TEST(SmallestOfEachKernel, IsRight) {
  for (const Format& format : {Format{GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT, 32}, Format{GATUN_BF16}}) {
    for (const int64_t size : {64, 256}) {
      Spec spec = bf16_spec();
      spec.k = spec.v = format;
      spec.size = size;
      spec.lengths = {33};
      DeviceProblem problem(spec);
      ASSERT_NO_FATAL_FAILURE(problem.compare(size));
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::decode
