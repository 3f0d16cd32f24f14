// The 64-byte header that opens every packed buffer, so that a wrong buffer is an error and not garbage.
#pragma once

#include <cstdint>

namespace gatun {

inline constexpr uint64_t kPackedMagic = 0x314b504e55544147;  // "GATUNPK1", little endian
inline constexpr uint16_t kPackedVersion = 2;

enum class PackedFormat : uint16_t { qmatmul = 1, nm_matmul = 2, cuda_qmatmul = 3, cuda_nm_matmul = 4 };

// What the headers of all formats begin with.
struct PackedPrefix {
  uint64_t magic;
  uint16_t version;
  PackedFormat format;
};

// Checks that `packed` begins with a header of this version and format; its other fields may be anything.
int32_t check_packed_prefix(const void* packed, int64_t packed_bytes, PackedFormat format);

// Checks that `packed` has room for a form of `needed` bytes.
int32_t check_packed_room(const void* packed, int64_t packed_bytes, int64_t needed);

// Checks the size that a header states, `said`, and that of the buffer against what the weights in it take.
int32_t check_packed_size(int64_t packed_bytes, int64_t said, int64_t needed);

// Of weights that gatun_qmatmul_pack has packed.
struct PackedHeader {
  uint64_t magic;
  uint16_t version;
  PackedFormat format;
  int16_t code_dtype;
  int16_t book;
  int16_t zero_point;
  int16_t scale_dtype;
  int16_t gguf_type;
  uint8_t panel_rows;
  uint8_t integer_book;  // 1: a given code book that is stored as integers
  int32_t group_rows;
  float tensor_scale;
  int64_t columns;
  int64_t depth;
  int64_t group;
  int64_t bytes;  // of the whole buffer, this header included
};
static_assert(sizeof(PackedHeader) == 64);

}  // namespace gatun
