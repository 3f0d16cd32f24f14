// Codes of all types lie in planes: `bits` bits of each element, where byte l of a run of `run` bytes holds the
// elements l, l + run, l + 2 run, .. of a stretch, the first one in the lowest bits.
#include "gguf/block.h"

#include <cstring>

namespace gatun::gguf {
namespace {

constexpr int8_t kE2m1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Adds the plane of `count` elements to their codes, from bit `shift` on.
template <int bits, int run, int shift = 0>
void read_plane(const uint8_t* bytes, int count, uint8_t* codes) {
  constexpr int kParts = 8 / bits, kMask = (1 << bits) - 1;
  for (; count > 0; count -= kParts * run, codes += kParts * run, bytes += run) {
    for (int part = 0; part < kParts; ++part) {
      for (int l = 0; l < run; ++l) {
        const int piece = bytes[l] >> bits * part & kMask;
        codes[part * run + l] = static_cast<uint8_t>(codes[part * run + l] | piece << shift);
      }
    }
  }
}

template <int bits, int run, int shift = 0>
void write_plane(const uint8_t* codes, int count, uint8_t* bytes) {
  constexpr int kParts = 8 / bits, kMask = (1 << bits) - 1;
  for (; count > 0; count -= kParts * run, codes += kParts * run, bytes += run) {
    std::memset(bytes, 0, run);
    for (int part = 0; part < kParts; ++part) {
      for (int l = 0; l < run; ++l) {
        bytes[l] = static_cast<uint8_t>(bytes[l] | (codes[part * run + l] >> shift & kMask) << bits * part);
      }
    }
  }
}

// Q5_0 and Q5_1: the fifth bit of element j is bit j of 32.
void read_fifth_bits(const uint8_t* bytes, uint8_t* codes) {
  for (int j = 0; j < 32; ++j) codes[j] = static_cast<uint8_t>(codes[j] | (bytes[j / 8] >> j % 8 & 1) << 4);
}
void write_fifth_bits(const uint8_t* codes, uint8_t* bytes) {
  std::memset(bytes, 0, 4);
  for (int j = 0; j < 32; ++j) bytes[j / 8] = static_cast<uint8_t>(bytes[j / 8] | (codes[j] >> 4 & 1) << j % 8);
}

void read_u16(const uint8_t* bytes, uint16_t& value) { value = static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }
void write_u16(uint16_t value, uint8_t* bytes) {
  bytes[0] = static_cast<uint8_t>(value);
  bytes[1] = static_cast<uint8_t>(value >> 8);
}

// Q4_K and Q5_K: eight scales and eight mins of 6 bits. The first four of each lie in the low bits of bytes 0..3 and
// 4..7; of the others, the low halves in bytes 8..11 and the upper two bits on top of bytes 0..3 and 4..7.
void read_scales_k(const uint8_t* s, Fields& f) {
  for (int j = 0; j < 4; ++j) {
    f.scales[j] = static_cast<int8_t>(s[j] & 63);
    f.mins[j] = s[j + 4] & 63;
    f.scales[j + 4] = static_cast<int8_t>((s[j + 8] & 15) | s[j] >> 6 << 4);
    f.mins[j + 4] = static_cast<uint8_t>(s[j + 8] >> 4 | s[j + 4] >> 6 << 4);
  }
}
void write_scales_k(const Fields& f, uint8_t* s) {
  for (int j = 0; j < 4; ++j) {
    s[j] = static_cast<uint8_t>(f.scales[j] | f.scales[j + 4] >> 4 << 6);
    s[j + 4] = static_cast<uint8_t>(f.mins[j] | f.mins[j + 4] >> 4 << 6);
    s[j + 8] = static_cast<uint8_t>((f.scales[j + 4] & 15) | (f.mins[j + 4] & 15) << 4);
  }
}

// Q3_K: sixteen scales of 6 bits, less 32: low halves in bytes 0..7, the upper two bits in bytes 8..11.
void read_scales_q3(const uint8_t* s, Fields& f) {
  for (int k = 0; k < 16; ++k) {
    const int low = k < 8 ? s[k] & 15 : s[k - 8] >> 4;
    f.scales[k] = static_cast<int8_t>((low | (s[8 + k % 4] >> 2 * (k / 4) & 3) << 4) - 32);
  }
}
void write_scales_q3(const Fields& f, uint8_t* s) {
  std::memset(s, 0, 12);
  for (int k = 0; k < 16; ++k) {
    const int scale = f.scales[k] + 32;
    s[k % 8] = static_cast<uint8_t>(s[k % 8] | (scale & 15) << 4 * (k / 8));
    s[8 + k % 4] = static_cast<uint8_t>(s[8 + k % 4] | scale >> 4 << 2 * (k / 4));
  }
}

// IQ4_XS: eight scales of 6 bits, less 32: the upper two bits in 16 bits, low halves two a byte.
void read_scales_iq4(const uint8_t* high, const uint8_t* low, Fields& f) {
  uint16_t upper;
  read_u16(high, upper);
  for (int k = 0; k < 8; ++k) {
    f.scales[k] = static_cast<int8_t>(((low[k / 2] >> 4 * (k % 2) & 15) | (upper >> 2 * k & 3) << 4) - 32);
  }
}
void write_scales_iq4(const Fields& f, uint8_t* high, uint8_t* low) {
  int upper = 0;
  std::memset(low, 0, 4);
  for (int k = 0; k < 8; ++k) {
    const int scale = f.scales[k] + 32;
    upper |= scale >> 4 << 2 * k;
    low[k / 2] = static_cast<uint8_t>(low[k / 2] | (scale & 15) << 4 * (k % 2));
  }
  write_u16(static_cast<uint16_t>(upper), high);
}

}  // namespace

const Type kTypeTable[kTypes] = {
    // id               name      E    B    group bits zero scales   offset        power  table
    {GATUN_GGUF_Q4_0, "Q4_0", 32, 18, 32, 4, 8, 0, 0, Offset::none, false, nullptr},
    {GATUN_GGUF_Q4_1, "Q4_1", 32, 20, 32, 4, 0, 0, 0, Offset::value, false, nullptr},
    {GATUN_GGUF_Q5_0, "Q5_0", 32, 22, 32, 5, 16, 0, 0, Offset::none, false, nullptr},
    {GATUN_GGUF_Q5_1, "Q5_1", 32, 24, 32, 5, 0, 0, 0, Offset::value, false, nullptr},
    {GATUN_GGUF_Q8_0, "Q8_0", 32, 34, 32, 8, 128, 0, 0, Offset::none, false, nullptr},
    {GATUN_GGUF_Q2_K, "Q2_K", 256, 84, 16, 2, 0, 0, 15, Offset::mins, false, nullptr},
    {GATUN_GGUF_Q3_K, "Q3_K", 256, 110, 16, 3, 4, -32, 31, Offset::none, false, nullptr},
    {GATUN_GGUF_Q4_K, "Q4_K", 256, 144, 32, 4, 0, 0, 63, Offset::mins, false, nullptr},
    {GATUN_GGUF_Q5_K, "Q5_K", 256, 176, 32, 5, 0, 0, 63, Offset::mins, false, nullptr},
    {GATUN_GGUF_Q6_K, "Q6_K", 256, 210, 16, 6, 32, -128, 127, Offset::none, false, nullptr},
    {GATUN_GGUF_IQ4_NL, "IQ4_NL", 32, 18, 32, 4, 0, 0, 0, Offset::none, false, kIq4Values},
    {GATUN_GGUF_IQ4_XS, "IQ4_XS", 256, 136, 32, 4, 0, -32, 31, Offset::none, false, kIq4Values},
    {GATUN_GGUF_MXFP4, "MXFP4", 32, 17, 32, 4, 0, 0, 0, Offset::none, true, kE2m1Doubled},
};

const Type* find_type(int32_t id) {
  for (const Type& type : kTypeTable) {
    if (type.id == id) return &type;
  }
  return nullptr;
}

void read_block(const Type& type, const uint8_t* b, Fields& f) {
  std::memset(&f, 0, sizeof(f));
  switch (type.id) {
    case GATUN_GGUF_Q4_0:
    case GATUN_GGUF_IQ4_NL:
      read_u16(b, f.d);
      return read_plane<4, 16>(b + 2, 32, f.codes);
    case GATUN_GGUF_Q4_1:
      read_u16(b, f.d);
      read_u16(b + 2, f.dmin);
      return read_plane<4, 16>(b + 4, 32, f.codes);
    case GATUN_GGUF_Q5_0:
      read_u16(b, f.d);
      read_plane<4, 16>(b + 6, 32, f.codes);
      return read_fifth_bits(b + 2, f.codes);
    case GATUN_GGUF_Q5_1:
      read_u16(b, f.d);
      read_u16(b + 2, f.dmin);
      read_plane<4, 16>(b + 8, 32, f.codes);
      return read_fifth_bits(b + 4, f.codes);
    case GATUN_GGUF_Q8_0:
      read_u16(b, f.d);
      for (int i = 0; i < 32; ++i) f.codes[i] = b[2 + i] ^ 128;
      return;
    case GATUN_GGUF_Q2_K:
      for (int k = 0; k < 16; ++k) {
        f.scales[k] = static_cast<int8_t>(b[k] & 15);
        f.mins[k] = b[k] >> 4;
      }
      read_plane<2, 32>(b + 16, 256, f.codes);
      read_u16(b + 80, f.d);
      return read_u16(b + 82, f.dmin);
    case GATUN_GGUF_Q3_K:
      read_plane<1, 32, 2>(b, 256, f.codes);
      read_plane<2, 32>(b + 32, 256, f.codes);
      read_scales_q3(b + 96, f);
      return read_u16(b + 108, f.d);
    case GATUN_GGUF_Q4_K:
      read_u16(b, f.d);
      read_u16(b + 2, f.dmin);
      read_scales_k(b + 4, f);
      return read_plane<4, 32>(b + 16, 256, f.codes);
    case GATUN_GGUF_Q5_K:
      read_u16(b, f.d);
      read_u16(b + 2, f.dmin);
      read_scales_k(b + 4, f);
      read_plane<1, 32, 4>(b + 16, 256, f.codes);
      return read_plane<4, 32>(b + 48, 256, f.codes);
    case GATUN_GGUF_Q6_K:
      read_plane<4, 64>(b, 256, f.codes);
      read_plane<2, 32, 4>(b + 128, 256, f.codes);
      std::memcpy(f.scales, b + 192, 16);
      return read_u16(b + 208, f.d);
    case GATUN_GGUF_IQ4_XS:
      read_u16(b, f.d);
      read_scales_iq4(b + 2, b + 4, f);
      return read_plane<4, 16>(b + 8, 256, f.codes);
    case GATUN_GGUF_MXFP4:
      f.e = b[0];
      return read_plane<4, 16>(b + 1, 32, f.codes);
    default:
      return;
  }
}

void write_block(const Type& type, const Fields& f, uint8_t* b) {
  switch (type.id) {
    case GATUN_GGUF_Q4_0:
    case GATUN_GGUF_IQ4_NL:
      write_u16(f.d, b);
      return write_plane<4, 16>(f.codes, 32, b + 2);
    case GATUN_GGUF_Q4_1:
      write_u16(f.d, b);
      write_u16(f.dmin, b + 2);
      return write_plane<4, 16>(f.codes, 32, b + 4);
    case GATUN_GGUF_Q5_0:
      write_u16(f.d, b);
      write_fifth_bits(f.codes, b + 2);
      return write_plane<4, 16>(f.codes, 32, b + 6);
    case GATUN_GGUF_Q5_1:
      write_u16(f.d, b);
      write_u16(f.dmin, b + 2);
      write_fifth_bits(f.codes, b + 4);
      return write_plane<4, 16>(f.codes, 32, b + 8);
    case GATUN_GGUF_Q8_0:
      write_u16(f.d, b);
      for (int i = 0; i < 32; ++i) b[2 + i] = f.codes[i] ^ 128;
      return;
    case GATUN_GGUF_Q2_K:
      for (int k = 0; k < 16; ++k) b[k] = static_cast<uint8_t>(f.scales[k] | f.mins[k] << 4);
      write_plane<2, 32>(f.codes, 256, b + 16);
      write_u16(f.d, b + 80);
      return write_u16(f.dmin, b + 82);
    case GATUN_GGUF_Q3_K:
      write_plane<1, 32, 2>(f.codes, 256, b);
      write_plane<2, 32>(f.codes, 256, b + 32);
      write_scales_q3(f, b + 96);
      return write_u16(f.d, b + 108);
    case GATUN_GGUF_Q4_K:
      write_u16(f.d, b);
      write_u16(f.dmin, b + 2);
      write_scales_k(f, b + 4);
      return write_plane<4, 32>(f.codes, 256, b + 16);
    case GATUN_GGUF_Q5_K:
      write_u16(f.d, b);
      write_u16(f.dmin, b + 2);
      write_scales_k(f, b + 4);
      write_plane<1, 32, 4>(f.codes, 256, b + 16);
      return write_plane<4, 32>(f.codes, 256, b + 48);
    case GATUN_GGUF_Q6_K:
      write_plane<4, 64>(f.codes, 256, b);
      write_plane<2, 32, 4>(f.codes, 256, b + 128);
      std::memcpy(b + 192, f.scales, 16);
      return write_u16(f.d, b + 208);
    case GATUN_GGUF_IQ4_XS:
      write_u16(f.d, b);
      write_scales_iq4(f, b + 2, b + 4);
      return write_plane<4, 16>(f.codes, 256, b + 8);
    case GATUN_GGUF_MXFP4:
      b[0] = f.e;
      return write_plane<4, 16>(f.codes, 32, b + 1);
    default:
      return;
  }
}

}  // namespace gatun::gguf
