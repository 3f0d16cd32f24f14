// Reproducible random numbers for tests: xoshiro256** (Blackman and Vigna 2018) seeded by splitmix64.
//
// Every generator derives from one seed of the process, test_seed(): a constant, or the value of the environment
// variable GATUN_TEST_SEED. A failing test prints it (main.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gatun::test {

uint64_t test_seed();

class Rng {
 public:
  // Generators with different streams are independent of each other.
  explicit Rng(uint64_t stream = 0);

  uint64_t next();

  // An integer in [low, high].
  int64_t integer(int64_t low, int64_t high);

  // In [low, high).
  float uniform(float low, float high);

  // Standard normal.
  float normal();

  // Zero, subnormals, NaN, infinities, extremes, powers of two, any bit pattern.
  float special();
  // The same without NaN and infinity.
  float special_finite();

  template <class T>
  const T& pick(const std::vector<T>& values) {
    return values[static_cast<size_t>(integer(0, static_cast<int64_t>(values.size()) - 1))];
  }

  std::vector<float> normals(int64_t count, float scale = 1.0f);
  std::vector<float> small_integers(int64_t count, int64_t low, int64_t high);
  template <class T>
  std::vector<T> integers(int64_t count, int64_t low, int64_t high) {
    std::vector<T> values(static_cast<size_t>(count));
    for (T& value : values) value = static_cast<T>(integer(low, high));
    return values;
  }

 private:
  uint64_t state_[4];
};

}  // namespace gatun::test
