#include "rng.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace gatun::test {
namespace {

uint64_t splitmix64(uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t rotate_left(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

}  // namespace

uint64_t test_seed() {
  static const uint64_t seed = [] {
    const char* text = std::getenv("GATUN_TEST_SEED");
    return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 0) : 20140626u;
  }();
  return seed;
}

Rng::Rng(uint64_t stream) {
  uint64_t seed = test_seed();
  uint64_t mixed = splitmix64(seed) ^ stream;
  for (uint64_t& word : state_) word = splitmix64(mixed);
}

uint64_t Rng::next() {
  const uint64_t result = rotate_left(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = rotate_left(state_[3], 45);
  return result;
}

int64_t Rng::integer(int64_t low, int64_t high) {
  const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
  return static_cast<int64_t>(static_cast<uint64_t>(low) + (span == 0 ? next() : next() % span));
}

float Rng::uniform(float low, float high) {
  const float unit = static_cast<float>(next() >> 40) * 0x1p-24f;
  return low + (high - low) * unit;
}

float Rng::normal() {  // Box and Muller 1958
  const double radius = std::sqrt(-2.0 * std::log(static_cast<double>((next() >> 11) + 1) * 0x1p-53));
  const double angle = 6.283185307179586 * static_cast<double>(next() >> 11) * 0x1p-53;
  return static_cast<float>(radius * std::cos(angle));
}

float Rng::special() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  switch (integer(0, 3)) {
    case 0:
      return std::numeric_limits<float>::quiet_NaN();
    case 1:
      return next() & 1 ? kInfinity : -kInfinity;
    default:
      return special_finite();
  }
}

float Rng::special_finite() {
  using Limits = std::numeric_limits<float>;
  const float sign = next() & 1 ? 1.0f : -1.0f;
  switch (integer(0, 5)) {
    case 0:
      return sign * 0.0f;
    case 1:
      return sign * static_cast<float>(integer(1, 0x7fffff)) * Limits::denorm_min();
    case 2:
      return sign * Limits::min();
    case 3:
      return sign * Limits::max();
    case 4:
      return sign * std::ldexp(1.0f, static_cast<int>(integer(-149, 127)));
    default: {
      uint32_t bits = static_cast<uint32_t>(next());
      if ((bits & 0x7f800000u) == 0x7f800000u) bits ^= 0x40000000u;
      float value;
      std::memcpy(&value, &bits, sizeof(value));
      return value;
    }
  }
}

std::vector<float> Rng::normals(int64_t count, float scale) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = scale * normal();
  return values;
}

std::vector<float> Rng::small_integers(int64_t count, int64_t low, int64_t high) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(integer(low, high));
  return values;
}

}  // namespace gatun::test
