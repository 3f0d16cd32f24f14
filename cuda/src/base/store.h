// Numbers of the host as arguments of kernels.
#pragma once

#include <cstdint>

namespace gatun::cuda {

// `values` is read before it returns.
int32_t store_async(int64_t* to, const int64_t* values, int64_t count, void* stream);

}  // namespace gatun::cuda
