// Steps with state in F8E4M3.
#include "optimizer/all_rules.h"

namespace gatun::cuda::optimizer {

const DeviceKernel optimizer_f8e4m3_sm80 = kernel_of<F8E4M3Codes>("optimizer_f8e4m3_sm80", GATUN_STATE_F8E4M3);

}  // namespace gatun::cuda::optimizer
