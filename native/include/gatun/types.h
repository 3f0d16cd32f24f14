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
  GATUN_U4 = 7,
  /* Unsigned 2-bit values, four per byte along the last axis, the first in the lowest bits; else as U4. */
  GATUN_U2 = 8,
  /*
   * Small floats of the OCP specifications (8-bit floating point, revision 1.0; microscaling formats, revision 1.0),
   * one sign bit, then exponent and mantissa; subnormals throughout.
   */
  GATUN_F8E4M3 = 9,  /* bias 7, largest 448, no infinity, NaN 0x7f and 0xff ("E4M3FN") */
  GATUN_F8E5M2 = 10, /* bias 15, largest 57344, infinity 0x7c, NaN 0x7d..0x7f */
  /* 6 bits: four elements in three bytes along the last axis, element i from bit 6 i on; unused bits of a row are 0 */
  GATUN_F6E3M2 = 11, /* bias 3, largest 28, no infinity, no NaN */
  GATUN_F6E2M3 = 12, /* bias 1, largest 7.5, no infinity, no NaN */
  GATUN_F4E2M1 = 13, /* 0 0.5 1 1.5 2 3 4 6 and their negatives; packed as U4 */
  /* A scale without sign: 2^(e - 127), NaN 0xff. */
  GATUN_E8M0 = 14
};

#endif
