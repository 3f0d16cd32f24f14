// What only the driver can do, asked for through the runtime, so that the library does not need libcuda to be loaded.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstring>

#include "base/runtime.h"
#include "base/status.h"
#include "base/tensor_map.h"

namespace gatun::cuda {
namespace {

constexpr unsigned kVersion = 12000;  // whose interface is used here

using Encode = CUresult(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                        const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                        CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

using GetAddressRange = CUresult(CUdeviceptr*, size_t*, CUdeviceptr);

// The driver's function, which is looked for until it is found; otherwise null.
template <class Function>
Function* find(const char* name, std::atomic<Function*>& found) {
  if (found != nullptr) return found;
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result;
  if (cudaGetDriverEntryPointByVersion(name, &function, kVersion, cudaEnableDefault, &result) != cudaSuccess ||
      result != cudaDriverEntryPointSuccess) {
    cudaGetLastError();  // so that it is not taken for that of the next call
    return nullptr;
  }
  return found = reinterpret_cast<Function*>(function);
}

CUtensorMapSwizzle swizzle_of(int32_t bytes) {
  switch (bytes) {
    case 32:
      return CU_TENSOR_MAP_SWIZZLE_32B;
    case 64:
      return CU_TENSOR_MAP_SWIZZLE_64B;
    case 128:
      return CU_TENSOR_MAP_SWIZZLE_128B;
    default:
      return CU_TENSOR_MAP_SWIZZLE_NONE;
  }
}

}  // namespace

int64_t bytes_allocated_from(int32_t device, const void* memory) {
  static std::atomic<GetAddressRange*> found{nullptr};
  GetAddressRange* const get_range = find("cuMemGetAddressRange", found);
  const CUdeviceptr at = reinterpret_cast<CUdeviceptr>(memory);
  CUdeviceptr begin = 0;
  size_t bytes = 0;
  int before = device;
  // The driver asks for a context, which a thread may lack that has only asked the runtime for addresses.
  if (get_range == nullptr || cudaGetDevice(&before) != cudaSuccess || cudaSetDevice(device) != cudaSuccess) {
    cudaGetLastError();  // so that it is not taken for that of the next call
    return INT64_MAX;
  }
  const CUresult result = get_range(&begin, &bytes, at);
  if (before != device) cudaSetDevice(before);
  if (result != CUDA_SUCCESS) return INT64_MAX;
  return static_cast<int64_t>(begin + bytes - at);
}

int32_t encode_tensor_map(const TensorShape& shape, TensorMap* map) {
  static std::atomic<Encode*> found{nullptr};
  Encode* const encode = find("cuTensorMapEncodeTiled", found);
  if (encode == nullptr) {
    return fail(GATUN_UNSUPPORTED, "the driver has no cuTensorMapEncodeTiled; needed: a driver of CUDA 12 or newer");
  }
  // The fastest axis comes first; the stride of that is an element.
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(shape.columns), static_cast<cuuint64_t>(shape.rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(shape.row_stride_bytes)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(shape.box_columns), static_cast<cuuint32_t>(shape.box_rows)};
  const cuuint32_t steps[] = {1, 1};
  CUtensorMap encoded;
  const CUresult result =
      encode(&encoded, shape.element_bytes == 1 ? CU_TENSOR_MAP_DATA_TYPE_UINT8 : CU_TENSOR_MAP_DATA_TYPE_UINT16, 2,
             const_cast<void*>(shape.global), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             swizzle_of(shape.swizzle), CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    return fail(GATUN_INTERNAL, "cuTensorMapEncodeTiled: error %d", static_cast<int>(result));
  }
  static_assert(sizeof(encoded) == sizeof(*map));
  std::memcpy(map->words, &encoded, sizeof(encoded));
  return GATUN_OK;
}

}  // namespace gatun::cuda
