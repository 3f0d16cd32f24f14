// The C entry points: check, select, put on the stream.
#include "gatun/cuda_optimizer.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/dtype.h"
#include "base/runtime.h"
#include "base/text.h"
#include "optimizer/check.h"
#include "optimizer/device_job.h"
#include "ptx/launch.h"
#include "simd/float_mode.h"

namespace gatun::cuda::optimizer {
namespace {

using namespace gatun::optimizer;
using LongLong = long long;

const DeviceKernel& kernel_of(int32_t state) {
#define GATUN_CUDA_OPTIMIZER(name, state, codes) &name,
  static constexpr const DeviceKernel* kKernels[] = {
#include "optimizer/device_kernels.inc"
  };
#undef GATUN_CUDA_OPTIMIZER
  return **std::find_if(std::begin(kKernels), std::end(kKernels),
                        [=](const DeviceKernel* kernel) { return kernel->state == state; });
}

int states_of(int32_t rule) { return static_cast<int>(rows_of_state1(rule) + rows_of_state2(rule)); }

bool is_aligned(const void* address, int64_t bytes) { return reinterpret_cast<uintptr_t>(address) % bytes == 0; }

// Whether a lane can read and write its elements together.
bool is_aligned(const gatun_optimizer_params& p, const DeviceJob& job) {
  const int64_t value_bytes = dtype_bytes(p.p_dtype, kLaneElements);
  bool aligned = is_aligned(job.p, value_bytes) && is_aligned(job.g, value_bytes);
  for (int k = 0; k < states_of(p.rule); ++k) {
    aligned = aligned && is_aligned(job.planes[k].codes, dtype_bytes(state_dtype(p.state), kLaneElements));
  }
  return aligned;
}

// How a step is cut, into *job, and its grid. Small tensors are spread over all multiprocessors.
Grid cut(const gatun_optimizer_params& p, const Device& device, DeviceJob* job) {
  const int64_t rows = blocks_of(p.count, kRow);
  const int most = most_threads(states_of(p.rule));
  int threads = most;
  while (threads / 2 >= kLeastThreads && blocks_of(rows, rows_of(threads)) < device.multiprocessors) threads /= 2;
  job->block_rows = p.state == GATUN_STATE_F32 ? 1 : static_cast<int32_t>(p.block / kRow);
  job->tile_blocks = rows_of(threads) / job->block_rows;
  job->tile_rows = job->tile_blocks * job->block_rows;
  job->tiles = blocks_of(rows, job->tile_rows);
  const int64_t resident = int64_t{device.multiprocessors} * (most / threads);
  return {std::min(job->tiles, resident), 1, 1, threads,
          kernel_of(p.state).table_bytes + step_bytes(states_of(p.rule), threads)};
}

// What the norm of the update needs: the rate, and sums of parts.
constexpr int64_t kRateBytes = 256;

int64_t norm_parts(const gatun_optimizer_params& p) {
  return p.max_update_norm > 0 ? parts_of(blocks_of(p.count, block_of(p)), 1) : 0;
}

int64_t workspace_bytes(int64_t parts) {
  return parts == 0 ? 0 : kRateBytes + parts * static_cast<int64_t>(sizeof(Squares));
}

// Checks buffers, of which the last one is yet to become the workspace, and enters the stream's device.
template <int count>
int32_t check_memory(Buffer (&buffers)[count], void* workspace, int64_t given_bytes, int64_t needed, void* stream,
                     DeviceScope* scope) {
  buffers[count - 1] = {"workspace", workspace, needed > 0, needed, needed, 1, true};
  GATUN_TRY(check_buffers(buffers));
  GATUN_TRY(scope->enter(stream));
  for (int i = 0; i + 1 < count; ++i) {
    GATUN_TRY(check_device_memory(scope->device().index, buffers[i].address, buffers[i].bytes, buffers[i].name));
  }
  return check_workspace(scope->device().index, workspace, given_bytes, needed);
}

int32_t run(const gatun_optimizer_params& p, const Arguments& arguments, void* workspace, const Device& device,
            void* stream) {
  const DefaultFloatMode mode;
  const DeviceKernel& kernel = kernel_of(p.state);
  DeviceJob job = {};
  static_cast<gatun::optimizer::Job&>(job) = job_of(p, arguments);
  job.aligned = is_aligned(p, job);
  const Grid grid = cut(p, device, &job);
  if (const int64_t parts = norm_parts(p); parts > 0) {
    float* const rate = static_cast<float*>(workspace);
    Squares* const sums = reinterpret_cast<Squares*>(static_cast<uint8_t*>(workspace) + kRateBytes);
    job.part = part_of(blocks_of(p.count, job.block), 1);
    const Grid measure = {parts, 1, 1, kMeasureThreads, kernel.value_bytes + kMeasureBytes};
    GATUN_TRY(kernel.measure[p.rule](kernel.name, job, sums, measure, stream));
    GATUN_TRY(limit_rate(sums, parts, norm_limit_of(p), rate, stream));
    job.rate = rate;
  }
  return kernel.step[p.rule](kernel.name, job, grid, stream);
}

}  // namespace
}  // namespace gatun::cuda::optimizer

