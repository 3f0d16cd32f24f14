// Entry: checks, and what a repetition of each limit is.
#include "limits/limits.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <numeric>
#include <system_error>

#include "base/check.h"
#include "base/status.h"
#include "limits/crew.h"
#include "limits/table.h"

namespace gatun::limits {
namespace {

struct Rate {
  double best, median;
};

Rate rate(double work, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return {work / times.front(), work / times[times.size() / 2]};
}

Rate better(const Rate& a, const Rate& b) { return a.best > b.best ? a : b; }

// Far more than the last-level cache.
#if !defined(GATUN_LIMITS_MIB)
#define GATUN_LIMITS_MIB 512
#endif
constexpr int64_t kMoveBytes = int64_t{GATUN_LIMITS_MIB} << 20;

struct NoMemory {
  size_t bytes;
};

// Memory in huge pages where there are some: what a program can get at best.
class Memory {
 public:
  explicit Memory(int64_t bytes) : bytes_(static_cast<size_t>(bytes)) {
    data_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) throw NoMemory{bytes_};
    madvise(data_, bytes_, MADV_HUGEPAGE);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { munmap(data_, bytes_); }
  float* floats() const { return static_cast<float*>(data_); }

 private:
  size_t bytes_;
  void* data_;
};

// What a thread reads and writes.
struct Walk {
  std::vector<int64_t> floats;  // of each stream
  Job job;                      // but for the addresses
  size_t first_written;         // of the streams
  int64_t bytes_moved;
};

Rate walk(const TableRow& row, int32_t threads, const Walk& plan, double seconds) {
  // Streams start at different cache lines of their pages, so that they don't share sets of the caches.
  constexpr int64_t kStagger = 5 * 64;
  const size_t streams = plan.floats.size();
  std::vector<int64_t> begin{0};
  for (const int64_t floats : plan.floats) begin.push_back(begin.back() + floats + kStagger);
  const Memory memory(threads * begin.back() * 4);
  const auto stream = [&](int32_t thread, size_t i) { return memory.floats() + thread * begin.back() + begin[i]; };
  const auto touch = [&](int32_t thread) {
    for (size_t i = 0; i < streams; ++i) std::fill_n(stream(thread, i), plan.floats[i], 1.0f);
  };
  const auto work = [&](int32_t thread) {
    float* at[2 * GATUN_LIMITS_MAX_STREAMS];
    for (size_t i = 0; i < streams; ++i) at[i] = stream(thread, i);
    Job job = plan.job;
    job.read = at;
    job.write = at + plan.first_written;
    row.kernel->run(job);
  };
  return rate(static_cast<double>(plan.bytes_moved) * threads, repeat(threads, seconds, touch, work));
}

Rate move(const TableRow& row, int32_t threads, int32_t read_streams, int32_t write_streams, double seconds) {
  const int32_t streams = read_streams + write_streams;
  const int64_t floats = kMoveBytes / 4 / threads / streams / 64 * 64;
  Walk plan{{}, {}, static_cast<size_t>(read_streams), floats * 4 * streams};
  plan.floats.assign(static_cast<size_t>(streams), floats);
  plan.job.read_streams = read_streams;
  plan.job.write_streams = write_streams;
  plan.job.floats = floats;
  return walk(row, threads, plan, seconds);
}

Rate update(const TableRow& row, int32_t threads, const std::vector<int64_t>& round_floats, int32_t updated,
            double seconds) {
  const int64_t read = std::accumulate(round_floats.begin(), round_floats.end(), int64_t{0});
  const int64_t written = std::accumulate(round_floats.begin(), round_floats.begin() + updated, int64_t{0});
  const int64_t rounds = kMoveBytes / 4 / threads / read;
  Walk plan{{}, {}, 0, rounds * 4 * (read + written)};
  for (const int64_t floats : round_floats) plan.floats.push_back(rounds * floats);
  plan.job.read_streams = static_cast<int64_t>(round_floats.size());
  plan.job.write_streams = updated;
  plan.job.round_floats = round_floats.data();
  plan.job.rounds = rounds;
  return walk(row, threads, plan, seconds);
}

// A repetition takes some milliseconds: long beside the threads' common start, short beside what else the machine does.
constexpr double kTileSeconds = 4e-3;

void run_tile(const TableRow& row, int64_t rounds) {
  alignas(64) uint8_t operands[kOperands * kOperandBytes];
  Job job{};
  job.rounds = rounds;
  job.operands = operands;
  row.kernel->run(job);
}

Rate multiply(const TableRow& row, int32_t threads, double seconds) {
  const auto nothing = [](int32_t) {};
  int64_t rounds = 1024;
  const auto work = [&](int32_t) { run_tile(row, rounds); };
  while (rounds < kMaxRounds && repeat(1, 0, nothing, work).back() < kTileSeconds / 2) rounds *= 2;
  return rate(2.0 * static_cast<double>(row.kernel->products * rounds) * threads,
              repeat(threads, seconds, nothing, work));
}

struct Request {
  int32_t kind;
  Tier tier;
  int32_t threads, read_streams, write_streams;
  double seconds;
};

Rate measure(const Request& request, const TableRow& row) {
  const int32_t threads = request.threads;
  switch (request.kind) {
    case GATUN_LIMIT_READ: {
      Rate best{};
      for (const int32_t streams : {1, 2, 4, 8})
        best = better(best, move(row, threads, streams, 0, request.seconds / 4));
      return best;
    }
    case GATUN_LIMIT_MOVE: {
      const int32_t reads = request.read_streams, writes = request.write_streams;
      if (writes == 0) return move(row, threads, reads, 0, request.seconds);
      return better(move(row, threads, reads, writes, request.seconds / 2),
                    move(*select(Loop::stream, request.tier), threads, reads, writes, request.seconds / 2));
    }
    default:
      return multiply(row, threads, request.seconds);
  }
}

constexpr Loop kLoops[] = {Loop::move, Loop::move, Loop::fma, Loop::bf16_dot, Loop::int8_dot};  // of kinds
constexpr const char* kNames[] = {"read", "move", "fma", "bf16 dot", "int8 dot"};

int32_t check_tier(const char* name, Tier* tier) {
  if (name == nullptr) {
    *tier = active_tier();
    return GATUN_OK;
  }
  for (int32_t i = 0; i < kTiers; ++i) {
    *tier = static_cast<Tier>(i);
    if (std::strcmp(name, tier_name(*tier)) != 0) continue;
    if (tier_supported(*tier)) return GATUN_OK;
    return fail(GATUN_UNSUPPORTED, "this processor or operating system cannot run tier %s", name);
  }
  return fail(GATUN_INVALID_ARGUMENT,
              "tier is \"%.40s\"; allowed: scalar, avx2, avxvnni, avx512, avx512vnni, neon, dotprod, "
              "i8mm, null",
              name);
}

int32_t check_seconds(double seconds) {
  if (seconds > 0 && seconds <= 3600) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "seconds is %g; allowed: above 0, up to 3600", seconds);
}

int32_t check(const Request& request) {
  GATUN_TRY(check_range(request.kind, GATUN_LIMIT_READ, GATUN_LIMIT_INT8_DOT, "kind"));
  GATUN_TRY(check_range(request.threads, 1, GATUN_LIMITS_MAX_THREADS, "threads"));
  if (request.kind == GATUN_LIMIT_MOVE) {
    GATUN_TRY(check_range(request.read_streams, 0, GATUN_LIMITS_MAX_STREAMS, "read_streams"));
    GATUN_TRY(check_range(request.write_streams, 0, GATUN_LIMITS_MAX_STREAMS, "write_streams"));
    if (request.read_streams + request.write_streams == 0) {
      return fail(GATUN_INVALID_ARGUMENT, "read_streams and write_streams are 0; allowed: at least one stream");
    }
  }
  return check_seconds(request.seconds);
}

int32_t check_update(int32_t threads, int32_t streams, int32_t updated, const int32_t* round_pieces, double seconds) {
  GATUN_TRY(check_range(threads, 1, GATUN_LIMITS_MAX_THREADS, "threads"));
  GATUN_TRY(check_range(streams, 1, GATUN_LIMITS_MAX_STREAMS, "streams"));
  GATUN_TRY(check_range(updated, 0, streams, "updated"));
  GATUN_TRY(check_not_null(round_pieces, "round_pieces"));
  for (int32_t i = 0; i < streams; ++i) {
    GATUN_TRY(check_range(round_pieces[i], 1, GATUN_LIMITS_MAX_PIECES, "round_pieces"));
  }
  return check_seconds(seconds);
}

// Measures and stores, unless it throws.
template <class Measurement>
int32_t store(int32_t threads, double* best, double* median, const Measurement& measurement) {
  try {
    const Rate rate = measurement();
    *best = rate.best;
    *median = rate.median;
  } catch (const NoMemory& none) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for streams of %zu bytes together", none.bytes);
  } catch (const std::bad_alloc&) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for %d threads", threads);
  } catch (const std::system_error& error) {
    return fail(GATUN_OUT_OF_RESOURCES, "can't start %d threads: %s", threads, error.what());
  }
  return GATUN_OK;
}

}  // namespace
}  // namespace gatun::limits

