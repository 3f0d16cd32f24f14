// Products of a group of warps: operands that copies of tiles bring, against plain products, and what must be noticed.
#include "ptx/wgmma.h"

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

// What a test multiplies: d[128 x n] = a[128 x depth] b[n x depth] by two groups of warps, rows of a and of b (or of
// the transposed b) in atoms of 128 bytes.
constexpr int kThreads = 256, kRows = 128, kAtoms = 2, kRowBytes = 128 * kAtoms;

struct OfF16 {
  using A = F16;
  using B = F16;
  template <int n, bool transposed_b, class From>
  static void multiply(float (&d)[n / 2], const From& a, uint64_t b, bool accumulate) {
    wgmma_f16<n, transposed_b>(d, a, b, accumulate);
  }
};
struct OfBf16 {
  using A = Bf16;
  using B = Bf16;
  template <int n, bool transposed_b, class From>
  static void multiply(float (&d)[n / 2], const From& a, uint64_t b, bool accumulate) {
    wgmma_bf16<n, transposed_b>(d, a, b, accumulate);
  }
};
struct OfI8 {
  using A = I8;
  using B = I8;
  template <int n, bool, class From>
  static void multiply(int32_t (&d)[n / 2], const From& a, uint64_t b, bool accumulate) {
    wgmma_i8<n>(d, a, b, accumulate);
  }
};
struct OfE4m3 {
  using A = E4m3;
  using B = E4m3;
  template <int n, bool, class From>
  static void multiply(float (&d)[n / 2], const From& a, uint64_t b, bool accumulate) {
    wgmma_e4m3<n>(d, a, b, accumulate);
  }
};
struct OfU8 {
  using A = U8;
  using B = I8;
  template <int n, bool, class From>
  static void multiply(int32_t (&d)[n / 2], const From& a, uint64_t b, bool accumulate) {
    wgmma_u8_i8<n>(d, a, b, accumulate);
  }
};

enum class Bug { none, no_fence, fence_of_one, no_wait, no_commit, b_overwritten, a_overwritten, lanes_swapped };

// Shared memory: the atoms of a, those of b, a barrier.
template <class Of, int n, bool a_in_registers, bool transposed_b, Bug bug>
void multiply_tiles(const typename Of::A::Type* a, TensorMap a_map, TensorMap b_map, typename Of::A::Sum* out) {
  using Element = typename Of::A::Type;
  constexpr int kEach = 4 / static_cast<int>(sizeof(Element)), kDepth = kRowBytes / static_cast<int>(sizeof(Element));
  constexpr int kStep = 32 / static_cast<int>(sizeof(Element));
  constexpr int kColumnAtoms = (n + 63) / 64;  // of a transposed b
  constexpr int kABytes = kRows * kRowBytes, kBBytes = transposed_b ? kDepth * 128 * kColumnAtoms : n * kRowBytes;
  uint8_t* const shared = shared_memory();
  Barrier* const barrier = reinterpret_cast<Barrier*>(shared + kABytes + kBBytes);
  if (thread_index() == 0) {
    barrier_init(barrier, 1);
    barrier_init_fence();
  }
  block_barrier();
  if (thread_index() == 0) {
    barrier_expect(barrier, kABytes + kBBytes);
    for (int atom = 0; atom < kAtoms; ++atom) {
      copy_tile(shared + atom * kRows * 128, &a_map, 0, atom * kDepth / kAtoms, barrier);
      if (!transposed_b) copy_tile(shared + kABytes + atom * n * 128, &b_map, 0, atom * kDepth / kAtoms, barrier);
    }
    for (int atom = 0; transposed_b && atom < kColumnAtoms; ++atom) {
      copy_tile(shared + kABytes + atom * kDepth * 128, &b_map, 0, atom * 64, barrier);
    }
  }
  wait_for(barrier, 0);

  const int group = thread_index() / 128, row = group * 64 + warp() % 4 * 16 + lane() / 4, t = lane() % 4;
  uint32_t fragments[kDepth / kStep][4];
  for (int step = 0; step < kDepth / kStep; ++step) {
    for (int r = 0; r < 4; ++r) {
      const int column = step * kStep + kEach * ((bug == Bug::lanes_swapped ? t ^ 1 : t) + r / 2 * 4);
      std::memcpy(&fragments[step][r], a + (row + r % 2 * 8) * kDepth + column, 4);
    }
  }
  typename Of::A::Sum d[n / 2];
  for (auto& x : d) x = 77;  // the first product does not add
  if (bug == Bug::fence_of_one) wgmma_fence(d, fragments[0]);
  if (bug != Bug::no_fence && bug != Bug::fence_of_one) wgmma_fence(d, fragments);
  for (int step = 0; step < kDepth / kStep; ++step) {
    const int atom = step / 4, byte = step % 4 * 32;
    const uint64_t b = transposed_b ? shared_matrix(shared + kABytes + step * kStep * 128, 1024, kDepth * 128)
                                    : shared_matrix(shared + kABytes + atom * n * 128 + byte);
    if constexpr (a_in_registers) {
      Of::template multiply<n, transposed_b>(d, fragments[step], b, step > 0);
    } else {
      const uint64_t a_rows = shared_matrix(shared + (atom * kRows + group * 64) * 128 + byte);
      Of::template multiply<n, transposed_b>(d, a_rows, b, step > 0);
    }
  }
  if (bug != Bug::no_commit) wgmma_commit();
  if (bug == Bug::b_overwritten) std::memset(shared + kABytes + thread_index(), 0x11, 1);
  if (bug == Bug::a_overwritten) fragments[0][0] = 0x11111111;
  if (bug != Bug::no_wait) wgmma_wait<0>(d, fragments);
  for (int i = 0; i < n / 2; ++i) out[(row + i / 2 % 2 * 8) * n + i / 4 * 8 + 2 * t + i % 2] = d[i];
}

