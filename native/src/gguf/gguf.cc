// The C entry points: check, select, call.
#include "gatun/gguf.h"

#include <atomic>

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "gguf/reference.h"
#include "gguf/table.h"
#include "simd/float_mode.h"

namespace gatun::gguf {
namespace {

// Bytes of x for which waking another thread pays.
constexpr int64_t kGrainBytes = 128 * 1024;

// From here on x is written past the caches: less than that may still lie there when somebody reads it (the last-level
// cache of a core complex is 16 to 96 MiB on today's servers), and more pushes out what others need. Blocks are not:
// made ones are a quarter of what was read, and staging them to whole lines took more time than it saved.
constexpr int64_t kStreamBytes = int64_t{16} << 20;

int32_t check_type(int32_t id, const Type** type) {
  *type = find_type(id);
  if (*type != nullptr) return GATUN_OK;
  Text names;
  for (const Type& each : kTypeTable) names.add("%s%d (%s)", &each == kTypeTable ? "" : ", ", each.id, each.name);
  char list[256];
  names.copy_to(list, sizeof(list));
  return fail(GATUN_INVALID_ARGUMENT, "type = %d; allowed: %s", id, list);
}

int32_t check_x_dtype(int32_t dtype) { return check_dtype(dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "x_dtype"); }

int x_index(int32_t dtype) { return dtype == GATUN_F32 ? kXF32 : dtype == GATUN_F16 ? kXF16 : kXBF16; }

// A checked call.
struct Call {
  const Type* type;
  int64_t rows, blocks;  // 0 if there is nothing to do
  int64_t x_bytes, block_bytes;
  Job job;
};

int32_t check_call(int32_t id, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride, int32_t threads,
                   void* x, void* blocks, Call& call) {
  GATUN_TRY(check_type(id, &call.type));
  const Type& type = *call.type;
  GATUN_TRY(check_x_dtype(x_dtype));
  GATUN_TRY(check_range(threads, 0, kMaxThreads, "threads"));
  GATUN_TRY(check_range(rows, 0, INT64_MAX, "rows"));
  GATUN_TRY(check_range(depth, 0, INT64_MAX, "depth"));
  if (depth % type.elements != 0) {
    return fail(GATUN_INVALID_ARGUMENT, "depth = %lld; allowed: multiples of %d, the elements of a block of %s",
                static_cast<long long>(depth), type.elements, type.name);
  }
  GATUN_TRY(check_row_stride(rows, depth, x_row_stride, "x_row_stride"));
  const int64_t element = dtype_bytes(x_dtype, 1), row_blocks = depth / type.elements;
  GATUN_TRY(check_extent(rows, depth, x_row_stride, 1, element * 8, "x", &call.x_bytes));
  GATUN_TRY(check_extent(rows, row_blocks, row_blocks, 1, type.bytes * 8, "blocks", &call.block_bytes));
  call.rows = rows;
  call.blocks = depth == 0 ? 0 : rows * row_blocks;
  if (call.blocks == 0) return GATUN_OK;
  GATUN_TRY(check_not_null(x, "x"));
  GATUN_TRY(check_aligned(x, element, "x"));
  GATUN_TRY(check_not_null(blocks, "blocks"));
  GATUN_TRY(check_disjoint(blocks, call.block_bytes, "blocks", x, call.x_bytes, "x"));
  // Rows without gaps are one row to the kernels, which work on several blocks of a row at once.
  const bool joined = rows == 1 || x_row_stride == depth;
  call.job = {x, static_cast<uint8_t*>(blocks), joined ? call.blocks : row_blocks, x_row_stride, false};
  return GATUN_OK;
}

int32_t threads_of(const Call& call, int32_t threads) {
  return useful_threads(threads, call.blocks, call.x_bytes, kGrainBytes);
}

}  // namespace

int32_t run_quantize(Tier limit, int32_t id, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                     int32_t threads, const void* x, void* blocks) {
  Call call;
  GATUN_TRY(check_call(id, x_dtype, rows, depth, x_row_stride, threads, const_cast<void*>(x), blocks, call));
  if (call.blocks == 0) return GATUN_OK;
  const auto kernel = table().select(id, 0, limit).kernel->quantize[x_index(x_dtype)];
  std::atomic<bool> good = true;
  parallel_for(call.blocks, threads_of(call, threads), [&](int64_t begin, int64_t end) {
    if (!kernel(call.job, begin, end)) good.store(false, std::memory_order_relaxed);
  });
  if (good.load(std::memory_order_relaxed)) return GATUN_OK;
  const DefaultFloatMode mode;  // as in a loop's body
  GATUN_TRY(reference_check(*call.type, x_dtype, rows, depth, x_row_stride, x));
  return fail(GATUN_INTERNAL, "a kernel found a value that is not finite, its reference found none");
}

int32_t run_dequantize(Tier limit, int32_t id, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                       int32_t threads, const void* blocks, void* x) {
  Call call;
  GATUN_TRY(check_call(id, x_dtype, rows, depth, x_row_stride, threads, x, const_cast<void*>(blocks), call));
  if (call.blocks == 0) return GATUN_OK;
  call.job.stream = call.x_bytes >= kStreamBytes;
  const auto kernel = table().select(id, 0, limit).kernel->dequantize[x_index(x_dtype)];
  parallel_for(call.blocks, threads_of(call, threads),
               [&](int64_t begin, int64_t end) { kernel(call.job, begin, end); });
  return GATUN_OK;
}

}  // namespace gatun::gguf

using namespace gatun;

int32_t gatun_gguf_block(int32_t type, int32_t* elements, int32_t* bytes) {
  const gguf::Type* found;
  GATUN_TRY(gguf::check_type(type, &found));
  GATUN_TRY(check_not_null(elements, "elements"));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *elements = found->elements;
  *bytes = found->bytes;
  return GATUN_OK;
}

int32_t gatun_gguf_quantize(int32_t type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                            int32_t threads, const void* x, void* blocks) {
  return gguf::run_quantize(active_tier(), type, x_dtype, rows, depth, x_row_stride, threads, x, blocks);
}

int32_t gatun_gguf_dequantize(int32_t type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                              int32_t threads, const void* blocks, void* x) {
  return gguf::run_dequantize(active_tier(), type, x_dtype, rows, depth, x_row_stride, threads, blocks, x);
}

int32_t gatun_gguf_explain(int32_t type, int32_t x_dtype, char* text, int64_t capacity) {
  const gguf::Type* found;
  GATUN_TRY(gguf::check_type(type, &found));
  GATUN_TRY(gguf::check_x_dtype(x_dtype));
  const auto table = gguf::table();
  const auto& chosen = table.select(type, 0, active_tier());
  Text out;
  out.add("%s: the best kernel for %s blocks and %s on tier %s\n", chosen.name, found->name, dtype_name(x_dtype),
          tier_name(active_tier()));
  for (const auto* row = table.begin(); row != &chosen; ++row) {
    if (row->from != type) continue;
    out.add("  passed over: %s (%s)\n", row->name,
            tier_supported(row->tier) ? "GATUN_MAX_ISA" : "this processor or operating system cannot run its tier");
  }
  out.add("  blocks of %d elements in %d bytes, made %s\n", found->elements, found->bytes,
          gguf::made_as_ggml(*found) ? "as ggml makes them, bit for bit" : "with a search for scales of our own");
  return out.copy_to(text, capacity);
}
