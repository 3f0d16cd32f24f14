// INT8: from q and k to their codes.
#pragma once

#include <cstdint>

#include "attention/device_job.h"

namespace gatun::cuda::attention {

// Means, scales and codes as native/src/attention/reference.h defines them, to where job.codes says; with `values` v in
// bf16, too.
int32_t run_quantize(const Job& job, bool values, void* stream);

}  // namespace gatun::cuda::attention