enum class Outcome { right, wrong, fault };

template <class Of, int n, bool a_in_registers, bool transposed_b = false, Bug bug = Bug::none>
Outcome multiplies() {
  using A = typename Of::A;
  using B = typename Of::B;
  using Sum = typename A::Sum;
  constexpr int kBytes = static_cast<int>(sizeof(typename A::Type)), kDepth = kRowBytes / kBytes;
  Rng rng(1);
  // Sums of products below 2^24.
  const auto a = random_integers<A>(rng, kRows * kDepth, -40, 40);
  const auto b = random_integers<B>(rng, n * kDepth, -40, 40);
  std::vector<typename B::Type> b_columns(b.size());
  for (size_t i = 0; i < b.size(); ++i) b_columns[i % kDepth * n + i / kDepth] = b[i];
  const DeviceBuffer<typename A::Type> device_a(a);
  const DeviceBuffer<typename B::Type> device_b(transposed_b ? b_columns : b);
  DeviceBuffer<Sum> out(kRows * n);
  TensorMap a_map, b_map;
  const int64_t b_rows = transposed_b ? kDepth : n, b_stride = (transposed_b ? n : kDepth) * kBytes;
  EXPECT_EQ(make_tensor_map(&a_map, device_a.data(), kBytes, kRows, kDepth, kRowBytes, kRows, 128 / kBytes, 128),
            GATUN_OK);
  EXPECT_EQ(make_tensor_map(&b_map, device_b.data(), kBytes, b_rows, b_stride / kBytes, b_stride,
                            static_cast<int32_t>(b_rows), 128 / kBytes, 128),
            GATUN_OK);
  const int64_t b_bytes = transposed_b ? kDepth * 128 * ((n + 63) / 64) : n * kRowBytes;
  if (launch("multiply_tiles", multiply_tiles<Of, n, a_in_registers, transposed_b, bug>,
             {1, 1, 1, kThreads, kRows * kRowBytes + b_bytes + 8}, nullptr, device_a.data(), a_map, b_map,
             out.data()) != GATUN_OK) {
    return Outcome::fault;
  }
  const auto expected = product<A, B>(a, b, std::vector<Sum>(static_cast<size_t>(kRows * n)), kRows, n, kDepth);
  return out.copy() == expected ? Outcome::right : Outcome::wrong;
}

template <class Of, bool a_in_registers, bool transposed_b = false>
void check_every_n() {
  EXPECT_EQ((multiplies<Of, 8, a_in_registers, transposed_b>()), Outcome::right) << last_fault();
  EXPECT_EQ((multiplies<Of, 16, a_in_registers, transposed_b>()), Outcome::right) << last_fault();
  EXPECT_EQ((multiplies<Of, 32, a_in_registers, transposed_b>()), Outcome::right) << last_fault();
  EXPECT_EQ((multiplies<Of, 64, a_in_registers, transposed_b>()), Outcome::right) << last_fault();
  EXPECT_EQ((multiplies<Of, 128, a_in_registers, transposed_b>()), Outcome::right) << last_fault();
  EXPECT_EQ((multiplies<Of, 256, a_in_registers, transposed_b>()), Outcome::right) << last_fault();
}

