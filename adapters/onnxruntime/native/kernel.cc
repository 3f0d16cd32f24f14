#include "kernel.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "gatun/gatun.h"

namespace gatun::onnxruntime {

Status* fail(const Api& api, ErrorCode code, const char* format, ...) {
  char message[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof(message), format, arguments);
  va_end(arguments);
  return api.create_status(code, message);
}

Status* check(const Api& api, const char* op, int32_t status) {
  if (status == GATUN_OK) return nullptr;
  const ErrorCode code = status == GATUN_INVALID_ARGUMENT ? kInvalidArgument
                         : status == GATUN_UNSUPPORTED    ? kNotImplemented
                                                          : kFail;
  return fail(api, code, "io.gatun.%s: %s", op, gatun_last_error());
}

int64_t Tensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

Status* read(const Api& api, const Value* value, Tensor* tensor) {
  *tensor = {};
  if (value == nullptr) return nullptr;
  tensor->given = true;
  TensorInfo* info = nullptr;
  GATUN_ORT_TRY(api.info(value, &info));
  size_t rank = 0;
  Status* status = api.rank(info, &rank);
  if (status == nullptr) {
    tensor->shape.resize(rank);
    status = api.shape(info, tensor->shape.data(), rank);
  }
  api.release(info);
  return status != nullptr ? status : api.data(value, &tensor->data);
}

Status* read_input(const Api& api, const KernelContext* context, size_t index, Tensor* tensor) {
  const Value* value = nullptr;
  GATUN_ORT_TRY(api.input(context, index, &value));
  return read(api, value, tensor);
}

Status* make_output(const Api& api, KernelContext* context, const std::vector<int64_t>& shape, float** data) {
  Value* value = nullptr;
  GATUN_ORT_TRY(api.output(context, 0, shape.data(), shape.size(), &value));
  const void* memory = nullptr;
  GATUN_ORT_TRY(api.data(value, &memory));
  *data = static_cast<float*>(const_cast<void*>(memory));
  return nullptr;
}

namespace {

template <class T>
bool is_there(const Api& api, const KernelInfo* info, const char* name, T* value) {
  Status* const status = api.attribute(info, name, value);
  if (status != nullptr) api.release_status(status);
  return status == nullptr;
}
bool is_text(const Api& api, const KernelInfo* info, const char* name, size_t* size) {
  Status* const status = api.attribute(info, name, static_cast<char*>(nullptr), size);
  if (status != nullptr) api.release_status(status);
  return status == nullptr;
}

// ONNX Runtime does not tell an attribute that is missing from one of another type.
Status* refuse_other_types(const Api& api, const KernelInfo* info, const char* name, const char* allowed) {
  int64_t integer;
  float number;
  size_t size = 0;
  const char* const found = is_there(api, info, name, &integer)  ? "an integer"
                            : is_there(api, info, name, &number) ? "a float"
                            : is_text(api, info, name, &size)    ? "a text"
                                                                 : nullptr;
  if (found == nullptr) return nullptr;
  return fail(api, kInvalidArgument, "attribute %s is %s; allowed: %s", name, found, allowed);
}

}  // namespace

Status* read_attribute(const Api& api, const KernelInfo* info, const char* name, int64_t* value) {
  return is_there(api, info, name, value) ? nullptr : refuse_other_types(api, info, name, "an integer");
}

Status* read_attribute(const Api& api, const KernelInfo* info, const char* name, float* value) {
  return is_there(api, info, name, value) ? nullptr : refuse_other_types(api, info, name, "a float");
}

Status* read_attribute(const Api& api, const KernelInfo* info, const char* name, std::initializer_list<Choice> choices,
                       int32_t* value) {
  size_t size = 0;
  if (!is_text(api, info, name, &size)) return refuse_other_types(api, info, name, "a text");
  std::string text(size, '\0');
  GATUN_ORT_TRY(api.attribute(info, name, text.data(), &size));
  text.resize(std::strlen(text.c_str()));
  std::string allowed;
  for (const Choice& choice : choices) {
    if (text == choice.name) {
      *value = choice.value;
      return nullptr;
    }
    allowed += std::string(allowed.empty() ? "" : ", ") + choice.name;
  }
  return fail(api, kInvalidArgument, "attribute %s = %s; allowed: %s", name, text.c_str(), allowed.c_str());
}

}  // namespace gatun::onnxruntime
