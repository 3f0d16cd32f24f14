// A block of threads on the CPU: each thread is a fiber, which runs until it waits for others.
//
// What kernels call is in ptx/; what that is made of is here. A fault (threads that wait for each other for ever, lanes
// that meet at different instructions, a misaligned address) ends the launch with a message. The fibers are then left
// where they are, so what runs on them owns no memory.
#pragma once

#include <bitset>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fiber.h"
#include "pending.h"
#include "settings.h"

namespace gatun::emulator {

inline constexpr int kWarp = 32, kGroup = 128;  // lanes of a warp, of four warps that multiply together (wgmma)

// What the threads of a warp or a group bring to an instruction that they execute together, by lane.
using Operands = void* const*;

class Block {
 public:
  Block(int threads, int64_t shared_bytes);
  ~Block();

  // Runs all threads to their end; false if there was a fault.
  bool run(const int64_t (&index)[3], const int64_t (&count)[3], const std::function<void()>& body);

  // ---- called by the thread that runs ----

  int thread() const { return running_; }
  int threads() const { return static_cast<int>(threads_.size()); }
  int64_t index(int axis) const { return index_[axis]; }
  int64_t count(int axis) const { return count_[axis]; }
  uint8_t* shared() const { return shared_.get(); }
  int64_t shared_bytes() const { return shared_bytes_; }
  // Shared memory as asynchronous copies and products see it: what threads write is there after make_visible, a fence.
  // It takes the writes of all threads, so a fence that only some of them lack shows in some order.
  uint8_t* shared_async() const { return shared_async_.get(); }
  void make_visible() const;

  // Waits until all lanes of the warp (the group) are at the instruction `what`; the last one acts, with all operands.
  template <class Act>
  void meet_warp(const char* what, void* operand, Act act) {
    if (arrive(what, kWarp, operand))
      act(static_cast<Operands>(warps_[static_cast<size_t>(running_ / kWarp)].operands));
  }
  template <class Act>
  void meet_group(const char* what, void* operand, Act act) {
    if (arrive(what, kGroup, operand)) {
      act(static_cast<Operands>(groups_[static_cast<size_t>(running_ / kGroup)].operands));
    }
  }

  // Barrier 0..15 of `threads` threads: adds this one, and waits for the others unless it only arrives.
  void barrier(int which, int threads, bool wait);

  // Gives others a turn, since something is not yet as it should be; and says that now it is.
  void poll(const char* what);
  void poll_succeeded() { progress_ = true; }

  // Adds an effect that comes when all threads wait or poll, one at a time: in Order::up the oldest, in Order::down the
  // youngest, shuffled any. With Effects::first it is there at once.
  void defer(Effect effect);
  // Effects that come when this thread, or its warp, waits for them.
  Pending& copies() { return threads_[static_cast<size_t>(running_)].copies; }
  Pending& products(int warp) { return warps_[static_cast<size_t>(warp)].products; }
  // Of this thread's registers, those that wgmma_fence has named since the last wait for what uses them.
  void fence_registers(const void* registers, size_t bytes);
  void free_registers(const void* registers, size_t bytes);
  void free_all_registers(int warp);
  // A fault unless one fence has named all of these.
  void check_fenced(const void* registers, size_t bytes);

  // The offset of shared memory; a fault unless all these bytes are shared memory, aligned.
  int64_t shared_offset(const char* what, const void* address, int64_t bytes, int alignment);

  [[noreturn]] void fault(const char* format, ...) __attribute__((format(printf, 2, 3)));

 private:
  struct Stop {};  // a fault outside of all threads
  enum class State { ready, waits, polls, done };
  struct Range {
    uintptr_t begin, end;
  };
  struct Thread {
    std::unique_ptr<Fiber> fiber;
    State state;
    const char* at;  // what it waits for
    Pending copies;
    std::vector<Range> fenced;
  };
  template <int lanes>
  struct Meeting {
    const char* what;
    std::bitset<lanes> arrived;
    void* operands[lanes];
  };
  struct Warp : Meeting<kWarp> {
    Pending products;
  };
  struct Barrier {
    int expected = 0;
    std::bitset<1024> arrived, waiting;
  };

  bool arrive(const char* what, int lanes, void* operand);  // true in the last one
  template <int lanes>
  bool arrive_at(Meeting<lanes>& meeting, const char* what, void* operand);
  void wait(State state, const char* at);
  void resume(int thread);
  // Threads that can run do so, always the first one of the order, until all wait or poll: so one runs as far ahead of
  // the others as nothing but what they wait for lets it.
  void run_ready();
  void run_polling();  // each once
  void take_effect();  // a deferred one
  void name_fault(const char* text);
  std::string where() const;

  std::unique_ptr<uint8_t, void (*)(void*)> shared_, shared_async_;
  int64_t shared_bytes_;
  std::vector<Thread> threads_;
  std::vector<int> order_;
  std::vector<Warp> warps_;
  std::vector<Meeting<kGroup>> groups_;
  Barrier barriers_[16];
  std::deque<Effect> deferred_;
  std::function<void()> body_;
  int64_t index_[3] = {}, count_[3] = {};
  int running_ = -1;  // -1: none
  size_t ended_ = 0;
  bool progress_ = false;  // a thread did more than poll
  bool woken_ = false;     // threads that waited are ready
  std::string fault_;
};

// The block whose thread is running.
Block& block();

// What a warp or a group does together: `act(lanes)` gets all lanes' operands, by pointers, as one lane.
template <class T, class Act>
void together(const char* what, T& own, Act act) {
  block().meet_warp(what, &own, [&](Operands operands) { act(reinterpret_cast<T* const*>(operands)); });
}
template <class T, class Act>
void group_together(const char* what, T& own, Act act) {
  block().meet_group(what, &own, [&](Operands operands) { act(reinterpret_cast<T* const*>(operands)); });
}
// For those that bring nothing.
template <class Act>
void together(const char* what, Act act) {
  block().meet_warp(what, nullptr, [&](Operands) { act(); });
}
template <class Act>
void group_together(const char* what, Act act) {
  block().meet_group(what, nullptr, [&](Operands) { act(); });
}

// Runs a grid of blocks, one after the other.
struct Launch {
  const char* name;
  int64_t blocks[3];
  int threads;
  int64_t shared_bytes;
};
int32_t run(const Launch& launch, const std::function<void()>& body);

}  // namespace gatun::emulator
