// Tensor maps, copies of tiles, the barriers on which they arrive, and what must be noticed of a pipeline of them.
#include "ptx/tma.h"

#include <gtest/gtest.h>

#include "device_buffer.h"
#include "every_way.h"
#include "gatun/status.h"
#include "ptx/launch.h"

namespace gatun::emulator {
namespace {

using namespace gatun::cuda;
using test::DeviceBuffer;
using test::Rng;

// One box to the start of shared memory, and from there to `out`.
void copy_box(TensorMap map, int row, int column, int bytes, uint8_t* out) {
  uint8_t* const shared = shared_memory();
  Barrier* const barrier = reinterpret_cast<Barrier*>(shared + bytes);
  if (thread_index() == 0) {
    barrier_init(barrier, 1);
    barrier_init_fence();
  }
  block_barrier();
  if (thread_index() == 0) {
    prefetch_tensor_map(&map);
    barrier_expect(barrier, bytes);
    copy_tile(shared, &map, row, column, barrier);
  }
  wait_for(barrier, 0);
  for (int i = thread_index(); i < bytes; i += thread_count()) out[i] = shared[i];
}

struct Box {
  int element_bytes, rows, columns, swizzle;
};

TEST(Tile, BoxesOfEverySwizzleInsideAndOutsideOfTheMatrix) {
  constexpr int kRows = 21, kColumns = 75;
  Rng rng(1);
  for (const Box& box :
       {Box{1, 16, 128, 128}, Box{2, 24, 64, 128}, Box{2, 9, 32, 64}, Box{1, 13, 64, 64}, Box{2, 16, 16, 32},
        Box{1, 7, 32, 32}, Box{2, 5, 88, 0}, Box{1, 256, 16, 0}, Box{2, 8, 8, 128}}) {
    SCOPED_TRACE(std::to_string(box.element_bytes) + " bytes, " + std::to_string(box.columns) + " columns, swizzle " +
                 std::to_string(box.swizzle));
    const int64_t stride = (kColumns * box.element_bytes + 15) / 16 * 16 + 16;
    // Up to the last element and no byte more.
    const auto matrix = rng.integers<uint8_t>((kRows - 1) * stride + kColumns * box.element_bytes, 1, 255);
    const DeviceBuffer<uint8_t> device_matrix(matrix);
    TensorMap map;
    ASSERT_EQ(make_tensor_map(&map, device_matrix.data(), box.element_bytes, kRows, kColumns, stride, box.rows,
                              box.columns, box.swizzle),
              GATUN_OK);
    const int row_bytes = box.columns * box.element_bytes, bytes = row_bytes * box.rows;
    for (const auto& [row, column] :
         {std::pair{0, 0}, {3, 5}, {-2, -7}, {kRows - 1, kColumns - 1}, {kRows, 0}, {-300, 0}}) {
      std::vector<uint8_t> expected(static_cast<size_t>(bytes));
      for (int r = 0; r < box.rows; ++r) {
        for (int byte = 0; byte < row_bytes; ++byte) {
          const int from_row = row + r, from_column = column + byte / box.element_bytes;
          if (from_row < 0 || from_row >= kRows || from_column < 0 || from_column >= kColumns) continue;
          // Of rows of the swizzle's size: the 16 bytes number c of a row are number c ^ r, c ^ r / 2 % 4, c ^ r / 4
          // % 2.
          const int place = r * row_bytes + byte, chunk = place / 16 % (box.swizzle == 0 ? 1 : box.swizzle / 16);
          const int line = place / 128;
          const int moved = box.swizzle == 0 ? chunk : chunk ^ (line % (box.swizzle / 16));
          expected[static_cast<size_t>(place + 16 * (moved - chunk))] =
              matrix[static_cast<size_t>(from_row * stride + column * box.element_bytes + byte)];
        }
      }
      in_every_way([&, row = row, column = column] {
        DeviceBuffer<uint8_t> out(bytes);
        ASSERT_EQ(launch("copy_box", copy_box, {1, 1, 1, 64, bytes + 8}, nullptr, map, row, column, bytes, out.data()),
                  GATUN_OK)
            << last_fault();
        EXPECT_EQ(out.copy(), expected) << row << " " << column;
      });
    }
  }
}

TEST(TensorMap, ArgumentsAreChecked) {
  alignas(16) static uint8_t matrix[64];
  TensorMap map;
  EXPECT_EQ(make_tensor_map(&map, matrix, 1, 4, 16, 16, 1, 16, 0), GATUN_OK);
  const int32_t kBad = GATUN_INVALID_ARGUMENT;
  EXPECT_EQ(make_tensor_map(nullptr, matrix, 1, 4, 16, 16, 1, 16, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, nullptr, 1, 4, 16, 16, 1, 16, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix + 8, 1, 4, 16, 16, 1, 16, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix, 4, 4, 16, 64, 1, 16, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix, 1, 0, 16, 16, 1, 16, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix, 1, 4, 0, 16, 1, 16, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix, 1, 4, 17, 16, 1, 16, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix, 1, 4, 16, 24, 1, 16, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix, 1, 4, 16, 16, 257, 16, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix, 1, 4, 16, 16, 1, 272, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix, 1, 4, 16, 16, 1, 8, 0), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix, 1, 4, 16, 16, 1, 32, 16), kBad);
  EXPECT_EQ(make_tensor_map(&map, matrix, 1, 4, 16, 16, 1, 80, 64), kBad);
}

// ---- a pipeline: one thread has tiles copied to two stages, 64 others read them ----

constexpr int kConsumers = 64, kThreads = kConsumers + 32, kTile = 2048, kTiles = 7;

enum class Bug { none, no_wait_for_full, no_wait_for_empty, too_many_bytes, too_few_bytes, wrong_parity };

template <Bug bug>
void stream(const uint8_t* from, uint8_t* out) {
  uint8_t* const shared = shared_memory();
  Barrier* const full = reinterpret_cast<Barrier*>(shared + 2 * kTile);
  Barrier* const empty = full + 2;
  if (thread_index() == 0) {
    for (int stage = 0; stage < 2; ++stage) {
      barrier_init(full + stage, 1);
      barrier_init(empty + stage, kConsumers);
    }
    barrier_init_fence();
  }
  block_barrier();
  if (thread_index() >= kConsumers) {
    if (thread_index() > kConsumers) return;
    for (int tile = 0; tile < kTiles; ++tile) {
      const int stage = tile % 2, phase = tile / 2 % 2;
      if (bug != Bug::no_wait_for_empty) wait_for(empty + stage, bug == Bug::wrong_parity ? phase : phase ^ 1);
      barrier_expect(full + stage, bug == Bug::too_many_bytes  ? kTile + 16
                                   : bug == Bug::too_few_bytes ? kTile / 2
                                                               : kTile);
      copy_bulk(shared + stage * kTile, from + tile * kTile, kTile / 2, full + stage);
      copy_bulk(shared + stage * kTile + kTile / 2, from + tile * kTile + kTile / 2, kTile / 2, full + stage);
    }
    return;
  }
  for (int tile = 0; tile < kTiles; ++tile) {
    const int stage = tile % 2, phase = tile / 2 % 2;
    if (bug != Bug::no_wait_for_full) wait_for(full + stage, phase);
    for (int i = thread_index(); i < kTile; i += kConsumers) out[tile * kTile + i] = shared[stage * kTile + i];
    barrier_arrive_at(empty + stage);
  }
}

// OK and right, OK and wrong, or a fault.
enum class Outcome { right, wrong, fault };

template <Bug bug>
Outcome streams() {
  Rng rng(2);
  const auto from = rng.integers<uint8_t>(kTiles * kTile, 1, 255);
  const DeviceBuffer<uint8_t> device_from(from);
  DeviceBuffer<uint8_t> out(kTiles * kTile);
  if (launch("stream", stream<bug>, {1, 1, 1, kThreads, 2 * kTile + 32}, nullptr, device_from.data(), out.data()) !=
      GATUN_OK) {
    return Outcome::fault;
  }
  return out.copy() == from ? Outcome::right : Outcome::wrong;
}

TEST(Pipeline, EveryTileArrives) {
  in_every_way([] { EXPECT_EQ(streams<Bug::none>(), Outcome::right) << last_fault(); });
}

TEST(PlantedPipeline, ReadingATileThatHasNotArrivedShowsInEveryOrder) {
  settings().effects = Effects::last;
  for (const Order order : kOrders) {
    settings().order = order;
    EXPECT_NE(streams<Bug::no_wait_for_full>(), Outcome::right);
  }
  settings() = Settings();
}

TEST(PlantedPipeline, OverwritingATileThatIsReadShowsInSomeWay) {
  EXPECT_LT(ways([] { return streams<Bug::no_wait_for_empty>() == Outcome::right; }), 6);
}

TEST(PlantedPipeline, WrongCountsOfBytesShow) {
  EXPECT_EQ(ways([] { return streams<Bug::too_many_bytes>() == Outcome::right; }), 0);
  EXPECT_NE(std::string(last_fault()).find("mbarrier.try_wait"), std::string::npos) << last_fault();
  EXPECT_LT(ways([] { return streams<Bug::too_few_bytes>() == Outcome::right; }), 6);
}

TEST(PlantedPipeline, AWrongParityIsADeadlock) {
  in_every_way([] { EXPECT_EQ(streams<Bug::wrong_parity>(), Outcome::fault); });
}

// Two copies at once, each with a barrier of its own; what is read first is not what was waited for.
void wait_for_one(const uint8_t* from, int waited, uint8_t* out) {
  uint8_t* const shared = shared_memory();
  Barrier* const barriers = reinterpret_cast<Barrier*>(shared + 32);
  for (int i = 0; i < 32; ++i) shared[i] = 0;
  for (int i = 0; i < 2; ++i) barrier_init(barriers + i, 1);
  barrier_init_fence();
  for (int i = 0; i < 2; ++i) {
    barrier_expect(barriers + i, 16);
    copy_bulk(shared + 16 * i, from + 16 * i, 16, barriers + i);
  }
  wait_for(barriers + waited, 0);
  for (int i = 0; i < 16; ++i) out[i] = shared[16 * (1 - waited) + i];
  wait_for(barriers + (1 - waited), 0);
}

TEST(PlantedPipeline, ABarrierSaysNothingOfTheCopiesOfAnother) {
  const std::vector<uint8_t> from(32, 1);
  const DeviceBuffer<uint8_t> device_from(from);
  for (const int waited : {0, 1}) {
    const int right = ways([&] {
      DeviceBuffer<uint8_t> out(16);
      EXPECT_EQ(launch("wait_for_one", wait_for_one, {1, 1, 1, 1, 48}, nullptr, device_from.data(), waited, out.data()),
                GATUN_OK)
          << last_fault();
      return out.copy() == std::vector<uint8_t>(16, 1);
    });
    EXPECT_LT(right, 6) << waited;
  }
}

template <bool fence>
void copy_once(const uint8_t* from) {
  Barrier* const barrier = reinterpret_cast<Barrier*>(shared_memory() + 64);
  barrier_init(barrier, 1);
  if (fence) barrier_init_fence();
  barrier_expect(barrier, 64);
  copy_bulk(shared_memory(), from, 64, barrier);
  wait_for(barrier, 0);
}

TEST(PlantedPipeline, AMissingFenceOfABarrierIsAFault) {
  const DeviceBuffer<uint8_t> from(64);
  in_every_way([&] {
    EXPECT_EQ(launch("copy_once", copy_once<true>, {1, 1, 1, 1, 72}, nullptr, from.data()), GATUN_OK) << last_fault();
    EXPECT_EQ(launch("copy_once", copy_once<false>, {1, 1, 1, 1, 72}, nullptr, from.data()), GATUN_INTERNAL);
    EXPECT_NE(std::string(last_fault()).find("barrier_init_fence"), std::string::npos) << last_fault();
  });
}

void never_waits(const uint8_t* from) {
  Barrier* const barrier = reinterpret_cast<Barrier*>(shared_memory() + 64);
  barrier_init(barrier, 1);
  barrier_init_fence();
  barrier_expect(barrier, 64);
  copy_bulk(shared_memory(), from, 64, barrier);
}

TEST(PlantedPipeline, ABlockMustNotEndBeforeItsCopies) {
  const DeviceBuffer<uint8_t> from(64);
  EXPECT_EQ(launch("never_waits", never_waits, {1, 1, 1, 1, 72}, nullptr, from.data()), GATUN_INTERNAL);
  EXPECT_NE(std::string(last_fault()).find("under way"), std::string::npos) << last_fault();
}

void too_many_arrivals(int64_t barrier_offset, int initialise) {
  Barrier* const barrier = reinterpret_cast<Barrier*>(shared_memory() + barrier_offset);
  if (initialise) barrier_init(barrier, 1);
  barrier_expect(barrier, 16);
  barrier_arrive_at(barrier);
}

TEST(Barrier, MisuseIsAFault) {
  const Grid grid = {1, 1, 1, 1, 64};
  EXPECT_EQ(launch("too_many_arrivals", too_many_arrivals, grid, nullptr, 0, 1), GATUN_INTERNAL);
  EXPECT_NE(std::string(last_fault()).find("more arrivals"), std::string::npos) << last_fault();
  EXPECT_EQ(launch("too_many_arrivals", too_many_arrivals, grid, nullptr, 4, 1), GATUN_INTERNAL);
  EXPECT_NE(std::string(last_fault()).find("aligned"), std::string::npos) << last_fault();
  EXPECT_EQ(launch("too_many_arrivals", too_many_arrivals, grid, nullptr, 64, 1), GATUN_INTERNAL);
}

}  // namespace
}  // namespace gatun::emulator
