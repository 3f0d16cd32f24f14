// The C entry points: check, select, launch.
#include "gatun/cuda_quantize.h"

#include <algorithm>

#include "base/check.h"
#include "base/dtype.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/text.h"
#include "quantize/books.h"
#include "quantize/check.h"
#include "quantize/job.h"
#include "quantize/select.h"
#include "simd/float_mode.h"

namespace gatun::cuda::quantize {
namespace {

using LongLong = long long;
using gatun::quantize::Book;
using gatun::quantize::Buffers;
using gatun::quantize::kBuffers;

struct FloatCodes {
  float largest;
  int32_t top, mantissa_bits;
};

FloatCodes float_codes(int32_t code_dtype) {
  switch (code_dtype) {
    case GATUN_F8E4M3:
      return {448, 8, 3};
    case GATUN_F8E5M2:
      return {57344, 15, 2};
    case GATUN_F6E3M2:
      return {28, 4, 2};
    case GATUN_F6E2M3:
      return {7.5f, 2, 3};
    case GATUN_F4E2M1:
      return {6, 2, 1};
    default:
      return {0, 0, 0};
  }
}

ScaleMaker maker_of(const gatun_quantize_params& p) {
  const FloatCodes floats = float_codes(p.code_dtype);
  const int steps = p.code_dtype == GATUN_U4 ? 15 : p.code_dtype == GATUN_U2 ? 3 : 255;
  const float half = static_cast<float>(steps / 2);
  ScaleMaker maker = {Make::magnitude, 1, 1, 0, floats.top, floats.mantissa_bits, p.tensor_scale, 1 / p.tensor_scale};
  if (p.book != GATUN_BOOK_NONE) return maker;
  if (floats.largest > 0) {
    maker.divisor = floats.largest;
    maker.rule = p.scale_rule;
    if (p.scale_dtype == GATUN_E8M0) maker.make = Make::power;
    if (p.scale_dtype == GATUN_F8E4M3) maker.make = Make::nested;
  } else if (p.zero_point != GATUN_ZERO_NONE) {
    maker.make = p.zero_point == GATUN_ZERO_FLOAT ? Make::span : Make::range;
    maker.divisor = static_cast<float>(steps);
  } else if (p.scale_rule == GATUN_SCALE_FULL_RANGE) {
    maker.make = Make::twice;
    maker.divisor = static_cast<float>(steps);
  } else if (p.scale_rule == GATUN_SCALE_NO_CLIPPING) {
    maker.make = Make::sides;
    maker.divisor = half;
  } else if (p.code_dtype == GATUN_I8) {
    maker.divisor = half;
  } else {
    maker.make = Make::extreme;
    maker.divisor = -half - 1;
  }
  maker.inverse_divisor = 1 / maker.divisor;
  return maker;
}

Job job_of(const gatun_quantize_params& p, const Buffers& buffers) {
  Job job = {};
  job.x = const_cast<void*>(buffers.x);
  job.codes = const_cast<void*>(buffers.codes);
  job.scales = const_cast<void*>(buffers.scales);
  job.zero_points = const_cast<void*>(buffers.zero_points);
  job.round_up = static_cast<const uint8_t*>(buffers.round_up);
  job.rows = p.rows;
  job.depth = p.depth;
  job.group = p.group;
  job.groups = blocks_of(p.depth, p.group);
  job.group_rows = p.group_rows;
  job.x_row_stride = p.rows > 1 ? p.x_row_stride : 0;  // strides that lead nowhere may be any
  job.x_column_stride = p.depth > 1 ? p.x_column_stride : 1;
  job.code_row_bytes = dtype_bytes(p.code_dtype, p.depth);
  job.seed = static_cast<uint64_t>(p.seed);
  job.maker = maker_of(p);
  job.scale_dtype = p.scale_dtype;
  job.zero_point = p.zero_point;
  job.rounding = p.rounding;
  job.given = p.scale_rule == GATUN_SCALE_GIVEN;
  const int32_t half = p.code_dtype == GATUN_U4 ? 8 : p.code_dtype == GATUN_U2 ? 2 : 128;
  const bool all =
      p.code_dtype != GATUN_I8 || p.scale_rule == GATUN_SCALE_FULL_RANGE || p.scale_rule == GATUN_SCALE_NO_CLIPPING;
  job.least = all ? -half : 1 - half;
  job.most = half - 1;
  return job;
}

// The book of a call, built in or made of the argument.
int32_t prepare_book(const gatun_quantize_params& p, const float* code_book, Book* given, const Book** book) {
  *book = nullptr;
  if (p.book == GATUN_BOOK_NONE) return GATUN_OK;
  if (p.book != GATUN_BOOK_GIVEN) {
    *book = &gatun::quantize::built_in_book(p.book);
    return GATUN_OK;
  }
  const DefaultFloatMode mode;
  const int32_t count = p.code_dtype == GATUN_U4 ? 16 : 256;
  GATUN_TRY(gatun::quantize::check_code_book(code_book, count));
  gatun::quantize::make_book(code_book, count, given);
  *book = given;
  return GATUN_OK;
}

// What kernels read and write lies in memory of the device; the code book is the host's.
int32_t check_places(int32_t device, const Buffer* list, int count) {
  for (int i = 0; i < count; ++i) {
    if (i == gatun::quantize::kCodeBookBuffer) continue;
    GATUN_TRY(check_device_memory(device, list[i].address, list[i].bytes, list[i].name));
  }
  return GATUN_OK;
}

int32_t check_sizes(const gatun_quantize_params* params) {
  GATUN_TRY(gatun::quantize::check_params(params, false));
  int64_t bytes;
  return check_extent(params->rows, params->depth, std::max(params->depth, params->x_row_stride),
                      params->x_column_stride, dtype_bytes(params->x_dtype, 1) * 8, "x", &bytes);
}

int32_t run_quantize(const gatun_quantize_params& p, const Buffers& buffers, gatun_cuda_faults* faults, void* workspace,
                     const Device& device, void* stream) {
  Book given;
  const Book* book;
  GATUN_TRY(prepare_book(p, static_cast<const float*>(buffers.code_book), &given, &book));
  const Plan plan = plan_quantize(p, device);
  Job job = job_of(p, buffers);
  job.faults = reinterpret_cast<uint64_t*>(faults);
  GATUN_TRY(fill_async(faults, 0xff, sizeof(*faults), stream));
  if (plan.parts_of_block > 0) {
    Part* const parts = static_cast<Part*>(workspace);
    job.walk = plan.scanned;
    GATUN_TRY(scan_parts(job, p.x_dtype, parts, plan.parts_of_block, plan.scan, stream));
    GATUN_TRY(make_scales(job, parts, plan.parts_of_block, plan.merge, stream));
  }
  if (plan.make.blocks_x > 0) {
    job.walk = plan.made;
    job.make = true;
    GATUN_TRY(plan.kernel->quantize(job, book, plan.make, stream));
  }
  if (plan.code.blocks_x == 0) return GATUN_OK;
  job.walk = plan.coded;
  job.make = plan.make_in_code;
  job.encode = true;
  return plan.kernel->quantize(job, book, plan.code, stream);
}

void explain_grid(const char* what, const char* kernel, const Grid& grid, const Walk& walk, Text& out) {
  if (grid.blocks_x == 0) return;
  out.add("%s: %s, %lld blocks of %d threads, teams of %d, %lld units of %lld chunks of %d values\n", what, kernel,
          LongLong{grid.blocks_x}, grid.threads, walk.team, LongLong{walk.rows * walk.columns},
          LongLong{walk.unit_chunks * int64_t{walk.unit_rows}}, kChunk);
}

}  // namespace
}  // namespace gatun::cuda::quantize

