// The C entry points: check, select, put on the stream.
#include "gatun/cuda_optimizer.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/text.h"
#include "optimizer/check.h"
#include "optimizer/make_job.h"

using namespace gatun;

namespace {
int32_t no_kernels() { return fail(GATUN_UNSUPPORTED, "there are no optimizer kernels for devices yet"); }
}  // namespace

int32_t gatun_cuda_optimizer_workspace_bytes(const gatun_optimizer_params* params, int64_t*) {
  GATUN_TRY(optimizer::check_params(params));
  return no_kernels();
}

int32_t gatun_cuda_optimizer_step(const gatun_optimizer_params* params, void*, const void*, void*, float*, void*,
                                  float*, void*, int64_t, void*) {
  GATUN_TRY(optimizer::check_params(params));
  return no_kernels();
}

int32_t gatun_cuda_gradient_norm_workspace_bytes(int32_t, int64_t, int64_t*) { return no_kernels(); }

int32_t gatun_cuda_gradient_norm(int32_t, int64_t, const void*, double*, void*, int64_t, void*) { return no_kernels(); }

int32_t gatun_cuda_optimizer_explain(const gatun_optimizer_params* params, int32_t, char*, int64_t) {
  GATUN_TRY(optimizer::check_params(params));
  return no_kernels();
}
