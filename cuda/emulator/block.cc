#include "block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "base/status.h"

namespace gatun::emulator {
namespace {

Block* current = nullptr;
std::string fault_text;
int64_t launch_count = 0;

// splitmix64, so that a seed gives the same order everywhere.
class Shuffle {
 public:
  explicit Shuffle(uint64_t seed) : state_(seed) {}
  void operator()(std::vector<int>& order) {
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[next() % i]);
  }

 private:
  uint64_t next() {
    uint64_t x = state_ += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  uint64_t state_;
};

Shuffle shuffle(1);

void arrange(std::vector<int>& order) {
  std::iota(order.begin(), order.end(), 0);
  if (settings().order == Order::down) std::reverse(order.begin(), order.end());
  if (settings().order == Order::shuffled) shuffle(order);
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

Block::Block(int threads, int64_t shared_bytes)
    : shared_(nullptr, std::free), shared_bytes_(shared_bytes), threads_(static_cast<size_t>(threads)) {
  for (Thread& thread : threads_) thread.fiber = std::make_unique<Fiber>();
  order_.resize(threads_.size());
}

Block::~Block() = default;

bool Block::run(const int64_t (&index)[3], const int64_t (&count)[3], const std::function<void()>& body) {
  std::copy(index, index + 3, index_);
  std::copy(count, count + 3, count_);
  body_ = body;
  meetings_.clear();
  deferred_.clear();
  for (Barrier& barrier : barriers_) barrier = Barrier();
  // Fresh memory for every block: a read of what was not written, or past the end, is seen by valgrind and ASan.
  void* memory = nullptr;
  if (posix_memalign(&memory, 1024, static_cast<size_t>(std::max<int64_t>(shared_bytes_, 1))) != 0) std::abort();
  shared_.reset(static_cast<uint8_t*>(memory));
  for (Thread& thread : threads_) {
    thread.fiber->start(&body_);
    thread.state = State::ready;
  }
  current = this;
  for (size_t done = 0; fault_.empty() && done < threads_.size();) {
    progress_ = false;
    turn();
    done = static_cast<size_t>(
        std::count_if(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state == State::done; }));
    if (!fault_.empty() || progress_ || done == threads_.size()) continue;
    if (deferred_.empty()) {
      fault_ = where();
      break;
    }
    take_effect();
  }
  while (fault_.empty() && !deferred_.empty()) take_effect();
  current = nullptr;
  if (!fault_.empty()) fault_text = fault_;
  return fault_.empty();
}

void Block::turn() {
  arrange(order_);
  for (const int i : order_) {
    Thread& thread = threads_[static_cast<size_t>(i)];
    if (thread.state == State::waits || thread.state == State::done) continue;
    if (thread.state == State::ready) progress_ = true;
    thread.state = State::ready;
    running_ = i;
    thread.fiber->resume();
    running_ = -1;
    if (thread.fiber->done()) thread.state = State::done;
    if (!fault_.empty()) return;
  }
}

void Block::take_effect() {
  const Effect effect = std::move(deferred_.front());
  deferred_.pop_front();
  try {
    effect();
  } catch (const Stop&) {
  }
}

void Block::wait(State state, const std::string& at) {
  Thread& self = threads_[static_cast<size_t>(running_)];
  self.state = state;
  self.at = at;
  self.fiber->leave();
}

void Block::fault(const std::string& what) {
  char place[160];
  std::snprintf(place, sizeof(place), "block (%lld, %lld, %lld), thread %d: ", static_cast<long long>(index_[0]),
                static_cast<long long>(index_[1]), static_cast<long long>(index_[2]), running_);
  fault_ = place + what;
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

void Block::meet(const char* what, int first, const std::vector<bool>& members, void* operand, const Action& action) {
  const size_t self = static_cast<size_t>(running_ - first);
  for (size_t lane = 0; lane < members.size(); ++lane) {
    const size_t thread = static_cast<size_t>(first) + lane;
    if (members[lane] && (thread >= threads_.size() || threads_[thread].state == State::done)) {
      fault(std::string(what) + " waits for lane " + std::to_string(lane) + ", which has ended");
    }
  }
  auto meeting = std::find_if(meetings_.begin(), meetings_.end(), [&](const Meeting& m) {
    return m.first == first && m.members.size() == members.size() && m.members[self];
  });
  if (meeting == meetings_.end()) {
    meetings_.push_back({what, first, members, std::vector<bool>(members.size()), std::vector<void*>(members.size())});
    meeting = meetings_.end() - 1;
  }
  if (meeting->what != what || meeting->members != members) {
    fault("lanes of one warp are at " + std::string(what) + " and at " + meeting->what);
  }
  meeting->arrived[self] = true;
  meeting->operands[self] = operand;
  if (meeting->arrived != members) return wait(State::waits, what);
  const Meeting complete = std::move(*meeting);
  meetings_.erase(meeting);
  action(complete.operands.data());
  for (size_t lane = 0; lane < members.size(); ++lane) {
    if (members[lane]) threads_[static_cast<size_t>(first) + lane].state = State::ready;
  }
}

void Block::meet_warp(const char* what, uint32_t mask, void* operand, const Action& action) {
  std::vector<bool> members(kWarp);
  for (size_t lane = 0; lane < kWarp; ++lane) members[lane] = mask >> lane & 1;
  if (!members[static_cast<size_t>(running_ % kWarp)]) fault(std::string(what) + ": the mask leaves out its own lane");
  meet(what, running_ / kWarp * kWarp, members, operand, action);
}

void Block::meet_group(const char* what, void* operand, const Action& action) {
  meet(what, running_ / kGroup * kGroup, std::vector<bool>(kGroup, true), operand, action);
}

void Block::barrier(int which, int threads, bool wait_for_others) {
  const std::string name = "barrier " + std::to_string(which);
  Barrier& barrier = barriers_[which];
  if (threads % kWarp != 0 && threads != this->threads())
    fault(name + " of a number of threads that is no multiple of 32");
  if (barrier.expected != 0 && barrier.expected != threads) {
    fault(name + " of " + std::to_string(threads) + " threads; others said " + std::to_string(barrier.expected));
  }
  if (std::count(barrier.arrived.begin(), barrier.arrived.end(), running_) != 0) {
    fault(name + ": a thread arrives twice in one phase");
  }
  barrier.expected = threads;
  barrier.arrived.push_back(running_);
  if (wait_for_others) barrier.waiting.push_back(running_);
  if (static_cast<int>(barrier.arrived.size()) < threads) {
    if (wait_for_others) wait(State::waits, name);
    return;
  }
  for (const int thread : barrier.waiting) threads_[static_cast<size_t>(thread)].state = State::ready;
  barrier = Barrier();
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
      launch.blocks[1] > 65535 || launch.blocks[2] > 65535) {
    return fail(GATUN_OUT_OF_RESOURCES,
                "%s: a launch of %lld x %lld x %lld blocks of %d threads with %lld bytes of "
                "shared memory",
                launch.name, static_cast<long long>(launch.blocks[0]), static_cast<long long>(launch.blocks[1]),
                static_cast<long long>(launch.blocks[2]), launch.threads, static_cast<long long>(launch.shared_bytes));
  }
  shuffle = Shuffle(settings().seed);
  std::vector<int> order(static_cast<size_t>(blocks));
  arrange(order);
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
