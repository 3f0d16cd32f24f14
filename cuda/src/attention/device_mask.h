// From maps of blocks to lists of blocks.
#pragma once

#include <cstdint>

namespace gatun::cuda::attention {

struct MapJob {
  const uint8_t* map;
  int64_t rows;
  int32_t key_blocks;
  int64_t* offsets[2];  // full, partial
  int32_t* blocks[2];
  int64_t counts[2];  // that there is room for
};

int32_t run_from_map(const MapJob& job, void* stream);

}  // namespace gatun::cuda::attention
