#include <gtest/gtest.h>

#include <cstdio>

#include "rng.h"

namespace {

class SeedPrinter : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo& info) override {
    if (!info.result()->Failed()) return;
    std::printf("seed: GATUN_TEST_SEED=%llu\n", static_cast<unsigned long long>(gatun::test::test_seed()));
  }
};

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::UnitTest::GetInstance()->listeners().Append(new SeedPrinter);
  return RUN_ALL_TESTS();
}
