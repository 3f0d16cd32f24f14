// The C entry points: check, convert.
#include "gatun/packing.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "packing/depth_order.h"
#include "packing/floats.h"
#include "packing/layout.h"
#include "simd/float_mode.h"

namespace gatun::packing {
namespace {

using LongLong = long long;

// Bytes of x for which waking another thread pays.
constexpr int64_t kGrainBytes = 128 * 1024;

// A plane without gaps.
Buffer plane(const char* name, const void* address, int64_t bytes, int64_t element_bytes, bool output) {
  const int64_t elements = bytes / element_bytes;
  return {name, address, 1, elements, elements, element_bytes, output};
}

// Both directions have the same planes; what one reads, the other writes.
struct Planes {
  const void *packed_codes, *packed_scales, *packed_zero_points, *group_index;
  const void *codes, *scales, *zero_points, *permutation;
};

int32_t check_planes(const gatun_packing_params& p, const Layout& l, const Planes& planes, bool read) {
  const bool ordered = p.packing == GATUN_PACKING_GPTQ || p.packing == GATUN_PACKING_GPTQ_V2;
  const bool by_index = planes.group_index != nullptr || planes.permutation != nullptr;
  if (by_index) GATUN_TRY(check_range(p.depth, 0, INT32_MAX, "params.depth"));
  const int64_t index_bytes = p.depth * 4 * by_index;
  const bool floats = l.packed_zeros == ZeroPoints::floats, zeros = p.zero_point != GATUN_ZERO_NONE;
  const int64_t packed_zeros_alignment = floats ? dtype_bytes(p.packed_zero_dtype, 1) : 1;
  if (by_index && ordered && planes.group_index == nullptr) {
    return fail(GATUN_INVALID_ARGUMENT, "group_index is null with permutation; allowed: both, or no permutation");
  }
  const bool has_permutation = planes.permutation != nullptr;
  const int64_t permutation_bytes = has_permutation ? index_bytes : 0;
  constexpr char kWhyUnordered[] = "params.packing is neither GPTQ nor GPTQ_V2";
  constexpr char kWhyAbsent[] = "params.packing and params.zero_point have none";
  GATUN_TRY(
      check_absent(l.packed_zeros != ZeroPoints::none, planes.packed_zero_points, "packed_zero_points", kWhyAbsent));
  GATUN_TRY(check_absent(zeros, planes.zero_points, "zero_points", kWhyAbsent));
  GATUN_TRY(check_absent(ordered, planes.group_index, "group_index", kWhyUnordered));
  GATUN_TRY(check_absent(ordered, planes.permutation, "permutation", kWhyUnordered));
  Buffer buffers[] = {
      plane("packed_codes", planes.packed_codes, l.packed_codes_bytes, 1, !read),
      plane("packed_scales", planes.packed_scales, l.packed_scales_bytes, dtype_bytes(p.packed_scale_dtype, 1), !read),
      plane("packed_zero_points", planes.packed_zero_points, l.packed_zeros_bytes, packed_zeros_alignment, !read),
      plane("group_index", planes.group_index, index_bytes, 4, !read),
      plane("codes", planes.codes, l.codes_bytes, 1, read),
      plane("scales", planes.scales, l.scales_bytes, dtype_bytes(p.scale_dtype, 1), read),
      plane("zero_points", planes.zero_points, l.zeros_bytes, zeros && floats ? 4 : 1, read),
      plane("permutation", planes.permutation, permutation_bytes, 4, read),
  };
  return check_buffers(buffers);
}

// The copies of floats of a direction.
struct FloatCopies {
  FloatCopy scales, zero_points;
};

FloatCopies float_copies(const gatun_packing_params& p, const Layout& l, const Planes& planes, bool read) {
  const Floats packed_scales = {"packed_scales", planes.packed_scales, p.packed_scale_dtype, l.packed_floats};
  const Floats packed_zeros = {"packed_zero_points", planes.packed_zero_points, p.packed_zero_dtype, l.packed_floats};
  const Floats scales = {"scales", planes.scales, p.scale_dtype, l.floats};
  const Floats zeros = {"zero_points", planes.zero_points, GATUN_F32, l.floats};
  const bool torchao = p.packing == GATUN_PACKING_TORCHAO;
  if (read) {
    return {{Rule::exact, packed_scales, {}, p.scale_dtype, l.floats},
            {torchao ? Rule::from_value_of_code_8 : Rule::from_subtrahend, packed_zeros, packed_scales, GATUN_F32,
             l.floats}};
  }
  return {
      {Rule::exact, scales, {}, p.packed_scale_dtype, l.packed_floats},
      {torchao ? Rule::to_value_of_code_8 : Rule::to_subtrahend, zeros, scales, p.packed_zero_dtype, l.packed_floats}};
}

int32_t check_all_floats(const gatun_packing_params& p, const Layout& l, const FloatCopies& copies) {
  GATUN_TRY(check_floats(copies.scales, p.columns, l.groups));
  if (l.packed_zeros != ZeroPoints::floats) return GATUN_OK;
  return check_floats(copies.zero_points, p.columns, l.groups);
}

// Zero points that Gatun does not keep.
int32_t check_middle(const gatun_packing_params& p, const Layout& l, const void* packed_zero_points) {
  const int mask = (1 << l.bits) - 1, middle = 1 << (l.bits - 1);
  for (int64_t n = 0; n < p.columns; ++n) {
    for (int64_t g = 0; g < l.groups; ++g) {
      const int z = (code_at(l.packed_zero_codes, packed_zero_points, n, g) + l.zero_bias) & mask;
      if (z == middle) continue;
      return fail(GATUN_INVALID_ARGUMENT,
                  "packed_zero_points of column %lld, group %lld = %d; allowed: %d with params.zero_point = "
                  "GATUN_ZERO_NONE, others with GATUN_ZERO_INTEGER",
                  LongLong{n}, LongLong{g}, z, middle);
    }
  }
  return GATUN_OK;
}

int32_t check_zero_points(const Layout& l, const uint8_t* zero_points) {
  const int most = (1 << l.bits) - 1;
  for (int64_t i = 0; i < l.zeros_bytes; ++i) {
    if (zero_points[i] <= most) continue;
    return fail(GATUN_INVALID_ARGUMENT, "zero_points of column %lld, group %lld = %d; allowed: 0..%d",
                LongLong{i / l.groups}, LongLong{i % l.groups}, zero_points[i], most);
  }
  return GATUN_OK;
}

// Integer zero points in packed form; the middle where Gatun keeps none.
void write_zero_points(const gatun_packing_params& p, const Layout& l, const void* zero_points, void* packed) {
  const Copy copy = {l.zero_codes, l.packed_zero_codes, p.columns, l.groups, nullptr, l.bits, -l.zero_bias};
  if (zero_points != nullptr) return copy_codes(copy, zero_points, packed, p.threads);
  if (l.packed_zeros_bytes == 0) return;  // packed may be null
  std::memset(packed, 0, static_cast<size_t>(l.packed_zeros_bytes));
  const int middle = ((1 << (l.bits - 1)) - l.zero_bias) & ((1 << l.bits) - 1);
  for (int64_t n = 0; n < p.columns; ++n) {
    for (int64_t g = 0; g < l.groups; ++g) set_code(l.packed_zero_codes, packed, n, g, middle);
  }
}

// The codes beyond the depth: those of 0, or with float zero points just 0.
void pad(const gatun_packing_params& p, const Layout& l, const void* zero_points, void* packed_codes) {
  if (p.depth == l.padded_depth) return;
  const int64_t row = l.packed_codes.other_stride, used = dtype_bytes(p.code_dtype, p.depth);
  for (int64_t n = 0; n < p.columns; ++n) {
    std::memset(static_cast<uint8_t*>(packed_codes) + n * row + used, 0, static_cast<size_t>(row - used));
    if (p.zero_point == GATUN_ZERO_FLOAT) continue;
    const int code = zero_points == nullptr ? 1 << (l.bits - 1)
                                            : static_cast<const uint8_t*>(zero_points)[n * l.groups + l.groups - 1];
    for (int64_t k = p.depth; k < l.padded_depth; ++k) set_code(l.packed_codes, packed_codes, n, k, code);
  }
}

template <class T>
void permute_rows(const T* x, T* y, int64_t x_stride, int64_t y_stride, int64_t depth, const int32_t* permutation,
                  int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    for (int64_t j = 0; j < depth; ++j) y[r * y_stride + j] = x[r * x_stride + permutation[j]];
  }
}

}  // namespace
}  // namespace gatun::packing

