// The twin of src/ptx/mma_sp.h on the CPU.
#pragma once

#include <cstdint>

#include "product.h"
#include "ptx/thread.h"

namespace gatun::cuda {

namespace detail {
inline void mma_sp(const char* what, emulator::Element type, int selector, void* d, const uint32_t* a,
                   const uint32_t* b, uint32_t metadata) {
  emulator::Fragments own = {a, b, d, metadata};
  emulator::together(what, own,
                     [=](emulator::Fragments* const* lanes) { emulator::multiply_sparse(type, selector, lanes); });
}
}  // namespace detail

template <int selector>
void mma_sp_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t metadata) {
  static_assert(selector == 0 || selector == 1);
  detail::mma_sp("mma.sp.m16n8k32.f16", emulator::Element::f16, selector, d, a, b, metadata);
}
template <int selector>
void mma_sp_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t metadata) {
  static_assert(selector == 0 || selector == 1);
  detail::mma_sp("mma.sp.m16n8k32.bf16", emulator::Element::bf16, selector, d, a, b, metadata);
}
inline void mma_sp_i8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t metadata) {
  detail::mma_sp("mma.sp.m16n8k64.s8", emulator::Element::i8, 0, d, a, b, metadata);
}

}  // namespace gatun::cuda
