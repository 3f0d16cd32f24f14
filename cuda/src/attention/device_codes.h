// INT8: from q and k to their codes.
#pragma once

#include <cstdint>

#include "attention/device_job.h"

namespace gatun::cuda::attention {

inline constexpr int kMeanColumns = 32, kRowsOfBlock = 4;  // of the mean's blocks; of those for rows of q and of v

// Means, scales and codes as native/src/attention/reference.h defines them, to where job.codes says; with `values` v in
// bf16, too.
int32_t run_quantize(const Job& job, bool values, void* stream);

}  // namespace gatun::cuda::attention