using namespace gatun;

int32_t gatun_packing_bytes(const gatun_packing_params* params, int64_t* codes, int64_t* scales, int64_t* zero_points) {
  packing::Layout layout;
  GATUN_TRY(packing::layout_of(params, &layout));
  GATUN_TRY(check_not_null(codes, "codes"));
  GATUN_TRY(check_not_null(scales, "scales"));
  GATUN_TRY(check_not_null(zero_points, "zero_points"));
  *codes = layout.packed_codes_bytes;
  *scales = layout.packed_scales_bytes;
  *zero_points = layout.packed_zeros_bytes;
  return GATUN_OK;
}

int32_t gatun_packing_read(const gatun_packing_params* params, const void* packed_codes, const void* packed_scales,
                           const void* packed_zero_points, const int32_t* group_index, void* codes, void* scales,
                           void* zero_points, int32_t* permutation) {
  using namespace packing;
  Layout l;
  GATUN_TRY(layout_of(params, &l));
  const gatun_packing_params& p = *params;
  const Planes planes = {packed_codes, packed_scales, packed_zero_points, group_index,
                         codes,        scales,        zero_points,        permutation};
  GATUN_TRY(check_planes(p, l, planes, true));
  const DefaultFloatMode mode;  // exact is exact in any caller's mode
  const FloatCopies floats = float_copies(p, l, planes, true);
  GATUN_TRY(check_all_floats(p, l, floats));
  if (l.packed_zeros == ZeroPoints::codes && p.zero_point == GATUN_ZERO_NONE) {
    GATUN_TRY(check_middle(p, l, packed_zero_points));
  }
  if (group_index != nullptr) GATUN_TRY(sort_by_group(group_index, p.depth, p.group, permutation));

  copy_codes({l.packed_codes, l.codes, p.columns, p.depth, permutation, l.bits, l.code_bias}, packed_codes, codes,
             p.threads);
  copy_floats(floats.scales, p.columns, l.groups, scales);
  if (l.packed_zeros == ZeroPoints::floats) copy_floats(floats.zero_points, p.columns, l.groups, zero_points);
  if (p.zero_point == GATUN_ZERO_INTEGER) {
    copy_codes({l.packed_zero_codes, l.zero_codes, p.columns, l.groups, nullptr, l.bits, l.zero_bias},
               packed_zero_points, zero_points, p.threads);
  }
  return GATUN_OK;
}

