// The thread pool, what it reads from the system, and huge pages.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/huge_pages.h"
#include "base/parallel.h"
#include "base/processors.h"
#include "huge_map.h"

namespace gatun {
namespace {

using Clock = std::chrono::steady_clock;

double microseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

// Spends time without giving up the processor.
void spend(std::chrono::microseconds time) {
  for (const auto begin = Clock::now(); Clock::now() - begin < time;) {
  }
}

// Bodies that wait for each other, so that a loop is certain to run on several threads at once.
class Meeting {
 public:
  explicit Meeting(int wanted) : wanted_(wanted) {}

  // Returns once `wanted` bodies have come, each on a thread of its own; false if they don't within 10 seconds.
  bool wait() {
    ++came_;
    for (const auto begin = Clock::now(); came_ < wanted_; std::this_thread::yield()) {
      if (Clock::now() - begin > std::chrono::seconds(10)) return false;
    }
    return true;
  }

 private:
  const int wanted_;
  std::atomic<int> came_{0};
};

TEST(Parallel, CoversEveryIndexOnce) {
  for (const int32_t threads : {0, 1, 2, 3, 8, 64}) {
    for (const int64_t count : {0, 1, 2, 3, 7, 64, 1000, 100003}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
      parallel_for(count, threads, [&](int64_t begin, int64_t end) {
        EXPECT_LT(begin, end);
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      for (const auto& times : seen) ASSERT_EQ(times, 1) << "threads " << threads << ", count " << count;
    }
  }
}

TEST(Parallel, CountsBeyond32Bits) {
  constexpr int64_t kCount = int64_t{1} << 40;
  std::atomic<int64_t> covered{0};
  parallel_for(kCount, 4, [&](int64_t begin, int64_t end) {
    covered += end - begin;
    EXPECT_LE(end, kCount);
  });
  EXPECT_EQ(covered, kCount);
}

TEST(Parallel, UsesOtherThreads) {
  Meeting meeting(4);
  parallel_for(4, 4, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(begin + 1, end);
    EXPECT_TRUE(meeting.wait());
  });
}

TEST(Parallel, RunsInsideABody) {
  std::atomic<int64_t> sum{0};
  parallel_for(100, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      parallel_for(10, 4, [&](int64_t inner_begin, int64_t inner_end) { sum += inner_end - inner_begin; });
    }
  });
  EXPECT_EQ(sum, 1000);
}

TEST(Parallel, ManyCallersAtOnce) {
  std::vector<std::thread> callers;
  std::atomic<int64_t> sum{0};
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int call = 0; call < 2000; ++call) {
        int64_t mine[64] = {};
        parallel_for(64, 3, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) mine[i] += i;
        });
        sum += std::accumulate(std::begin(mine), std::end(mine), int64_t{0});
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(sum, int64_t{4} * 2000 * 63 * 64 / 2);
}

// A caller that finds the pool taken does not wait for it.
TEST(Parallel, SecondCallerRunsAtOnce) {
  std::atomic<bool> inside{false}, finished{false};
  std::thread first([&] {
    parallel_for(2, 2, [&](int64_t, int64_t) {
      inside = true;
      for (const auto since = Clock::now(); !finished && Clock::now() - since < std::chrono::seconds(10);) {
        std::this_thread::yield();
      }
    });
  });
  while (!inside) std::this_thread::yield();
  int64_t covered = 0;  // on this thread alone, so no atomic
  const auto self = std::this_thread::get_id();
  parallel_for(1000, 2, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(std::this_thread::get_id(), self);
    covered += end - begin;
  });
  EXPECT_EQ(covered, 1000);
  EXPECT_TRUE(inside);
  finished = true;
  first.join();
}

