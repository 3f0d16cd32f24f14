// The twin of src/ptx/wgmma.h on the CPU.
//
// A warp's part of a product reads shared memory when that warp is there (or waits, with Effects::last), so that a
// barrier which is missing before shows in some order; all warps of the group leave the wait together.
//
// Registers of a product must have been named by a wgmma_fence since the last wgmma_wait that named them, or waited for
// all products. That a thread writes to them after that fence does not show, unless a product is running.
#pragma once

#include <cstdint>

#include "product.h"
#include "ptx/thread.h"

namespace gatun::cuda {

enum class Swizzle { none = 0, bytes128 = 1, bytes64 = 2, bytes32 = 3 };

inline uint64_t shared_matrix(const void* shared, int stride_bytes = 1024, int leading_bytes = 16,
                              Swizzle swizzle = Swizzle::bytes128) {
  const int64_t offset = emulator::block().shared_offset("a matrix of wgmma", shared, 16, 16);
  for (const int bytes : {stride_bytes, leading_bytes}) {
    if (bytes < 0 || bytes % 16 != 0 || bytes >= 1 << 18) {
      emulator::block().fault("a matrix of wgmma: %d bytes; allowed: a multiple of 16 below 2^18", bytes);
    }
  }
  return static_cast<uint64_t>(offset >> 4) | static_cast<uint64_t>(leading_bytes >> 4) << 16 |
         static_cast<uint64_t>(stride_bytes >> 4) << 32 | static_cast<uint64_t>(swizzle) << 62;
}

template <class... Registers>
void wgmma_fence(Registers&... registers) {
  (emulator::block().fence_registers(&registers, sizeof(registers)), ...);
  emulator::together("wgmma.fence", [] {});
}
inline void wgmma_commit() {
  emulator::together("wgmma.commit_group", [] { emulator::block().products(thread_index() / 32).commit(); });
}
template <int pending, class... Registers>
void wgmma_wait(Registers&... registers) {
  emulator::wait_for_products(pending);
  (emulator::block().free_registers(&registers, sizeof(registers)), ...);
}

namespace detail {
template <int n, bool transposed_b, emulator::Element a_type, emulator::Element b_type, class D>
void wgmma(D (&d)[n / 2], const uint32_t* a, uint64_t a_matrix, uint64_t b_matrix, bool accumulate) {
  static_assert(n == 8 || n == 16 || n == 32 || n == 64 || n == 128 || n == 256);
  emulator::issue_product({a_type, b_type, n, a, a_matrix, b_matrix, transposed_b, accumulate, d, nullptr, 0});
}
}  // namespace detail

template <int n, bool transposed_b = false>
void wgmma_f16(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  detail::wgmma<n, transposed_b, emulator::Element::f16, emulator::Element::f16>(d, a, 0, b, accumulate);
}
template <int n, bool transposed_b = false>
void wgmma_f16(float (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  detail::wgmma<n, transposed_b, emulator::Element::f16, emulator::Element::f16>(d, nullptr, a, b, accumulate);
}
template <int n, bool transposed_b = false>
void wgmma_bf16(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  detail::wgmma<n, transposed_b, emulator::Element::bf16, emulator::Element::bf16>(d, a, 0, b, accumulate);
}
template <int n, bool transposed_b = false>
void wgmma_bf16(float (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  detail::wgmma<n, transposed_b, emulator::Element::bf16, emulator::Element::bf16>(d, nullptr, a, b, accumulate);
}
template <int n>
void wgmma_i8(int32_t (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  detail::wgmma<n, false, emulator::Element::i8, emulator::Element::i8>(d, a, 0, b, accumulate);
}
template <int n>
void wgmma_i8(int32_t (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  detail::wgmma<n, false, emulator::Element::i8, emulator::Element::i8>(d, nullptr, a, b, accumulate);
}
template <int n>
void wgmma_u8_i8(int32_t (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  detail::wgmma<n, false, emulator::Element::u8, emulator::Element::i8>(d, a, 0, b, accumulate);
}
template <int n>
void wgmma_u8_i8(int32_t (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  detail::wgmma<n, false, emulator::Element::u8, emulator::Element::i8>(d, nullptr, a, b, accumulate);
}

template <int n>
void wgmma_e4m3(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  detail::wgmma<n, false, emulator::Element::e4m3, emulator::Element::e4m3>(d, a, 0, b, accumulate);
}
template <int n>
void wgmma_e4m3(float (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  detail::wgmma<n, false, emulator::Element::e4m3, emulator::Element::e4m3>(d, nullptr, a, b, accumulate);
}

}  // namespace gatun::cuda
