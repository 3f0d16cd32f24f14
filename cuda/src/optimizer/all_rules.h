// A row of device_kernels.inc: the kernels of all rules.
#pragma once

#include "optimizer/simt_measure.h"
#include "optimizer/simt_step.h"

namespace gatun::cuda::optimizer {

template <class Codes>
constexpr DeviceKernel kernel_of(const char* name, int32_t state) {
  return {name,
          state,
          Codes::kValueBytes,
          Codes::kTableBytes,
          {launch_step<Codes, Adam>, launch_step<Codes, AdEmaMix>, launch_step<Codes, Momentum>,
           launch_step<Codes, RmsProp>, launch_step<Codes, Adagrad>, launch_step<Codes, Lion>},
          {launch_measure<Codes, Adam>, launch_measure<Codes, AdEmaMix>, launch_measure<Codes, Momentum>,
           launch_measure<Codes, RmsProp>, launch_measure<Codes, Adagrad>, launch_measure<Codes, Lion>}};
}

}  // namespace gatun::cuda::optimizer
