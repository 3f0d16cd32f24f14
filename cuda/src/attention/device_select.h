// From params to kernels: host code that knows devices by their properties alone.
#pragma once

#include <cstdint>

#include "attention/device_job.h"
#include "base/kernel_rows.h"
#include "base/runtime.h"
#include "base/text.h"
#include "gatun/attention.h"

namespace gatun::cuda::attention {

inline constexpr uint32_t kBf16Alone = 1u << GATUN_BF16, kF16Alone = 1u << GATUN_F16,
                          kAllDtypes = 1u << GATUN_F32 | kBf16Alone | kF16Alone;
inline constexpr uint32_t kExactMode = 1u << GATUN_ATTENTION_EXACT, kInt8Mode = 1u << GATUN_ATTENTION_INT8,
                          kFp8Mode = 1u << GATUN_ATTENTION_INT8_FP8, kSimtModes = kExactMode | kInt8Mode;

// A row of device_kernels.inc.
struct KernelRow {
  const char* name;
  uint32_t dtypes, modes;
  Range capabilities, sizes;
  int32_t tile_rows, masked_rows;
  bool halves, whole;
  int32_t (*run)(const Job& job, void* stream);
};

KernelRows<KernelRow> kernel_rows();

// Null if a kernel takes the problem, otherwise why it does not. The params are checked; ragged: with offsets.
const char* why_not(const KernelRow& row, const gatun_attention_params& params, bool ragged, const Device& device);
// Of a mode that the device has no kernel for, one of another mode, which check_plan refuses.
const KernelRow& select(const gatun_attention_params& params, bool ragged, const Device& device);

Rule rule_of(const gatun_attention_params& params, bool slopes);

// Where the parts of the workspace lie.
struct Plan {
  const KernelRow* kernel;
  bool ragged;
  int32_t tile_rows;
  int64_t tiles, blocks;  // of a head, of all
  int64_t largest_grid;   // of its kernels, in blocks; 0 if there is nothing to do
  int64_t columns, k_units, spoiled_at, q_codes_at, k_codes_at, values_at, q_scales_at, q_offsets_at, k_scales_at,
      mean_at, v_mean_at, v_scales_at, workspace_bytes;
};
Plan plan_on(const KernelRow& row, const gatun_attention_params& params, bool ragged);

// UNSUPPORTED if the kernel does not take the problem, or one would have more blocks than a grid.
int32_t check_plan(const Plan& plan, const gatun_attention_params& params, const Device& device);

// Puts the work on the stream; there are rows of q.
int32_t run_plan(const Plan& plan, const gatun_attention_params& params, const gatun::attention::Inputs& inputs,
                 void* out, float* lse, uint8_t* workspace, void* stream);

void explain(const Plan& plan, const gatun_attention_params& params, const Device& device, Text& out);

}  // namespace gatun::cuda::attention
