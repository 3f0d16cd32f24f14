// Asynchronous copies of threads, and what must be noticed of a pipeline of them.
#include "ptx/cp_async.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "device_buffer.h"
#include "every_way.h"
#include "gatun/status.h"
#include "ptx/launch.h"

namespace gatun::emulator {
namespace {

using namespace gatun::cuda;
using test::DeviceBuffer;
using test::Rng;

constexpr int kThreads = 96, kTile = kThreads * 16, kTiles = 5;

enum class Bug { none, no_wait, short_wait, no_barrier_before_reading, no_barrier_before_overwriting };

// Tiles through two stages of shared memory; each thread reads what another one has copied.
template <Bug bug>
void stream(const uint8_t* from, uint8_t* out) {
  uint8_t* const shared = shared_memory();
  const int own = 16 * thread_index(), other = 16 * ((thread_index() + 40) % kThreads);
  copy_async_16(shared + own, from + own);
  copy_async_commit();
  for (int tile = 0; tile < kTiles; ++tile) {
    if (tile + 1 < kTiles) copy_async_16(shared + (tile + 1) % 2 * kTile + own, from + (tile + 1) * kTile + own);
    copy_async_commit();
    if (bug != Bug::no_wait) copy_async_wait<bug == Bug::short_wait ? 2 : 1>();
    if (bug != Bug::no_barrier_before_reading) block_barrier();
    for (int i = 0; i < 16; ++i) out[tile * kTile + own + i] = shared[tile % 2 * kTile + other + i];
    if (bug != Bug::no_barrier_before_overwriting) block_barrier();
  }
}

template <Bug bug>
bool streams() {
  Rng rng(1);
  const auto from = rng.integers<uint8_t>(kTiles * kTile, 1, 255);
  const DeviceBuffer<uint8_t> device_from(from);
  DeviceBuffer<uint8_t> device_out(kTiles * kTile);
  EXPECT_EQ(
      launch("stream", stream<bug>, {1, 1, 1, kThreads, 2 * kTile}, nullptr, device_from.data(), device_out.data()),
      GATUN_OK)
      << last_fault();
  auto expected = from;
  for (auto at = expected.begin(); at != expected.end(); at += kTile) std::rotate(at, at + 40 * 16, at + kTile);
  return device_out.copy() == expected;
}

TEST(CopyAsync, APipelineBringsEveryTile) {
  in_every_way([] { EXPECT_TRUE(streams<Bug::none>()); });
}

TEST(PlantedCopyAsync, AMissingWaitLeavesOldBytesInEveryOrder) {
  settings().effects = Effects::last;
  for (const Order order : kOrders) {
    settings().order = order;
    EXPECT_FALSE(streams<Bug::no_wait>());
    EXPECT_FALSE(streams<Bug::short_wait>());
  }
  settings() = Settings();
}

TEST(PlantedCopyAsync, AMissingBarrierShowsInSomeOrder) { EXPECT_LT(ways(streams<Bug::no_barrier_before_reading>), 6); }

TEST(PlantedCopyAsync, AWriteToAStageThatIsReadShowsInSomeOrder) {
  EXPECT_LT(ways(streams<Bug::no_barrier_before_overwriting>), 6);
}

void partial(const uint8_t* from, uint8_t* out) {
  uint8_t* const own = shared_memory() + 16 * thread_index();
  for (int i = 0; i < 16; ++i) own[i] = 0xee;
  copy_async_16(own, from + 16 * thread_index(), thread_index());
  copy_async_commit();
  copy_async_wait<0>();
  for (int i = 0; i < 16; ++i) out[16 * thread_index() + i] = own[i];
}

TEST(CopyAsync, TheRestOfSixteenBytesIsZeros) {
  // The last thread reads 16 bytes, the first one none.
  const DeviceBuffer<uint8_t> from(std::vector<uint8_t>(17 * 16, 7));
  in_every_way([&] {
    DeviceBuffer<uint8_t> out(17 * 16);
    ASSERT_EQ(launch("partial", partial, {1, 1, 1, 17, 17 * 16}, nullptr, from.data(), out.data()), GATUN_OK);
    const auto bytes = out.copy();
    for (size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], i % 16 < i / 16 ? 7 : 0) << i;
  });
}

void copy_at(int64_t shared_offset, const uint8_t* from, int bytes) {
  copy_async_16(shared_memory() + shared_offset, from, bytes);
}

TEST(CopyAsync, AddressesAreChecked) {
  const DeviceBuffer<uint8_t> from(64);
  const Grid grid = {1, 1, 1, 1, 64};
  EXPECT_EQ(launch("copy_at", copy_at, grid, nullptr, 48, from.data() + 48, 16), GATUN_OK);
  EXPECT_EQ(launch("copy_at", copy_at, grid, nullptr, 8, from.data(), 16), GATUN_INTERNAL);
  EXPECT_EQ(launch("copy_at", copy_at, grid, nullptr, 64, from.data(), 16), GATUN_INTERNAL);
  EXPECT_EQ(launch("copy_at", copy_at, grid, nullptr, -16, from.data(), 16), GATUN_INTERNAL);
  EXPECT_EQ(launch("copy_at", copy_at, grid, nullptr, 0, from.data() + 8, 8), GATUN_INTERNAL);
  EXPECT_EQ(launch("copy_at", copy_at, grid, nullptr, 0, from.data(), 17), GATUN_INTERNAL);
  EXPECT_NE(std::string(last_fault()).find("0..16"), std::string::npos) << last_fault();
}

}  // namespace
}  // namespace gatun::emulator
