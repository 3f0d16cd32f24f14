// What ONNX Runtime calls when this library is registered: it adds the domain io.gatun with all ops.
#include <mutex>
#include <vector>

#include "gatun/gatun.h"
#include "kernel.h"

namespace gatun::onnxruntime {
namespace {

// Sessions refer to a domain and its ops as long as they live, so both stay. Usually there is one copy of ONNX Runtime
// in a process.
struct Known {
  const Functions* functions;
  Domain* domain;
};

Status* domain_of(const Functions* functions, Domain** domain) {
  static std::mutex mutex;
  static std::vector<Known> known;
  static const CustomOp ops[] = {qmatmul_op(), nm_matmul_op(), attention_op(), layer_norm_op()};
  const std::lock_guard<std::mutex> lock(mutex);
  for (const Known& each : known) {
    if (each.functions == functions) {
      *domain = each.domain;
      return nullptr;
    }
  }
  const Api api(functions);
  GATUN_ORT_TRY(api.create_domain("io.gatun", domain));
  for (const CustomOp& op : ops) GATUN_ORT_TRY(api.add_op(*domain, &op));
  known.push_back({functions, *domain});
  return nullptr;
}

}  // namespace
}  // namespace gatun::onnxruntime

using namespace gatun::onnxruntime;

extern "C" __attribute__((visibility("default"))) Status* RegisterCustomOps(SessionOptions* options,
                                                                            const ApiBase* base) {
  const Functions* const functions = base->get_api(kApiVersion);
  if (functions == nullptr) {
    return fail(Api(base->get_api(1)), kNotImplemented,
                "ONNX Runtime %s is too old for Gatun's ops; allowed: %s or newer", base->release(), kOldestRelease);
  }
  const Api api(functions);
  return guarded(api, "RegisterCustomOps", [&]() -> Status* {
    Domain* domain = nullptr;
    GATUN_ORT_TRY(domain_of(functions, &domain));
    return api.add_domain(options, domain);
  });
}
