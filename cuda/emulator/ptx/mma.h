// The twin of src/ptx/mma.h on the CPU.
#pragma once

#include <cstdint>

#include "product.h"
#include "ptx/thread.h"

namespace gatun::cuda {

namespace detail {
inline void mma(const char* what, emulator::Element a_type, emulator::Element b_type, void* d, const uint32_t* a,
                const uint32_t* b) {
  emulator::Fragments own = {a, b, d, 0};
  emulator::together(what, own, [=](emulator::Fragments* const* lanes) { emulator::multiply(a_type, b_type, lanes); });
}
}  // namespace detail

inline void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  detail::mma("mma.m16n8k16.f16", emulator::Element::f16, emulator::Element::f16, d, a, b);
}
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  detail::mma("mma.m16n8k16.bf16", emulator::Element::bf16, emulator::Element::bf16, d, a, b);
}
inline void mma_i8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  detail::mma("mma.m16n8k32.s8", emulator::Element::i8, emulator::Element::i8, d, a, b);
}
inline void mma_u8_i8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  detail::mma("mma.m16n8k32.u8.s8", emulator::Element::u8, emulator::Element::i8, d, a, b);
}

}  // namespace gatun::cuda
