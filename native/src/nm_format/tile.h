// Compression: the weights that bits select, side by side, and their positions within their groups of m.
//
//   dense row   [ 64 weights       | 64 weights       | .. | rest ]     blocks; 16 of them are a chunk
//   bits        [ word             | word             | .. | word ]     1: kept; filled up to n in each group
//   stage       [ values of the chunk, one after the other ]            compress_lanes, then to memory as a whole:
//               [ positions of the chunk, a byte each ]                 past the caches if they are many; 4 and 2 bits
//                                                                       of a byte, if that is what indices or codes
//                                                                       take
//
// Where bits come from: a mask, what is not 0 in any row of a vector, or scores (tile_prune.h). A chunk is kept weights
// of whole groups, and its values and indices are whole bytes: 1024 / m * n is a multiple of 32.
//
// 2:4 of 32 bits does without the stage: see write_pairs.
//
// Tails: the last block of a row is copied and continued by zeros, as is a block with groups that keep fewer than n
// weights, its other weights replaced by zeros; both then go the way of any other. What the last vector of a stage has
// too much stays in the stage.
#pragma once

#include "gatun/types.h"
#include "nm_format/groups.h"
#include "nm_format/kernel.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {
namespace {

using nm_format::Job;
using nm_format::kWord;

constexpr int kVectors = kWord / kLanes;  // of a block
constexpr int kChunkBlocks = 16;
constexpr int kChunk = kChunkBlocks * kWord;
constexpr uint32_t kAllLanes = (uint32_t{1} << (kLanes - 1)) * 2 - 1;

// Elements of a size: how many bits, how many bytes they take in a stage, and which of their bits are 0 in a zero.
struct Words {
  static constexpr int kBits = 32, kStaged = 4;
  static constexpr int32_t kMagnitude = 0x7fffffff;
  // Vector v of a block.
  static GATUN_INLINE I32 load(const uint8_t* block, int v) {
    return load_i32(reinterpret_cast<const int32_t*>(block) + v * kLanes);
  }
  static GATUN_INLINE void stage(uint8_t* p, I32 x) { store_i32(reinterpret_cast<int32_t*>(p), x); }
};

struct Halves {
  static constexpr int kBits = 16, kStaged = 2;
  static constexpr int32_t kMagnitude = 0x7fff;
  static GATUN_INLINE I32 load(const uint8_t* block, int v) {
    return load_u16_i32(reinterpret_cast<const uint16_t*>(block) + v * kLanes);
  }
  static GATUN_INLINE void stage(uint8_t* p, I32 x) { store_u16(reinterpret_cast<uint16_t*>(p), x); }
};

struct CodesOf8 {
  static constexpr int kBits = 8, kStaged = 1;
  static constexpr int32_t kMagnitude = 0xff;
  static GATUN_INLINE I32 load(const uint8_t* block, int v) { return load_u8_i32(block + v * kLanes); }
  static GATUN_INLINE void stage(uint8_t* p, I32 x) { store_i8(reinterpret_cast<int8_t*>(p), x); }
};

struct CodesOf4 {
  static constexpr int kBits = 4, kStaged = 1;
  static constexpr int32_t kMagnitude = 0xf;  // for no call: codes of 4 bits come with a mask
  static GATUN_INLINE I32 load(const uint8_t* block, int v) { return load_u4_i32(block + v * kLanes / 2); }
  static GATUN_INLINE void stage(uint8_t* p, I32 x) { store_i8(reinterpret_cast<int8_t*>(p), x); }
};

GATUN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
GATUN_INLINE uint32_t lanes_of_word(uint64_t word, int v) {
  return static_cast<uint32_t>(word >> v * kLanes) & kAllLanes;
}

// A chunk: from weight k on, `blocks` blocks.
struct Chunk {
  int64_t k;
  int blocks;
};
GATUN_INLINE Chunk chunk_at(const Job& job, int64_t k) {
  return {k, static_cast<int>((smaller(job.depth - k, kChunk) + kWord - 1) / kWord)};
}
// The bits that a block has from its first one to the end of the row's last group.
GATUN_INLINE int64_t bits_left(const Job& job, const Chunk& chunk, int block) {
  return job.groups * job.m - chunk.k - int64_t{block} * kWord;
}

// What is made of a chunk, with room for the rest of a vector.
struct Stage {
  alignas(64) uint8_t values[kChunk * 4 + 64] = {};
  alignas(64) uint8_t positions[kChunk + 64] = {};
};

// Elements of kBits that lie in bytes, or bytes as they are, to memory.
template <int kBits>
GATUN_INLINE void unload(const uint8_t* from, int64_t bytes, bool stream, uint8_t* to) {
  constexpr int kStep = 4 * kLanes, kPerByte = 8 / kBits;
  stream = stream && kBits == 8 && reinterpret_cast<uintptr_t>(to) % kStep == 0;
  for (; bytes >= kStep; bytes -= kStep, from += kStep, to += kStep / kPerByte) {
    const Bytes x = load_bytes(from);
    if (kBits == 8) stream ? stream_bytes(to, x) : store_bytes(to, x);
    if (kBits == 4) store_nibbles(to, x);
    if (kBits == 2) store_crumbs(to, x);
  }
  const int rest = static_cast<int>(bytes);
  const Bytes x = load_bytes(from);
  if (kBits == 8) store_bytes_n(to, x, rest);
  if (kBits == 4) store_nibbles_n(to, x, rest);
  if (kBits == 2) store_crumbs_n(to, x, rest);
}

// The block of a row from weight k on, with zeros for what is not kept.
template <class Elements>
__attribute__((noinline)) void copy_block(const Job& job, int64_t row, int64_t k, uint64_t kept, uint8_t* copy) {
  constexpr int kBytes = Elements::kBits / 8;
  const uint8_t* from = job.dense + row * job.dense_row + k * Elements::kBits / 8;
  kept &= nm_format::lowest_bits(job.depth - k);
  for (int i = 0; i < kWord; ++i) {
    const bool is_kept = kept >> i & 1;
    if (Elements::kBits == 4) {
      const int64_t group = smaller(k + i, job.depth - 1) / job.zero_group;
      const int zero = job.zero_points == nullptr ? 8 : job.zero_points[row * job.zero_groups + group];
      const int code = is_kept ? from[i / 2] >> i % 2 * 4 & 15 : zero;
      copy[i / 2] = static_cast<uint8_t>(i % 2 == 0 ? code : copy[i / 2] | code << 4);
    } else if (is_kept) {
      std::memcpy(copy + i * kBytes, from + i * kBytes, kBytes);
    } else {
      std::memset(copy + i * kBytes, 0, kBytes);
    }
  }
}

// Asks for the block that follows another by a chunk, and, to the second-level cache, by four: as the processor's own
// prefetches stop at the end of a page.
template <class Elements>
GATUN_INLINE void prefetch_next(const uint8_t* block) {
  constexpr int kAhead = kChunk * Elements::kBits / 8;
  for (int line = 0; line < kWord * Elements::kBits / 8; line += 64) {
    prefetch_line(block + kAhead + line);
    prefetch_far_line(block + 4 * kAhead + line);
  }
}

// 2:4 of 32 bits: 2 * kLanes weights become a vector of values by a permutation whose numbers the indices are. Tables
// have 16 weights at least: narrower vectors don't fill them.
constexpr bool kPairsByLookup = kLanes >= 8;
GATUN_INLINE F32 kept_pairs(const uint8_t* weights, const uint8_t* indices) {
  alignas(64) static constexpr int32_t kGroup[] = {0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28};
  const float* w = reinterpret_cast<const float*>(weights);
  const I32 position = or_i32(load_u2_i32(indices), load_i32(kGroup));
  if constexpr (kLanes == 16) {
    return lookup_f32(load_table32(w), position);
  } else {
    return lookup_f32(load_table16(w), position);
  }
}

// Writes whole blocks of 2:4 of 32 bits from the beginning of a chunk on, and says how many.
template <bool kIndices>
GATUN_INLINE int write_pairs(const Job& job, int64_t row, const Chunk& chunk, const uint64_t* kept,
                             const uint64_t* exact) {
  constexpr int kBlockBytes = kWord * 4, kValueBytes = kBlockBytes / 2;
  const uint8_t* from = job.dense + row * job.dense_row + chunk.k * 4;
  uint8_t* to = job.values + row * job.values_row + chunk.k * 2;
  uint8_t* indices = job.indices + row / job.vector * job.indices_row + chunk.k / 8;
  const bool stream = job.stream && reinterpret_cast<uintptr_t>(to) % (4 * kLanes) == 0;
  int b = 0;
  for (; b < chunk.blocks && bits_left(job, chunk, b) >= kWord; ++b) {
    const uint8_t* block = from + b * kBlockBytes;
    prefetch_next<Words>(block);
    alignas(64) uint8_t copy[kBlockBytes];
    const int64_t k = chunk.k + int64_t{b} * kWord;
    if (kept[b] != exact[b] || k + kWord > job.depth) {
      copy_block<Words>(job, row, k, kept[b], copy);
      block = copy;
    }
    const uint64_t positions = nm_format::positions_of_pairs(exact[b]);
    uint8_t bytes[sizeof(positions)];
    std::memcpy(bytes, &positions, sizeof(positions));
    if (kIndices) std::memcpy(indices + b * 8, &positions, sizeof(positions));
    for (int v = 0; v < kVectors / 2; ++v) {
      const F32 values = kept_pairs(block + v * 8 * kLanes, bytes + v * kLanes / 4);
      float* at = reinterpret_cast<float*>(to + b * kValueBytes) + v * kLanes;
      stream ? stream_f32(at, values) : store_f32(at, values);
    }
  }
  return b;
}

// Writes the values of a chunk and, with kIndices, the indices. `exact` has n ones in each group, and those of `kept`.
template <class Elements, bool kIndices>
GATUN_INLINE void write_chunk(const Job& job, int64_t row, Chunk chunk, const uint64_t* kept, const uint64_t* exact,
                              Stage& stage) {
  if constexpr (kPairsByLookup && Elements::kBits == 32) {
    if (job.n == 2 && job.m == 4) {
      const int written = write_pairs<kIndices>(job, row, chunk, kept, exact);
      chunk.k += int64_t{written} * kWord;
      chunk.blocks -= written;
      if (chunk.blocks == 0) return;
      kept += written;
      exact += written;
    }
  }
  alignas(64) static constexpr int32_t kLane[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const I32 lane = load_i32(kLane), within = set1_i32(job.m - 1);
  uint8_t* value = stage.values;
  uint8_t* position = stage.positions;
  for (int b = 0; b < chunk.blocks; ++b) {
    const int64_t k = chunk.k + int64_t{b} * kWord;
    const uint8_t* block = job.dense + row * job.dense_row + k * Elements::kBits / 8;
    prefetch_next<Elements>(block);
    alignas(64) uint8_t copy[kWord * Elements::kBits / 8];
    if (kept[b] != exact[b] || k + kWord > job.depth) {
      copy_block<Elements>(job, row, k, kept[b], copy);
      block = copy;
    }
    for (int v = 0; v < kVectors; ++v) {
      const uint32_t mask = lanes_of_word(exact[b], v);
      const int count = __builtin_popcount(mask);
      Elements::stage(value, compress_lanes(Elements::load(block, v), mask));
      value += count * Elements::kStaged;
      if (kIndices) {
        const I32 positions = and_i32(add_i32(lane, set1_i32(v * kLanes)), within);
        store_i8(reinterpret_cast<int8_t*>(position), compress_lanes(positions, mask));
        position += count;
      }
    }
  }
  const int64_t slot = chunk.k / job.m * job.n;
  uint8_t* values = job.values + row * job.values_row + slot * Elements::kBits / 8;
  unload<Elements::kBits == 4 ? 4 : 8>(stage.values, value - stage.values, job.stream, values);
  if (!kIndices) return;
  uint8_t* indices = job.indices + row / job.vector * job.indices_row;
  const int64_t count = position - stage.positions;
  if (job.m <= 4) {
    unload<2>(stage.positions, count, false, indices + slot / 4);
  } else if (job.m <= 16) {
    unload<4>(stage.positions, count, false, indices + slot / 2);
  } else {
    unload<8>(stage.positions, count, false, indices + slot);
  }
}

// The bits of a mask, or those of weights that are not 0 in any of `rows` rows.
GATUN_INLINE void read_mask(const Job& job, int64_t row, const Chunk& chunk, uint64_t* bits) {
  const uint8_t* mask = job.mask + row * job.mask_row + chunk.k / 8;
  const int64_t bytes = smaller(job.mask_row - chunk.k / 8, kChunk / 8);
  bits[chunk.blocks - 1] = 0;
  std::memcpy(bits, mask, static_cast<size_t>(bytes));
}

template <class Elements>
GATUN_INLINE void find_nonzero(const Job& job, int64_t row, int64_t rows, const Chunk& chunk, uint64_t* bits) {
  for (int b = 0; b < chunk.blocks; ++b) bits[b] = 0;
  for (int64_t end = row + rows; row < end; ++row) {
    for (int b = 0; b < chunk.blocks; ++b) {
      const int64_t k = chunk.k + int64_t{b} * kWord;
      const uint8_t* block = job.dense + row * job.dense_row + k * Elements::kBits / 8;
      alignas(64) uint8_t copy[kWord * Elements::kBits / 8];
      if (k + kWord > job.depth) {
        copy_block<Elements>(job, row, k, ~uint64_t{0}, copy);
        block = copy;
      }
      for (int v = 0; v < kVectors; ++v) {
        const I32 magnitude = and_i32(Elements::load(block, v), set1_i32(Elements::kMagnitude));
        const uint32_t nonzero = equal_mask(magnitude, zero_i32()) ^ kAllLanes;
        bits[b] |= uint64_t{nonzero} << v * kLanes;
      }
    }
  }
}

template <class Elements>
bool compress_vectors(const Job& job, int64_t begin, int64_t end) {
  Stage stage;
  uint64_t kept[kChunkBlocks], exact[kChunkBlocks];
  for (int64_t vector = begin; vector < end; ++vector) {
    const int64_t first = vector * job.vector, rows = smaller(job.columns - first, job.vector);
    for (int64_t k = 0; k < job.depth; k += kChunk) {
      const Chunk chunk = chunk_at(job, k);
      if (job.mask != nullptr) {
        read_mask(job, first, chunk, kept);
      } else {
        find_nonzero<Elements>(job, first, rows, chunk, kept);
      }
      for (int b = 0; b < chunk.blocks; ++b) {
        if (!nm_format::fill_groups(kept[b], job.n, job.m, bits_left(job, chunk, b), exact + b)) return false;
      }
      write_chunk<Elements, true>(job, first, chunk, kept, exact, stage);
      for (int64_t row = first + 1; row < first + rows; ++row) {
        write_chunk<Elements, false>(job, row, chunk, kept, exact, stage);
      }
    }
  }
  if (job.stream) fence_streams();
  return true;
}

}  // namespace
}  // namespace gatun::GATUN_ISA