using namespace gatun;
using namespace gatun::cuda;
using namespace gatun::cuda::optimizer;

int32_t gatun_cuda_optimizer_workspace_bytes(const gatun_optimizer_params* params, int64_t* bytes) {
  GATUN_TRY(gatun::optimizer::check_params(params));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = workspace_bytes(norm_parts(*params));
  return GATUN_OK;
}

int32_t gatun_cuda_optimizer_step(const gatun_optimizer_params* params, void* p, const void* g, void* state1,
                                  float* scales1, void* state2, float* scales2, void* workspace,
                                  int64_t workspace_bytes, void* stream) {
  GATUN_TRY(gatun::optimizer::check_params(params));
  const gatun::optimizer::Arguments arguments = {p, g, state1, scales1, state2, scales2};
  Buffer buffers[gatun::optimizer::kBuffers + 1];
  GATUN_TRY(gatun::optimizer::list_buffers(*params, arguments, buffers));
  DeviceScope scope;
  GATUN_TRY(check_memory(buffers, workspace, workspace_bytes, cuda::optimizer::workspace_bytes(norm_parts(*params)),
                         stream, &scope));
  if (params->count == 0) return GATUN_OK;
  return run(*params, arguments, workspace, scope.device(), stream);
}

int32_t gatun_cuda_gradient_norm_workspace_bytes(int32_t dtype, int64_t count, int64_t* bytes) {
  GATUN_TRY(gatun::optimizer::check_gradients(dtype, count, 0));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = workspace_bytes(parts_of(count, kSquaresChunk));
  return GATUN_OK;
}

int32_t gatun_cuda_gradient_norm(int32_t dtype, int64_t count, const void* g, double* sum_of_squares, void* workspace,
                                 int64_t workspace_bytes, void* stream) {
  GATUN_TRY(gatun::optimizer::check_gradients(dtype, count, 0));
  Buffer buffers[gatun::optimizer::kGradientBuffers + 1];
  gatun::optimizer::list_gradient_buffers(dtype, count, g, sum_of_squares, buffers);
  const int64_t parts = parts_of(count, kSquaresChunk), needed = cuda::optimizer::workspace_bytes(parts);
  DeviceScope scope;
  GATUN_TRY(check_memory(buffers, workspace, workspace_bytes, needed, stream, &scope));
  Squares* const sums = static_cast<Squares*>(workspace);
  if (parts > 0) {
    GATUN_TRY(sum_squares(dtype, g, count, part_of(count, kSquaresChunk) / kSquaresChunk, sums, parts, stream));
  }
  return merge_squares(sums, parts, sum_of_squares, stream);
}

int32_t gatun_cuda_optimizer_explain(const gatun_optimizer_params* params, int32_t device, char* text,
                                     int64_t capacity) {
  constexpr const char* kRuleNames[kRules] = {"ADAM", "ADEMAMIX", "MOMENTUM", "RMSPROP", "ADAGRAD", "LION"};
  constexpr const char* kStateNames[] = {"F32", "DYNAMIC8", "F8E4M3", "DYNAMIC4"};
  GATUN_TRY(gatun::optimizer::check_params(params));
  const gatun_optimizer_params& p = *params;
  int64_t bytes;
  GATUN_TRY(check_extent(1, p.count, p.count, 1, dtype_bytes(p.p_dtype, 1) * 8, "p", &bytes));
  Device described;
  GATUN_TRY(describe_supported(device, &described));
  DeviceJob job = {};
  const Grid grid = cut(p, described, &job);
  Text out;
  out.add("%s: the kernel for %s state, p and g in %s, on compute capability %d.%d\n", kernel_of(p.state).name,
          kStateNames[p.state], dtype_name(p.p_dtype), described.major, described.minor);
  out.add("  %s of %lld elements: %lld tiles of %d x %d, by %lld blocks of %d threads\n", kRuleNames[p.rule],
          LongLong{p.count}, LongLong{job.tiles}, job.tile_rows, kRow, LongLong{grid.blocks_x}, grid.threads);
  if (job.block_rows > kWarpRows) {
    out.add("  blocks of %lld are of several warps, which wait for each other; those of 128 or 256 are not\n",
            LongLong{p.block});
  }
  if (const int64_t parts = norm_parts(p); parts > 0) {
    out.add("  p, g and the state are read twice, first for the norm of the update, in %lld parts\n", LongLong{parts});
  }
  return out.copy_to(text, capacity);
}
