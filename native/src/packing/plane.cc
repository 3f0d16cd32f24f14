// A tile of codes is unpacked to one a byte, [columns][depth], and packed again:
//
//   unit of `from`  ->  bytes (column, k) of the tile  ->  unit of `to`
//
// Units are taken byte by byte, and of a byte all codes at once, so that shifts are constants; where in the tile each
// of them belongs is a table of up to 32 entries made from the unit's places.
#include "packing/plane.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"

namespace gatun::packing {
namespace {

// Multiples of every unit, so no two tiles share a byte of `to`. Tiles of neighbouring columns follow each other: they
// read the same cache lines of what is packed across.
constexpr int64_t kTileColumns = 32, kTileDepth = 512;
static_assert(kTileColumns % kMaxUnit == 0 && kTileDepth % kMaxUnit == 0);

// Codes for which waking another thread pays.
constexpr int64_t kGrainCodes = 64 * 1024;

// The units of a tile in a plane.
struct Units {
  Units(const Plane& plane, int64_t columns, int64_t depth) {
    const int64_t elements = int64_t{1} << plane.unit.log2;
    const int64_t step = plane.across ? kTileDepth : 1;  // in the tile, along the packed axis
    const Loop units = {((plane.across ? columns : depth) + elements - 1) / elements, plane.unit_stride,
                        elements * step};
    const Loop others = {plane.across ? depth : columns, plane.other_stride, plane.across ? 1 : kTileDepth};
    const bool units_are_close = units.memory <= others.memory;
    outer = units_are_close ? others : units;
    inner = units_are_close ? units : others;
    for (int64_t i = 0; i < elements; ++i) {
      const Place& place = plane.unit.places[static_cast<size_t>(i)];
      in_tile[(place.byte * 8 + place.shift) / plane.unit.bits] = static_cast<int32_t>(i * step);
    }
  }

  // body(offset in memory, offset in the tile) for each unit, in the order of memory.
  template <class Body>
  void each(Body body) const {
    for (int64_t a = 0; a < outer.count; ++a) {
      for (int64_t b = 0; b < inner.count; ++b) {
        body(a * outer.memory + b * inner.memory, a * outer.tile + b * inner.tile);
      }
    }
  }

