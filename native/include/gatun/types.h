/*
 * Element types. Enums travel as int32_t.
 */
#ifndef GATUN_TYPES_H
#define GATUN_TYPES_H

#include <stdint.h>

enum gatun_dtype {
  GATUN_F32 = 1,  /* IEEE 754 binary32 */
  GATUN_F16 = 2,  /* IEEE 754 binary16 */
  GATUN_BF16 = 3, /* the upper 16 bits of a binary32 */
  GATUN_I8 = 4,   /* two's complement */
  GATUN_U8 = 5,
  GATUN_I32 = 6,
  /*
   * Unsigned 4-bit values, two per byte along the last axis, the element of even index in the low nibble. A row of n
   * elements takes (n + 1) / 2 bytes; the unused high nibble of an odd row is 0.
   */
  GATUN_U4 = 7
};

#endif
