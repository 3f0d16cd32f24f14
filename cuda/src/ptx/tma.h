// Copies of whole tiles from global to shared memory, started by one thread and completed on a barrier; sm_90.
//
// They write through another proxy than threads: what threads have read or written in that shared memory before must be
// over (a barrier), and what they wrote for wgmma or such a copy to read needs fence_proxy_async before the barrier.
#pragma once

#include <cstdint>

#include "base/tensor_map.h"
#include "ptx/mbarrier.h"
#include "ptx/thread.h"

namespace gatun::cuda {

// Contiguous bytes, a multiple of 16, both addresses aligned to 16. The bytes arrive on the barrier.
GATUN_DEVICE void copy_bulk(void* shared, const void* global, int bytes, Barrier* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   detail::shared_address(shared)),
               "l"(global), "r"(bytes), "r"(detail::shared_address(barrier))
               : "memory");
}

// The map's box whose first element is (row, column), which may lie outside of the matrix: elements that do become
// zeros. All bytes of the box arrive on the barrier. The map is a GATUN_GRID_CONSTANT parameter of the kernel; `shared`
// is aligned to 128 bytes, for a swizzle so that its pattern begins there (tensor_map.h).
GATUN_DEVICE void copy_tile(void* shared, const TensorMap* map, int row, int column, Barrier* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], "
      "[%4];" ::"r"(detail::shared_address(shared)),
      "l"(map), "r"(column), "r"(row), "r"(detail::shared_address(barrier))
      : "memory");
}

GATUN_DEVICE void prefetch_tensor_map(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// What the thread wrote to shared memory is seen by asynchronous copies and wgmma after this (and a barrier).
GATUN_DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

}  // namespace gatun::cuda
