// INT8: from q and k to their codes. INT8_FP8: from v, too.
#pragma once

#include <cstdint>

#include "attention/device_job.h"

namespace gatun::cuda::attention {

inline constexpr int kMeanColumns = 32, kRowsOfBlock = 4;  // of the mean's blocks; of those for rows of q and of v

// Means, scales and codes as native/src/attention/reference.h defines them, to where job.codes says; with `values` v in
// bf16, too.
int32_t run_quantize(const Job& job, bool values, void* stream);

// Of the rows of each item and kv head of k or v, by column.
int32_t run_means(const Job& job, const Strided& rows, int64_t columns, const float* means, void* stream);

// Mean, scales and codes of v as gatun/attention.h defines them, to where job.codes says; by devices of 9.0.
int32_t run_quantize_values(const Job& job, void* stream);

}  // namespace gatun::cuda::attention
