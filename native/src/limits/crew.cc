#include "limits/crew.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

namespace gatun::limits {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kLeastRepetitions = 3;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

class Crew {
 public:
  Crew(int32_t threads, const std::function<void(int32_t)>& prepare, const std::function<void(int32_t)>& work)
      : prepare_(prepare), work_(work), spans_(static_cast<size_t>(threads)) {
    try {
      for (int32_t thread = 1; thread < threads; ++thread) {
        helpers_.emplace_back([this, thread] { help(thread); });
      }
    } catch (...) {
      dismiss();
      throw;
    }
    prepare_(0);
    wait_for_helpers();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew() { dismiss(); }

  double repetition() {
    ready_ = 0;
    ++round_;
    run(0);
    wait_for_helpers();
    const auto first =
        std::min_element(spans_.begin(), spans_.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
    const auto last =
        std::max_element(spans_.begin(), spans_.end(), [](const Span& a, const Span& b) { return a.end < b.end; });
    return seconds_between(first->begin, last->end);
  }

 private:
  struct alignas(64) Span {
    Clock::time_point begin, end;
  };
  static constexpr int64_t kOver = -1;

  void run(int32_t thread) {
    Span& span = spans_[static_cast<size_t>(thread)];
    span.begin = Clock::now();
    work_(thread);
    span.end = Clock::now();
  }

  void help(int32_t thread) {
    prepare_(thread);
    for (int64_t seen = 0;;) {
      ++ready_;
      int64_t round;
      while ((round = round_.load()) == seen) std::this_thread::yield();
      if (round == kOver) return;
      seen = round;
      run(thread);
    }
  }

  void wait_for_helpers() {
    while (ready_.load() < helpers_.size()) std::this_thread::yield();
  }

  void dismiss() {
    round_ = kOver;
    for (std::thread& helper : helpers_) helper.join();
  }

  const std::function<void(int32_t)>& prepare_;
  const std::function<void(int32_t)>& work_;
  std::vector<Span> spans_;
  std::atomic<int64_t> round_{0};
  std::atomic<size_t> ready_{0};  // helpers that wait for the next round
  std::vector<std::thread> helpers_;
};

}  // namespace

std::vector<double> repeat(int32_t threads, double seconds, const std::function<void(int32_t)>& prepare,
                           const std::function<void(int32_t)>& work) {
  Crew crew(threads, prepare, work);
  std::vector<double> times;
  const Clock::time_point begin = Clock::now();
  do {
    times.push_back(crew.repetition());
  } while (times.size() < kLeastRepetitions || seconds_between(begin, Clock::now()) < seconds);
  return times;
}

}  // namespace gatun::limits
