// Checks that the entry points of all ops share. Each returns GATUN_OK or a status with its message set.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "gatun/status.h"

namespace gatun {

// Returns from the calling function unless `expression` is GATUN_OK.
#define GATUN_TRY(expression)                                      \
  do {                                                             \
    if (const int32_t status = (expression); status != GATUN_OK) { \
      return status;                                               \
    }                                                              \
  } while (false)

int32_t check_not_null(const void* pointer, const char* name);
int32_t check_struct_size(uint32_t given, uint32_t expected, const char* name);
int32_t check_range(int64_t value, int64_t low, int64_t high, const char* name);

// check_range of a field of a struct: `name`.`field`.
int32_t check_field(int64_t value, int64_t low, int64_t high, const char* name, const char* field);

// A dtype that is one of `allowed`.
int32_t check_dtype(int32_t dtype, std::initializer_list<int32_t> allowed, const char* name);

// An argument that must be null unless it is `wanted`; `why` says what makes it unwanted.
int32_t check_absent(bool wanted, const void* address, const char* name, const char* why);

// `address` must be a multiple of `bytes`, a power of 2.
int32_t check_aligned(const void* address, int64_t bytes, const char* name);

// The bytes from the first to past the last element of a strided matrix, in *bytes. Strides count elements, which take
// element_bits each (rows start on a byte). INVALID_ARGUMENT if that exceeds 2^62.
int32_t check_extent(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride, int64_t element_bits,
                     const char* name, int64_t* bytes);

// A row stride that keeps rows apart: at least `columns` if there are two rows or more.
int32_t check_row_stride(int64_t rows, int64_t columns, int64_t row_stride, const char* name);

// Bytes [a, a + a_bytes) and [b, b + b_bytes) must be disjoint.
int32_t check_disjoint(const void* a, int64_t a_bytes, const char* a_name, const void* b, int64_t b_bytes,
                       const char* b_name);

// An argument in memory: a strided matrix.
struct Buffer {
  const char* name;
  const void* address;
  int64_t rows, columns, row_stride;  // in elements, which also have to be aligned
  int64_t element_bytes;
  bool output;
  int64_t column_stride = 1;
  int64_t bytes = 0;  // from the first element to past the last one, by check_buffers
};

// Sizes, nulls but of empty buffers, alignment; outputs overlap nothing, but that `in_place`, an output, may be
// `original`, an input, with the same stride.
int32_t check_buffers(Buffer* buffers, int count, const Buffer* in_place = nullptr, const Buffer* original = nullptr);
template <int count>
int32_t check_buffers(Buffer (&buffers)[count], const Buffer* in_place = nullptr, const Buffer* original = nullptr) {
  return check_buffers(buffers, count, in_place, original);
}

// Blocks of `block` elements, the last one perhaps smaller, that cover `count` of them.
inline int64_t blocks_of(int64_t count, int64_t block) { return count == 0 ? 0 : (count - 1) / block + 1; }

}  // namespace gatun
