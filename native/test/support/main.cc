// main of the test executables: says which tier runs, prints the seed of a failing test, and, when GATUN_MAX_ISA asks
// for a tier that this machine does not have, exits with kSkipped, so that a lower tier does not pass for it, or fails
// where GATUN_TEST_ALL_TIERS says that there is none that may be missing.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "rng.h"
#include "tiers.h"

namespace {

constexpr int kSkipped = 77;  // ctest's SKIP_RETURN_CODE

class SeedPrinter : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo& test) override {
    if (test.result()->Failed()) {
      std::printf("to repeat: GATUN_TEST_SEED=%llu\n", static_cast<unsigned long long>(gatun::test::test_seed()));
    }
  }
};

bool can_run(const char* wanted) {
  for (const std::string& tier : gatun::test::supported_tiers()) {
    if (tier == wanted) return true;
  }
  return false;
}

}  // namespace

int main(int count, char** arguments) {
  ::testing::InitGoogleTest(&count, arguments);
  if (const char* wanted = std::getenv("GATUN_MAX_ISA"); wanted != nullptr && !can_run(wanted)) {
    const bool needed = std::getenv("GATUN_TEST_ALL_TIERS") != nullptr;
    std::printf("%s: this machine cannot run tier %s\n", needed ? "failed" : "skipped", wanted);
    return needed ? 1 : kSkipped;
  }
  ::testing::UnitTest::GetInstance()->listeners().Append(new SeedPrinter);
  return RUN_ALL_TESTS();
}