using namespace gatun;
using namespace gatun::cuda;
using namespace gatun::cuda::quantize;

int32_t gatun_cuda_quantize_workspace_bytes(const gatun_quantize_params* params, int64_t* bytes) {
  GATUN_TRY(check_sizes(params));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = workspace_bytes(*params);
  return GATUN_OK;
}

int32_t gatun_cuda_quantize(const gatun_quantize_params* params, const void* x, const float* code_book,
                            const void* round_up, void* codes, void* scales, void* zero_points,
                            gatun_cuda_faults* faults, void* workspace, int64_t workspace_bytes, void* stream) {
  GATUN_TRY(gatun::quantize::check_params(params, false));
  const Buffers buffers{x, code_book, round_up, codes, scales, zero_points};
  Buffer list[kBuffers + 2];
  GATUN_TRY(gatun::quantize::list_buffers(*params, false, buffers, list));
  GATUN_TRY(check_buffers(list, kBuffers));  // sizes do not overflow from here on
  const int64_t needed = cuda::quantize::workspace_bytes(*params);
  list[kBuffers] = {"faults", faults, 1, 2, 2, 8, true};
  list[kBuffers + 1] = {"workspace", workspace, needed > 0, needed, needed, 1, true};
  GATUN_TRY(check_buffers(list));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(check_places(scope.device().index, list, kBuffers + 1));
  GATUN_TRY(check_workspace(scope.device().index, workspace, workspace_bytes, needed));
  return run_quantize(*params, buffers, faults, workspace, scope.device(), stream);
}

