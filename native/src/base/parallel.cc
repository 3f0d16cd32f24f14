#include "base/parallel.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/processors.h"
#include "base/status.h"
#include "simd/float_mode.h"
#include "simd/spin_pause.h"

namespace gatun {
namespace {

using Clock = std::chrono::steady_clock;

// How long a worker that has nothing to do looks for the next loop before it parks, and a caller for the end of its
// last range. Waking a parked thread costs the caller a system call of about 9 us and the loop 20 us (AMD EPYC 9004,
// virtual machine): 20 us of work on two threads take 25 us with a parked worker and 11 us with one that still looks,
// which is the case for loops less than 10 us apart.
constexpr auto kSpin = std::chrono::microseconds(10);

// How long no thread is asked for after one was refused: an attempt costs each loop microseconds, but a limit of
// processes or of memory may be met for a moment only.
constexpr auto kRefused = std::chrono::seconds(1);

// The loop being run. Written by the caller that holds `busy` while the gate is shut, read by workers inside.
struct Loop {
  detail::RangeBody body;
  void* context;
  int64_t count;
  int64_t parts;  // ranges of the first round; later ranges are smaller
  std::atomic<int64_t> next;
};

// The gate counts, in one word, workers inside the loop and places for more. A worker enters by taking a place, so the
// caller never waits for a worker that wakes too late: it shuts the gate (no places) when nothing is left to hand out
// and waits only for those inside. Equal values mean equal states, so it needs no epoch.
constexpr uint32_t kPlace = 1u << 16;
constexpr uint32_t inside(uint32_t gate) { return gate % kPlace; }
constexpr uint32_t places(uint32_t gate) { return gate / kPlace; }

// No constructor and no destructor runs for any of these: workers use them until the process is gone.
Loop loop;
std::atomic<uint32_t> gate;           // futex of parked workers
std::atomic<uint32_t> departed;       // futex of the caller: changes when the last worker leaves a shut gate
std::atomic<int32_t> looking;         // workers that will see an open gate without being woken
std::atomic<bool> busy;               // one caller has the pool
int32_t workers = 0;                  // started; owned by the holder of `busy`
Clock::time_point start_again;        // none is started before; later than now if the system has refused a thread
std::atomic<int32_t> chosen_threads;  // 0 = not yet chosen

void futex_wait(std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word, int32_t count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

template <class Condition>
bool spin_until(Condition condition) {
  const auto deadline = Clock::now() + kSpin;
  do {
    if (condition()) return true;
    spin_pause();
  } while (Clock::now() < deadline);
  return false;
}

// Ranges shrink as the end comes near, so that all threads finish together: few large ranges, then small ones.
void run_ranges() {
  for (int64_t begin = loop.next.load(std::memory_order_relaxed); begin < loop.count;) {
    const int64_t size = std::max<int64_t>(1, (loop.count - begin) / loop.parts);
    if (loop.next.compare_exchange_weak(begin, begin + size, std::memory_order_relaxed)) {
      loop.body(loop.context, begin, begin + size);
      begin = loop.next.load(std::memory_order_relaxed);
    }
  }
}

bool try_enter() {
  uint32_t seen = gate.load(std::memory_order_relaxed);
  while (places(seen) > 0) {
    if (gate.compare_exchange_weak(seen, seen - kPlace + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void leave() {
  const uint32_t left = gate.fetch_sub(1) - 1;
  if (left == 0) {  // shut and empty
    departed.fetch_add(1);
    futex_wake(departed, 1);
  }
}

void* work(void*) {
  const DefaultFloatMode mode;
  looking.fetch_add(1);
  for (;;) {
    if (spin_until(try_enter)) {
      looking.fetch_sub(1);
      run_ranges();
      looking.fetch_add(1);
      leave();
    } else {
      // The caller opens the gate before it counts who is looking, so either it wakes us or we see the gate open.
      looking.fetch_sub(1);
      const uint32_t seen = gate.load();
      if (places(seen) == 0) futex_wait(gate, seen);
      looking.fetch_add(1);
    }
  }
}

// In the child of a fork there are no workers; the next loop starts new ones.
void forget_workers() {
  gate = 0;
  looking = 0;
  busy = false;
  workers = 0;
}

void start_workers(int32_t wanted) {
  if (workers >= wanted || Clock::now() < start_again) return;
  static const int registered = pthread_atfork(nullptr, nullptr, forget_workers);
  (void)registered;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // a thread starts with its creator's mask
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  while (workers < wanted) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, work, nullptr) != 0) {
      start_again = Clock::now() + kRefused;
      break;
    }
    char name[24];
    std::snprintf(name, sizeof(name), "gatun-%d", ++workers);  // at most 15 characters are taken
    pthread_setname_np(thread, name);
  }
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void run_with_pool(int64_t count, int32_t helpers, detail::RangeBody body, void* context) {
  loop.body = body;
  loop.context = context;
  loop.count = count;
  loop.parts = 2 * (helpers + 1);
  loop.next.store(0, std::memory_order_relaxed);
  gate.store(static_cast<uint32_t>(helpers) * kPlace);
  const int32_t asleep = helpers - looking.load();
  if (asleep > 0) futex_wake(gate, asleep);
  run_ranges();
  const uint32_t at_end = gate.fetch_and(kPlace - 1);
  const auto empty = [] { return gate.load() == 0; };
  if (inside(at_end) == 0 || spin_until(empty)) return;
  for (;;) {
    const uint32_t seen = departed.load();
    if (empty()) return;
    futex_wait(departed, seen);
  }
}

int32_t default_threads() {
  const int32_t wanted = threads_from_environment();
  return wanted > 0 ? wanted : std::min(allowed_processors(), kMaxThreads);
}

}  // namespace

int32_t threads_from_environment() {
  const char* text = std::getenv("GATUN_THREADS");
  if (text == nullptr) return 0;
  char* end;
  const long threads = std::strtol(text, &end, 10);
  const bool allowed = end != text && *end == '\0' && threads >= 1 && threads <= kMaxThreads;
  return allowed ? static_cast<int32_t>(threads) : 0;
}

void detail::parallel_ranges(int64_t count, int32_t threads, RangeBody body, void* context) {
  if (count <= 0) return;
  const DefaultFloatMode mode;
  const int64_t wanted =
      std::min<int64_t>(threads == 0 ? gatun_threads() : threads, std::min<int64_t>(count, kMaxThreads));
  if (wanted > 1 && !busy.exchange(true, std::memory_order_acquire)) {
    start_workers(static_cast<int32_t>(wanted - 1));
    const int32_t helpers = std::min(static_cast<int32_t>(wanted - 1), workers);
    if (helpers > 0) run_with_pool(count, helpers, body, context);
    busy.store(false, std::memory_order_release);
    if (helpers > 0) return;
  }
  body(context, 0, count);
}

}  // namespace gatun

int32_t gatun_threads() {
  int32_t threads = gatun::chosen_threads.load(std::memory_order_relaxed);
  if (threads == 0) {
    const int32_t found = gatun::default_threads();
    // A concurrent gatun_set_threads wins.
    threads = gatun::chosen_threads.compare_exchange_strong(threads, found) ? found : threads;
  }
  return threads;
}

int32_t gatun_set_threads(int32_t threads) {
  if (threads < 1 || threads > gatun::kMaxThreads) {
    return gatun::fail(GATUN_INVALID_ARGUMENT, "threads = %d; allowed: 1..%d", threads, gatun::kMaxThreads);
  }
  gatun::chosen_threads.store(threads, std::memory_order_relaxed);
  return GATUN_OK;
}
