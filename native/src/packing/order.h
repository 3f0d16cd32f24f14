// Where small codes lie in memory: the only place that knows the orders.
//
// Codes are packed in units of consecutive elements. Element i of a unit is the `bits` bits from `shift` on of the
// unit's byte `byte`; words are little endian.
//
//   low_first         a byte: of 4 bits  [1 0], of 2 bits  [3 2 1 0]     highest bits on the left
//   high_first        a byte: of 4 bits  [0 1]
//   split_half_block  16 bytes of 4 bits: byte b  [b + 16  b]
//   awq_0246_1357     a word of 4 bits: [7 5 3 1 6 4 2 0]
//   gptq_k8           a word: of 4 bits [7 6 5 4 3 2 1 0]
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace gatun::packing {

enum class Order { low_first, high_first, split_half_block, awq_0246_1357, gptq_k8 };

struct Place {
  uint8_t byte, shift;
};

inline constexpr int kMaxUnit = 32;

struct Unit {
  int bits = 0;   // of an element
  int log2 = 0;   // of its elements
  int bytes = 0;  // of its memory
  std::array<Place, kMaxUnit> places{};
};

// The i-th of slots of `bits` bits from the lowest bit of a unit on.
constexpr Place slot(int i, int bits) {
  return {static_cast<uint8_t>(i * bits / 8), static_cast<uint8_t>(i * bits % 8)};
}

constexpr Unit unit_of(Order order, int bits) {
  constexpr int kWord = 4, kHalfBlock = 16;
  Unit unit;
  unit.bits = bits;
  const bool word = order == Order::awq_0246_1357 || order == Order::gptq_k8;
  unit.bytes = word ? kWord : order == Order::split_half_block ? kHalfBlock : 1;
  const int elements = unit.bytes * 8 / bits;
  while (1 << unit.log2 < elements) ++unit.log2;
  for (int i = 0; i < elements; ++i) {
    Place& place = unit.places[static_cast<size_t>(i)];
    switch (order) {
      case Order::low_first:
      case Order::gptq_k8:
        place = slot(i, bits);
        break;
      case Order::high_first:
        place = slot(elements - 1 - i, bits);
        break;
      case Order::split_half_block:
        place = slot(i % kHalfBlock * 2 + i / kHalfBlock, bits);
        break;
      case Order::awq_0246_1357:
        place = slot(i % 2 * (elements / 2) + i / 2, bits);
        break;
    }
  }
  return unit;
}

}  // namespace gatun::packing