int32_t gatun_packing_write(const gatun_packing_params* params, const void* codes, const void* scales,
                            const void* zero_points, const int32_t* permutation, void* packed_codes,
                            void* packed_scales, void* packed_zero_points, int32_t* group_index) {
  using namespace packing;
  Layout l;
  GATUN_TRY(layout_of(params, &l));
  const gatun_packing_params& p = *params;
  const Planes planes = {packed_codes, packed_scales, packed_zero_points, group_index,
                         codes,        scales,        zero_points,        permutation};
  GATUN_TRY(check_planes(p, l, planes, false));
  const DefaultFloatMode mode;  // exact is exact in any caller's mode
  const FloatCopies floats = float_copies(p, l, planes, false);
  GATUN_TRY(check_all_floats(p, l, floats));
  if (p.zero_point == GATUN_ZERO_INTEGER) {
    GATUN_TRY(check_zero_points(l, static_cast<const uint8_t*>(zero_points)));
  }
  int32_t* inverse = nullptr;
  if (permutation != nullptr && p.depth > 0) {
    thread_local Scratch scratch;
    inverse = reinterpret_cast<int32_t*>(scratch.get(p.depth * 4));
    if (inverse == nullptr) return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld indices", LongLong{p.depth});
    GATUN_TRY(invert(permutation, p.depth, inverse));
  }

  copy_codes({l.codes, l.packed_codes, p.columns, p.depth, inverse, l.bits, -l.code_bias}, codes, packed_codes,
             p.threads);
  pad(p, l, p.zero_point == GATUN_ZERO_INTEGER ? zero_points : nullptr, packed_codes);
  copy_floats(floats.scales, p.columns, l.groups, packed_scales);
  if (l.packed_zeros == ZeroPoints::floats) copy_floats(floats.zero_points, p.columns, l.groups, packed_zero_points);
  if (l.packed_zeros == ZeroPoints::codes) write_zero_points(p, l, zero_points, packed_zero_points);
  if (group_index != nullptr) groups_of(permutation, p.depth, p.group, group_index);
  return GATUN_OK;
}

int32_t gatun_packing_permute(int32_t dtype, int64_t rows, int64_t depth, int64_t x_row_stride, int64_t y_row_stride,
                              int32_t threads, const int32_t* permutation, const void* x, void* y) {
  using namespace packing;
  GATUN_TRY(check_dtype(dtype, {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_F8E4M3, GATUN_F8E5M2}, "dtype"));
  const int64_t element = dtype_bytes(dtype, 1);
  GATUN_TRY(check_range(rows, 0, INT64_MAX, "rows"));
  GATUN_TRY(check_range(depth, 0, INT32_MAX, "depth"));
  GATUN_TRY(check_row_stride(rows, depth, x_row_stride, "x_row_stride"));
  GATUN_TRY(check_row_stride(rows, depth, y_row_stride, "y_row_stride"));
  GATUN_TRY(check_range(threads, 0, kMaxThreads, "threads"));
  Buffer buffers[] = {plane("permutation", permutation, depth * 4, 4, false),
                      {"x", x, rows, depth, x_row_stride, element, false},
                      {"y", y, rows, depth, y_row_stride, element, true}};
  GATUN_TRY(check_buffers(buffers));
  for (int64_t j = 0; j < depth; ++j) {
    if (permutation[j] >= 0 && permutation[j] < depth) continue;
    return fail(GATUN_INVALID_ARGUMENT, "permutation[%lld] = %d; allowed: 0..%lld", LongLong{j}, permutation[j],
                LongLong{depth - 1});
  }
  const int32_t useful = rows == 0 ? 1 : useful_threads(threads, rows, buffers[1].bytes, kGrainBytes);
  parallel_for(rows, useful, [&](int64_t begin, int64_t end) {
    const auto permute = [&](auto* to) {
      permute_rows(static_cast<decltype(to)>(const_cast<void*>(x)), to, x_row_stride, y_row_stride, depth, permutation,
                   begin, end);
    };
    if (element == 4) return permute(static_cast<uint32_t*>(y));
    if (element == 2) return permute(static_cast<uint16_t*>(y));
    permute(static_cast<uint8_t*>(y));
  });
  return GATUN_OK;
}
