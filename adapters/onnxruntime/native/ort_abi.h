// What custom ops need of ONNX Runtime's C interface: since its version 17 (ONNX Runtime 1.17), all later ones have the
// same functions at the same places of their table. So no header of ONNX Runtime is needed to build this.
//
// Source: onnxruntime_c_api.h, struct OrtApi and struct OrtCustomOp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gatun::onnxruntime {

inline constexpr uint32_t kApiVersion = 17;
inline constexpr const char* kOldestRelease = "1.17";
// Of struct CustomOp, which version 17 did not change.
inline constexpr uint32_t kOpVersion = 16;

// ONNX Runtime's own.
struct Status;
struct SessionOptions;
struct Domain;
struct KernelInfo;
struct KernelContext;
struct Value;
struct TensorInfo;
using Functions = const void*;

enum ErrorCode : int32_t { kFail = 1, kInvalidArgument = 2, kNotImplemented = 9 };
enum ElementType : int32_t { kFloat = 1, kUint8 = 2, kInt32 = 6, kInt64 = 7 };
enum Characteristic : int32_t { kRequired = 0, kOptional = 1 };

struct ApiBase {
  const Functions* (*get_api)(uint32_t version);  // null if ONNX Runtime is older than that
  const char* (*release)();
};

struct CustomOp {
  uint32_t version;
  void* (*create_kernel)(const CustomOp*, const Functions*, const KernelInfo*);
  const char* (*name)(const CustomOp*);
  const char* (*provider)(const CustomOp*);
  ElementType (*input_type)(const CustomOp*, size_t);
  size_t (*input_count)(const CustomOp*);
  ElementType (*output_type)(const CustomOp*, size_t);
  size_t (*output_count)(const CustomOp*);
  void (*compute)(void* kernel, KernelContext*);
  void (*destroy)(void* kernel);
  Characteristic (*input_characteristic)(const CustomOp*, size_t);
  Characteristic (*output_characteristic)(const CustomOp*, size_t);
  int32_t (*input_memory_type)(const CustomOp*, size_t);
  int32_t (*variadic_input_min_arity)(const CustomOp*);
  int32_t (*variadic_input_homogeneity)(const CustomOp*);
  int32_t (*variadic_output_min_arity)(const CustomOp*);
  int32_t (*variadic_output_homogeneity)(const CustomOp*);
  // Since version 16, and used instead of create_kernel and compute.
  Status* (*create_kernel_2)(const CustomOp*, const Functions*, const KernelInfo*, void** kernel);
  Status* (*compute_2)(void* kernel, KernelContext*);
};

// The table of functions. A null status means success; others are the caller's to hand on or to release.
class Api {
 public:
  explicit Api(const Functions* functions) : functions_(functions) {}

  Status* create_status(ErrorCode code, const char* message) const { return call<Status*>(0, code, message); }
  void release_status(Status* status) const { call<void>(93, status); }

  Status* create_domain(const char* name, Domain** domain) const { return call<Status*>(26, name, domain); }
  Status* add_op(Domain* domain, const CustomOp* op) const { return call<Status*>(27, domain, op); }
  Status* add_domain(SessionOptions* options, Domain* domain) const { return call<Status*>(28, options, domain); }

  Status* attribute(const KernelInfo* info, const char* name, float* value) const {
    return call<Status*>(85, info, name, value);
  }
  Status* attribute(const KernelInfo* info, const char* name, int64_t* value) const {
    return call<Status*>(86, info, name, value);
  }
  // `size` counts the closing 0; a null `text` asks for it.
  Status* attribute(const KernelInfo* info, const char* name, char* text, size_t* size) const {
    return call<Status*>(87, info, name, text, size);
  }
  Status* constant_input(const KernelInfo* info, size_t index, int32_t* is_constant, const Value** value) const {
    return call<Status*>(249, info, index, is_constant, value);
  }

  // A null value stands for an optional input that is not there.
  Status* input(const KernelContext* context, size_t index, const Value** value) const {
    return call<Status*>(90, context, index, value);
  }
  Status* output(KernelContext* context, size_t index, const int64_t* shape, size_t rank, Value** value) const {
    return call<Status*>(91, context, index, shape, rank, value);
  }
  Status* parallel_for(const KernelContext* context, void (*part)(void*, size_t), size_t parts, void* data) const {
    return call<Status*>(274, context, part, parts, size_t{0}, data);
  }

  Status* data(const Value* value, const void** data) const { return call<Status*>(51, value, data); }
  Status* info(const Value* value, TensorInfo** info) const { return call<Status*>(65, value, info); }
  Status* rank(const TensorInfo* info, size_t* rank) const { return call<Status*>(61, info, rank); }
  Status* shape(const TensorInfo* info, int64_t* shape, size_t rank) const {
    return call<Status*>(62, info, shape, rank);
  }
  void release(TensorInfo* info) const { call<void>(99, info); }

 private:
  template <class Result, class... Arguments>
  Result call(int place, Arguments... arguments) const {
    return reinterpret_cast<Result (*)(Arguments...)>(const_cast<void*>(functions_[place]))(arguments...);
  }

  const Functions* functions_;
};

}  // namespace gatun::onnxruntime
