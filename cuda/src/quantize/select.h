// Which kernels do a call, and how its work is cut. Pure host code: nothing here asks a device.
#pragma once

#include <cstdint>

#include "base/runtime.h"
#include "gatun/quantize.h"
#include "ptx/launch.h"
#include "quantize/job.h"

namespace gatun::cuda::quantize {

// Chunks of blocks, in the order of launches; a grid without blocks is not launched.
struct Plan {
  const Kernel* kernel;
  int64_t parts_of_block;  // 0: no block is scanned in parts
  Grid scan, merge;        // of parts, of blocks
  Walk scanned;
  Grid make;  // chunks that only make scales
  Walk made;
  Grid code;  // chunks that make codes, and scales if nothing else has made or given them; or values
  Walk coded;
  bool make_in_code;
};

// Parts of each block, if they are scanned in parts; 0 otherwise.
int64_t parts_of_block(const gatun_quantize_params& params);

// Bytes that quantize needs beside its arguments. Of checked params, as below.
int64_t workspace_bytes(const gatun_quantize_params& params);

Plan plan_quantize(const gatun_quantize_params& params, const Device& device);
Plan plan_dequantize(const gatun_quantize_params& params, const Device& device);

}  // namespace gatun::cuda::quantize
