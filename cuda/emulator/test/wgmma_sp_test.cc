// Products of a group of warps with a sparse left operand against plain products of the whole matrix, and what must be
// noticed.
#include "ptx/wgmma_sp.h"

#include <gtest/gtest.h>

#include <cstring>

#include "device_buffer.h"
#include "every_way.h"
#include "gatun/status.h"
#include "ptx/launch.h"
#include "ptx/tma.h"

namespace gatun::emulator {
namespace {

using namespace gatun::cuda;
using test::DeviceBuffer;
using test::Rng;

// What a test multiplies: d[128 x n] = a[128 x depth] b[n x depth] by two groups of warps and two products, 128 bytes
// of each row of b, of a the half of it.
constexpr int kThreads = 256, kRows = 128, kRowBytes = 128, kSteps = 2, kStepBytes = kRowBytes / kSteps;

struct OfF16 : F16 {
  template <int n, int step>
  static void multiply(float (&d)[n / 2], const uint32_t (&a)[4], const uint32_t& metadata, uint64_t b) {
    wgmma_sp_f16<n, step>(d, a, metadata, b, step > 0);
  }
};
struct OfBf16 : Bf16 {
  template <int n, int step>
  static void multiply(float (&d)[n / 2], const uint32_t (&a)[4], const uint32_t& metadata, uint64_t b) {
    wgmma_sp_bf16<n, step>(d, a, metadata, b, step > 0);
  }
};
struct OfI8 : I8 {
  template <int n, int step>
  static void multiply(int32_t (&d)[n / 2], const uint32_t (&a)[4], const uint32_t& metadata, uint64_t b) {
    wgmma_sp_i8<n>(d, a, metadata, b, step > 0);
  }
};

enum class Bug {
  none,
  a_without_fence,
  metadata_without_fence,
  no_wait,
  a_overwritten,
  metadata_overwritten,
  b_overwritten,
  metadata_of_the_other_lane,
  metadata_of_the_other_step,
  half_a_step_of_b
};

// Shared memory: b, a barrier. Of `metadata` each step has a word of each thread.
template <class Of, int n, Bug bug>
void multiply_tiles(const typename Of::Type* a, const uint32_t* metadata, TensorMap b_map, typename Of::Sum* out) {
  uint8_t* const shared = shared_memory();
  Barrier* const barrier = reinterpret_cast<Barrier*>(shared + n * kRowBytes);
  if (thread_index() == 0) {
    barrier_init(barrier, 1);
    barrier_init_fence();
  }
  block_barrier();
  if (thread_index() == 0) {
    barrier_expect(barrier, n * kRowBytes);
    copy_tile(shared, &b_map, 0, 0, barrier);
  }
  wait_for(barrier, 0);

  const int row = warp() * 16 + lane() / 4, t = lane() % 4;
  const uint8_t* const stored = reinterpret_cast<const uint8_t*>(a);
  uint32_t fragment[kSteps][4], places[kSteps];
  for (int step = 0; step < kSteps; ++step) {
    for (int r = 0; r < 4; ++r) {
      std::memcpy(&fragment[step][r], stored + (row + r % 2 * 8) * 64 + step * 32 + 4 * t + r / 2 * 16, 4);
    }
    const int of_step = bug == Bug::metadata_of_the_other_step ? 1 - step : step;
    const int of_lane = bug == Bug::metadata_of_the_other_lane ? 1 : 0;
    places[step] = metadata[of_step * kThreads + (thread_index() ^ of_lane)];
  }
  typename Of::Sum d[n / 2];
  for (auto& x : d) x = 77;  // the first product does not add
  wgmma_fence(d);
  if (bug != Bug::a_without_fence) wgmma_fence(fragment);
  if (bug != Bug::metadata_without_fence) wgmma_fence(places);
  Of::template multiply<n, 0>(d, fragment[0], places[0], shared_matrix(shared));
  Of::template multiply<n, 1>(d, fragment[1], places[1],
                              shared_matrix(shared + (bug == Bug::half_a_step_of_b ? 32 : kStepBytes)));
  wgmma_commit();
  if (bug == Bug::a_overwritten) fragment[0][0] = 0x11111111;
  if (bug == Bug::metadata_overwritten) places[0] = places[1] = 0x44444444;
  if (bug == Bug::b_overwritten) std::memset(shared + thread_index(), 0x11, 1);
  if (bug != Bug::no_wait) wgmma_wait<0>(d, fragment, places);
  for (int i = 0; i < n / 2; ++i) out[(row + i / 2 % 2 * 8) * n + i / 4 * 8 + 2 * t + i % 2] = d[i];
}

// The words of every thread for every step. Words of 16 bits are those of the step in lanes of its selector, and
// otherwise metadata that nobody may take.
template <class Element>
std::vector<uint32_t> metadata_of(const Sparse<Element>& a) {
  std::vector<uint32_t> words;
  for (int64_t step = 0; step < kSteps; ++step) {
    for (int64_t thread = 0; thread < kThreads; ++thread) {
      const int64_t row = thread / 32 * 16 + thread % 32 / 4, t = thread % 4;
      if (sizeof(typename Element::Type) == 1) {
        words.push_back(a.places(row + t % 2 * 8, step * 32 + t / 2 * 16, 16));
      } else if (t / 2 == step) {
        const int64_t first = step * 16 + t % 2 * 8;
        words.push_back(a.places(row, first, 8) | a.places(row + 8, first, 8) << 16);
      } else {
        words.push_back(0x44444444);
      }
    }
  }
  return words;
}

enum class Outcome { right, wrong, fault };

template <class Of, int n, Bug bug = Bug::none>
Outcome multiplies() {
  using Sum = typename Of::Sum;
  constexpr int kBytes = static_cast<int>(sizeof(typename Of::Type)), kDepth = kRowBytes / kBytes;
  Rng rng(1);
  const Sparse<Of> a(rng, kRows, kDepth / 2, -40, 40);  // sums of products below 2^24
  const auto b = random_integers<Of>(rng, n * kDepth, -40, 40);
  const DeviceBuffer<typename Of::Type> device_a(a.stored), device_b(b);
  const DeviceBuffer<uint32_t> metadata(metadata_of(a));
  DeviceBuffer<Sum> out(kRows * n);
  TensorMap b_map;
  EXPECT_EQ(make_tensor_map(&b_map, device_b.data(), kBytes, n, kDepth, kRowBytes, n, kDepth, 128), GATUN_OK);
  if (launch("multiply_tiles", multiply_tiles<Of, n, bug>, {1, 1, 1, kThreads, n * kRowBytes + 8}, nullptr,
             device_a.data(), metadata.data(), b_map, out.data()) != GATUN_OK) {
    return Outcome::fault;
  }
  const auto expected = product<Of, Of>(a.whole, b, std::vector<Sum>(static_cast<size_t>(kRows * n)), kRows, n, kDepth);
  return out.copy() == expected ? Outcome::right : Outcome::wrong;
}

TEST(WgmmaSparse, EveryWidthAndType) {
  EXPECT_EQ((multiplies<OfF16, 64>()), Outcome::right) << last_fault();
  EXPECT_EQ((multiplies<OfF16, 192>()), Outcome::right) << last_fault();
  EXPECT_EQ((multiplies<OfBf16, 64>()), Outcome::right) << last_fault();
  EXPECT_EQ((multiplies<OfBf16, 192>()), Outcome::right) << last_fault();
  EXPECT_EQ((multiplies<OfI8, 64>()), Outcome::right) << last_fault();
  EXPECT_EQ((multiplies<OfI8, 192>()), Outcome::right) << last_fault();
}

TEST(WgmmaSparse, EveryOrder) {
  in_every_way([] {
    EXPECT_EQ((multiplies<OfF16, 64>()), Outcome::right) << last_fault();
    EXPECT_EQ((multiplies<OfBf16, 64>()), Outcome::right) << last_fault();
    EXPECT_EQ((multiplies<OfI8, 64>()), Outcome::right) << last_fault();
  });
}

// In how many orders, of three for each type, the bug is noticed.
template <Bug bug>
int noticed() {
  int count = 0;
  for (const Order order : kOrders) {
    settings().order = order;
    count += multiplies<OfF16, 64, bug>() != Outcome::right;
    count += multiplies<OfI8, 64, bug>() != Outcome::right;
  }
  settings() = Settings();
  return count;
}

TEST(PlantedWgmmaSparse, OperandsThatChangeBeforeTheWaitShow) {
  EXPECT_EQ(noticed<Bug::a_overwritten>(), 6);
  EXPECT_EQ(noticed<Bug::metadata_overwritten>(), 6);
  EXPECT_EQ(noticed<Bug::b_overwritten>(), 6);
  EXPECT_EQ(noticed<Bug::no_wait>(), 6);
}

TEST(PlantedWgmmaSparse, OperandsOfTheWrongPlaceShow) {
  EXPECT_EQ(noticed<Bug::metadata_of_the_other_lane>(), 6);
  EXPECT_EQ(noticed<Bug::metadata_of_the_other_step>(), 6);
  EXPECT_EQ(noticed<Bug::half_a_step_of_b>(), 6);
}

TEST(PlantedWgmmaSparse, AMissingFenceIsAFault) {
  EXPECT_EQ((multiplies<OfF16, 64, Bug::a_without_fence>()), Outcome::fault);
  EXPECT_NE(std::string(last_fault()).find("wgmma_fence"), std::string::npos) << last_fault();
  EXPECT_EQ((multiplies<OfI8, 64, Bug::metadata_without_fence>()), Outcome::fault);
  EXPECT_NE(std::string(last_fault()).find("wgmma_fence"), std::string::npos) << last_fault();
}

}  // namespace
}  // namespace gatun::emulator