TEST(Parallel, IdleThreadsTakeNoTime) {
  parallel_for(8, 8, [](int64_t, int64_t) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto used = [] {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
  };
  const long before = used();
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_LT(used() - before, 5000) << "microseconds of processor time in two idle seconds";
}

TEST(Parallel, BodiesRunInTheDefaultModeAndTheCallersIsKept) {
  const auto sum = [] {
    volatile float one = 1, tiny = 0x1p-30f;
    return one + tiny;
  };
  ASSERT_EQ(std::fesetround(FE_UPWARD), 0);
  Meeting meeting(4);
  std::atomic<int> right{0};
  parallel_for(4, 4, [&](int64_t, int64_t) { right += meeting.wait() && sum() == 1.0f; });
  const float after = sum();
  std::fesetround(FE_TONEAREST);
  EXPECT_EQ(right, 4);
  EXPECT_GT(after, 1.0f) << "the caller's rounding mode is lost";
}

TEST(Parallel, WorkersBlockAllSignals) {
  const auto self = std::this_thread::get_id();
  Meeting meeting(4);
  std::atomic<int> workers{0};
  parallel_for(4, 4, [&](int64_t, int64_t) {
    EXPECT_TRUE(meeting.wait());
    if (std::this_thread::get_id() == self) return;
    ++workers;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    for (const int number : {SIGINT, SIGTERM, SIGUSR1, SIGPROF, SIGCHLD}) EXPECT_TRUE(sigismember(&blocked, number));
  });
  EXPECT_EQ(workers, 3);
  sigset_t mine;
  pthread_sigmask(SIG_SETMASK, nullptr, &mine);
  EXPECT_FALSE(sigismember(&mine, SIGTERM)) << "the caller's mask is changed";
}

TEST(Parallel, WorksInTheChildOfAFork) {
  parallel_for(8, 4, [](int64_t, int64_t) {});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    std::atomic<int64_t> covered{0};
    for (int i = 0; i < 100; ++i) parallel_for(1000, 4, [&](int64_t begin, int64_t end) { covered += end - begin; });
    _exit(covered == 100000 ? 0 : 1);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// Fewer threads than asked for while the system refuses more. In a child, since the pool remembers it for a second.
TEST(Parallel, RunsWithFewerThreadsAndAsksAgain) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    size_t usual;
    pthread_attr_getstacksize(&attributes, &usual);
    pthread_attr_setstacksize(&attributes, size_t{1} << 47);  // the whole address space: no stack fits
    if (pthread_setattr_default_np(&attributes) != 0) _exit(2);
    pthread_t thread;
    if (pthread_create(&thread, nullptr, [](void*) -> void* { return nullptr; }, nullptr) == 0) _exit(3);
    std::atomic<int64_t> covered{0};
    parallel_for(1000, 8, [&](int64_t begin, int64_t end) { covered += end - begin; });
    if (covered != 1000) _exit(1);
    pthread_attr_setstacksize(&attributes, usual);
    if (pthread_setattr_default_np(&attributes) != 0) _exit(2);
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    Meeting meeting(4);
    std::atomic<int> met{0};
    parallel_for(4, 4, [&](int64_t, int64_t) { met += meeting.wait(); });
    _exit(met == 4 ? 0 : 4);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// What a loop costs beyond its work: back to back (workers still look) and after a pause (workers parked).
TEST(Parallel, Latency) {
  for (const int pause : {0, 100}) {
    std::vector<double> times;
    for (int i = 0; i < 2000; ++i) {
      spend(std::chrono::microseconds(pause));
      const auto begin = Clock::now();
      parallel_for(2, 2, [](int64_t, int64_t) {});
      times.push_back(microseconds_since(begin));
    }
    std::sort(times.begin(), times.end());
    std::printf("empty loop, 2 threads, %3d us apart: median %.2f us, 90 %% %.2f us\n", pause, times[1000],
                times[1800]);
    EXPECT_LT(times[1000], 1000) << "a worker is polled or joined, not woken";
  }
}

TEST(HugePages, AlsoWherePagesAreInUse) {
  if (!test::system_has_huge_pages()) GTEST_SKIP() << "this system knows no huge pages";
  const test::HugeMap used(4), control(4);
  const size_t bytes = static_cast<size_t>(used.bytes());
  for (const test::HugeMap* map : {&control, &used}) {
    madvise(map->data(), bytes, MADV_NOHUGEPAGE);
    std::memset(map->data(), 2, bytes);
    ASSERT_FALSE(map->advised());
    ASSERT_EQ(map->huge_bytes(), 0);
  }
  // What the system does when asked without the library: before Linux 6.1 only a kernel thread collapses pages, some
  // time later, and there may be no free huge pages.
  constexpr int kCollapse = 25;
  madvise(control.data(), bytes, MADV_HUGEPAGE);
  madvise(control.data(), bytes, kCollapse);

  prefer_huge_pages(used.data() + 1, used.bytes() - 1);
  EXPECT_FALSE(used.advised()) << "the first huge page is not whole";
  prefer_huge_pages(used.data(), used.bytes());
  EXPECT_TRUE(used.advised());
  EXPECT_EQ(std::count(used.data(), used.data() + bytes, 2), used.bytes());
  if (control.huge_bytes() < used.bytes()) GTEST_SKIP() << "this system collapses pages only later, if at all";
  EXPECT_EQ(used.huge_bytes(), used.bytes());
}

TEST(Threads, SetAndRefuse) {
  const int32_t before = gatun_threads();
  EXPECT_GE(before, 1);
  EXPECT_EQ(gatun_set_threads(3), GATUN_OK);
  EXPECT_EQ(gatun_threads(), 3);
  for (const int32_t wrong : {0, -1, 1025, INT_MIN}) {
    EXPECT_EQ(gatun_set_threads(wrong), GATUN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(gatun_last_error()).find(std::to_string(wrong)), std::string::npos);
  }
  EXPECT_EQ(gatun_threads(), 3);
  EXPECT_EQ(gatun_set_threads(before), GATUN_OK);
}

TEST(Threads, UsefulThreads) {
  EXPECT_EQ(useful_threads(8, 100, 1000, 100), 8);
  EXPECT_EQ(useful_threads(8, 3, 1000, 100), 3);
  EXPECT_EQ(useful_threads(8, 100, 199, 100), 2);
  EXPECT_EQ(useful_threads(8, 0, 0, 100), 1);
  EXPECT_EQ(useful_threads(0, 1 << 20, 1 << 20, 1), gatun_threads());
}

class Cgroup : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  int32_t processors(const char* membership) { return cgroup_processors(membership, root_.c_str()); }

  const std::filesystem::path root_ =
      std::filesystem::temp_directory_path() / ("gatun-cgroup-" + std::to_string(getpid()));
};

TEST_F(Cgroup, None) {
  EXPECT_EQ(processors(""), INT32_MAX);
  EXPECT_EQ(processors("0::/\n"), INT32_MAX);
  EXPECT_EQ(processors("nonsense\n::\n1:cpu\n"), INT32_MAX);
}

TEST_F(Cgroup, Version2TakesTheSmallestUpToTheRoot) {
  write("a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(processors("0::/a/b\n"), INT32_MAX);
  write("a/cpu.max", "250000 100000\n");
  EXPECT_EQ(processors("0::/a/b\n"), 3);
  write("a/b/cpu.max", "20000 100000\n");
  EXPECT_EQ(processors("0::/a/b\n"), 1);
  EXPECT_EQ(processors("0::/a\n"), 3);
}

TEST_F(Cgroup, Version2InAContainerSeesOnlyTheMount) {
  write("cpu.max", "400000 100000\n");
  EXPECT_EQ(processors("0::/docker/0123abcd\n"), 4);
}

TEST_F(Cgroup, Version1) {
  write("cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
  write("cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(processors("5:cpuset:/a\n4:cpu,cpuacct:/a\n"), INT32_MAX);
  write("cpu,cpuacct/a/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(processors("5:cpuset:/a\n4:cpu,cpuacct:/a\n"), 2);
  EXPECT_EQ(processors("5:cpuset:/a\n"), INT32_MAX);
  write("cpu/cpu.cfs_quota_us", "600000\n");
  write("cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(processors("1:cpu:/\n0::/\n"), 6);
}

TEST(Processors, OfThisProcess) {
  EXPECT_GE(affinity_processors(), 1);
  EXPECT_LE(allowed_processors(), affinity_processors());
}

}  // namespace
}  // namespace gatun
