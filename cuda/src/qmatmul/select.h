// From a product to its kernel and plan: host code that knows devices by their properties alone.
#pragma once

#include <cstdint>

#include "base/kernel_rows.h"
#include "base/runtime.h"
#include "base/text.h"
#include "gatun/cuda_qmatmul.h"
#include "qmatmul/form.h"
#include "qmatmul/job.h"
#include "qmatmul/prepare.h"
#include "qmatmul/product.h"

namespace gatun::cuda::qmatmul {

constexpr uint32_t bit(Codes codes) { return 1u << static_cast<int32_t>(codes); }
inline constexpr uint32_t kLinearCodes = bit(Codes::u4) | bit(Codes::u2) | bit(Codes::i8) | bit(Codes::u8);
inline constexpr uint32_t kFloatCodes =
    bit(Codes::f8e4m3) | bit(Codes::f8e5m2) | bit(Codes::f6e3m2) | bit(Codes::f6e2m3) | bit(Codes::f4e2m1);
inline constexpr uint32_t kBookCodes = bit(Codes::book4) | bit(Codes::book8);

// What the tiles of sm_90a decode; other codes go through those of sm_80.
inline constexpr uint32_t kTileIntegers = bit(Codes::u4) | bit(Codes::i8);
inline constexpr uint32_t kTileCodes = kTileIntegers | bit(Codes::u8) | bit(Codes::f8e4m3);

inline constexpr int32_t kIntegerZeros = GATUN_ZERO_INTEGER, kAnyZeros = GATUN_ZERO_FLOAT;

inline constexpr uint32_t kInt8RowMode = 1u << GATUN_QMATMUL_INT8_ROW;
inline constexpr uint32_t kInt8Modes = 1u << GATUN_QMATMUL_INT8_ROW | 1u << GATUN_QMATMUL_INT8_GROUP;
inline constexpr uint32_t kFloatModes = 1u << GATUN_QMATMUL_BF16 | 1u << GATUN_QMATMUL_F16;
inline constexpr uint32_t kBf16Mode = 1u << GATUN_QMATMUL_BF16, kF16Mode = 1u << GATUN_QMATMUL_F16;
inline constexpr uint32_t kPreciseMode = 1u << GATUN_QMATMUL_PRECISE;

// What a kernel reads of Prepared::sums: nothing, those that any zero point wants, or those of float zero points.
inline constexpr int32_t kNoSums = 0, kAllSums = 1, kOffsetSums = 2;

// A row of device_kernels.inc.
struct KernelRow {
  const char* name;
  uint32_t modes;
  Arithmetic arithmetic;
  uint32_t codes;
  int32_t zero_points;  // the highest gatun_zero_point
  Range rows, capabilities;
  int32_t group_multiple;
  int32_t block_columns, block_rows, least_blocks, part_depth, wanted_blocks;
  int32_t sums;
  int32_t (*run)(const Job& job, void* stream);
};

KernelRows<KernelRow> kernel_rows();

// A product without its memory. The params are checked.
struct Problem {
  static constexpr int32_t kLastMode = GATUN_QMATMUL_F16;
  Form form;
  gatun_qmatmul_params params;
};

// UNSUPPORTED, with a message, unless the codes take the mode.
int32_t check_mode(const Form& form, int32_t mode);

// Null if a kernel takes the problem, otherwise why it does not.
const char* why_not(const KernelRow& row, const Problem& problem, const Device& device);
const KernelRow& select(const Problem& problem, const Device& device);

// How a kernel goes about a problem, and where the parts of the workspace lie. The depth is split at points that the
// shape and the kernel alone decide.
struct Plan : ProductPlan {
  const KernelRow* kernel;
  bool scales_of_groups, has_sums;
};
Plan plan_on(const KernelRow& row, const Problem& problem);

// Puts a product on the stream; there are rows and columns.
int32_t run_plan(const Plan& plan, const Problem& problem, const Memory& memory, void* stream);

void explain(const Plan& plan, const Problem& problem, const Device& device, Text& out);

}  // namespace gatun::cuda::qmatmul
