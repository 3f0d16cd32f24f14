// The 64-byte header that opens every packed buffer, so that a wrong buffer is an error and not garbage.
#pragma once

#include <cstdint>

namespace gatun {

inline constexpr uint64_t kPackedMagic = 0x314b504e55544147;  // "GATUNPK1", little endian
inline constexpr uint32_t kPackedVersion = 1;

enum class PackedFormat : uint32_t { qmatmul = 1 };

struct PackedHeader {
  uint64_t magic;
  uint32_t version;
  PackedFormat format;
  int32_t code_dtype;
  int32_t asymmetric;
  int32_t scale_dtype;
  int32_t panel_rows;
  int64_t columns;
  int64_t depth;
  int64_t group;
  int64_t bytes;  // of the whole buffer, this header included
};
static_assert(sizeof(PackedHeader) == 64);

}  // namespace gatun
