/*
 * What this machine can do at best: the rates that benchmarks compare kernels with. A library of its own
 * (libgatun_limits.so), never part of libgatun and not installed.
 */
#ifndef GATUN_LIMITS_H
#define GATUN_LIMITS_H

#include <stdint.h>

#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_limit {
  GATUN_LIMIT_READ = 0,     /* bytes/s read from DRAM; the best of several numbers of streams */
  GATUN_LIMIT_MOVE = 1,     /* bytes/s read and written; the best of plain and non-temporal stores */
  GATUN_LIMIT_FMA = 2,      /* flop/s in f32, 2 a multiply-add */
  GATUN_LIMIT_BF16_DOT = 3, /* flop/s of bf16 pairs added to f32, 2 a product */
  GATUN_LIMIT_INT8_DOT = 4  /* op/s of unsigned times signed bytes added to int32, 2 a product */
};

enum gatun_limits_bounds {
  GATUN_LIMITS_MAX_THREADS = 1024,
  GATUN_LIMITS_MAX_STREAMS = 16,
  GATUN_LIMITS_MAX_PIECES = 64
};

/*
 * Repeats the loop of a limit on `threads` threads that start together, for about `seconds` and at least three times.
 * best: the rate of the fastest repetition, from the first thread's start to the last one's end; median: of all.
 *
 * tier: its name ("avx2"); null is the tier in use. The loop is the best one that this tier may run. An int8 dot
 *   product without an instruction of its own is a multiplication to 16 bits, one to 32 bits and an addition. Kernels
 *   of 4-bit weights on such tiers add pairs of the 16-bit products first, and so may exceed this rate.
 * read_streams, write_streams: GATUN_LIMIT_MOVE adds up read_streams streams and stores the sum to write_streams
 *   streams, 0..16 each, at least one in all. Others ignore them.
 * Memory: READ and MOVE use 512 MiB in all, each thread its own part; seconds does not include touching it first.
 *
 * Errors: INVALID_ARGUMENT; UNSUPPORTED if the processor cannot run the tier or the tier has no such instruction;
 * OUT_OF_RESOURCES without memory or threads. Then best and median are not written. Not to be called by several threads
 * at once: they would disturb each other.
 */
GATUN_API int32_t gatun_limits_measure(int32_t kind, const char* tier, int32_t threads, int32_t read_streams,
                                       int32_t write_streams, double seconds, double* best, double* median);

/*
 * Bytes/s of a loop that changes memory in place, read and written ones added up, as gatun_limits_measure measures with
 * the tier in use: rounds that read the next round_pieces[s] pieces of 256 bytes of each of `streams` streams, 1..16,
 * and add 1 to the floats of the first `updated` of them, 0..streams. round_pieces[s]: 1..64.
 */
GATUN_API int32_t gatun_limits_update(int32_t threads, int32_t streams, int32_t updated, const int32_t* round_pieces,
                                      double seconds, double* best, double* median);

/* The message of the last call on this thread that failed. */
GATUN_API const char* gatun_limits_last_error(void);

#ifdef __cplusplus
}
#endif

#endif
