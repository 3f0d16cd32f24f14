// From bytes of keys and values in shared memory to operands of matrix instructions.
//
// A row in shared memory is 16-byte chunks, of 8 channels (16 bits), 16 (8), 32 (4) or 64 (2). `per` are the codes of a
// byte, or 2 of small floats, whose products are of 16 bits.
//
// Keys are the right operand as they lie, a key a column: load_matrix gives lane (g, t) word t of a chunk of key g, in
// which field s of all lanes, 4 bytes or 2 halves each, is a run of the depth. So position p of q has channel c:
//
//   c = chunk * kChannels + per * y + s  <->  p = chunk * kChannels + width * s + y,   y < width
//
// where width is 16 with products of bytes and 8 with products of halves. 32 bytes of q are a step.
//
// Values are the right operand with a key a row: load_matrix transposed gives lane (g, t) the 16 bits number g of a
// chunk of keys 2 t and 2 t + 1, of which field s is one operand of two halves: column g of operand s is channel
// (chunk * 8 + g) * (16 / bits) + s. Codes become halves by a fused operation on the bits of 1024 with the code in the
// last places, which takes off the 1024, moves the code down and takes off the code of zero: exactly.
#pragma once

#include <cstdint>

#include "gatun/types.h"
#include "ptx/mma.h"
#include "ptx/number.h"
#include "qmatmul/fragments.h"

namespace gatun::cuda::decode {

using qmatmul::both_halves;
using qmatmul::fused_halves;
using qmatmul::kOnes;

// How keys of a dtype and q become products; the dtypes of values.
enum class Form : int32_t { bf16, f16, e4m3, e5m2, i8, u4, u2 };

constexpr int bits_of(Form form) {
  return form == Form::bf16 || form == Form::f16 ? 16 : form == Form::u4 ? 4 : form == Form::u2 ? 2 : 8;
}
constexpr bool is_codes(Form form) { return form == Form::i8 || form == Form::u4 || form == Form::u2; }
constexpr bool is_small(Form form) { return form == Form::e4m3 || form == Form::e5m2; }
constexpr Form form_of(int32_t dtype) {
  return dtype == GATUN_BF16     ? Form::bf16
         : dtype == GATUN_F16    ? Form::f16
         : dtype == GATUN_F8E4M3 ? Form::e4m3
         : dtype == GATUN_F8E5M2 ? Form::e5m2
         : dtype == GATUN_I8     ? Form::i8
         : dtype == GATUN_U4     ? Form::u4
                                 : Form::u2;
}

// Where q has channel c.
struct Positions {
  int chunk_channels, per, width;
  GATUN_DEVICE int of(int channel) const {
    const int chunk = channel / chunk_channels, rest = channel - chunk * chunk_channels;
    return chunk * chunk_channels + rest % per * width + rest / per;
  }
};
constexpr Positions positions_of(Form form) {
  const int per = is_small(form) ? 2 : bits_of(form) < 8 ? 8 / bits_of(form) : 1;
  return {128 / bits_of(form), per, 128 / bits_of(form) / per};
}

// Small floats in the low bits of 16 each, NaN and infinity included.
template <Form kForm, bool kBf16>
GATUN_DEVICE uint32_t widen_small(uint32_t codes) {
  if constexpr (kForm == Form::e5m2 && !kBf16) return codes << 8;
  // Codes that are no numbers, or infinity, in bit 7: they get an exponent of ones.
  constexpr uint32_t kCarry = kForm == Form::e4m3 ? 0x00010001u : 0x00040004u;
  const uint32_t none = ((codes & 0x007f007fu) + kCarry) & 0x00800080u;
  const uint32_t number = kForm == Form::e4m3 ? qmatmul::small_floats<4, 3, 7, kBf16>(codes)
                                              : qmatmul::small_floats<5, 2, 15, kBf16>(codes);
  return number | none * (kBf16 ? 0xffu : 0xf8u);
}

// ---- keys ----------------------------------------------------------------------------------------------------------

// Steps of 32 bytes of q in a pair of chunks.
constexpr int pair_steps(Form form) { return is_codes(form) ? 2 * 128 / bits_of(form) / 32 : is_small(form) ? 2 : 1; }

// The right operand of a step from the words of both chunks.
template <Form kForm, bool kBf16>
GATUN_DEVICE void key_operand(uint32_t first, uint32_t second, int step, uint32_t (&b)[2]) {
  constexpr int kBits = bits_of(kForm);
  if constexpr (kBits == 16 || kForm == Form::i8) {
    b[0] = first;
    b[1] = second;
  } else if constexpr (is_small(kForm)) {
    const uint32_t word = step == 0 ? first : second;
    b[0] = widen_small<kForm, kBf16>(word & 0x00ff00ffu);
    b[1] = widen_small<kForm, kBf16>(word >> 8 & 0x00ff00ffu);
  } else {
    constexpr int kSteps = 8 / kBits / 2;  // of a chunk
    constexpr uint32_t kMask = kBits == 4 ? 0x0f0f0f0fu : 0x03030303u;
    const uint32_t word = (step < kSteps ? first : second) >> step % kSteps * 2 * kBits;
    b[0] = word & kMask;
    b[1] = word >> kBits & kMask;
  }
}

// ---- values --------------------------------------------------------------------------------------------------------

// Operands of 16 bits, and so runs of eight columns, of a chunk.
constexpr int chunk_operands(Form form) { return 16 / bits_of(form); }

// `lower` is the code of zero.
template <Form kForm>
class ValueDecoder {
 public:
  GATUN_DEVICE explicit ValueDecoder(int lower) {
    if constexpr (is_codes(kForm)) {
#pragma unroll
      for (int i = 0; i < kPlaces; ++i)
        minus_[i] = both_halves<false>(-(1024.0f * down(i) + static_cast<float>(lower)));
    }
  }

  GATUN_DEVICE uint32_t operator()(uint32_t word, int s) const {
    if constexpr (bits_of(kForm) == 16) {
      return word;
    } else if constexpr (is_small(kForm)) {
      return widen_small<kForm, false>(word >> 8 * s & 0x00ff00ffu);
    } else {
      constexpr uint32_t kMask = ((1u << bits_of(kForm)) - 1) * 0x00010001u;
      if (kForm == Form::i8) word ^= 0x80808080u;  // code + 128
      const int place = s % kPlaces;
      const uint32_t code = word >> s / kPlaces * 8 & kMask << place * bits_of(kForm);
      return fused_halves<false>(code | 0x64006400u, both_halves<false>(down(place)), minus_[place]);
    }
  }

 private:
  static constexpr int kPlaces = is_codes(kForm) ? 8 / bits_of(kForm) : 1;
  static GATUN_DEVICE constexpr float down(int place) { return 1.0f / static_cast<float>(1 << place * bits_of(kForm)); }
  uint32_t minus_[kPlaces];
};

}  // namespace gatun::cuda::decode
