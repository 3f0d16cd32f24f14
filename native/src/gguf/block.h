// The blocks of GGUF files taken apart and put together again, and what tells the types apart.
//
// Value of element i of a block, k = i / group, code q, each operation rounded to f32 (d, dmin: the binary16 in
// `Fields` as f32):
//
//   table                                   d * table[q], with sub-scales (d * scales[k]) * table[q]
//   none of the following                   d * (q - zero)
//   Offset::none, group < elements          (d * scales[k]) * (q - zero)
//   Offset::value                           d * q + dmin
//   Offset::mins                            (d * scales[k]) * q - dmin * mins[k]
//   power_scale (MXFP4)                     2^(e - 128) * table[q], NaN if e = 255; code 8 is -0
//
// Any bytes are a block. read_block and write_block are inverses of each other: write_block(read_block(bytes)) gives
// the bytes back, read_block(write_block(fields)) the fields, if each is in its range and those that a type lacks are
// 0.
#pragma once

#include <cstdint>

#include "gatun/gguf.h"

namespace gatun::gguf {

inline constexpr int kMaxElements = 256;
inline constexpr int kMaxBytes = 210;
inline constexpr int kMaxGroups = 16;

// What the codes of IQ4_NL and IQ4_XS stand for.
constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

enum class Offset : int32_t { none, value, mins };

struct Type {
  int32_t id;  // GATUN_GGUF_
  const char* name;
  int32_t elements, bytes;
  int32_t group;         // elements that share a sub-scale; `elements` if there are none
  int32_t bits;          // codes are 0 .. 2^bits - 1
  int32_t zero;          // the code of value 0 without offset or table
  int32_t scale_lowest;  // sub-scales lie in scale_lowest .. scale_highest, mins in 0 .. scale_highest
  int32_t scale_highest;
  Offset offset;
  bool power_scale;     // `e` instead of `d`
  const int8_t* table;  // of 16 values, or null
};

// All types, in the order of gatun_gguf_type.
inline constexpr int kTypes = 13;
extern const Type kTypeTable[kTypes];

// Null if there is no such type.
const Type* find_type(int32_t id);

struct Fields {
  uint8_t codes[kMaxElements];  // in the order of the elements; Q8_0: the stored byte + 128
  int8_t scales[kMaxGroups];
  uint8_t mins[kMaxGroups];
  uint16_t d, dmin;  // bits of binary16; dmin is also the m of Q4_1 and Q5_1
  uint8_t e;         // of MXFP4
};

// `block` may have any alignment. Fields beyond those of the type become 0.
void read_block(const Type& type, const uint8_t* block, Fields& fields);
void write_block(const Type& type, const Fields& fields, uint8_t* block);

}  // namespace gatun::gguf
