// A block of threads on the CPU: each thread is a fiber, which runs until it waits for others.
//
// What kernels call is in ptx/; what that is made of is here. A fault (threads that wait for each other for ever, lanes
// that meet at different instructions, a misaligned address) ends the launch with a message.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fiber.h"
#include "settings.h"

namespace gatun::emulator {

inline constexpr int kWarp = 32, kGroup = 128;  // lanes of a warp, of four warps that multiply together (wgmma)

// What the threads of a warp or a group bring to an instruction that they execute together: by lane, null of those that
// do not take part.
using Operands = void* const*;
using Action = std::function<void(Operands)>;

// An asynchronous operation that has been issued and not yet taken effect.
using Effect = std::function<void()>;

class Block {
 public:
  Block(int threads, int64_t shared_bytes);
  ~Block();

  // Runs all threads to their end; false if there was a fault.
  bool run(const int64_t (&index)[3], const int64_t (&count)[3], const std::function<void()>& body);

  // ---- called by the thread that runs
  // ---------------------------------------------------------------------------------

  int thread() const { return running_; }
  int threads() const { return static_cast<int>(threads_.size()); }
  int64_t index(int axis) const { return index_[axis]; }
  int64_t count(int axis) const { return count_[axis]; }
  uint8_t* shared() const { return shared_.get(); }
  int64_t shared_bytes() const { return shared_bytes_; }

  // Waits until all lanes of `mask` are at the instruction `what`; the last one acts.
  void meet_warp(const char* what, uint32_t mask, void* operand, const Action& action);
  // The same of the 128 threads of a group.
  void meet_group(const char* what, void* operand, const Action& action);

  // Barrier 0..15 of `threads` threads: adds this one, and waits for the others unless it only arrives.
  void barrier(int which, int threads, bool wait);

  // Gives others a turn, since something is not yet as it should be.
  void poll(const char* what);

  // Adds an effect that comes when all threads wait or poll, one at a time; with Effects::first it is there at once.
  void defer(Effect effect);

  [[noreturn]] void fault(const std::string& what);

 private:
  struct Stop {};  // a fault outside of all threads
  enum class State { ready, waits, polls, done };
  struct Thread {
    std::unique_ptr<Fiber> fiber;
    State state;
    std::string at;  // what it waits for
  };
  struct Meeting {
    std::string what;
    int first;  // thread of lane 0
    std::vector<bool> members, arrived;
    std::vector<void*> operands;
  };
  struct Barrier {
    int expected = 0;
    std::vector<int> arrived, waiting;
  };

  void meet(const char* what, int first, const std::vector<bool>& members, void* operand, const Action& action);
  void wait(State state, const std::string& at);
  void turn();         // each thread that can run does so once
  void take_effect();  // the oldest deferred one
  std::string where() const;

  std::unique_ptr<uint8_t, void (*)(void*)> shared_;
  int64_t shared_bytes_;
  std::vector<Thread> threads_;
  std::vector<int> order_;
  std::vector<Meeting> meetings_;
  Barrier barriers_[16];
  std::deque<Effect> deferred_;
  std::function<void()> body_;
  int64_t index_[3] = {}, count_[3] = {};
  int running_ = -1;       // -1: none
  bool progress_ = false;  // a thread did more than poll
  std::string fault_;
};

// The block whose thread is running.
Block& block();

// What a warp does together: `act(lanes)` gets all lanes' operands, by pointers, as one lane.
template <class T, class Act>
void together(const char* what, uint32_t mask, T& own, Act act) {
  block().meet_warp(what, mask, &own, [&](Operands operands) { act(reinterpret_cast<T* const*>(operands)); });
}
template <class T, class Act>
void group_together(const char* what, T& own, Act act) {
  block().meet_group(what, &own, [&](Operands operands) { act(reinterpret_cast<T* const*>(operands)); });
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
