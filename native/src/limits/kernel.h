// What a measurement hands to a loop, and the loops' declarations. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

namespace gatun::limits {

enum class Loop : int32_t { move, stream, update, fma, bf16_dot, int8_dot };

// One repetition of one thread.
struct Job {
  // Moves: streams of `floats` elements, a multiple of 64, which start on multiples of 64 bytes.
  const float* const* read;
  float* const* write;
  int64_t read_streams;
  int64_t write_streams;
  int64_t floats;
  // Updates: write_streams of read_streams streams, the first ones, are changed in place. Of stream s, round_floats[s]
  // elements in each of `rounds` rounds, a multiple of 64.
  const int64_t* round_floats;
  // Tiles: how often, and memory, 64-byte aligned, for kOperands operands in turn.
  int64_t rounds;
  void* operands;
};
inline constexpr int64_t kOperands = 16;
inline constexpr int64_t kOperandBytes = 256;  // of a round
// So many rounds leave every sum exact.
inline constexpr int64_t kMaxRounds = int64_t{1} << 23;

struct Kernel {
  // Returns the sum of all that was read, or of a tile's accumulators. All operands of a tile are 1, so the latter is
  // `products` times job.rounds: the products that were really computed.
  double (*run)(const Job& job);
  int64_t products;  // of a round of the tile
};

#define GATUN_LIMITS_KERNEL(name, isa, loop) \
  }                                          \
  namespace gatun::isa {                     \
  extern const limits::Kernel name;          \
  }                                          \
  namespace gatun::limits {
#include "limits/kernels.inc"
#undef GATUN_LIMITS_KERNEL

}  // namespace gatun::limits
