// For tests of the emulator: a body under all settings, and matrices.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "rng.h"
#include "settings.h"

namespace gatun::emulator {

inline constexpr Order kOrders[] = {Order::up, Order::down, Order::shuffled};
inline constexpr Effects kEffects[] = {Effects::last, Effects::first};

template <class Body>
void in_every_way(Body body) {
  for (const Order order : kOrders) {
    for (const Effects effects : kEffects) {
      settings().order = order;
      settings().effects = effects;
      SCOPED_TRACE("order " + std::to_string(static_cast<int>(order)) +
                   (effects == Effects::last ? ", effects last" : ", effects first"));
      body();
    }
  }
  settings() = Settings();
}

// In how many of the ways `body` returns true.
template <class Body>
int ways(Body body) {
  int count = 0;
  in_every_way([&] { count += body(); });
  return count;
}

// Element types of the products, with what is multiplied in tests: integers, whose sums f32 holds exactly, or not.
struct F16 {
  using Type = uint16_t;
  using Sum = float;
  static Type from(double x) { return f32_to_f16(static_cast<float>(x)); }
  static double to(Type x) { return double{f16_to_f32(x)}; }
};
struct Bf16 {
  using Type = uint16_t;
  using Sum = float;
  static Type from(double x) { return f32_to_bf16(static_cast<float>(x)); }
  static double to(Type x) { return double{bf16_to_f32(x)}; }
};
struct I8 {
  using Type = int8_t;
  using Sum = int32_t;
  static Type from(double x) { return static_cast<Type>(x); }
  static double to(Type x) { return x; }
};
struct E4m3 {
  using Type = uint8_t;
  using Sum = float;
  static Type from(double x) { return f32_to_small<F8E4M3>(static_cast<float>(x)); }
  static double to(Type x) { return double{small_to_f32<F8E4M3>(x)}; }
};
struct U8 {
  using Type = uint8_t;
  using Sum = int32_t;
  static Type from(double x) { return static_cast<Type>(x); }
  static double to(Type x) { return x; }
};

template <class Element>
std::vector<typename Element::Type> random_integers(test::Rng& rng, int64_t count, int low = -100, int high = 100) {
  std::vector<typename Element::Type> values(static_cast<size_t>(count));
  for (auto& value : values) value = Element::from(static_cast<double>(rng.integer(low, high)));
  return values;
}
template <>
inline std::vector<uint8_t> random_integers<U8>(test::Rng& rng, int64_t count, int, int) {
  return rng.integers<uint8_t>(count, 0, 255);
}

// A random matrix of which two of four neighbours in a row are stored: these, their places, and the whole.
template <class Element>
struct Sparse {
  Sparse(test::Rng& rng, int64_t rows, int64_t stored_of_row, int low = -100, int high = 100)
      : stored(random_integers<Element>(rng, rows * stored_of_row, low, high)),
        whole(2 * stored.size()),
        row_size(stored_of_row) {
    for (size_t pair = 0; pair < stored.size() / 2; ++pair) {
      const int first = static_cast<int>(rng.integer(0, 2));
      const int places[2] = {first, static_cast<int>(rng.integer(first + 1, 3))};
      for (size_t i = 0; i < 2; ++i) {
        at.push_back(places[i]);
        whole[4 * pair + static_cast<size_t>(places[i])] = stored[2 * pair + i];
      }
    }
  }

  // Metadata of the `count` stored ones of a row from `first` on: 2 bits each, from the lowest on.
  uint32_t places(int64_t row, int64_t first, int64_t count) const {
    uint32_t bits = 0;
    for (int64_t i = 0; i < count; ++i) {
      bits |= static_cast<uint32_t>(at[static_cast<size_t>(row * row_size + first + i)]) << 2 * i;
    }
    return bits;
  }

  std::vector<typename Element::Type> stored, whole;
  std::vector<int> at;
  int64_t row_size;
};

// c[m][n] += sum of a[m][k] b[n][k]
template <class A, class B>
std::vector<typename A::Sum> product(const std::vector<typename A::Type>& a, const std::vector<typename B::Type>& b,
                                     std::vector<typename A::Sum> c, int64_t m, int64_t n, int64_t depth) {
  for (int64_t row = 0; row < m; ++row) {
    for (int64_t column = 0; column < n; ++column) {
      double sum = static_cast<double>(c[static_cast<size_t>(row * n + column)]);
      for (int64_t k = 0; k < depth; ++k) {
        sum += A::to(a[static_cast<size_t>(row * depth + k)]) * B::to(b[static_cast<size_t>(column * depth + k)]);
      }
      c[static_cast<size_t>(row * n + column)] = static_cast<typename A::Sum>(sum);
    }
  }
  return c;
}

}  // namespace gatun::emulator
