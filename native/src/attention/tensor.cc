#include "attention/tensor.h"

#include <algorithm>

#include "base/status.h"

namespace gatun::attention {
namespace {

using LongLong = long long;

constexpr int64_t kMaxElements = int64_t{1} << 59;

// Two elements of an output are not one: taken from the smallest stride on, each axis steps over all before it.
int32_t check_apart(const Tensor& tensor) {
  Axis axes[] = {tensor.axes[0], tensor.axes[1], tensor.axes[2]};
  std::sort(axes, axes + 3, [](const Axis& a, const Axis& b) { return a.stride < b.stride; });
  int64_t span = tensor.columns;
  for (const Axis& axis : axes) {
    if (axis.size < 2) continue;
    if (axis.stride < span) {
      return fail(GATUN_INVALID_ARGUMENT, "%s = %lld; allowed: at least %lld, or rows of %s overlap", axis.stride_name,
                  LongLong{axis.stride}, LongLong{span}, tensor.name);
    }
    span += (axis.size - 1) * axis.stride;
  }
  return GATUN_OK;
}

// Strides and the bytes from the first to past the last element.
int32_t check_extent_of(const Tensor& tensor, int64_t* bytes) {
  *bytes = 0;
  bool empty = false, too_large = false;
  int64_t last = 0;
  for (const Axis& axis : tensor.axes) {
    GATUN_TRY(check_range(axis.stride, 0, INT64_MAX, axis.stride_name));
    empty = empty || axis.size == 0;
    int64_t step;
    too_large = too_large || __builtin_mul_overflow(axis.size - 1, axis.stride, &step) ||
                __builtin_add_overflow(last, step, &last) || last > kMaxElements - tensor.columns;
  }
  if (empty) return GATUN_OK;
  if (too_large) {
    const auto& [batch, heads, rows] = tensor.axes;
    return fail(GATUN_INVALID_ARGUMENT,
                "%s: %lld x %lld x %lld rows of %lld elements with strides %lld, %lld, %lld exceed 2^59 elements; "
                "allowed: less",
                tensor.name, LongLong{batch.size}, LongLong{heads.size}, LongLong{rows.size}, LongLong{tensor.columns},
                LongLong{batch.stride}, LongLong{heads.stride}, LongLong{rows.stride});
  }
  *bytes = (last + tensor.columns) * tensor.element_bytes;
  return tensor.output ? check_apart(tensor) : GATUN_OK;
}

}  // namespace

int32_t check_tensor(const Tensor& tensor, Buffer* buffer) {
  int64_t bytes = 0;
  if (tensor.address != nullptr) GATUN_TRY(check_extent_of(tensor, &bytes));
  const int64_t elements = bytes / tensor.element_bytes;
  *buffer = {tensor.name, tensor.address, 1, elements, 0, tensor.element_bytes, tensor.output};
  return GATUN_OK;
}

int32_t check_needed(const Tensor& tensor, const char* why) {
  if (tensor.address != nullptr) return GATUN_OK;
  for (const Axis& axis : tensor.axes) {
    if (axis.size == 0) return GATUN_OK;
  }
  return fail(GATUN_INVALID_ARGUMENT, "%s is null%s", tensor.name, why);
}

}  // namespace gatun::attention
