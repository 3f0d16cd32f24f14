// Which kernels are chosen, and how work is cut, for devices that are invented.
#include "quantize/select.h"

#include <string>

#include "quantize/device_call.h"

namespace gatun::cuda::quantize {
namespace {

Device device_of(int32_t multiprocessors) {
  return {0, 9, 0, multiprocessors, 1'700'000, 227 * 1024, int64_t{50} << 20, int64_t{140} << 30, "invented"};
}

// Each chunk of a matrix is some thread's exactly once: what Walker computes, here by plain numbers.
void expect_whole(const gatun_quantize_params& p, const Plan& plan) {
  const Walk& walk = plan.coded;
  const int64_t teams = walk.whole_block ? 1 : plan.code.threads / walk.team;
  const int64_t stride = plan.code.blocks_x * teams;
  EXPECT_EQ(stride, walk.step_slow * walk.fast + walk.step_fast);
  EXPECT_LT(walk.step_fast, walk.fast);
  EXPECT_GE(stride * walk.steps, walk.rows * walk.columns);
  EXPECT_LT(stride * (walk.steps - 1), walk.rows * walk.columns);
  EXPECT_GE(walk.team, walk.unit_chunks * walk.unit_rows);
  EXPECT_EQ((walk.rows - 1) * walk.unit_rows + walk.last_rows, p.rows);
  EXPECT_EQ((walk.columns - 1) * walk.width + walk.last_width, p.depth);
  EXPECT_EQ(walk.width, walk.chunks ? kChunk : p.group);
  EXPECT_GE(walk.unit_chunks * kChunk, walk.width);
  EXPECT_EQ(plan.code.threads % 32, 0);
  EXPECT_LE(plan.code.threads, kMostThreads);
  EXPECT_LE(plan.code.shared_bytes, 100 * 1024);
}

TEST(Select, EveryShapeIsCutWhole) {
  const Format format = {GATUN_F8E4M3, 0, 0, GATUN_F32, 0};
  for (const int32_t multiprocessors : {1, 20, 132}) {
    for (const int64_t rows : {1, 7, 4096}) {
      for (const int64_t depth : {1, 16, 100, 4096, 1 << 20}) {
        for (const int64_t group : {16, 17, 32, 100, 128, 512, 528, 4096, 16384, 1 << 20}) {
          if (group > depth) continue;
          for (const int64_t group_rows : {1, 5, 128}) {
            if (group_rows > rows) continue;
            gatun_quantize_params p = make_params(format, rows, depth, group);
            p.group_rows = group_rows;
            SCOPED_TRACE(describe(p));
            expect_whole(p, plan_quantize(p, device_of(multiprocessors)));
            expect_whole(p, plan_dequantize(p, device_of(multiprocessors)));
          }
        }
      }
    }
  }
}

TEST(Select, TeamsFitBlocks) {
  const struct {
    int64_t group;
    int32_t team;
    bool whole_block;
  } cases[] = {{16, 1, false},   {32, 2, false},  {48, 4, false},    {128, 8, false},
               {512, 32, false}, {528, 64, true}, {4096, 256, true}, {16384, 1024, true}};
  for (const auto& c : cases) {
    const gatun_quantize_params p = make_params({GATUN_I8, 0, 0, GATUN_F32, 0}, 4096, 16384, c.group);
    const Plan plan = plan_quantize(p, device_of(132));
    EXPECT_TRUE(plan.make_in_code);
    EXPECT_EQ(plan.coded.team, c.team) << c.group;
    EXPECT_EQ(plan.coded.whole_block, c.whole_block) << c.group;
    EXPECT_EQ(plan.code.threads, c.whole_block ? c.team : 256);
    EXPECT_EQ(workspace_bytes(p), 0);
  }
}

TEST(Select, BlocksOf128x128AreOneThreadBlock) {
  gatun_quantize_params p = make_params({GATUN_F8E4M3, 0, 0, GATUN_F32, 0}, 4096, 7168, 128);
  p.group_rows = 128;
  const Plan plan = plan_quantize(p, device_of(132));
  EXPECT_TRUE(plan.make_in_code);
  EXPECT_EQ(plan.code.threads, 1024);
  EXPECT_EQ(plan.coded.unit_chunks, 8);
  EXPECT_EQ(plan.coded.unit_rows, 128);
}

TEST(Select, LargeBlocksAreScannedInParts) {
  const gatun_quantize_params p = make_params({GATUN_I8, 0, 0, GATUN_F32, 0}, 1, 1 << 30, 1 << 30);
  const Plan plan = plan_quantize(p, device_of(132));
  EXPECT_EQ(plan.parts_of_block, (1 << 30) / (kChunk * kPartChunks));
  EXPECT_EQ(plan.scan.blocks_x, plan.parts_of_block);
  EXPECT_EQ(plan.merge.blocks_x, 1);
  EXPECT_FALSE(plan.make_in_code);
  EXPECT_EQ(workspace_bytes(p), plan.parts_of_block * 16);
  EXPECT_EQ(plan_quantize(p, device_of(1)).parts_of_block, plan.parts_of_block);  // results depend on the shape alone
}

TEST(Select, GroupsThatShareBytesTakeTwoPasses) {
  const struct {
    int32_t code_dtype;
    int64_t group;
    bool twice;
  } cases[] = {{GATUN_F8E4M3, 17, false}, {GATUN_F4E2M1, 17, true},  {GATUN_F4E2M1, 18, false},
               {GATUN_F6E3M2, 18, true},  {GATUN_F6E3M2, 20, false}, {GATUN_F4E2M1, 64, false}};
  for (const auto& c : cases) {
    const gatun_quantize_params p = make_params({c.code_dtype, 0, 0, GATUN_F32, 0}, 5, 1000, c.group);
    const Plan plan = plan_quantize(p, device_of(132));
    EXPECT_EQ(plan.make.blocks_x > 0, c.twice) << describe(p);
    EXPECT_EQ(plan.coded.chunks, c.twice) << describe(p);
    gatun_quantize_params given = p;
    given.scale_rule = GATUN_SCALE_GIVEN;
    EXPECT_EQ(plan_quantize(given, device_of(132)).make.blocks_x, 0);
  }
}

// Few values are spread over all multiprocessors; thread blocks with tables do many units.
TEST(Select, Grids) {
  gatun_quantize_params p = make_params({GATUN_I8, 0, 0, GATUN_F32, 0}, 1, 16 * 2048, 32);
  EXPECT_EQ(plan_quantize(p, device_of(132)).code.threads, 32);
  EXPECT_EQ(plan_quantize(p, device_of(132)).code.blocks_x, 64);
  p = make_params({GATUN_U8, GATUN_BOOK_DYNAMIC, 0, GATUN_F32, 0}, 1, 1 << 28, 256);
  EXPECT_EQ(plan_quantize(p, device_of(132)).code.threads, 512);
  EXPECT_EQ(plan_quantize(p, device_of(132)).code.blocks_x, 132 * kResidentThreads / 512);
  EXPECT_GT(plan_quantize(p, device_of(132)).coded.steps, 1);
}

TEST(Select, OneKernelForEachPairOfTypes) {
  std::vector<std::string> names;
  for (const Format& format : formats()) {
    for (const int32_t x_dtype : kFloats) {
      const Kernel* kernel = plan_quantize(make_params(format, 1, 32, 32, x_dtype), device_of(1)).kernel;
      ASSERT_NE(kernel, nullptr);
      EXPECT_EQ(kernel->x_dtype, x_dtype);
      EXPECT_EQ(kernel->code_dtype, format.code_dtype);
      EXPECT_EQ(kernel->book, format.book != 0);
      names.push_back(kernel->name);
    }
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()) - names.begin(), 33);
}

}  // namespace
}  // namespace gatun::cuda::quantize
