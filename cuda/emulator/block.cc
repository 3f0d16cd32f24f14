#include "block.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "base/status.h"
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif

namespace gatun::emulator {
namespace {

Block* current = nullptr;
std::string fault_text;
int64_t launch_count = 0;

// splitmix64, so that a seed gives the same order everywhere.
class Shuffle {
 public:
  explicit Shuffle(uint64_t seed) : state_(seed) {}
  void operator()(int* order, size_t count) {
    for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[next() % i]);
  }
  uint64_t next() {
    uint64_t x = state_ += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

 private:
  uint64_t state_;
};

Shuffle shuffle(1);

void arrange(int* order, size_t count) {
  std::iota(order, order + count, 0);
  if (settings().order == Order::down) std::reverse(order, order + count);
  if (settings().order == Order::shuffled) shuffle(order, count);
}

// Bytes that nobody has written: NaN in every float, since what an earlier block left there may be just what a kernel
// reads too early. For valgrind they are as if fresh.
void forget(void* memory, size_t bytes) {
  std::memset(memory, 0xff, bytes);
#if defined(VALGRIND_MAKE_MEM_UNDEFINED)
  VALGRIND_MAKE_MEM_UNDEFINED(memory, bytes);
#endif
}

// The lanes of a warp stay together, so that one warp can run ahead of the others.
void arrange_threads(std::vector<int>& order) {
  int warps[1024 / kWarp], lanes[kWarp];
  const size_t warp_count = (order.size() + kWarp - 1) / kWarp;
  arrange(warps, warp_count);
  arrange(lanes, kWarp);
  size_t place = 0;
  for (size_t warp = 0; warp < warp_count; ++warp) {
    for (const int lane : lanes) {
      const int thread = warps[warp] * kWarp + lane;
      if (thread < static_cast<int>(order.size())) order[place++] = thread;
    }
  }
}

}  // namespace

Settings& settings() {
  static Settings the_settings;
  return the_settings;
}

const char* last_fault() { return fault_text.c_str(); }
int64_t launches() { return launch_count; }

Block& block() {
  if (current == nullptr) std::abort();  // device code was called from outside of a kernel
  return *current;
}

namespace {

constexpr const char* kBarrierNames[16] = {
    "barrier 0", "barrier 1", "barrier 2",  "barrier 3",  "barrier 4",  "barrier 5",  "barrier 6",  "barrier 7",
    "barrier 8", "barrier 9", "barrier 10", "barrier 11", "barrier 12", "barrier 13", "barrier 14", "barrier 15"};

}  // namespace

Block::Block(int threads, int64_t shared_bytes)
    : shared_(nullptr, std::free),
      shared_async_(nullptr, std::free),
      shared_bytes_(shared_bytes),
      threads_(static_cast<size_t>(threads)),
      order_(threads_.size()),
      warps_((threads_.size() + kWarp - 1) / kWarp),
      groups_((threads_.size() + kGroup - 1) / kGroup) {
  for (Thread& thread : threads_) thread.fiber = std::make_unique<Fiber>();
}

Block::~Block() = default;

bool Block::run(const int64_t (&index)[3], const int64_t (&count)[3], const std::function<void()>& body) {
  std::copy(index, index + 3, index_);
  std::copy(count, count + 3, count_);
  body_ = body;
  for (Warp& warp : warps_) {
    warp.arrived.reset();
    warp.products.clear();
  }
  for (Meeting<kGroup>& group : groups_) group.arrived.reset();
  deferred_.clear();
  for (Barrier& barrier : barriers_) barrier = Barrier();
  // Fresh memory for every block: a read of what was not written, or past the end, is seen by valgrind and ASan.
  for (auto* const shared : {&shared_, &shared_async_}) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 1024, static_cast<size_t>(std::max<int64_t>(shared_bytes_, 1))) != 0) std::abort();
    shared->reset(static_cast<uint8_t*>(memory));
    forget(memory, static_cast<size_t>(shared_bytes_));
  }
  make_visible();
  for (Thread& thread : threads_) {
    thread.fiber->start(&body_);
    thread.state = State::ready;
    thread.copies.clear();
    thread.fenced.clear();
  }
  current = this;
  ended_ = 0;
  arrange_threads(order_);
  while (fault_.empty() && ended_ < threads_.size()) {
    progress_ = false;
    run_ready();
    run_polling();
    if (!fault_.empty() || progress_ || ended_ == threads_.size()) continue;
    if (deferred_.empty()) {
      fault_ = where();
      break;
    }
    take_effect();
  }
  if (fault_.empty() && !deferred_.empty()) {
    name_fault("the block ended while copies to its shared memory were under way, for which nobody waited");
  }
  current = nullptr;
  if (!fault_.empty()) fault_text = fault_;
  return fault_.empty();
}

