// The C entry points of largest magnitudes and fake quantization: check, select, call.
#include "gatun/calibrate.h"

#include <cmath>

#include "base/check.h"
#include "base/dtype.h"
#include "calibrate/blocks.h"
#include "calibrate/table.h"
#include "simd/float_mode.h"

namespace gatun::calibrate {
namespace {

using LongLong = long long;

// Codes and their distance from a quotient stay exact in f32.
constexpr int32_t kMostCode = 1 << 24;

int32_t check_params(const gatun_calibrate_params* params) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  const gatun_calibrate_params& p = *params;
  GATUN_TRY(check_dtype(p.x_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.x_dtype"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.rows, 0, INT64_MAX, "params.rows"));
  GATUN_TRY(check_range(p.depth, 0, INT64_MAX, "params.depth"));
  GATUN_TRY(check_range(p.group, std::min<int64_t>(p.depth, 1), p.depth, "params.group"));
  GATUN_TRY(check_range(p.group_rows, 1, std::max<int64_t>(p.rows, 1), "params.group_rows"));
  return check_row_stride(p.rows, p.depth, p.x_row_stride, "params.x_row_stride");
}

int32_t check_fake_params(const gatun_calibrate_params* params) {
  GATUN_TRY(check_params(params));
  GATUN_TRY(check_range(params->lowest, -kMostCode, kMostCode - 1, "params.lowest"));
  GATUN_TRY(check_range(params->highest, params->lowest + 1, kMostCode, "params.highest"));
  return check_row_stride(params->rows, params->depth, params->y_row_stride, "params.y_row_stride");
}

Buffer matrix(const gatun_calibrate_params& p, const char* name, const void* address, int64_t row_stride, bool output) {
  return {name, address, p.rows, p.depth, row_stride, dtype_bytes(p.x_dtype, 1), output};
}

Buffer per_block(const gatun_calibrate_params& p, const char* name, const void* address, bool output) {
  const int64_t groups = p.depth == 0 ? 0 : blocks_of(p.depth, p.group);
  return {name, address, blocks_of(p.rows, p.group_rows), groups, groups, 4, output};
}

bool empty(const gatun_calibrate_params& p) { return p.rows == 0 || p.depth == 0; }

Blocks cut(const gatun_calibrate_params& p) { return Blocks(p.rows, p.depth, p.group_rows, p.group); }

int32_t check_scales(const gatun_calibrate_params& p, const float* scales) {
  const DefaultFloatMode mode;  // a mode that flushes subnormals would call them 0
  const int64_t count = cut(p).count;
  for (int64_t i = 0; i < count; ++i) {
    if (!(scales[i] > 0 && std::isfinite(scales[i]))) {
      return fail(GATUN_INVALID_ARGUMENT, "scales[%lld] = %g; allowed: finite numbers above 0", LongLong{i},
                  static_cast<double>(scales[i]));
    }
  }
  return GATUN_OK;
}

// What kernels work on: a matrix cut into blocks.
struct Call {
  const gatun_calibrate_params& p;
  const Kernel& kernel;
  const void* x;
  const float* scales;
  const void* dy;
  void* out;

  Part part(const Piece& piece) const { return {piece.rows, piece.columns, p.x_row_stride, p.y_row_stride}; }
  Grid grid(int64_t block) const {
    return {scales[block], static_cast<float>(p.lowest), static_cast<float>(p.highest)};
  }
  const char* in(const void* matrix, const Piece& piece) const {
    return static_cast<const char*>(matrix) + (piece.row * p.x_row_stride + piece.column) * dtype_bytes(p.x_dtype, 1);
  }
  char* output(const Piece& piece) const {
    return static_cast<char*>(out) + (piece.row * p.y_row_stride + piece.column) * dtype_bytes(p.x_dtype, 1);
  }
};

const Kernel& kernel_of(const gatun_calibrate_params& p, Tier limit) {
  return *table().select(p.x_dtype, 0, limit).kernel;
}

struct Largest {
  struct Result {
    uint32_t pattern;
    void merge(const Result& other) { pattern = std::max(pattern, other.pattern); }
  };
  explicit Largest(const Call& c) : call(c) {}
  Result operator()(int64_t, const Piece& piece) const {
    if (piece.rows == 0 || piece.columns == 0) return {0};
    return {call.kernel.largest(call.part(piece), call.in(call.x, piece))};
  }
  const Call& call;
};

struct Gradients {
  struct Result {
    double sum;
    void merge(const Result& other) { sum += other.sum; }
  };
  explicit Gradients(const Call& c) : call(c) {}
  Result operator()(int64_t block, const Piece& piece) const {
    double sums[kSums] = {};
    if (piece.rows == 0 || piece.columns == 0) return {0};
    call.kernel.gradients(call.part(piece), call.grid(block), call.in(call.x, piece), call.in(call.dy, piece),
                          call.output(piece), sums);
    return {fold(sums)};
  }
  const Call& call;
};

}  // namespace

int32_t run_amax(Tier limit, const gatun_calibrate_params* params, const void* x, float* amax) {
  GATUN_TRY(check_params(params));
  const gatun_calibrate_params& p = *params;
  Buffer buffers[] = {matrix(p, "x", x, p.x_row_stride, false), per_block(p, "amax", amax, true)};
  GATUN_TRY(check_buffers(buffers));
  if (empty(p)) return GATUN_OK;
  const Blocks blocks = cut(p);
  const Call call{p, kernel_of(p, limit), x, nullptr, nullptr, nullptr};
  return reduce<Largest>(blocks, blocks.threads(p.threads, dtype_bytes(p.x_dtype, 1)), call,
                         [&](int64_t block, const Largest::Result& result) {
                           constexpr uint32_t kInfinity = 0x7f800000u, kNan = 0x7fc00000u;
                           amax[block] = float_from_bits(result.pattern > kInfinity ? kNan : result.pattern);
                         });
}

int32_t run_fake(Tier limit, const gatun_calibrate_params* params, const void* x, const float* scales, void* y) {
  GATUN_TRY(check_fake_params(params));
  const gatun_calibrate_params& p = *params;
  Buffer buffers[] = {matrix(p, "x", x, p.x_row_stride, false), per_block(p, "scales", scales, false),
                      matrix(p, "y", y, p.y_row_stride, true)};
  GATUN_TRY(check_buffers(buffers, &buffers[2], &buffers[0]));
  if (empty(p)) return GATUN_OK;
  GATUN_TRY(check_scales(p, scales));
  const Blocks blocks = cut(p);
  const Call call{p, kernel_of(p, limit), x, scales, nullptr, y};
  parallel_for(blocks.count * blocks.pieces, blocks.threads(p.threads, dtype_bytes(p.x_dtype, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t unit = begin; unit < end; ++unit) {
                   const int64_t block = unit / blocks.pieces;
                   const Piece piece = blocks.piece(block, unit % blocks.pieces);
                   if (piece.rows == 0 || piece.columns == 0) continue;
                   call.kernel.fake(call.part(piece), call.grid(block), call.in(x, piece), call.output(piece));
                 }
               });
  return GATUN_OK;
}

int32_t run_gradients(Tier limit, const gatun_calibrate_params* params, const void* x, const float* scales,
                      const void* dy, void* dx, float* ds) {
  GATUN_TRY(check_fake_params(params));
  const gatun_calibrate_params& p = *params;
  if (!std::isfinite(p.gradient_scale)) {
    return fail(GATUN_INVALID_ARGUMENT, "params.gradient_scale = %g; allowed: finite numbers",
                double{p.gradient_scale});
  }
  Buffer buffers[] = {matrix(p, "x", x, p.x_row_stride, false), per_block(p, "scales", scales, false),
                      matrix(p, "dy", dy, p.x_row_stride, false), matrix(p, "dx", dx, p.y_row_stride, true),
                      per_block(p, "ds", ds, true)};
  GATUN_TRY(check_buffers(buffers, &buffers[3], &buffers[2]));
  if (empty(p)) return GATUN_OK;
  GATUN_TRY(check_scales(p, scales));
  const Blocks blocks = cut(p);
  const Call call{p, kernel_of(p, limit), x, scales, dy, dx};
  return reduce<Gradients>(blocks, blocks.threads(p.threads, dtype_bytes(p.x_dtype, 1)), call,
                           [&](int64_t block, const Gradients::Result& result) {
                             ds[block] = static_cast<float>(result.sum * double{p.gradient_scale});
                           });
}

namespace {

template <class Row>
void explain_row(const KernelTable<Row>& rows, int32_t dtype, const char* work, Text& out) {
  const KernelRow<Row>& chosen = rows.select(dtype, 0, active_tier());
  out.add("%s: the best kernel for %s of %s on tier %s\n", chosen.name, work, dtype_name(dtype),
          tier_name(active_tier()));
  for (const KernelRow<Row>* row = rows.begin(); row != &chosen; ++row) {
    if (row->from == dtype) KernelTable<Row>::explain_passed_over(*row, out);
  }
}

}  // namespace
}  // namespace gatun::calibrate

using namespace gatun;

int32_t gatun_amax(const gatun_calibrate_params* params, const void* x, float* amax) {
  return calibrate::run_amax(active_tier(), params, x, amax);
}

int32_t gatun_fake_quantize(const gatun_calibrate_params* params, const void* x, const float* scales, void* y) {
  return calibrate::run_fake(active_tier(), params, x, scales, y);
}

int32_t gatun_fake_quantize_backward(const gatun_calibrate_params* params, const void* x, const float* scales,
                                     const void* dy, void* dx, float* ds) {
  return calibrate::run_gradients(active_tier(), params, x, scales, dy, dx, ds);
}

int32_t gatun_calibrate_explain(int32_t dtype, char* text, int64_t capacity) {
  Text out;
  switch (dtype) {
    case GATUN_F32:
    case GATUN_F16:
    case GATUN_BF16:
      calibrate::explain_row(calibrate::table(), dtype, "amax, fake quantization and errors", out);
      break;
    case GATUN_I8:
    case GATUN_U8:
      calibrate::explain_row(calibrate::code_table(), dtype, "fewer bits from codes", out);
      break;
    default:
      return check_dtype(dtype, {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U8}, "dtype");
  }
  return out.copy_to(text, capacity);
}
