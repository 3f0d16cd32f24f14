// The twin of src/ptx/tma.h on the CPU.
#pragma once

#include <cstdint>

#include "base/tensor_map.h"
#include "ptx/mbarrier.h"
#include "ptx/memory.h"
#include "ptx/thread.h"
#include "tile.h"

namespace gatun::cuda {

inline void copy_bulk(void* shared, const void* global, int bytes, Barrier* barrier) {
  constexpr const char* kWhat = "cp.async.bulk";
  const int64_t offset = emulator::block().shared_offset(kWhat, shared, bytes, 16);
  detail::check_aligned(global, 16, kWhat);
  if (bytes < 0 || bytes % 16 != 0) emulator::block().fault("%s of %d bytes; allowed: a multiple of 16", kWhat, bytes);
  detail::check_visible(kWhat, barrier);
  emulator::block().defer([=] {
    for (uint8_t* const to : {emulator::block().shared(), emulator::block().shared_async()}) {
      if (bytes > 0) std::memcpy(to + offset, global, static_cast<size_t>(bytes));
    }
    detail::barrier_change(kWhat, barrier, 0, -bytes);
  });
}

inline void copy_tile(void* shared, const TensorMap* map, int row, int column, Barrier* barrier) {
  constexpr const char* kWhat = "cp.async.bulk.tensor.2d";
  const emulator::Tile tile = emulator::tile_of(*map);
  const int64_t offset = emulator::block().shared_offset(kWhat, shared, tile.bytes(), 128);
  detail::check_visible(kWhat, barrier);
  emulator::block().defer([=] {
    tile.copy(emulator::block().shared(), offset, row, column);
    tile.copy(emulator::block().shared_async(), offset, row, column);
    detail::barrier_change(kWhat, barrier, 0, -tile.bytes());
  });
}

inline void prefetch_tensor_map(const TensorMap* map) { emulator::tile_of(*map); }
inline void fence_proxy_async() { emulator::block().make_visible(); }

}  // namespace gatun::cuda