  struct Loop {
    int64_t count, memory, tile;  // steps in bytes
  };
  Loop outer, inner;
  int32_t in_tile[kMaxUnit];  // of the codes of a unit from its lowest bit on
};

// The places of a unit's codes in the tile, where no write to the tile can change them.
template <int kBits, int kBytes>
struct InTile {
  explicit InTile(const Units& units) { std::copy(units.in_tile, units.in_tile + kBytes * (8 / kBits), places); }
  int32_t places[kBytes * (8 / kBits)];
};

template <int kBits, int kBytes>
void unpack(const Units& units, const uint8_t* from, int bias, int mask, uint8_t* tile) {
  constexpr int kPerByte = 8 / kBits, kOwn = (1 << kBits) - 1;
  const InTile<kBits, kBytes> in_tile(units);
  units.each([&](int64_t memory, int64_t at) {
    for (int byte = 0; byte < kBytes; ++byte) {
      const int codes = from[memory + byte];
      for (int i = 0; i < kPerByte; ++i) {
        tile[at + in_tile.places[byte * kPerByte + i]] =
            static_cast<uint8_t>(((codes >> i * kBits & kOwn) + bias) & mask);
      }
    }
  });
}

template <int kBits, int kBytes>
void pack(const Units& units, const uint8_t* tile, uint8_t* to) {
  constexpr int kPerByte = 8 / kBits;
  const InTile<kBits, kBytes> in_tile(units);
  units.each([&](int64_t memory, int64_t at) {
    for (int byte = 0; byte < kBytes; ++byte) {
      int codes = 0;
      for (int i = 0; i < kPerByte; ++i) codes |= tile[at + in_tile.places[byte * kPerByte + i]] << i * kBits;
      to[memory + byte] = static_cast<uint8_t>(codes);
    }
  });
}

struct Loops {
  void (*unpack)(const Units& units, const uint8_t* from, int bias, int mask, uint8_t* tile);
  void (*pack)(const Units& units, const uint8_t* tile, uint8_t* to);
};

template <int kBits>
Loops loops_of_bits(int bytes) {
  return bytes == 1   ? Loops{unpack<kBits, 1>, pack<kBits, 1>}
         : bytes == 4 ? Loops{unpack<kBits, 4>, pack<kBits, 4>}
                      : Loops{unpack<kBits, 16>, pack<kBits, 16>};
}

Loops loops_of(const Unit& unit) {
  return unit.bits == 2   ? loops_of_bits<2>(unit.bytes)
         : unit.bits == 4 ? loops_of_bits<4>(unit.bytes)
                          : loops_of_bits<8>(unit.bytes);
}

// Positions of the depth that lie anywhere: code by code.
void unpack_mapped(const Copy& copy, int64_t first_column, int64_t columns, int64_t first_depth, int64_t depth,
                   const uint8_t* from, uint8_t* tile) {
  const int mask = (1 << copy.bits) - 1;
  for (int64_t k = 0; k < depth; ++k) {
    const int64_t position = copy.depth_map[first_depth + k];
    const int shift = copy.from.shift(0, position);
    const uint8_t* const codes = from + copy.from.offset(first_column, position);
    for (int64_t n = 0; n < columns; ++n) {
      const int code = codes[n * copy.from.other_stride] >> shift;
      tile[n * kTileDepth + k] = static_cast<uint8_t>((code + copy.bias) & mask);
    }
  }
}

// Whether a row of `to` is the same bytes as in `from`.
bool same_rows(const Copy& copy) {
  const auto is_plain = [&](const Plane& plane) {
    return !plane.across && plane.unit.bits == copy.bits && plane.unit.bytes == 1 && plane.unit_stride == 1 &&
           plane.unit.places[0].shift == 0;
  };
  return copy.depth_map == nullptr && copy.bias == 0 && is_plain(copy.from) && is_plain(copy.to);
}

void copy_tile(const Copy& copy, int64_t first_column, int64_t first_depth, const uint8_t* from, uint8_t* to) {
  const int64_t columns = std::min(kTileColumns, copy.columns - first_column),
                depth = std::min(kTileDepth, copy.depth - first_depth);
  if (depth * copy.bits % 8 == 0 && same_rows(copy)) {
    for (int64_t n = first_column; n < first_column + columns; ++n) {
      std::memcpy(to + copy.to.offset(n, first_depth), from + copy.from.offset(n, first_depth),
                  static_cast<size_t>(depth * copy.bits / 8));
    }
    return;
  }
  uint8_t tile[kTileColumns * kTileDepth];
  if (copy.depth_map != nullptr) {
    unpack_mapped(copy, first_column, columns, first_depth, depth, from, tile);
  } else {
    loops_of(copy.from.unit)
        .unpack(Units(copy.from, columns, depth), from + copy.from.offset(first_column, first_depth), copy.bias,
                (1 << copy.bits) - 1, tile);
  }
  // What is left of the last unit.
  const int64_t unit = int64_t{1} << copy.to.unit.log2, whole = (depth + unit - 1) / unit * unit;
  for (int64_t n = 0; n < columns && whole > depth && !copy.to.across; ++n) {
    std::memset(tile + n * kTileDepth + depth, 0, static_cast<size_t>(whole - depth));
  }
  loops_of(copy.to.unit).pack(Units(copy.to, columns, depth), tile, to + copy.to.offset(first_column, first_depth));
}

}  // namespace

Plane packed_in_rows(Order order, int bits, int64_t row_bytes) {
  const Unit unit = unit_of(order, bits);
  return {unit, false, unit.bytes, row_bytes};
}

Plane packed_in_columns(Order order, int bits, int64_t columns) {
  const Unit unit = unit_of(order, bits);
  return {unit, false, unit.bytes * columns, unit.bytes};
}

Plane packed_across(Order order, int bits, int64_t columns) {
  const Unit unit = unit_of(order, bits);
  return {unit, true, unit.bytes, (columns >> unit.log2) * unit.bytes};
}

void copy_codes(const Copy& copy, const void* from, void* to, int32_t threads) {
  const int64_t strips = (copy.columns + kTileColumns - 1) / kTileColumns;
  const int64_t tiles = strips * ((copy.depth + kTileDepth - 1) / kTileDepth);
  const int32_t useful = useful_threads(threads, tiles, copy.columns * copy.depth, kGrainCodes);
  parallel_for(tiles, useful, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      copy_tile(copy, tile % strips * kTileColumns, tile / strips * kTileDepth, static_cast<const uint8_t*>(from),
                static_cast<uint8_t*>(to));
    }
  });
}

int code_at(const Plane& plane, const void* codes, int64_t column, int64_t depth) {
  const int byte = static_cast<const uint8_t*>(codes)[plane.offset(column, depth)];
  return byte >> plane.shift(column, depth) & ((1 << plane.unit.bits) - 1);
}

void set_code(const Plane& plane, void* codes, int64_t column, int64_t depth, int code) {
  uint8_t& byte = static_cast<uint8_t*>(codes)[plane.offset(column, depth)];
  byte = static_cast<uint8_t>(byte | code << plane.shift(column, depth));
}

}  // namespace gatun::packing
