// The twin of src/ptx/wgmma_sp.h on the CPU.
#pragma once

#include <cstdint>

#include "ptx/wgmma.h"

namespace gatun::cuda {

namespace detail {
template <int n, emulator::Element type, class D>
void wgmma_sp(int selector, D (&d)[n / 2], const uint32_t (&a)[4], const uint32_t& metadata, uint64_t b,
              bool accumulate) {
  static_assert(n == 64 || n == 192);
  emulator::issue_product({type, type, n, a, 0, b, false, accumulate, d, &metadata, selector});
}
}  // namespace detail

template <int n, int selector>
void wgmma_sp_f16(float (&d)[n / 2], const uint32_t (&a)[4], const uint32_t& metadata, uint64_t b, bool accumulate) {
  static_assert(selector == 0 || selector == 1);
  detail::wgmma_sp<n, emulator::Element::f16>(selector, d, a, metadata, b, accumulate);
}
template <int n, int selector>
void wgmma_sp_bf16(float (&d)[n / 2], const uint32_t (&a)[4], const uint32_t& metadata, uint64_t b, bool accumulate) {
  static_assert(selector == 0 || selector == 1);
  detail::wgmma_sp<n, emulator::Element::bf16>(selector, d, a, metadata, b, accumulate);
}
template <int n>
void wgmma_sp_i8(int32_t (&d)[n / 2], const uint32_t (&a)[4], const uint32_t& metadata, uint64_t b, bool accumulate) {
  detail::wgmma_sp<n, emulator::Element::i8>(0, d, a, metadata, b, accumulate);
}

}  // namespace gatun::cuda
