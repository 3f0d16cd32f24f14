// y = act(A * (S * (B * x)) + bias) + residual: rows in chunks; B's blocks, then gatun_nm_matmul, then A's blocks, each
// of which goes to y at once.
#include <atomic>

#include "armor/blocks.h"
#include "armor/check.h"
#include "armor/table.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "gemm/gemm.h"
#include "nm_matmul/table.h"

namespace gatun::armor {
namespace {

constexpr int64_t kChunkRows = 256;  // whose products with B and S are kept
constexpr int64_t kJobRows = 64;
constexpr int64_t kGrain = 1 << 19;

thread_local Scratch shared_scratch;
thread_local Scratch own_scratch;

int32_t no_memory(int64_t bytes) {
  return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch; y may be written in part",
              static_cast<long long>(bytes));
}

// Calls of(block, first row, rows, a thread's memory for kJobRows rows of a block) for all blocks and rows.
template <class Of>
int32_t for_each_block(const Blocks& blocks, int64_t rows, int32_t threads, Of of) {
  const int64_t parts = blocks_of(rows, kJobRows), items = blocks.count() * parts;
  const int64_t bytes = kJobRows * std::min(blocks.block, blocks.size) * 4;
  const double products = static_cast<double>(rows) * static_cast<double>(blocks.floats());
  std::atomic<bool> failed{false};
  parallel_for(items, useful_threads(threads, items, static_cast<int64_t>(std::min(products, 0x1p60)), kGrain),
               [&](int64_t begin, int64_t end) {
                 float* const memory = reinterpret_cast<float*>(own_scratch.get(bytes));
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t row = item % parts * kJobRows;
                   if (memory == nullptr || !of(item / parts, row, std::min(kJobRows, rows - row), memory)) {
                     failed = true;
                   }
                 }
               });
  return failed ? no_memory(bytes + gemm::kScratchBytes) : GATUN_OK;
}

class Product {
 public:
  Product(Tier limit, const gatun_nm_matmul_params& p, int64_t block)
      : limit_(limit),
        p_(p),
        left_{p.columns, std::min(block, std::max<int64_t>(1, p.columns))},
        right_{p.depth, std::min(block, std::max<int64_t>(1, p.depth))},
        gemm_(gemm::kernel_of(limit)),
        kernel_(*table().select(GATUN_F32, GATUN_F32, limit).kernel) {}

  // to [rows][depth] = x B^T, x [rows, depth] of x_dtype.
  int32_t times_right(const void* x, int64_t rows, const float* right, float* to) const {
    return for_each_block(right_, rows, p_.threads, [&](int64_t b, int64_t row, int64_t count, float* memory) {
      const int64_t first = right_.first(b), size = right_.rows(b), at = row * p_.x_row_stride + first;
      const bool narrow = p_.x_dtype == GATUN_BF16;
      if (narrow) kernel_.widen(static_cast<const uint16_t*>(x) + at, p_.x_row_stride, count, size, memory);
      return gemm::run(
          gemm_, {narrow ? memory : static_cast<const float*>(x) + at, narrow ? size : p_.x_row_stride, 1,
                  right + right_.offset(b), 1, size, to + row * p_.depth + first, p_.depth, count, size, size, false});
    });
  }

  // to [rows][columns] = x S^T, x [rows][depth].
  int32_t times_core(const float* x, int64_t rows, const void* packed, int64_t packed_bytes, float* to) const {
    gatun_nm_matmul_params core = p_;
    core.x_dtype = core.y_dtype = GATUN_F32;
    core.activation = GATUN_ACTIVATION_NONE;
    core.rows = rows;
    core.x_row_stride = p_.depth;
    core.y_row_stride = p_.columns;
    return nm_matmul::run_matmul(limit_, &core, x, packed, packed_bytes, nullptr, nullptr, to);
  }

  // y from x A^T, x [rows][columns].
  int32_t finish(const float* x, int64_t rows, const float* left, const Outputs& outputs) const {
    return for_each_block(left_, rows, p_.threads, [&](int64_t b, int64_t row, int64_t count, float* memory) {
      const int64_t first = left_.first(b), size = left_.rows(b);
      if (!gemm::run(gemm_, {x + row * p_.columns + first, p_.columns, 1, left + left_.offset(b), 1, size, memory, size,
                             count, size, size, false})) {
        return false;
      }
      kernel_.finish(outputs, first, size, row, row + count, memory);
      return true;
    });
  }

 private:
  const Tier limit_;
  const gatun_nm_matmul_params& p_;
  const Blocks left_, right_;
  const gemm::Kernel& gemm_;
  const Kernel& kernel_;
};

}  // namespace

int32_t run_matmul(Tier limit, const gatun_nm_matmul_params* params, int64_t block, const void* x, const float* right,
                   const void* packed, int64_t packed_bytes, const float* left, const float* bias, const void* residual,
                   void* y) {
  GATUN_TRY(check_matmul(params, block, x, right, packed, packed_bytes, left, bias, residual, y));
  const gatun_nm_matmul_params& p = *params;
  const Product product(limit, p, block);
  // Without rows nm_matmul just checks the weights: sizes that are not theirs ask for no scratch.
  GATUN_TRY(product.times_core(nullptr, 0, packed, packed_bytes, nullptr));
  if (p.rows == 0 || p.columns == 0) return GATUN_OK;
  const int64_t chunk = std::min(kChunkRows, p.rows);
  int64_t floats, bytes;
  if (__builtin_add_overflow(p.depth, p.columns, &floats) || __builtin_mul_overflow(floats, chunk * 4, &bytes)) {
    return no_memory(INT64_MAX);
  }
  float* const memory = reinterpret_cast<float*>(shared_scratch.get(bytes));
  if (memory == nullptr) return no_memory(bytes);
  float* const mixed = memory;
  float* const sums = memory + chunk * p.depth;
  const int64_t x_bytes = dtype_bytes(p.x_dtype, 1), y_bytes = dtype_bytes(p.y_dtype, 1);
  for (int64_t row = 0; row < p.rows; row += chunk) {
    const int64_t rows = std::min(chunk, p.rows - row);
    const auto at = [row](auto* base, int64_t stride, int64_t element) {
      return base == nullptr ? base : base + row * stride * element;
    };
    GATUN_TRY(product.times_right(at(static_cast<const uint8_t*>(x), p.x_row_stride, x_bytes), rows, right, mixed));
    GATUN_TRY(product.times_core(mixed, rows, packed, packed_bytes, sums));
    GATUN_TRY(
        product.finish(sums, rows, left,
                       {at(static_cast<uint8_t*>(y), p.y_row_stride, y_bytes), p.y_dtype == GATUN_BF16, p.y_row_stride,
                        bias, at(static_cast<const uint8_t*>(residual), p.residual_row_stride, y_bytes),
                        p.residual_row_stride, p.activation, 0, p.columns}));
  }
  return GATUN_OK;
}

}  // namespace gatun::armor

int32_t gatun_armor_matmul(const gatun_nm_matmul_params* params, int64_t block, const void* x, const float* right,
                           const void* packed, int64_t packed_bytes, const float* left, const float* bias,
                           const void* residual, void* y) {
  return gatun::armor::run_matmul(gatun::active_tier(), params, block, x, right, packed, packed_bytes, left, bias,
                                  residual, y);
}
