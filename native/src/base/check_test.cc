// Checks that entry points share, and the message of a failure on another thread.
#include "base/check.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "base/failure.h"
#include "base/status.h"
#include "gatun/types.h"

namespace gatun {
namespace {

TEST(Check, Dtypes) {
  EXPECT_EQ(check_dtype(GATUN_F16, {GATUN_F32, GATUN_F16}, "x"), GATUN_OK);
  EXPECT_EQ(check_dtype(GATUN_U4, {GATUN_F32, GATUN_F16}, "params.x"), GATUN_INVALID_ARGUMENT);
  EXPECT_STREQ(gatun_last_error(), ("params.x = " + std::to_string(GATUN_U4) + " (U4); allowed: F32, F16").c_str());
  EXPECT_EQ(check_dtype(-7, {GATUN_I8}, "x"), GATUN_INVALID_ARGUMENT);
  EXPECT_STREQ(gatun_last_error(), "x = -7 (no dtype); allowed: I8");
}

TEST(Check, Absent) {
  const int x = 0;
  EXPECT_EQ(check_absent(true, &x, "x", "there is no y"), GATUN_OK);
  EXPECT_EQ(check_absent(false, nullptr, "x", "there is no y"), GATUN_OK);
  EXPECT_EQ(check_absent(false, &x, "x", "there is no y"), GATUN_INVALID_ARGUMENT);
  EXPECT_STREQ(gatun_last_error(), "x is not null; allowed: null, since there is no y");
}

TEST(Check, BlocksOf) {
  EXPECT_EQ(blocks_of(0, 5), 0);
  EXPECT_EQ(blocks_of(5, 5), 1);
  EXPECT_EQ(blocks_of(6, 5), 2);
  EXPECT_EQ(blocks_of(INT64_MAX, INT64_MAX - 1), 2);
}

class Buffers : public ::testing::Test {
 protected:
  void refused(Buffer (&buffers)[2], const std::string& words, const Buffer* in_place = nullptr,
               const Buffer* original = nullptr) {
    EXPECT_EQ(check_buffers(buffers, in_place, original), GATUN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(gatun_last_error()).find(words), std::string::npos) << gatun_last_error();
  }
  int32_t memory[32] = {};
};

TEST_F(Buffers, SizesNullsAndAlignment) {
  // 3 rows of 4 elements, 5 apart: the last element is number 13.
  Buffer good[] = {{"x", memory, 3, 4, 5, 4, false}, {"y", memory + 14, 1, 4, 4, 4, true, 2}};
  EXPECT_EQ(check_buffers(good), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(good[0].bytes, 14 * 4);
  EXPECT_EQ(good[1].bytes, 7 * 4);
  Buffer empty[] = {{"x", nullptr, 0, INT64_MAX, INT64_MAX, 4, false}, {"y", nullptr, INT64_MAX, 0, 0, 4, true}};
  EXPECT_EQ(check_buffers(empty), GATUN_OK) << gatun_last_error();
  Buffer null[] = {good[0], {"y", nullptr, 1, 1, 1, 4, true}};
  refused(null, "y is null");
  Buffer odd[] = {good[0], {"y", reinterpret_cast<char*>(memory) + 2, 1, 1, 1, 4, false}};
  refused(odd, "y is at address");
  Buffer huge[] = {{"x", memory, INT64_MAX, 2, INT64_MAX, 4, false}, good[1]};
  refused(huge, "x: ");
}

TEST_F(Buffers, OutputsOverlapNothing) {
  Buffer inputs[] = {{"a", memory, 1, 4, 4, 4, false}, {"b", memory, 1, 4, 4, 4, false}};
  EXPECT_EQ(check_buffers(inputs), GATUN_OK);
  Buffer over_input[] = {{"y", memory + 3, 1, 4, 4, 4, true}, {"x", memory, 1, 4, 4, 4, false}};
  refused(over_input, "y [");
  Buffer outputs[] = {{"y", memory, 1, 4, 4, 4, true}, {"z", memory + 3, 1, 4, 4, 4, true}};
  refused(outputs, "z [");
  Buffer same[] = {{"x", memory, 2, 4, 4, 4, false}, {"y", memory, 2, 4, 4, 4, true}};
  refused(same, "y [");
  EXPECT_EQ(check_buffers(same, &same[1], &same[0]), GATUN_OK) << "in place";
  same[1].row_stride = 5;
  refused(same, "y [", &same[1], &same[0]);
  same[1].row_stride = 4;
  same[1].address = memory + 1;
  refused(same, "y [", &same[1], &same[0]);
}

TEST(Failure, OfAnotherThreadKeepsItsMessage) {
  FirstFailure failure;
  EXPECT_EQ(failure.result(), GATUN_OK);
  fail(GATUN_INVALID_ARGUMENT, "of the caller");
  std::thread([&] {
    failure.note(GATUN_OK);
    failure.note(fail(GATUN_OUT_OF_RESOURCES, "no memory for %d of 100%%", 7));
    failure.note(fail(GATUN_INTERNAL, "a later one"));
  }).join();
  EXPECT_STREQ(gatun_last_error(), "of the caller");
  EXPECT_EQ(failure.result(), GATUN_OUT_OF_RESOURCES);
  EXPECT_STREQ(gatun_last_error(), "no memory for 7 of 100%");
}

}  // namespace
}  // namespace gatun
