// Steps with state in DYNAMIC8.
#include "optimizer/all_rules.h"

namespace gatun::cuda::optimizer {

const DeviceKernel optimizer_dynamic8_sm80 = kernel_of<Dynamic8Codes>("optimizer_dynamic8_sm80", GATUN_STATE_DYNAMIC8);

}  // namespace gatun::cuda::optimizer
