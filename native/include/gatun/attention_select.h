/*
 * Which blocks of keys are worth attending to: selections of the published sparse attention methods. Each makes a map
 * of blocks (gatun/block_mask.h) from q and k, in two steps that may be called alone:
 *
 *   scores  f32 [batch, query_heads, query_blocks, key_blocks], larger is better, +infinity: kept whatever the others
 *   map     u8 [batch, query_heads, query_blocks, key_blocks], 1: chosen (seen whole), 0: not
 *
 * Sizes, strides, offsets, scale, causal, windows and threads are those of gatun_attention_params, blocks have its
 * query_block and key_block rows, and query_blocks of it and key_blocks of gatun_selection_params are at least what the
 * longest item needs. Its mode, out_dtype, mask_batch, mask_heads, counts and strides of v and out are ignored but by
 * gatun_attention_selected. A block that causal, windows and lengths hide whole is not allowed: its score is 0, and it
 * is never chosen.
 *
 * Selections estimate: but in MASS, VERTICAL_SLASH and budgets they leave out soft_cap, and everywhere ALiBi and sinks:
 * gatun_attention_selected with slopes attends with them to blocks that were chosen without. q and k are multiplied in
 * f32 with f32 sums, or, where dtype is BF16 and the processor has such dots, as bf16 pairs (subnormals are 0);
 * products that overflow f32 are infinite, whatever scale is.
 *
 * Memory that a thread keeps between calls: a head's keys, packed or in f32, and f32 logits of up to 128 rows by the
 * item's keys (MASS, PROXY), of as many groups of rows by groups of keys (ANTIDIAGONAL), of last_queries rows by keys
 * (lines, budgets: 4 GiB for 1024 rows and 2^20 keys). The calling one keeps the means of all blocks (MEANS) and the
 * map and lists of gatun_attention_selected, too.
 *
 * INVALID_ARGUMENT before anything is written, naming what and where, if an argument does not fit; OUT_OF_RESOURCES
 * leaves outputs unspecified. Results do not depend on threads, bit for bit, nor on other batch items or heads (but
 * those that PROXY averages).
 */
#ifndef GATUN_ATTENTION_SELECT_H
#define GATUN_ATTENTION_SELECT_H

#include <stdint.h>

#include "gatun/attention.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_selection_kind {
  /*
   * Softmax over the row's allowed blocks of keys of scale * (mean of the block's queries) . (mean of the block's
   * keys). A block's self-similarity is the mean cosine of all pairs of its rows, each with itself as well, which is
   * |mean of row / |row||^2; below `similarity`, or with a NaN or infinity in it, a block of keys is left out of the
   * softmax and scored +infinity, and all blocks are for such a block of queries (SpargeAttn, Zhang et al. 2025: query
   * blocks of 128, key blocks of 64).
   * O(q and k + products of all pairs of blocks).
   */
  GATUN_SELECT_MEANS = 0,
  /*
   * Rows are taken in groups of `stride`, S. For a group a of queries and c of keys
   *   logit[a][c] = scale / S * sum over s < S of q[S a + S - 1 - s] . k[S c + s]      (rows beyond the end are 0)
   * Softmax over the groups of keys that are not hidden whole from group a; a block's score is the sum over its pairs
   * of groups, divided by the query groups of the block, so that a row's scores sum to 1 (XAttention, Xu et al. 2025: S
   * 8 or 16, blocks of 128).
   */
  GATUN_SELECT_ANTIDIAGONAL = 1,
  /*
   * The softmax of the last `last_queries` queries, summed over columns and over diagonals: see
   * gatun_attention_lines and gatun_attention_vertical_slash (MInference, Jiang et al. 2024). It has no scores.
   */
  GATUN_SELECT_VERTICAL_SLASH = 2,
  /*
   * The query heads of each of proxy_heads equal groups of neighbours share the scores of one head: the mean of their
   * queries and the mean of the keys that each uses. A block's score is the softmax over the row's allowed blocks of
   * the largest logit in the block, token by token (ProxyAttn, Wang et al. 2025: heads look at the same tokens but
   * differ in sparsity, so each has a budget of its own, gatun_attention_budgets).
   */
  GATUN_SELECT_PROXY = 3,
  /*
   * The attention mass of the block from the log-sum-exp of an earlier step: exp(logit - lse) summed over the pairs of
   * rows that see each other, divided by the block's queries (AdaSpa, SparseD). Exact but for ALiBi, and as much work
   * as q . k.
   */
  GATUN_SELECT_MASS = 4
};

enum gatun_keep {
  /* max(1, floor(amount * the row's allowed blocks)), the product rounded to f32 */
  GATUN_KEEP_FRACTION = 0,
  /* the fewest best blocks whose scores sum to at least `amount` of the row's sum, at least 1 (XAttention) */
  GATUN_KEEP_MASS = 1,
  /* as many best blocks as sum to at most `amount` of the row's sum, at least 1; 1: all (SpargeAttn) */
  GATUN_KEEP_BELOW_MASS = 2
};

