#include "tile.h"

#include <cstring>

#include "block.h"
#include "gatun/status.h"

namespace gatun::emulator {
namespace {
constexpr uint64_t kMark = 0x70616d726f736e65u;
}

Tile tile_of(const cuda::TensorMap& map) {
  Tile tile;
  std::memcpy(static_cast<void*>(&tile), map.words, sizeof(tile));
  if (tile.mark != kMark) block().fault("cp.async.bulk.tensor: the tensor map has not been made");
  return tile;
}

void Tile::copy(uint8_t* shared, int64_t offset, int64_t row, int64_t column) const {
  for (int64_t r = 0; r < shape.box_rows; ++r) {
    for (int64_t byte = 0; byte < row_bytes(); ++byte) {
      const int64_t from_row = row + r, from_column = column + byte / shape.element_bytes;
      const int64_t straight = offset + r * row_bytes() + byte;
      const int64_t pattern = shape.swizzle == 0 ? 0 : straight / 128 % (shape.swizzle / 16) * 16;
      const bool inside = from_row >= 0 && from_row < shape.rows && from_column >= 0 && from_column < shape.columns;
      shared[straight ^ pattern] =
          inside ? static_cast<const uint8_t*>(
                       shape.global)[from_row * shape.row_stride_bytes + column * shape.element_bytes + byte]
                 : uint8_t{0};
    }
  }
}

}  // namespace gatun::emulator

namespace gatun::cuda {

int32_t encode_tensor_map(const TensorShape& shape, TensorMap* map) {
  const emulator::Tile tile = {emulator::kMark, shape};
  *map = {};
  std::memcpy(map->words, &tile, sizeof(tile));
  return GATUN_OK;
}

}  // namespace gatun::cuda
