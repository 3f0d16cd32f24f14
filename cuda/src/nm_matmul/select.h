// From a product with sparse weights to its kernel and plan: host code that knows devices by their properties alone.
#pragma once

#include <cstdint>

#include "base/kernel_rows.h"
#include "base/runtime.h"
#include "base/text.h"
#include "nm_matmul/form.h"
#include "nm_matmul/sparse_job.h"
#include "qmatmul/product.h"

namespace gatun::cuda::nm_matmul {

using qmatmul::kMostTileRows;
using qmatmul::Memory;

inline constexpr uint32_t kF32Mode = 1u << GATUN_NM_F32, kBf16Mode = 1u << GATUN_NM_BF16,
                          kInt8Mode = 1u << GATUN_NM_INT8, kF16Mode = 1u << GATUN_NM_F16;

inline constexpr int32_t kModes[] = {GATUN_NM_F32, GATUN_NM_BF16, GATUN_NM_INT8, GATUN_NM_F16};

// Types of values, as bits.
inline constexpr uint32_t kF32Values = 1u << GATUN_F32, kF16Values = 1u << GATUN_F16, kBf16Values = 1u << GATUN_BF16,
                          kI8Values = 1u << GATUN_I8, kU4Values = 1u << GATUN_U4;
inline constexpr uint32_t kAllValues = kF32Values | kF16Values | kBf16Values | kI8Values | kU4Values;

// What N:M a kernel takes: 2:4 with these values as fragments, or any.
inline constexpr bool kFragments = true, kAnyLists = false;

// A row of sparse_kernels.inc.
struct KernelRow {
  const char* name;
  uint32_t modes;
  Arithmetic arithmetic;
  uint32_t values;
  bool fragments;
  Range rows, capabilities;
  int32_t group_multiple;
  int32_t block_columns, block_rows, part_depth, wanted_blocks;
  int64_t shared_bytes;
  int32_t (*run)(const SparseJob& job, void* stream);
};

KernelRows<KernelRow> kernel_rows();

// A product without its memory. The params are checked.
struct Problem {
  static constexpr int32_t kLastMode = GATUN_NM_F16;
  Form form;
  gatun_nm_matmul_params params;
};

// UNSUPPORTED, with a message, unless the values take the mode.
int32_t check_mode(const Form& form, int32_t mode);

// Null if a kernel takes the problem, otherwise why it does not.
const char* why_not(const KernelRow& row, const Problem& problem, const Device& device);
const KernelRow& select(const Problem& problem, const Device& device);

// How a kernel goes about a problem, and where the parts of the workspace lie. The depth is split at points that the
// shape and the kernel alone decide.
struct Plan : qmatmul::ProductPlan {
  const KernelRow* kernel;
};
Plan plan_on(const KernelRow& row, const Problem& problem);

// Puts a product on the stream; there are rows and columns.
int32_t run_plan(const Plan& plan, const Problem& problem, const Memory& memory, void* stream);

void explain(const Plan& plan, const Problem& problem, const Device& device, Text& out);

}  // namespace gatun::cuda::nm_matmul
