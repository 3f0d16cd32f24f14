// Steps with state in F32.
#include "optimizer/all_rules.h"

namespace gatun::cuda::optimizer {

const DeviceKernel optimizer_f32_sm80 = kernel_of<F32Codes>("optimizer_f32_sm80", GATUN_STATE_F32);

}  // namespace gatun::cuda::optimizer