void Block::resume(int thread) {
  Thread& self = threads_[static_cast<size_t>(thread)];
  self.state = State::ready;
  running_ = thread;
  self.fiber->resume();
  running_ = -1;
  if (!self.fiber->done()) return;
  self.state = State::done;
  ++ended_;
}

void Block::run_ready() {
  do {
    woken_ = false;
    if (settings().order == Order::shuffled) arrange_threads(order_);
    for (const int thread : order_) {
      if (threads_[static_cast<size_t>(thread)].state != State::ready) continue;
      progress_ = true;
      resume(thread);
      if (!fault_.empty()) return;
      if (woken_) break;  // perhaps one that comes earlier
    }
  } while (woken_);
}

void Block::run_polling() {
  for (const int thread : order_) {
    if (threads_[static_cast<size_t>(thread)].state == State::polls && fault_.empty()) resume(thread);
  }
}

void Block::take_effect() {
  const Order order = settings().order;
  const size_t at = order == Order::up     ? 0
                    : order == Order::down ? deferred_.size() - 1
                                           : static_cast<size_t>(shuffle.next() % deferred_.size());
  const Effect effect = std::move(deferred_[at]);
  deferred_.erase(deferred_.begin() + static_cast<std::ptrdiff_t>(at));
  try {
    effect();
  } catch (const Stop&) {
  }
}

void Block::wait(State state, const char* at) {
  Thread& self = threads_[static_cast<size_t>(running_)];
  self.state = state;
  self.at = at;
  self.fiber->leave();
}

void Block::name_fault(const char* text) {
  char place[160];
  std::snprintf(place, sizeof(place), "block (%lld, %lld, %lld), thread %d: ", static_cast<long long>(index_[0]),
                static_cast<long long>(index_[1]), static_cast<long long>(index_[2]), running_);
  fault_ = place;
  fault_ += text;
}

void Block::fault(const char* format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  name_fault(text);
  if (running_ < 0) throw Stop();
  for (;;) wait(State::waits, "a fault");
}

std::string Block::where() const {
  std::string text = "the threads of a block wait for each other for ever:";
  std::string before;
  for (size_t i = 0; i < threads_.size(); ++i) {
    const std::string at = threads_[i].state == State::done ? "ended" : threads_[i].at;
    if (at == before) continue;
    text += " from thread " + std::to_string(i) + " on: " + at + ";";
    before = at;
  }
  return text;
}

template <int lanes>
bool Block::arrive_at(Meeting<lanes>& meeting, const char* what, void* operand) {
  const int self = running_ % lanes, first = running_ - self;
  if (meeting.arrived.none()) {
    meeting.what = what;
    for (int lane = 0; lane < lanes; ++lane) {
      if (first + lane >= threads() || threads_[static_cast<size_t>(first + lane)].state == State::done) {
        fault("%s waits for lane %d, which has ended", what, lane);
      }
    }
  } else if (std::strcmp(meeting.what, what) != 0) {
    fault("lanes of one warp are at %s and at %s", what, meeting.what);
  }
  meeting.operands[self] = operand;
  meeting.arrived.set(static_cast<size_t>(self));
  if (!meeting.arrived.all()) {
    wait(State::waits, what);
    return false;
  }
  meeting.arrived.reset();
  woken_ = true;
  for (int lane = 0; lane < lanes; ++lane) threads_[static_cast<size_t>(first + lane)].state = State::ready;
  return true;
}

bool Block::arrive(const char* what, int lanes, void* operand) {
  if (lanes == kWarp) return arrive_at<kWarp>(warps_[static_cast<size_t>(running_ / kWarp)], what, operand);
  return arrive_at<kGroup>(groups_[static_cast<size_t>(running_ / kGroup)], what, operand);
}

