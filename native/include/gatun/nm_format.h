/*
 * N:M sparse weights in canonical form: in every group of M consecutive weights along the depth, N are kept.
 *
 *   values   [columns, K] of value_dtype, K = G * N, G = ceil(depth / M): what is kept, in ascending depth
 *   indices  [ceil(columns / vector), K] of b bits, b = 2 for M = 2 and 4, 4 for 8 and 16, 8 for 32: the position
 *            within the group, 0..M-1, strictly ascending within a group, low bits first; a row takes
 *            ceil(K * b / 8) bytes, unused bits are 0. `vector` consecutive rows of the weights share their positions
 *            (V:N:M); the last vector may have fewer rows.
 *   mask     [columns, depth] bits: weight k of row r is kept if bit k % 8 of byte r * ceil(depth / 8) + k / 8 is 1;
 *            unused bits of a row are 0
 *
 * For 2:4 a byte of indices is two nibbles of the sparse tensor cores' metadata. A depth that is no multiple of M ends
 * in a group that is continued by zeros: its indices may point beyond the depth, and the values there are zeros.
 *
 * A kept weight is one whose position is among the indices: it may be 0, or quantize to 0. U4 values are codes of
 * gatun/quantize.h, two a byte, a row taking ceil(K / 2) bytes; I8 values codes, too; scales and zero points remain
 * those of the dense weights, of groups of the dense depth. The value of a zero is 0, of U4 code 8, or the zero point
 * of its row and group (beyond the depth, of the row's last group).
 *
 * Rows lie side by side. Pointers are aligned to an element; outputs overlap nothing. If there are no rows or no depth,
 * pointers may be null. All functions are O(columns * depth), and their results do not depend on the number of threads.
 */
#ifndef GATUN_NM_FORMAT_H
#define GATUN_NM_FORMAT_H

#include <stdint.h>

#include "gatun/prune.h"
#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_nm_format {
  uint32_t struct_size; /* sizeof(gatun_nm_format) */
  int32_t n;            /* 1..m */
  int32_t m;            /* 2, 4, 8, 16 or 32 */
  int32_t vector;       /* V, >= 1; it may exceed columns */
  int32_t value_dtype;  /* F32, F16, BF16, I8 or U4 */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread */
  int64_t columns;      /* rows of the weight matrix [columns, depth], 0..2^62 */
  int64_t depth;        /* 0..2^62, a row below 2^60 bytes; the matrix below 2^62 bytes */
  int64_t group;        /* U4 with zero points: weights that share one, 16..depth, or depth; otherwise ignored */
} gatun_nm_format;

/* The sizes in bytes of the dense weights, the values, the indices and the mask; any pointer may be null. */
GATUN_API int32_t gatun_nm_bytes(const gatun_nm_format* format, int64_t* dense, int64_t* values, int64_t* indices,
                                 int64_t* mask);

/*
 * Dense weights [columns, depth] of value_dtype (U4: rows of ceil(depth / 2) bytes) to values and indices.
 *
 *   mask         the weights that are kept, the same for all rows of a vector; null (not with U4): those that are not 0
 *                (-0 is 0; NaN is not)
 *   zero_points  u8 [columns, ceil(depth / group)], each 0..15, with U4, or null: then they are 8
 *
 * INVALID_ARGUMENT, with row and group, if a group keeps more than N, or rows of a vector differ (with a mask null, the
 * positions of a vector are those where any of its rows is not 0; if then a group keeps too much, what the outputs hold
 * is unspecified). A group that keeps fewer is filled up with its lowest other positions; their values are those of a
 * zero, whatever `dense` has there. Kept values are copied bit for bit.
 */
GATUN_API int32_t gatun_nm_compress(const gatun_nm_format* format, const void* dense, const uint8_t* mask,
                                    const uint8_t* zero_points, void* values, uint8_t* indices);

/*
 * The dense weights, with zeros where nothing is kept. Indices are checked as by gatun_nm_check. Values of positions
 * beyond the depth count for nothing.
 */
GATUN_API int32_t gatun_nm_decompress(const gatun_nm_format* format, const void* values, const uint8_t* indices,
                                      const uint8_t* zero_points, void* dense);

/* The mask of the positions among the indices that lie within the depth. Indices are checked. */
GATUN_API int32_t gatun_nm_mask(const gatun_nm_format* format, const uint8_t* indices, uint8_t* mask);