typedef struct gatun_selection_params {
  uint32_t struct_size;     /* sizeof(gatun_selection_params) */
  int32_t kind;             /* gatun_selection_kind; of the fields below only those that it names need to be set */
  int32_t keep;             /* gatun_keep; not of VERTICAL_SLASH */
  float amount;             /* 0..1 */
  float similarity;         /* MEANS: finite; -1: every block of finite values is similar enough */
  int32_t keep_first;       /* 1: block 0 is always kept where it is allowed (a sink); 0 */
  int32_t keep_diagonal;    /* 1: so are the blocks with the queries' own positions; 0 */
  int32_t stride;           /* ANTIDIAGONAL: in 1..16, divides query_block and key_block */
  int64_t key_blocks;       /* of scores and maps */
  int64_t last_queries;     /* VERTICAL_SLASH, budgets: in 1..1024; usually 64 */
  int64_t verticals;        /* VERTICAL_SLASH: columns to keep, the forced ones among them, >= 0 */
  int64_t slashes;          /* likewise diagonals */
  int64_t forced_verticals; /* the first columns, >= 0; MInference: 30 */
  int64_t forced_slashes;   /* the latest diagonals, from that of the queries' own positions on, >= 0; MInference: 30 */
  int64_t proxy_heads;      /* PROXY: in 1..query_heads, divides it */
} gatun_selection_params;

/*
 * Scores of a kind other than VERTICAL_SLASH.
 *
 *   q, k, q_offsets, kv_offsets  as of gatun_attention
 *   lse     f32 at the lse strides: MASS; null otherwise
 *   scores  f32 [batch, query_heads, query_blocks, key_blocks], contiguous; all of it is written
 *
 * NaN reaches the scores of the rows of blocks that it takes part in, and so does infinity, as NaN; but see MEANS, and
 * MASS takes exp of an infinite logit.
 */
GATUN_API int32_t gatun_attention_scores(const gatun_attention_params* params, const gatun_selection_params* selection,
                                         const void* q, const void* k, const int64_t* q_offsets,
                                         const int64_t* kv_offsets, const float* lse, float* scores);

/*
 * The best blocks of each row, by `keep` and `amount`.
 *
 *   scores   of any origin, >= 0; blocks that are not allowed are ignored. NaN counts as +infinity
 *   budgets  f32 [batch, query_heads], an amount in 0..1 for each head instead of `amount`; or null
 *   map      u8, all of it is written
 *
 * Blocks of keep_first and keep_diagonal come first: they count among the number, or with their scores in the mass, but
 * are kept even if that is too many. Blocks of +infinity come on top of all. Then the largest scores; of equal ones
 * those with the lower index. O(key_blocks) a row by FRACTION, O(key_blocks log key_blocks) by mass, which is summed in
 * double, as is the row's sum, in that order: an amount of 1 is all of it.
 */
GATUN_API int32_t gatun_attention_choose(const gatun_attention_params* params, const gatun_selection_params* selection,
                                         const int64_t* q_offsets, const int64_t* kv_offsets, const float* scores,
                                         const float* budgets, uint8_t* map);

/*
 * The attention of the last n = min(last_queries, query_length) queries, its softmax P in f32, summed over the queries:
 *
 *   columns    f32 [batch, query_heads, kv_length]: columns[j] = sum of P[i][j]
 *   diagonals  f32 [batch, query_heads, kv_length]: diagonals[t] = sum of P[i][p - t], p the position of query i
 *
 * Contiguous. With offsets there is no batch axis: the sums of item b are from kv_offsets[b] on, and keys of none
 * get 0. Keys after a query's position are on no diagonal. For these sums, maps of lines and budgets kv_length is at
 * most 2^32 - 1.
 */
GATUN_API int32_t gatun_attention_lines(const gatun_attention_params* params, const gatun_selection_params* selection,
                                        const void* q, const void* k, const int64_t* q_offsets,
                                        const int64_t* kv_offsets, float* columns, float* diagonals);

/*
 * The map of vertical and slash lines: the max(verticals, forced_verticals) best columns, the first forced_verticals
 * among them, and the max(slashes, forced_slashes) best diagonals, the first forced_slashes of t among them; ties by
 * the lower index, NaN best. A block is chosen if it holds a key of a chosen column, or a query and a key of a chosen
 * diagonal. keep_first and keep_diagonal add theirs. One set of sums serves many pairs of numbers: the offline search
 * of a pattern for each head compares the mass that they keep (GATUN_SELECT_MASS) at equal cost.
 *
 *   columns, diagonals  of gatun_attention_lines; null, both: only forced lines (A-shape: sinks and a window)
 */
GATUN_API int32_t gatun_attention_vertical_slash(const gatun_attention_params* params,
                                                 const gatun_selection_params* selection, const int64_t* q_offsets,
                                                 const int64_t* kv_offsets, const float* columns,
                                                 const float* diagonals, uint8_t* map);

/*
 * How much of its blocks each head needs (ProxyAttn): the fraction of the allowed blocks of the last queries that holds
 * `amount` of the softmax of the last min(last_queries, query_length) of them, the largest blocks first.
 *
 *   budgets  f32 [batch, query_heads], in 0..1; 1 where there is nothing to see
 */
