// Steps with state in DYNAMIC4.
#include "optimizer/all_rules.h"

namespace gatun::cuda::optimizer {

const DeviceKernel optimizer_dynamic4_sm80 = kernel_of<Dynamic4Codes>("optimizer_dynamic4_sm80", GATUN_STATE_DYNAMIC4);

}  // namespace gatun::cuda::optimizer
