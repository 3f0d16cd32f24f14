/*
 * The library itself: version, processor tier, threads, self-test.
 */
#ifndef GATUN_GATUN_H
#define GATUN_GATUN_H

#include <stdint.h>

#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a prototype, a struct or an enum value changes in a way that older callers would notice. */
enum gatun_abi { GATUN_ABI_VERSION = 2 };

/*
 * Instruction-set tiers, those of an architecture in ascending order. The library holds kernels for all tiers of its
 * architecture and uses the highest one that the processor and the operating system support; those of others are never
 * supported. The environment variable GATUN_MAX_ISA (a tier's name: scalar; avx2, avxvnni, avx512, avx512vnni on
 * x86-64; neon, dotprod, i8mm on 64-bit ARM) can only lower it; it is read once, at the first call.
 */
enum gatun_tier {
  GATUN_TIER_SCALAR = 0,     /* portable C++; on x86-64 compiled for x86-64-v2 */
  GATUN_TIER_AVX2 = 1,       /* x86-64-v3: AVX2, FMA, F16C */
  GATUN_TIER_AVXVNNI = 2,    /* AVX2 + AVX-VNNI: 8-bit dot products in 256-bit registers */
  GATUN_TIER_AVX512 = 3,     /* AVX-512 F, BW, DQ, VL */
  GATUN_TIER_AVX512VNNI = 4, /* AVX-512 + VNNI, BF16, VBMI */
  GATUN_TIER_NEON = 5,       /* Armv8.0-A: Advanced SIMD */
  GATUN_TIER_DOTPROD = 6,    /* Armv8.2-A + DotProd: 8-bit dot products */
  GATUN_TIER_I8MM = 7        /* Armv8.2-A + DotProd, I8MM: those of unsigned by signed bytes */
};

/* GATUN_ABI_VERSION of the library that is loaded. */
GATUN_API int32_t gatun_abi_version(void);

/* "major.minor.patch" of the library that is loaded. */
GATUN_API const char* gatun_version(void);

/* The tier in use. */
GATUN_API int32_t gatun_tier(void);

/* 1 if kernels of this tier can run on this processor under this operating system, whatever GATUN_MAX_ISA says. */
GATUN_API int32_t gatun_tier_supported(int32_t tier);

/* The tier's name as GATUN_MAX_ISA takes it, or null if there is no such tier. */
GATUN_API const char* gatun_tier_name(int32_t tier);

/*
 * A few lines for a person: processor, tier in use, each tier with the reason why it is not available (missing
 * instructions, or vector state that the operating system disabled), threads; GATUN_MAX_ISA and GATUN_THREADS where
 * they matter or were ignored. Writes a NUL-terminated string. INVALID_ARGUMENT if `capacity` bytes do not hold it;
 * 4096 always do.
 */
GATUN_API int32_t gatun_cpu_report(char* text, int64_t capacity);

/*
 * The number of threads that a call with `threads` = 0 uses: the processors that the affinity mask and the control
 * group allow, unless gatun_set_threads or the environment variable GATUN_THREADS said otherwise.
 */
GATUN_API int32_t gatun_threads(void);

/* Sets that number, 1..1024. Results never depend on it. INVALID_ARGUMENT outside that range. */
GATUN_API int32_t gatun_set_threads(int32_t threads);

/*
 * Asks the system for huge pages under the whole 2 MiB within [memory, memory + bytes), for buffers that are read from
 * end to end, such as packed weights: with pages of 4 KiB a single row's multiplication runs at two thirds of its
 * speed. gatun_qmatmul_pack does it for its output; memory that weights are copied to needs it again. The contents
 * stay, and pages that were never touched may get memory at once. [memory, memory + bytes) must be the caller's own;
 * memory may be null if bytes is 0. Only advice: GATUN_OK also where the system has no huge pages to give.
 * INVALID_ARGUMENT if bytes < 0, memory is null or memory + bytes is beyond the address space. Copies what is there
 * already, so O(bytes).
 */
GATUN_API int32_t gatun_prefer_huge_pages(void* memory, int64_t bytes);

/*
 * Runs every kernel of the tier on small problems and compares with the reference (under a second). The outcome of
 * each kernel is a line of `text`. GATUN_OK if all agree; UNSUPPORTED if the tier cannot run here; INTERNAL if a kernel
 * is wrong; INVALID_ARGUMENT if there is no such tier or `capacity` is too small (16384 always do).
 */
GATUN_API int32_t gatun_self_test(int32_t tier, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