GATUN_API int32_t gatun_attention_budgets(const gatun_attention_params* params, const gatun_selection_params* selection,
                                          const void* q, const void* k, const int64_t* q_offsets,
                                          const int64_t* kv_offsets, float* budgets);

/*
 * The map of any kind: scores and choice, or lines, without the memory of scores. Where no lines but forced ones are
 * wanted, q and k are not read.
 *
 *   lse_before  f32 at the lse strides: MASS; null otherwise
 */
GATUN_API int32_t gatun_attention_select(const gatun_attention_params* params, const gatun_selection_params* selection,
                                         const float* budgets, const void* q, const void* k, const int64_t* q_offsets,
                                         const int64_t* kv_offsets, const float* lse_before, uint8_t* map);

/*
 * gatun_attention over the blocks that gatun_attention_select chooses.
 *
 *   density  f32 [batch, query_heads]: chosen blocks / allowed blocks, 0 if none is allowed; or null
 *   others   of gatun_attention and gatun_attention_select; lse_before may be lse
 */
GATUN_API int32_t gatun_attention_selected(const gatun_attention_params* params,
                                           const gatun_selection_params* selection, const float* budgets, const void* q,
                                           const void* k, const void* v, const int64_t* q_offsets,
                                           const int64_t* kv_offsets, const float* slopes, const float* sinks,
                                           const float* correction, const float* lse_before, void* out, float* lse,
                                           float* density);

/* Which kernels a selection uses and why; for a person. 2048 bytes always do. */
GATUN_API int32_t gatun_attention_select_explain(const gatun_attention_params* params,
                                                 const gatun_selection_params* selection, char* text, int64_t capacity);

typedef struct gatun_attention_rows_params {
  uint32_t struct_size; /* sizeof(gatun_attention_rows_params) */
  int32_t dtype;        /* of x: F32, BF16 or F16 */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread */
  int32_t projections;  /* LSH: in 1..16; HyperAttention: 7. Otherwise ignored */
  int64_t seed;         /* LSH. Otherwise ignored */
  int64_t batch;        /* >= 0, as all sizes */
  int64_t heads;
  int64_t length;         /* rows of x, at most 2^31 - 1 */
  int64_t rows;           /* gather: rows of y; scatter: of x moved. LSH: ignored */
  int64_t head_size;      /* elements of a row, >= 1; LSH: at most 256 */
  int64_t x_batch_stride; /* in elements; those within a row are adjacent */
  int64_t x_head_stride;
  int64_t x_row_stride;
  int64_t y_batch_stride;
  int64_t y_head_stride;
  int64_t y_row_stride;
} gatun_attention_rows_params;

/*
 * Rows in the order of their buckets, stable, so that similar rows become neighbours (HyperAttention, Han et al. 2024:
 * sort q and k by the same projections, attend in blocks along the diagonal, add sampled columns, merge).
 *
 *   bit b of the code of row x = (sum over k of x[k] r[b][k] > 0), in f32; a NaN gives 0
 *   r[b][k] = the sum of the four 16-bit fields of mix64(seed + (256 b + k + 1) * 0x9e3779b97f4a7c15), minus 131070:
 *             near normal; mix64 is the output function of splitmix64 (Steele, Lea, Flood 2014)
 *   bucket  = the place of the code in the binary-reflected Gray code, so that neighbouring buckets differ in one bit
 *
 *   x      [batch, heads, length, head_size] of dtype at the x strides
 *   order  i32 [batch, heads, length]: order[i] is the row that comes i-th
 *
 * A row that is nearly orthogonal to some r may change its bucket from tier to tier.
 */
GATUN_API int32_t gatun_attention_lsh(const gatun_attention_rows_params* params, const void* x, int32_t* order);

/*
 * y[b, h, i] = x[b, h, order[b, h, i]] for i < rows: sorted rows, or sampled ones. With a sample of m of n keys, drawn
 * evenly, ln(n / m) is added to the log-sum-exp over the sample before gatun_attention_merge.
 *
 *   x      [batch, heads, length, head_size], y [batch, heads, rows, head_size] of dtype at the strides; disjoint
 *   order  i32 [batch, heads, rows], each in 0..length - 1, else INVALID_ARGUMENT
 */
GATUN_API int32_t gatun_attention_gather(const gatun_attention_rows_params* params, const void* x, const int32_t* order,
                                         void* y);

/*
 * y[b, h, order[b, h, i]] = x[b, h, i] for i < rows: back from the sorted order.
 *
 *   x      [batch, heads, rows, head_size], y [batch, heads, length, head_size] of dtype at the strides; disjoint; rows
 *          of y that order does not name are left alone
 *   order  i32 [batch, heads, rows], each in 0..length - 1 and none twice within a head, else INVALID_ARGUMENT
 */
GATUN_API int32_t gatun_attention_scatter(const gatun_attention_rows_params* params, const void* x,
                                          const int32_t* order, void* y);

#ifdef __cplusplus
}
#endif

#endif