/*
 * INVALID_ARGUMENT, with row of the indices, group and index, unless indices are below M and strictly ascending within
 * each group, and unused bits are 0.
 */
GATUN_API int32_t gatun_nm_check(const gatun_nm_format* format, const uint8_t* indices);

/*
 * Prunes and compresses in one pass over the weights: the same bytes as gatun_prune of GATUN_PATTERN_NM, or of
 * GATUN_PATTERN_TRANSPOSABLE (2:4), and then gatun_nm_compress.
 *
 *   prune   columns, depth, n, m, vector and w_dtype = value_dtype must be those of `format`; F32, F16 or BF16. With
 *           TRANSPOSABLE, n, m and vector of `prune` are ignored, and those of `format` must be 2, 4 and 1. The threads
 *           are those of `format`.
 *   w, norms, scores  as in gatun_prune; w also with GIVEN scores, where its values may be any
 *
 * Refuses what gatun_prune refuses. What the outputs hold after a refusal for a NaN is unspecified. One pass is meant
 * literally for NM with vector 1 by MAGNITUDE, WANDA or GIVEN scores; otherwise scores are looked through first, and
 * LAMP's are made first, in memory of 4 bytes a weight.
 */
GATUN_API int32_t gatun_nm_prune(const gatun_nm_format* format, const gatun_prune_params* prune, const void* w,
                                 const float* norms, const float* scores, void* values, uint8_t* indices);

/*
 * The metadata of the sparse tensor cores for 2:4 weights, vector 1, in the order that mma.sp kernels of sm80 read it
 * (CUTLASS's ColumnMajorInterleaved<2> of reordered rows, as PyTorch's SparseSemiStructuredTensorCUTLASS stores it):
 *
 *   value_dtype  N:M  word                                         columns         depth           bytes
 *   F16, BF16    2:4  int16, 4 nibbles                             multiple of 32  multiple of 32  columns * depth / 8
 *   I8           2:4  int32, 8 nibbles                             multiple of 16  multiple of 64  columns * depth / 8
 *   F32          1:2  int16, 4 nibbles, each 0x4 (index 0) or 0xE  multiple of 32  multiple of 16  columns * depth / 4
 *
 * A nibble is a group's indices, the first one in its low bits; a word is consecutive groups of a row, the first one in
 * its low bits. Word c of row r goes to word (c' / 2) * 2 * columns + 2 r' + c' % 2 of the metadata, where, with 8 i +
 * j = r % 32 (I8: r % 16), r' = r - r % 32 + 4 j + i (I8: r - r % 16 + 2 j + i) and c' = c; but if r' is even and c
 * odd, r' is one more and c' one less, and if r' is odd and c even, the other way round.
 *
 * A group with fewer weights that are not 0 is filled up by gatun_nm_compress with its lowest other positions: without
 * any 0x4, and with the one at 0, 1, 2 or 3 alone 0x4, 0x4, 0x8, 0xC. PyTorch's own compression
 * (torch/sparse/_semi_structured_conversions.py) takes others, 0xE, and 0x8, 0x9, 0xE, 0xE (earlier versions 0xC and
 * 0xD for 0 and 1), of F32 without any 0xE; and of more than two it drops some, where gatun_nm_compress refuses. So the
 * bytes of such groups differ, the weights that they stand for don't: both forms are read alike here and there.
 *
 * metadata_bytes: the size of `metadata`, which is aligned to a word. gatun_nm_from_sm80 inverts gatun_nm_to_sm80.
 * INVALID_ARGUMENT for other shapes, with what is allowed; for indices as by gatun_nm_check; for a nibble of metadata
 * that is not one of 0x4, 0x8, 0x9, 0xC, 0xD, 0xE, with row and group.
 */
GATUN_API int32_t gatun_nm_sm80_bytes(const gatun_nm_format* format, int64_t* metadata_bytes);
GATUN_API int32_t gatun_nm_to_sm80(const gatun_nm_format* format, const uint8_t* indices, void* metadata);
GATUN_API int32_t gatun_nm_from_sm80(const gatun_nm_format* format, const void* metadata, uint8_t* indices);

/* Which kernels compress and prune use for this format, for a person. 1024 bytes always do. */
GATUN_API int32_t gatun_nm_explain(const gatun_nm_format* format, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
