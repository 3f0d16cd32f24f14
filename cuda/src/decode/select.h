// From a problem to its kernel and its parts: host code that knows devices by their properties alone.
#pragma once

#include "base/kernel_rows.h"
#include "base/runtime.h"
#include "base/text.h"
#include "decode/call.h"
#include "decode/job.h"

namespace gatun::cuda::decode {

using gatun::decode::Call;

// A row of device_kernels.inc.
struct KernelRow {
  const char* name;
  int32_t tile_rows, most_size;
  int32_t (*run)(const Job& job, void* stream);
};

KernelRows<KernelRow> kernel_rows();

// Null if a kernel takes the problem, otherwise why it does not. `k` and `v` are where pools are; null is aligned.
const char* why_not(const KernelRow& row, const Call& call, const void* k, const void* v);
const KernelRow& select(const Call& call, const void* k, const void* v);

// Where keys are cut. That does not depend on the batch, nor on the kernel.
struct Parts {
  int64_t most_keys, keys, count;
};
Parts parts_of(const Call& call);

// Of what the parts of all rows come to; OUT_OF_RESOURCES if it is beyond any memory.
int32_t workspace_bytes(const Call& call, int64_t* bytes);

void explain(const Call& call, const Device& device, Text& out);

}  // namespace gatun::cuda::decode
