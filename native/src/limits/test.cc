// The loops do what they are counted for, and the entry measures and refuses as limits.h says.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gatun/gatun.h"
#include "limits/crew.h"
#include "limits/limits.h"
#include "limits/table.h"
#include "tiers.h"

namespace gatun::limits {
namespace {

std::vector<const TableRow*> rows_of_tier() {
  std::vector<const TableRow*> rows;
  for (const TableRow& row : table()) {
    if (row.tier == active_tier()) rows.push_back(&row);
  }
  return rows;
}

bool moves(const TableRow& row) { return row.loop == Loop::move || row.loop == Loop::stream; }
bool is_tile(const TableRow& row) { return !moves(row) && row.loop != Loop::update; }

TEST(Loops, TilesComputeTheProductsTheyAreCountedFor) {
  alignas(64) uint8_t operands[kOperands * kOperandBytes];
  for (const TableRow* row : rows_of_tier()) {
    if (!is_tile(*row)) continue;
    for (const int64_t rounds : {int64_t{0}, int64_t{1}, kOperands + 1, int64_t{1000}}) {
      Job job{};
      job.rounds = rounds;
      job.operands = operands;
      EXPECT_EQ(row->kernel->run(job), static_cast<double>(row->kernel->products * rounds)) << row->name;
    }
  }
}

TEST(Loops, SumsOfTilesAreExactUpToTheMostRounds) {
  alignas(64) uint8_t operands[kOperands * kOperandBytes];
  Job job{};
  // The scalar tier would take seconds.
  job.rounds = active_tier() == Tier::scalar ? kMaxRounds / 256 : kMaxRounds;
  job.operands = operands;
  for (const TableRow* row : rows_of_tier()) {
    if (!is_tile(*row)) continue;
    EXPECT_EQ(row->kernel->run(job), static_cast<double>(row->kernel->products * job.rounds)) << row->name;
  }
}

TEST(Loops, MovesReadAndWriteEveryElement) {
  constexpr int64_t kFloats = 320;
  struct alignas(64) Stream {
    float values[kFloats + 64];
  };
  for (const TableRow* row : rows_of_tier()) {
    if (!moves(*row)) continue;
    for (const int64_t reads : {0, 1, 3}) {
      for (const int64_t writes : {0, 1, 2}) {
        std::vector<Stream> streams(static_cast<size_t>(reads + writes));
        std::vector<float*> at;
        for (Stream& stream : streams) at.push_back(stream.values);
        double total = 0;
        for (int64_t s = 0; s < reads + writes; ++s) {
          for (int64_t i = 0; i < kFloats + 64; ++i) {
            at[static_cast<size_t>(s)][i] = static_cast<float>(i * (s + 1));
            if (s < reads && i < kFloats) total += static_cast<double>(i * (s + 1));
          }
        }
        Job job{};
        job.read = at.data();
        job.write = at.data() + reads;
        job.read_streams = reads;
        job.write_streams = writes;
        job.floats = kFloats;
        EXPECT_EQ(row->kernel->run(job), total) << row->name << ": " << reads << " to " << writes;
        for (int64_t s = 0; s < writes; ++s) {
          for (int64_t i = 0; i < kFloats + 64; ++i) {
            // Sum of i (s + 1) over the streams read; beyond the end, as it was.
            const int64_t expected = i < kFloats ? i * reads * (reads + 1) / 2 : i * (reads + s + 1);
            ASSERT_EQ(job.write[s][i], static_cast<float>(expected)) << row->name << ", element " << i;
          }
        }
      }
    }
  }
}

TEST(Loops, UpdatesChangeTheFirstStreamsInPlaceAndReadAll) {
  constexpr int64_t kRounds = 3;
  const std::vector<int64_t> round_floats = {256, 64, 128};
  for (const TableRow* row : rows_of_tier()) {
    if (row->loop != Loop::update) continue;
    for (const int64_t updated : {0, 1, 2, 3}) {
      std::vector<std::vector<float>> streams;
      std::vector<float*> at;
      double total = 0;
      for (const int64_t floats : round_floats) {
        std::vector<float> values;  // 64 more than the rounds reach
        for (int64_t i = 0; i < kRounds * floats + 64; ++i) {
          values.push_back(static_cast<float>(i * floats));
          if (i < kRounds * floats) total += static_cast<double>(i * floats);
        }
        streams.push_back(values);
      }
      for (auto& stream : streams) at.push_back(stream.data());
      Job job{};
      job.read = job.write = at.data();
      job.read_streams = static_cast<int64_t>(round_floats.size());
      job.write_streams = updated;
      job.round_floats = round_floats.data();
      job.rounds = kRounds;
      EXPECT_EQ(row->kernel->run(job), total) << row->name << ": " << updated;
      for (size_t s = 0; s < streams.size(); ++s) {
        for (size_t i = 0; i < streams[s].size(); ++i) {
          const bool changed = static_cast<int64_t>(s) < updated && static_cast<int64_t>(i) < kRounds * round_floats[s];
          ASSERT_EQ(streams[s][i], static_cast<float>(static_cast<int64_t>(i) * round_floats[s] + (changed ? 1 : 0)))
              << row->name << ", stream " << s << ", element " << i;
        }
      }
    }
  }
}

TEST(Crew, RunsEveryThreadOnceARepetition) {
  for (const int32_t threads : {1, 2, 7}) {
    std::vector<int> prepared(static_cast<size_t>(threads)), done(static_cast<size_t>(threads));
    std::vector<std::thread::id> ids(static_cast<size_t>(threads));
    const auto times = repeat(
        threads, 0.01, [&](int32_t thread) { ++prepared[static_cast<size_t>(thread)]; },
        [&](int32_t thread) {
          ++done[static_cast<size_t>(thread)];
          ids[static_cast<size_t>(thread)] = std::this_thread::get_id();
        });
    EXPECT_GE(times.size(), 3u);
    for (int32_t thread = 0; thread < threads; ++thread) {
      EXPECT_EQ(prepared[static_cast<size_t>(thread)], 1);
      EXPECT_EQ(done[static_cast<size_t>(thread)], static_cast<int>(times.size()));
      for (int32_t other = 0; other < thread; ++other) {
        EXPECT_NE(ids[static_cast<size_t>(thread)], ids[static_cast<size_t>(other)]);
      }
    }
  }
}

// From the first thread's start to the last one's end: a thread that starts late or ends late counts.
TEST(Crew, TimesTheSlowestThread) {
  const auto times = repeat(
      3, 0, [](int32_t) {},
      [](int32_t thread) {
        if (thread == 2) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      });
  for (const double time : times) EXPECT_GE(time, 0.02);
}

struct Measured {
  int32_t status;
  double best = -1, median = -1;
};

Measured measure(int32_t kind, const char* tier = nullptr, int32_t threads = 1, int32_t reads = 1, int32_t writes = 1,
                 double seconds = 0.05) {
  Measured result{};
  result.best = result.median = -1;
  result.status = gatun_limits_measure(kind, tier, threads, reads, writes, seconds, &result.best, &result.median);
  return result;
}

void expect_rate(const Measured& measured) {
  EXPECT_EQ(measured.status, GATUN_OK) << gatun_limits_last_error();
  EXPECT_GT(measured.median, 0);
  EXPECT_GE(measured.best, measured.median);
  EXPECT_TRUE(std::isfinite(measured.best));
}

TEST(Measure, EveryKindOnOneAndSeveralThreads) {
  const bool bf16 = select(Loop::bf16_dot, active_tier()) != nullptr;
  EXPECT_EQ(bf16, active_tier() == Tier::avx512vnni);
  for (const int32_t threads : {1, 3}) {
    for (int32_t kind = GATUN_LIMIT_READ; kind <= GATUN_LIMIT_INT8_DOT; ++kind) {
      if (kind == GATUN_LIMIT_BF16_DOT && !bf16) continue;
      SCOPED_TRACE(testing::Message() << "kind " << kind << ", threads " << threads);
      expect_rate(measure(kind, nullptr, threads));
    }
  }
}

TEST(Measure, AnyNumberOfStreamsAndThreads) {
  expect_rate(measure(GATUN_LIMIT_MOVE, nullptr, 1, 0, 1));
  expect_rate(measure(GATUN_LIMIT_MOVE, nullptr, 1, 1, 0));
  expect_rate(measure(GATUN_LIMIT_MOVE, nullptr, 2, GATUN_LIMITS_MAX_STREAMS, GATUN_LIMITS_MAX_STREAMS));
  expect_rate(measure(GATUN_LIMIT_FMA, nullptr, 64));
}

TEST(Measure, TakesTheTierThatIsNamed) {
  for (const std::string& tier : test::supported_tiers()) {
    expect_rate(measure(GATUN_LIMIT_INT8_DOT, tier.c_str()));
    if (tier == "avx512vnni") {
      expect_rate(measure(GATUN_LIMIT_BF16_DOT, tier.c_str()));
      continue;
    }
    const Measured unsupported = measure(GATUN_LIMIT_BF16_DOT, tier.c_str());
    EXPECT_EQ(unsupported.status, GATUN_UNSUPPORTED);
    EXPECT_EQ(unsupported.best, -1);
    EXPECT_STREQ(gatun_limits_last_error(), ("tier " + tier + " has no bf16 dot").c_str());
  }
  for (int32_t tier = 0; tier < kTiers; ++tier) {
    if (gatun_tier_supported(tier)) continue;
    EXPECT_EQ(measure(GATUN_LIMIT_FMA, gatun_tier_name(tier)).status, GATUN_UNSUPPORTED);
    EXPECT_NE(std::string(gatun_limits_last_error()).find(gatun_tier_name(tier)), std::string::npos);
  }
}

Measured measure_update(const std::vector<int32_t>& round_pieces, int32_t updated, int32_t threads = 1,
                        double seconds = 0.05) {
  Measured result{};
  result.best = result.median = -1;
  result.status = gatun_limits_update(threads, static_cast<int32_t>(round_pieces.size()), updated, round_pieces.data(),
                                      seconds, &result.best, &result.median);
  return result;
}

TEST(Measure, UpdatesOfAnyProportion) {
  for (const int32_t threads : {1, 3}) {
    expect_rate(measure_update({4, 1, 1, 4}, 3, threads));
    expect_rate(measure_update({1, 1, 1}, 0, threads));
    expect_rate(measure_update({GATUN_LIMITS_MAX_PIECES}, 1, threads));
    expect_rate(measure_update(std::vector<int32_t>(GATUN_LIMITS_MAX_STREAMS, 1), GATUN_LIMITS_MAX_STREAMS, threads));
  }
}

void refuses(const Measured& measured, const char* message) {
  EXPECT_EQ(measured.status, GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_limits_last_error()).find(message), std::string::npos) << gatun_limits_last_error();
  EXPECT_EQ(measured.best, -1);
  EXPECT_EQ(measured.median, -1);
}

TEST(Measure, RefusesBadUpdates) {
  refuses(measure_update({1}, 1, 0), "threads");
  refuses(measure_update({1}, 1, GATUN_LIMITS_MAX_THREADS + 1), "threads");
  refuses(measure_update({}, 0), "streams");
  refuses(measure_update(std::vector<int32_t>(GATUN_LIMITS_MAX_STREAMS + 1, 1), 0), "streams");
  refuses(measure_update({1, 1}, -1), "updated");
  refuses(measure_update({1, 1}, 3), "updated");
  refuses(measure_update({1, 0}, 1), "round_pieces");
  refuses(measure_update({GATUN_LIMITS_MAX_PIECES + 1, 1}, 1), "round_pieces");
  refuses(measure_update({1}, 1, 1, 0), "seconds");
  double rate;
  const int32_t pieces = 1;
  EXPECT_EQ(gatun_limits_update(1, 1, 1, nullptr, 0.1, &rate, &rate), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_limits_update(1, 1, 1, &pieces, 0.1, nullptr, &rate), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_limits_update(1, 1, 1, &pieces, 0.1, &rate, nullptr), GATUN_INVALID_ARGUMENT);
}

TEST(Measure, RefusesBadArguments) {
  refuses(measure(-1), "kind");
  refuses(measure(5), "kind");
  refuses(measure(GATUN_LIMIT_FMA, "avx1024"), "avx1024");
  refuses(measure(GATUN_LIMIT_FMA, ""), "tier");
  refuses(measure(GATUN_LIMIT_FMA, nullptr, 0), "threads");
  refuses(measure(GATUN_LIMIT_FMA, nullptr, GATUN_LIMITS_MAX_THREADS + 1), "threads");
  refuses(measure(GATUN_LIMIT_MOVE, nullptr, 1, -1, 1), "read_streams");
  refuses(measure(GATUN_LIMIT_MOVE, nullptr, 1, GATUN_LIMITS_MAX_STREAMS + 1, 1), "read_streams");
  refuses(measure(GATUN_LIMIT_MOVE, nullptr, 1, 1, -1), "write_streams");
  refuses(measure(GATUN_LIMIT_MOVE, nullptr, 1, 1, GATUN_LIMITS_MAX_STREAMS + 1), "write_streams");
  refuses(measure(GATUN_LIMIT_MOVE, nullptr, 1, 0, 0), "at least one stream");
  for (const double seconds : {0.0, -1.0, 1e9, std::nan(""), std::numeric_limits<double>::infinity()}) {
    refuses(measure(GATUN_LIMIT_FMA, nullptr, 1, 0, 0, seconds), "seconds");
  }
  double rate;
  EXPECT_EQ(gatun_limits_measure(GATUN_LIMIT_FMA, nullptr, 1, 0, 0, 0.1, nullptr, &rate), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_limits_measure(GATUN_LIMIT_FMA, nullptr, 1, 0, 0, 0.1, &rate, nullptr), GATUN_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace gatun::limits