int32_t gatun_cuda_dequantize(const gatun_quantize_params* params, const float* code_book, const void* codes,
                              const void* scales, const void* zero_points, void* x, void* stream) {
  GATUN_TRY(gatun::quantize::check_params(params, true));
  const Buffers buffers{x, code_book, nullptr, codes, scales, zero_points};
  Buffer list[kBuffers];
  GATUN_TRY(gatun::quantize::list_buffers(*params, true, buffers, list));
  GATUN_TRY(check_buffers(list));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(check_places(scope.device().index, list, kBuffers));
  Book given;
  const Book* book;
  GATUN_TRY(prepare_book(*params, code_book, &given, &book));
  const Plan plan = plan_dequantize(*params, scope.device());
  if (plan.code.blocks_x == 0) return GATUN_OK;
  Job job = job_of(*params, buffers);
  job.walk = plan.coded;
  return plan.kernel->dequantize(job, book, plan.code, stream);
}

int32_t gatun_cuda_quantize_explain(const gatun_quantize_params* params, int32_t device, char* text, int64_t capacity) {
  GATUN_TRY(check_sizes(params));
  Device described;
  GATUN_TRY(describe_supported(device, &described));
  Text out;
  const Plan plan = plan_quantize(*params, described), back = plan_dequantize(*params, described);
  out.add("%s: the kernel for %s codes%s of x in %s, both ways, on compute capability %d.%d\n", plan.kernel->name,
          dtype_name(params->code_dtype), params->book == GATUN_BOOK_NONE ? "" : " of a code book",
          dtype_name(params->x_dtype), described.major, described.minor);
  if (plan.parts_of_block > 0) {
    out.add("scales: blocks of more than %d values are scanned first, in %lld parts each: x is read twice\n",
            kMostThreads * kChunk, LongLong{plan.parts_of_block});
  }
  explain_grid("scales, since groups share bytes of codes: x is read twice", plan.kernel->name, plan.make, plan.made,
               out);
  explain_grid("quantize", plan.kernel->name, plan.code, plan.coded, out);
  if (params->x_column_stride > 1 && params->depth > 1) {
    out.add("  columns are %lld elements apart: each is read by itself, which is slower\n",
            LongLong{params->x_column_stride});
  }
  explain_grid("dequantize", plan.kernel->name, back.code, back.coded, out);
  return out.copy_to(text, capacity);
}