TEST(Wgmma, EveryWidthAndType) {
  check_every_n<OfF16, true>();
  check_every_n<OfF16, false>();
  check_every_n<OfF16, true, true>();
  check_every_n<OfBf16, true>();
  check_every_n<OfBf16, false, true>();
  check_every_n<OfI8, true>();
  check_every_n<OfI8, false>();
  check_every_n<OfU8, true>();
  check_every_n<OfU8, false>();
  check_every_n<OfE4m3, true>();
  check_every_n<OfE4m3, false>();
}

TEST(Wgmma, EveryOrder) {
  in_every_way([] {
    EXPECT_EQ((multiplies<OfF16, 16, true>()), Outcome::right) << last_fault();
    EXPECT_EQ((multiplies<OfBf16, 64, false, true>()), Outcome::right) << last_fault();
    EXPECT_EQ((multiplies<OfI8, 32, true>()), Outcome::right) << last_fault();
    EXPECT_EQ((multiplies<OfU8, 8, false>()), Outcome::right) << last_fault();
    EXPECT_EQ((multiplies<OfE4m3, 16, true>()), Outcome::right) << last_fault();
  });
}

template <Bug bug, Effects effects, bool a_in_registers = true>
int wrong_orders() {
  int count = 0;
  for (const Order order : kOrders) {
    settings().order = order;
    settings().effects = effects;
    count += multiplies<OfF16, 16, a_in_registers, false, bug>() != Outcome::right;
    count += multiplies<OfI8, 16, a_in_registers, false, bug>() != Outcome::right;
  }
  settings() = Settings();
  return count;
}

TEST(PlantedWgmma, WhatIsNotWaitedForIsStale) {
  EXPECT_EQ((wrong_orders<Bug::no_wait, Effects::last>()), 6);
  EXPECT_EQ((wrong_orders<Bug::no_commit, Effects::last>()), 6);
}

TEST(PlantedWgmma, OperandsOverwrittenBeforeTheWaitShow) {
  EXPECT_EQ((wrong_orders<Bug::b_overwritten, Effects::last>()), 6);
  EXPECT_EQ((wrong_orders<Bug::a_overwritten, Effects::last>()), 6);
}

TEST(PlantedWgmma, AFragmentOfTheWrongLaneIsSeen) {
  EXPECT_EQ((wrong_orders<Bug::lanes_swapped, Effects::last>()), 6);
  EXPECT_EQ((multiplies<OfE4m3, 16, true, false, Bug::lanes_swapped>()), Outcome::wrong);
}

TEST(PlantedWgmma, AMissingFenceIsAFault) {
  EXPECT_EQ((multiplies<OfF16, 16, true, false, Bug::no_fence>()), Outcome::fault);
  EXPECT_NE(std::string(last_fault()).find("wgmma_fence"), std::string::npos) << last_fault();
  EXPECT_EQ((multiplies<OfF16, 16, true, false, Bug::fence_of_one>()), Outcome::fault);
  EXPECT_NE(std::string(last_fault()).find("wgmma_fence"), std::string::npos) << last_fault();
}

// ---- other layouts, and addresses ----

