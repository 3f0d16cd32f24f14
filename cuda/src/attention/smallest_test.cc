// A small problem of each row of the table of kernels, with all that comes before and after it: short enough for
// valgrind.
#include "attention/fp8_problem.h"

namespace gatun::cuda::attention {
namespace {

TEST(SmallestOfEachKernel, IsRight) {
  Rng rng(40);
  for (const Kind& kind : kKinds) {
    for (const int64_t head_size : {72, 136}) {
      Spec spec = device_spec(kind, 17, 70);
      spec.head_size = head_size;
      spec.mask = MaskKind::mixed;
      spec.query_block = 16;
      spec.key_block = 32;
      spec.sinks = true;
      const Problem problem(spec, rng);
      for (const KernelRow* row : rows_for(problem.params())) ASSERT_NO_FATAL_FAILURE(compare(problem, row));
    }
  }
  for (const int64_t head_size : {40, 72}) {
    Spec spec = device_spec(kFp8Kinds[0], 17, 70);
    spec.head_size = head_size;
    spec.mask = MaskKind::mixed;
    spec.query_block = 16;
    spec.key_block = 32;
    spec.sinks = true;
    const Problem problem(spec, rng);
    if (fp8_row(problem) == nullptr) continue;
    ASSERT_NO_FATAL_FAILURE(compare_fp8(problem));
  }
}

}  // namespace
}  // namespace gatun::cuda::attention
