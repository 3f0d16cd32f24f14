// How the emulator runs kernels. A kernel that is right gives the same results under all of them.
#pragma once

#include <cstdint>

#include "base/runtime.h"

namespace gatun::emulator {

// Which of the threads that can run does so, until it waits: the one with the lowest number, with the highest, or any,
// warp by warp. Blocks come in the same order.
enum class Order { up, down, shuffled };

// When asynchronous copies and products take effect: as late as what waits for them allows, or when they are issued.
enum class Effects { last, first };

struct Settings {
  Order order = Order::up;
  Effects effects = Effects::last;
  uint64_t seed = 1;  // of Order::shuffled
  cuda::Device device = {0, 9, 0, 4, 1'000'000, 227 * 1024, int64_t{50} << 20, int64_t{1} << 30, "emulated"};
};

Settings& settings();

// What was wrong with the last launch that failed, and how many launches there were, by this program.
const char* last_fault();
int64_t launches();

}  // namespace gatun::emulator
