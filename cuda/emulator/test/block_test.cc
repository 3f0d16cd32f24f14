// What the emulator must notice, each shown by a kernel with that bug, and a right kernel beside it.
#include "block.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "every_way.h"
#include "gatun/status.h"
#include "ptx/launch.h"
#include "ptx/memory.h"
#include "ptx/number.h"
#include "ptx/warp.h"

namespace gatun::emulator {
namespace {

using namespace gatun::cuda;

// Each thread writes its number and reads that of the thread `distance` further on.
template <bool kBarrier>
void rotate(int distance, int* out) {
  int* const shared = reinterpret_cast<int*>(shared_memory());
  shared[thread_index()] = thread_index();
  if (kBarrier) block_barrier();
  out[thread_index()] = shared[(thread_index() + distance) % thread_count()];
}

int wrong(const std::vector<int>& out, int distance) {
  int count = 0;
  for (size_t i = 0; i < out.size(); ++i)
    count += out[i] != static_cast<int>((i + static_cast<size_t>(distance)) % out.size());
  return count;
}

template <bool kBarrier>
bool rotates() {
  std::vector<int> out(96, -1);
  EXPECT_EQ(launch("rotate", rotate<kBarrier>, {1, 1, 1, 96, 96 * 4}, nullptr, 40, out.data()), GATUN_OK);
  return wrong(out, 40) == 0;
}

TEST(Block, BarrierMakesWritesVisibleInEveryOrder) {
  in_every_way([] { EXPECT_TRUE(rotates<true>()); });
}

TEST(PlantedBlock, AMissingBarrierShowsInSomeOrder) { EXPECT_LT(ways(rotates<false>), 6); }

// One warp writes for the two others, which give back the place; the writer does not wait for what it has not to.
void pass_on(int rounds, int* out) {
  int* const shared = reinterpret_cast<int*>(shared_memory());
  for (int round = 0; round < rounds; ++round) {
    if (warp() == 0) {
      if (round > 0) barrier_wait(2, 96);
      shared[lane()] = 100 * round + lane();
      barrier_arrive(1, 96);
    } else {
      barrier_wait(1, 96);
      out[round * 64 + thread_index() - 32] = shared[31 - lane()];
      if (round + 1 < rounds) barrier_arrive(2, 96);
    }
  }
}

TEST(Block, NamedBarriersOfThoseWhoWaitAndThoseWhoArrive) {
  constexpr int kRounds = 4;
  in_every_way([] {
    std::vector<int> out(kRounds * 64);
    ASSERT_EQ(launch("pass_on", pass_on, {1, 1, 1, 96, 128}, nullptr, kRounds, out.data()), GATUN_OK) << last_fault();
    for (int i = 0; i < kRounds * 64; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], i / 64 * 100 + 31 - i % 32) << i;
  });
}

void half_waits(int*) {
  if (thread_index() < 32) block_barrier();
}

TEST(Block, DivergentBarrierIsAFault) {
  int out = 0;
  EXPECT_EQ(launch("half_waits", half_waits, {1, 1, 1, 64, 0}, nullptr, &out), GATUN_INTERNAL);
  EXPECT_NE(std::string(last_fault()).find("for ever"), std::string::npos) << last_fault();
  EXPECT_NE(std::string(last_fault()).find("barrier 0"), std::string::npos) << last_fault();
}

void lanes_part(int* out) {
  if (lane() < 16) {
    *out += shuffle(1, 0);
  } else {
    *out += static_cast<int>(ballot(true));
  }
}

TEST(Block, LanesAtDifferentInstructionsAreAFault) {
  int out = 0;
  EXPECT_EQ(launch("lanes_part", lanes_part, {1, 1, 1, 32, 0}, nullptr, &out), GATUN_INTERNAL);
  EXPECT_NE(std::string(last_fault()).find("shfl.sync.idx"), std::string::npos) << last_fault();
}

void exchange(uint32_t* out) {
  const int i = thread_index();
  out[i] = static_cast<uint32_t>(shuffle_xor(i, 5)) | ballot(lane() % 3 == 0) << 8;
}

TEST(Block, WarpExchanges) {
  for (const Order order : kOrders) {
    settings().order = order;
    std::vector<uint32_t> out(64);
    ASSERT_EQ(launch("exchange", exchange, {1, 1, 1, 64, 0}, nullptr, out.data()), GATUN_OK) << last_fault();
    for (uint32_t i = 0; i < 64; ++i) EXPECT_EQ(out[i], (i ^ 5u) | 0x49249249u << 8) << i;
  }
  settings() = Settings();
}

void largest(const uint32_t* values, uint32_t* out) { out[thread_index()] = reduce_max(values[thread_index()]); }

TEST(Block, LargestOfAWarp) {
  std::vector<uint32_t> values(64, 7), out(64);
  values[3] = 0x80000001;  // numbers without a sign
  values[9] = 0x7fffffff;
  values[63] = 8;
  for (const Order order : kOrders) {
    settings().order = order;
    ASSERT_EQ(launch("largest", largest, {1, 1, 1, 64, 0}, nullptr, values.data(), out.data()), GATUN_OK)
        << last_fault();
    for (uint32_t i = 0; i < 64; ++i) EXPECT_EQ(out[i], i < 32 ? 0x80000001u : 8u) << i;
  }
  settings() = Settings();
}

}  // namespace
}  // namespace gatun::emulator
