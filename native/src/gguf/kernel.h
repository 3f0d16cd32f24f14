// What the entry hands to a kernel, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "gguf/block.h"

namespace gatun::gguf {

// A matrix as rows of blocks. Blocks count along a row, then down the rows.
struct Job {
  void* x;  // quantize reads x and writes blocks, dequantize the other way round
  uint8_t* blocks;
  int64_t row_blocks;  // blocks of a row
  int64_t x_row_stride;
  bool stream;  // whether dequantize writes so much that it had better bypass the caches
};

// Types of x, as the arrays of Kernel count them.
enum { kXF32, kXF16, kXBF16, kXTypes };

struct Kernel {
  // Quantizes blocks [begin, end). False if a value is not finite or a scale overflows: what the blocks hold is
  // unspecified then, and the entry looks for the first culprit.
  bool (*quantize[kXTypes])(const Job& job, int64_t begin, int64_t end);
  // Dequantizes blocks [begin, end).
  void (*dequantize[kXTypes])(const Job& job, int64_t begin, int64_t end);
};

#define GATUN_GGUF_KERNEL(name, isa, type) \
  }                                        \
  namespace gatun::isa {                   \
  extern const gguf::Kernel name;          \
  }                                        \
  namespace gatun::gguf {
#include "gguf/kernels.inc"
#undef GATUN_GGUF_KERNEL

}  // namespace gatun::gguf
