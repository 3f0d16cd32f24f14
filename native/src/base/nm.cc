#include "base/nm.h"

#include "base/check.h"
#include "base/status.h"

namespace gatun {

int32_t check_nm(int32_t n, int32_t m, const char* name) {
  if (m != 2 && m != 4 && m != 8 && m != 16 && m != 32) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.m = %d; allowed: 2, 4, 8, 16, 32", name, m);
  }
  return check_field(n, 1, m, name, "n");
}

}  // namespace gatun