void Block::barrier(int which, int threads, bool wait_for_others) {
  if (which < 0 || which > 15) fault("barrier %d; there are 0..15", which);
  const char* const name = kBarrierNames[which];
  Barrier& barrier = barriers_[which];
  if (threads % kWarp != 0 && threads != this->threads()) {
    fault("%s of %d threads, which is no multiple of 32", name, threads);
  }
  if (barrier.expected != 0 && barrier.expected != threads) {
    fault("%s of %d threads; others said %d", name, threads, barrier.expected);
  }
  const size_t self = static_cast<size_t>(running_);
  if (barrier.arrived[self]) fault("%s: a thread arrives twice in one phase", name);
  barrier.expected = threads;
  barrier.arrived.set(self);
  if (wait_for_others) barrier.waiting.set(self);
  if (static_cast<int>(barrier.arrived.count()) < threads) {
    if (wait_for_others) wait(State::waits, name);
    return;
  }
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (barrier.waiting[i]) threads_[i].state = State::ready;
  }
  woken_ = true;
  barrier = Barrier();
}

int64_t Block::shared_offset(const char* what, const void* address, int64_t bytes, int alignment) {
  const int64_t offset =
      static_cast<int64_t>(reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(shared()));
  if (offset < 0 || offset + bytes > shared_bytes_) {
    fault("%s: %lld bytes at offset %lld of %lld bytes of shared memory", what, static_cast<long long>(bytes),
          static_cast<long long>(offset), static_cast<long long>(shared_bytes_));
  }
  if (offset % alignment != 0) {
    fault("%s: offset %lld of shared memory is not aligned to %d bytes", what, static_cast<long long>(offset),
          alignment);
  }
  return offset;
}

void Block::make_visible() const { std::memcpy(shared_async(), shared(), static_cast<size_t>(shared_bytes_)); }

void Block::fence_registers(const void* registers, size_t bytes) {
  free_registers(registers, bytes);
  const uintptr_t begin = reinterpret_cast<uintptr_t>(registers);
  threads_[static_cast<size_t>(running_)].fenced.push_back({begin, begin + bytes});
}

void Block::free_registers(const void* registers, size_t bytes) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(registers), end = begin + bytes;
  std::vector<Range>& fenced = threads_[static_cast<size_t>(running_)].fenced;
  for (size_t i = 0; i < fenced.size();) {
    const Range range = fenced[i];
    if (range.end <= begin || end <= range.begin) {
      ++i;
      continue;
    }
    fenced[i] = fenced.back();
    fenced.pop_back();
    if (range.begin < begin) fenced.push_back({range.begin, begin});
    if (end < range.end) fenced.push_back({end, range.end});
  }
}

void Block::free_all_registers(int warp) {
  for (int lane = 0; lane < kWarp; ++lane) threads_[static_cast<size_t>(warp * kWarp + lane)].fenced.clear();
}

void Block::check_fenced(const void* registers, size_t bytes) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(registers);
  for (const Range& range : threads_[static_cast<size_t>(running_)].fenced) {
    if (range.begin <= begin && begin + bytes <= range.end) return;
  }
  fault("wgmma.mma_async of registers that no wgmma_fence has named since the last wait for them");
}

void Block::poll(const char* what) { wait(State::polls, what); }

void Block::defer(Effect effect) {
  if (settings().effects == Effects::first) {
    effect();
  } else {
    deferred_.push_back(std::move(effect));
  }
}

int32_t run(const Launch& launch, const std::function<void()>& body) {
  ++launch_count;
  const int64_t blocks = launch.blocks[0] * launch.blocks[1] * launch.blocks[2];
  if (blocks == 0) return GATUN_OK;
  if (launch.threads < 1 || launch.threads > 1024 || launch.shared_bytes > settings().device.shared_bytes ||
      launch.blocks[0] > INT32_MAX || launch.blocks[1] > 65535 || launch.blocks[2] > 65535) {
    return fail(GATUN_OUT_OF_RESOURCES,
                "%s: a launch of %lld x %lld x %lld blocks of %d threads with %lld bytes of "
                "shared memory",
                launch.name, static_cast<long long>(launch.blocks[0]), static_cast<long long>(launch.blocks[1]),
                static_cast<long long>(launch.blocks[2]), launch.threads, static_cast<long long>(launch.shared_bytes));
  }
  shuffle = Shuffle(settings().seed);
  std::vector<int> order(static_cast<size_t>(blocks));
  arrange(order.data(), order.size());
  Block the_block(launch.threads, launch.shared_bytes);
  for (const int b : order) {
    const int64_t index[3] = {b % launch.blocks[0], b / launch.blocks[0] % launch.blocks[1],
                              b / launch.blocks[0] / launch.blocks[1]};
    if (!the_block.run(index, launch.blocks, body)) {
      return fail(GATUN_INTERNAL, "%s: %s", launch.name, last_fault());
    }
  }
  return GATUN_OK;
}

}  // namespace gatun::emulator
