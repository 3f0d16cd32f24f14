#include "packing/plane.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"

namespace gatun::packing {
namespace {

// A tile of codes, one a byte, is on its way at a time. Its sizes are multiples of every unit, so no two tiles share a
// byte of `to`. Tiles of neighbouring columns follow each other: they read the same cache lines of what is packed
// across.
constexpr int64_t kTileColumns = 32, kTileDepth = 512;
static_assert(kTileColumns % kMaxUnit == 0 && kTileDepth % kMaxUnit == 0);

// Codes for which waking another thread pays.
constexpr int64_t kGrainCodes = 64 * 1024;
constexpr int64_t kClearBytes = 1 << 20;

// Where the codes of a tile lie in a plane: at the sum of both offsets, from the sum of both shifts on.
class Places {
 public:
  Places(const Plane& plane, int64_t first_column, int64_t columns, int64_t first_depth, int64_t depth,
         const int32_t* depth_map)
      : columns_(columns), depth_(depth), along_depth_(plane.depth.stride <= plane.columns.stride) {
    for (int64_t n = 0; n < columns; ++n) {
      column_offsets_[n] = plane.columns.offset(first_column + n);
      column_shifts_[n] = static_cast<uint8_t>(plane.columns.shift(first_column + n));
    }
    for (int64_t k = 0; k < depth; ++k) {
      const int64_t position = depth_map != nullptr ? depth_map[first_depth + k] : first_depth + k;
      depth_offsets_[k] = plane.depth.offset(position);
      depth_shifts_[k] = static_cast<uint8_t>(plane.depth.shift(position));
    }
  }

  // body(column, depth, offset, shift) for each code, in the order of memory.
  template <class Body>
  void each(Body body) const {
    if (along_depth_) {
      for (int64_t n = 0; n < columns_; ++n) {
        for (int64_t k = 0; k < depth_; ++k) visit(n, k, body);
      }
    } else {
      for (int64_t k = 0; k < depth_; ++k) {
        for (int64_t n = 0; n < columns_; ++n) visit(n, k, body);
      }
    }
  }

 private:
  template <class Body>
  void visit(int64_t n, int64_t k, Body& body) const {
    body(n, k, column_offsets_[n] + depth_offsets_[k], column_shifts_[n] + depth_shifts_[k]);
  }

  int64_t columns_, depth_;
  bool along_depth_;
  int64_t column_offsets_[kTileColumns], depth_offsets_[kTileDepth];
  uint8_t column_shifts_[kTileColumns], depth_shifts_[kTileDepth];
};

void copy_tile(const Copy& copy, int64_t first_column, int64_t first_depth, const uint8_t* from, uint8_t* to) {
  const int64_t columns = std::min(kTileColumns, copy.columns - first_column),
                depth = std::min(kTileDepth, copy.depth - first_depth);
  uint8_t codes[kTileColumns][kTileDepth];
  const int mask = (1 << copy.bits) - 1, bias = copy.bias;
  Places(copy.from, first_column, columns, first_depth, depth, copy.depth_map)
      .each([&](int64_t n, int64_t k, int64_t offset, int shift) {
        codes[n][k] = static_cast<uint8_t>(((from[offset] >> shift) + bias) & mask);
      });
  Places(copy.to, first_column, columns, first_depth, depth, nullptr)
      .each([&](int64_t n, int64_t k, int64_t offset, int shift) {
        to[offset] = static_cast<uint8_t>(to[offset] | codes[n][k] << shift);
      });
}

Axis unpacked(int64_t stride) { return {unit_of(Order::low_first, 8), stride}; }

Axis packed(Order order, int bits, int64_t units) {
  const Unit unit = unit_of(order, bits);
  return {unit, unit.bytes * units};
}

}  // namespace

Plane packed_in_rows(Order order, int bits, int64_t row_bytes) { return {unpacked(row_bytes), packed(order, bits, 1)}; }

Plane packed_in_columns(Order order, int bits, int64_t columns) {
  const Axis depth = packed(order, bits, columns);
  return {unpacked(depth.unit.bytes), depth};
}

Plane packed_across(Order order, int bits, int64_t columns) {
  const Axis across = packed(order, bits, 1);
  return {across, unpacked((columns >> across.unit.log2) * across.unit.bytes)};
}

void copy_codes(const Copy& copy, const void* from, void* to, int64_t to_bytes, int32_t threads) {
  uint8_t* const target = static_cast<uint8_t*>(to);
  const uint8_t* const source = static_cast<const uint8_t*>(from);
  const int64_t pieces = (to_bytes + kClearBytes - 1) / kClearBytes;
  parallel_for(pieces, useful_threads(threads, pieces, to_bytes, kClearBytes), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kClearBytes;
    std::memset(target + first, 0, static_cast<size_t>(std::min(end * kClearBytes, to_bytes) - first));
  });
  const int64_t strips = (copy.columns + kTileColumns - 1) / kTileColumns;
  const int64_t tiles = strips * ((copy.depth + kTileDepth - 1) / kTileDepth);
  const int32_t useful = useful_threads(threads, tiles, copy.columns * copy.depth, kGrainCodes);
  parallel_for(tiles, useful, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      copy_tile(copy, tile % strips * kTileColumns, tile / strips * kTileDepth, source, target);
    }
  });
}

int code_at(const Plane& plane, const void* codes, int bits, int64_t column, int64_t depth) {
  const int byte = static_cast<const uint8_t*>(codes)[plane.columns.offset(column) + plane.depth.offset(depth)];
  return byte >> (plane.columns.shift(column) + plane.depth.shift(depth)) & ((1 << bits) - 1);
}

void set_code(const Plane& plane, void* codes, int64_t column, int64_t depth, int code) {
  uint8_t& byte = static_cast<uint8_t*>(codes)[plane.columns.offset(column) + plane.depth.offset(depth)];
  byte = static_cast<uint8_t>(byte | code << (plane.columns.shift(column) + plane.depth.shift(depth)));
}

}  // namespace gatun::packing
