#include "self_test/self_test.h"

#include <new>

#include "base/check.h"
#include "base/status.h"
#include "simd/float_mode.h"

int32_t gatun_self_test(int32_t tier, char* text, int64_t capacity) {
  using namespace gatun;
  GATUN_TRY(check_range(tier, 0, kTiers - 1, "tier"));
  GATUN_TRY(check_not_null(text, "text"));
  const Tier tested = static_cast<Tier>(tier);
  if (!tier_supported(tested)) {
    return fail(GATUN_UNSUPPORTED, "tier %s cannot run on this processor and operating system", tier_name(tested));
  }
  const DefaultFloatMode mode;  // the kernels run in it, so the references must, too
  Report report;
  try {
#define GATUN_OP(op) op::self_test(tested, report);
#include "self_test/ops.inc"
#undef GATUN_OP
  } catch (const std::bad_alloc&) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for the small problems of the self-test");
  }
  GATUN_TRY(report.text().copy_to(text, capacity));
  if (report.wrong_kernels() == 0) return GATUN_OK;
  return fail(GATUN_INTERNAL, "%d kernels of tier %s disagree with their reference", report.wrong_kernels(),
              tier_name(tested));
}
