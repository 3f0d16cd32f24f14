// What the kernels of all custom ops share: attributes and tensors with clear errors, and the table entry of an op.
#pragma once

#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "ort_abi.h"

namespace gatun::onnxruntime {

#define GATUN_ORT_TRY(expression) \
  if (::gatun::onnxruntime::Status* status_ = (expression)) return status_

Status* fail(const Api& api, ErrorCode code, const char* format, ...) __attribute__((format(printf, 3, 4)));
// What gatun_last_error says of a call that did not return GATUN_OK.
Status* check(const Api& api, const char* op, int32_t status);

struct Input {
  const char* name;
  ElementType type;
  Characteristic characteristic;
};

// A tensor of a call; without elements its data may be null.
struct Tensor {
  bool given = false;  // whether an optional input is there
  const void* data = nullptr;
  std::vector<int64_t> shape;

  int64_t elements() const;
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};
std::string shape_text(const std::vector<int64_t>& shape);

Status* read(const Api& api, const Value* value, Tensor* tensor);
Status* read_input(const Api& api, const KernelContext* context, size_t index, Tensor* tensor);
Status* make_output(const Api& api, KernelContext* context, const std::vector<int64_t>& shape, float** data);

// What a call returns; what it throws as a status, since ONNX Runtime's interface is of C.
template <class Call>
Status* guarded(const Api& api, const char* name, Call call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return fail(api, kFail, "io.gatun.%s: out of memory", name);
  } catch (const std::exception& e) {
    return fail(api, kFail, "io.gatun.%s: %s", name, e.what());
  }
}

// Attributes that are not there keep the value given; those of another type are refused.
Status* read_attribute(const Api& api, const KernelInfo* info, const char* name, int64_t* value);
Status* read_attribute(const Api& api, const KernelInfo* info, const char* name, float* value);

struct Choice {
  const char* name;
  int32_t value;
};
Status* read_attribute(const Api& api, const KernelInfo* info, const char* name, std::initializer_list<Choice> choices,
                       int32_t* value);

// act(part) for each part, on ONNX Runtime's own threads. The first status that is not null is returned.
template <class Act>
Status* in_parallel(const Api& api, const char* op, const KernelContext* context, int64_t parts, Act act) {
  if (parts == 1) return act(int64_t{0});
  struct Work {
    const Api& api;
    const char* op;
    Act& act;
    std::vector<Status*> statuses;
  } work = {api, op, act, std::vector<Status*>(static_cast<size_t>(parts))};
  Status* failed = api.parallel_for(
      context,
      [](void* data, size_t part) {
        Work& own = *static_cast<Work*>(data);
        own.statuses[part] = guarded(own.api, own.op, [&] { return own.act(static_cast<int64_t>(part)); });
      },
      static_cast<size_t>(parts), &work);
  for (Status* status : work.statuses) {
    if (status == nullptr) continue;
    if (failed == nullptr) {
      failed = status;
    } else {
      api.release_status(status);
    }
  }
  return failed;
}

// The op of a Kernel, which has kName, kInputs, Status* create(const KernelInfo*), Status* compute(KernelContext*), and
// a constructor of an Api.
template <class Kernel>
CustomOp custom_op() {
  CustomOp op = {};
  op.version = kOpVersion;
  op.name = [](const CustomOp*) { return Kernel::kName; };
  op.provider = [](const CustomOp*) { return "CPUExecutionProvider"; };
  op.input_type = [](const CustomOp*, size_t index) { return Kernel::kInputs[index].type; };
  op.input_count = [](const CustomOp*) { return sizeof(Kernel::kInputs) / sizeof(Input); };
  op.output_type = [](const CustomOp*, size_t) { return kFloat; };
  op.output_count = [](const CustomOp*) { return size_t{1}; };
  op.destroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  op.input_characteristic = [](const CustomOp*, size_t index) { return Kernel::kInputs[index].characteristic; };
  op.output_characteristic = [](const CustomOp*, size_t) { return kRequired; };
  op.input_memory_type = [](const CustomOp*, size_t) { return 0; };
  op.variadic_input_min_arity = op.variadic_output_min_arity = [](const CustomOp*) { return 1; };
  op.variadic_input_homogeneity = op.variadic_output_homogeneity = [](const CustomOp*) { return 1; };
  op.create_kernel_2 = [](const CustomOp*, const Functions* functions, const KernelInfo* info, void** out) {
    const Api api(functions);
    return guarded(api, Kernel::kName, [&]() -> Status* {
      auto kernel = std::make_unique<Kernel>(api);
      GATUN_ORT_TRY(kernel->create(info));
      *out = kernel.release();
      return nullptr;
    });
  };
  op.compute_2 = [](void* kernel, KernelContext* context) {
    Kernel& own = *static_cast<Kernel*>(kernel);
    return guarded(own.api, Kernel::kName, [&] { return own.compute(context); });
  };
  return op;
}

CustomOp qmatmul_op();
CustomOp nm_matmul_op();
CustomOp attention_op();
CustomOp layer_norm_op();

}  // namespace gatun::onnxruntime
