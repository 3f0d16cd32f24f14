// The products of all dtypes.
#include "attention_select/product_tile.h"

namespace gatun::cuda::attention_select {

int32_t run_products(const ProductJob& job, void* stream) {
  if (job.q.dtype == GATUN_F16) return launch_products<F16>("select_f16_m128n128_sm80", job, stream);
  if (job.q.dtype == GATUN_BF16) return launch_products<Bf16>("select_bf16_m128n128_sm80", job, stream);
  return launch_products<F32>("select_f32_m128n128_sm80", job, stream);
}

}  // namespace gatun::cuda::attention_select
