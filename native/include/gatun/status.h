/*
 * Status codes and error messages.
 *
 * Every function of Gatun that can fail returns an int32_t status. A call that returns GATUN_INVALID_ARGUMENT or
 * GATUN_UNSUPPORTED has written nothing to its outputs. The message names the argument, what was given and what is
 * allowed.
 */
#ifndef GATUN_STATUS_H
#define GATUN_STATUS_H

#include <stdint.h>

#if defined(__GNUC__)
#define GATUN_API __attribute__((visibility("default")))
#else
#define GATUN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_status {
  GATUN_OK = 0,
  /* An argument is null, out of range, overlapping, truncated or inconsistent with another one. */
  GATUN_INVALID_ARGUMENT = 1,
  /* The arguments are meaningful, but no kernel does this combination. */
  GATUN_UNSUPPORTED = 2,
  /* Scratch memory or a worker thread could not be had. */
  GATUN_OUT_OF_RESOURCES = 3,
  /* A defect of Gatun itself. */
  GATUN_INTERNAL = 4
};

/*
 * The message of the last call on this thread that did not return GATUN_OK; an empty string before the first one.
 * Valid until the next failing call on this thread.
 */
GATUN_API const char* gatun_last_error(void);

#ifdef __cplusplus
}
#endif

#endif
