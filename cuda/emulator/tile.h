// What a TensorMap is on the CPU, and the copy of a box.
#pragma once

#include <cstdint>

#include "base/tensor_map.h"

namespace gatun::emulator {

struct Tile {
  uint64_t mark;
  cuda::TensorShape shape;

  int64_t row_bytes() const { return int64_t{shape.box_columns} * shape.element_bytes; }
  int64_t bytes() const { return row_bytes() * shape.box_rows; }
  // The box at (row, column) to that offset of shared memory, which begins at a multiple of 1024.
  void copy(uint8_t* shared, int64_t offset, int64_t row, int64_t column) const;
};
static_assert(sizeof(Tile) <= sizeof(cuda::TensorMap));

// A fault if the map has not been made.
Tile tile_of(const cuda::TensorMap& map);

}  // namespace gatun::emulator