// b of 16 rows of 32 bytes (one product's depth) as the threads write it.
template <bool barrier, bool fence>
void multiply_small(const uint16_t* a, const uint16_t* b, int start, int row_bytes, int stride, int leading,
                    float* out) {
  uint8_t* const shared = shared_memory();
  const Swizzle swizzle = row_bytes == 32   ? Swizzle::bytes32
                          : row_bytes == 64 ? Swizzle::bytes64
                          : row_bytes == 16 ? Swizzle::none
                                            : Swizzle::bytes128;
  for (int i = thread_index(); i < 16 * 16; i += 128) {
    const int row = i / 16, byte = i % 16 * 2;
    int at = start + row / 8 * stride + row % 8 * row_bytes + byte;
    if (row_bytes == 16) at = start + row / 8 * stride + row % 8 * 16 + byte / 16 * leading + byte % 16;
    if (row_bytes > 16) at ^= at / 128 % (row_bytes / 16) * 16;
    std::memcpy(shared + at, b + i, 2);
  }
  if (fence) fence_proxy_async();
  if (barrier) block_barrier();
  uint32_t fragment[4];
  const int row = thread_index() / 32 * 16 + lane() / 4;
  for (int r = 0; r < 4; ++r) {
    std::memcpy(&fragment[r], a + (row + r % 2 * 8) * 16 + 2 * (lane() % 4) + r / 2 * 8, 4);
  }
  float d[8];
  wgmma_fence(d, fragment);
  wgmma_f16<16>(d, fragment, shared_matrix(shared + start, stride, leading, swizzle), false);
  wgmma_commit();
  wgmma_wait<0>(d, fragment);
  for (int i = 0; i < 8; ++i) out[(row + i / 2 % 2 * 8) * 16 + i / 4 * 8 + 2 * (lane() % 4) + i % 2] = d[i];
}

struct Layout {
  int start, row_bytes, stride, leading;
};

// Whether the launch succeeds, and with the right results.
template <bool barrier = true, bool fence = true>
bool multiplies_small(const Layout& layout) {
  Rng rng(6);
  const auto a = random_integers<F16>(rng, 64 * 16), b = random_integers<F16>(rng, 16 * 16);
  std::vector<float> out(64 * 16);
  const int32_t status =
      launch("multiply_small", multiply_small<barrier, fence>, {1, 1, 1, 128, 5120}, nullptr, a.data(), b.data(),
             layout.start, layout.row_bytes, layout.stride, layout.leading, out.data());
  return status == GATUN_OK && out == product<F16, F16>(a, b, std::vector<float>(64 * 16), 64, 16, 16);
}

TEST(Wgmma, OtherLayouts) {
  for (const Layout& layout : {Layout{0, 128, 1024, 16}, Layout{1024, 128, 2048, 16}, Layout{1024 + 96, 128, 1024, 16},
                               Layout{512, 64, 512, 16}, Layout{512 + 32, 64, 1024, 16}, Layout{256, 32, 256, 16},
                               Layout{128, 16, 128, 256}, Layout{16, 16, 256, 128}}) {
    in_every_way([&] {
      EXPECT_TRUE(multiplies_small(layout)) << layout.start << " " << layout.row_bytes << " " << last_fault();
    });
  }
}

TEST(PlantedWgmma, AMissingBarrierBeforeItShowsInSomeWay) {
  EXPECT_LT(ways([] { return multiplies_small<false>({0, 128, 1024, 16}); }), 6);
}

TEST(PlantedWgmma, AMissingFenceOfWhatThreadsWroteIsAFault) {
  EXPECT_EQ(ways([] { return multiplies_small<true, false>({0, 128, 1024, 16}); }), 0);
  EXPECT_NE(std::string(last_fault()).find("fence_proxy_async"), std::string::npos) << last_fault();
}

void multiply_at(int64_t start, int stride) {
  float d[4];
  uint32_t a[4] = {};
  wgmma_fence(d, a);
  wgmma_f16<8>(d, a, shared_matrix(shared_memory() + start, stride), false);
  wgmma_commit();
  wgmma_wait<0>(d);
}

TEST(Wgmma, AddressesAreChecked) {
  const Grid grid = {1, 1, 1, 128, 2048};
  const auto fault_of = [&](int64_t start, int stride) {
    EXPECT_EQ(launch("multiply_at", multiply_at, grid, nullptr, start, stride), GATUN_INTERNAL);
    return std::string(last_fault());
  };
  EXPECT_EQ(launch("multiply_at", multiply_at, grid, nullptr, 1024 + 96, 1024), GATUN_OK) << last_fault();
  EXPECT_NE(fault_of(1024 + 112, 1024).find("reaches offset 2048"), std::string::npos) << last_fault();
  EXPECT_NE(fault_of(8, 1024).find("aligned"), std::string::npos) << last_fault();
  EXPECT_NE(fault_of(128, 1024).find("amid the pattern"), std::string::npos) << last_fault();
  EXPECT_NE(fault_of(2048, 1024).find("2048 bytes of shared memory"), std::string::npos) << last_fault();
  EXPECT_NE(fault_of(0, 1032).find("a multiple of 16"), std::string::npos) << last_fault();
}

}  // namespace
}  // namespace gatun::emulator