using namespace gatun;
using namespace gatun::limits;

int32_t gatun_limits_measure(int32_t kind, const char* tier, int32_t threads, int32_t read_streams,
                             int32_t write_streams, double seconds, double* best, double* median) {
  Request request{kind, Tier::scalar, threads, read_streams, write_streams, seconds};
  GATUN_TRY(check(request));
  GATUN_TRY(check_not_null(best, "best"));
  GATUN_TRY(check_not_null(median, "median"));
  GATUN_TRY(check_tier(tier, &request.tier));
  const TableRow* row = select(kLoops[kind], request.tier);
  if (row == nullptr) {
    return fail(GATUN_UNSUPPORTED, "tier %s has no %s", tier_name(request.tier), kNames[kind]);
  }
  return store(threads, best, median, [&] { return measure(request, *row); });
}

int32_t gatun_limits_update(int32_t threads, int32_t streams, int32_t updated, const int32_t* round_pieces,
                            double seconds, double* best, double* median) {
  GATUN_TRY(check_update(threads, streams, updated, round_pieces, seconds));
  GATUN_TRY(check_not_null(best, "best"));
  GATUN_TRY(check_not_null(median, "median"));
  return store(threads, best, median, [&] {
    std::vector<int64_t> round_floats;
    for (int32_t i = 0; i < streams; ++i) round_floats.push_back(int64_t{64} * round_pieces[i]);
    return update(*select(Loop::update, active_tier()), threads, round_floats, updated, seconds);
  });
}

const char* gatun_limits_last_error() { return gatun_last_error(); }
