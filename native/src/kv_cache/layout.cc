#include "kv_cache/layout.h"

#include <utility>

#include "attention/tensor.h"
#include "base/status.h"

namespace gatun::kv_cache {
namespace {

using Layout = gatun_kv_layout;
using LongLong = long long;

constexpr int64_t kMaxSlots = int64_t{1} << 59;
constexpr int64_t kMaxHeads = int64_t{1} << 60;

int32_t refuse(const char* name, const char* field, int64_t value, const char* allowed) {
  return fail(GATUN_INVALID_ARGUMENT, "%s.%s = %lld; allowed: %s", name, field, LongLong{value}, allowed);
}

bool of_codes(const Layout& l) { return l.dtype == GATUN_I8 || l.dtype == GATUN_U4 || l.dtype == GATUN_U2; }

int32_t check_format(const Layout& l, const char* name) {
  switch (l.dtype) {
    case GATUN_F32:
    case GATUN_BF16:
    case GATUN_F16:
    case GATUN_F8E4M3:
    case GATUN_F8E5M2:
    case GATUN_I8:
    case GATUN_U4:
    case GATUN_U2:
      break;
    default:
      return fail(GATUN_INVALID_ARGUMENT, "%s.dtype = %d (%s); allowed: F32, BF16, F16, F8E4M3, F8E5M2, I8, U4, U2",
                  name, l.dtype, dtype_name(l.dtype));
  }
  if (of_codes(l)) {
    GATUN_TRY(check_field(l.scaling, GATUN_KV_PER_TOKEN, GATUN_KV_PER_CHANNEL, name, "scaling"));
  } else if (l.scaling != GATUN_KV_UNSCALED) {
    return refuse(name, "scaling", l.scaling, "GATUN_KV_UNSCALED (0) with values");
  }
  const bool may_have_zero = l.dtype == GATUN_U4 || l.dtype == GATUN_U2;
  if (l.zero_point != GATUN_ZERO_NONE && !(may_have_zero && l.zero_point == GATUN_ZERO_FLOAT)) {
    return refuse(name, "zero_point", l.zero_point,
                  may_have_zero ? "GATUN_ZERO_NONE (0), GATUN_ZERO_FLOAT (2)" : "GATUN_ZERO_NONE (0)");
  }
  return GATUN_OK;
}

int32_t check_group(const Layout& l, const char* name) {
  if (l.scaling == GATUN_KV_UNSCALED) {
    return l.group == 0 ? GATUN_OK : refuse(name, "group", l.group, "0, since there are no scales");
  }
  const bool multiple = l.group >= 16 && l.group % 16 == 0;
  if (l.scaling == GATUN_KV_PER_TOKEN) {
    if (l.group == l.size || (multiple && l.group < l.size)) return GATUN_OK;
    return fail(GATUN_INVALID_ARGUMENT, "%s.group = %lld; allowed: multiples of 16 below %s.size = %lld, or that", name,
                LongLong{l.group}, name, LongLong{l.size});
  }
  if (multiple && l.page_size % l.group == 0) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s.group = %lld; allowed: multiples of 16 that divide %s.page_size = %lld", name,
              LongLong{l.group}, name, LongLong{l.page_size});
}

int32_t check_multiple_of(int64_t stride, int64_t unit, const char* name, const char* field) {
  if (stride % unit == 0) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s.%s = %lld bytes; allowed: multiples of the %lld of an element", name, field,
              LongLong{stride}, LongLong{unit});
}

}  // namespace

int32_t check_layout(const Layout* given, const char* name, Layout* layout) {
  GATUN_TRY(check_not_null(given, name));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*layout), name));
  *layout = *given;
  Layout& l = *layout;
  GATUN_TRY(check_format(l, name));
  if (l.size < 8 || l.size > 256 || l.size % 8 != 0) {
    return refuse(name, "size", l.size, "multiples of 8 in 8..256");
  }
  GATUN_TRY(check_field(l.heads, 0, kMaxHeads, name, "heads"));
  GATUN_TRY(check_field(l.pages, 0, kMaxSlots - 1, name, "pages"));
  GATUN_TRY(check_field(l.page_size, 1, kMaxSlots - 1, name, "page_size"));
  if (l.pages > (kMaxSlots - 1) / l.page_size) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.pages = %lld of %lld rows; allowed: less than 2^59 rows in all", name,
                LongLong{l.pages}, LongLong{l.page_size});
  }
  GATUN_TRY(check_group(l, name));
  const int64_t rows = scale_rows(l);
  if (rows == 0) l.scale_page_stride = l.scale_head_stride = l.scale_row_stride = 0;
  for (const auto& [stride, field] : {std::pair{&l.page_stride, "page_stride"},
                                      {&l.head_stride, "head_stride"},
                                      {&l.row_stride, "row_stride"},
                                      {&l.scale_page_stride, "scale_page_stride"},
                                      {&l.scale_head_stride, "scale_head_stride"},
                                      {&l.scale_row_stride, "scale_row_stride"}}) {
    GATUN_TRY(check_field(*stride, 0, INT64_MAX, name, field));
  }
  attention::settle({{l.pages, &l.page_stride}, {l.heads, &l.head_stride}, {l.page_size, &l.row_stride}});
  attention::settle({{l.pages, &l.scale_page_stride}, {l.heads, &l.scale_head_stride}, {rows, &l.scale_row_stride}});
  const int64_t element = dtype_bytes(l.dtype, 1);
  GATUN_TRY(check_multiple_of(l.page_stride, element, name, "page_stride"));
  GATUN_TRY(check_multiple_of(l.head_stride, element, name, "head_stride"));
  return check_multiple_of(l.row_stride, element, name, "row_stride");
}

int32_t check_pool(const Layout& l, const PoolNames& names, const void* rows, const void* scales, const void* zeros,
                   bool output, Buffer* buffers) {
  const bool scaled = l.scaling != GATUN_KV_UNSCALED, zero_points = l.zero_point != GATUN_ZERO_NONE;
  GATUN_TRY(check_absent(scaled, scales, names.scales, "the layout's rows are of values"));
  GATUN_TRY(check_absent(zero_points, zeros, names.zeros, "the layout's zero_point is GATUN_ZERO_NONE"));
  const auto& [page, head, row] = names.strides;
  const attention::Tensor of_rows = {
      names.rows,
      rows,
      {{l.pages, l.page_stride, page}, {l.heads, l.head_stride, head}, {l.page_size, l.row_stride, row}},
      row_bytes(l),
      1,
      output};
  GATUN_TRY(attention::check_needed(of_rows, ""));
  GATUN_TRY(attention::check_tensor(of_rows, &buffers[0]));
  buffers[0].element_bytes = dtype_bytes(l.dtype, 1);
  buffers[0].columns /= buffers[0].element_bytes;

  const auto& [scale_page, scale_head, scale_row] = names.scale_strides;
  attention::Tensor of_scales = {names.scales,
                                 scales,
                                 {{l.pages, l.scale_page_stride, scale_page},
                                  {l.heads, l.scale_head_stride, scale_head},
                                  {scale_rows(l), l.scale_row_stride, scale_row}},
                                 scales_of_row(l),
                                 2,
                                 output};
  if (scaled) GATUN_TRY(attention::check_needed(of_scales, ""));
  GATUN_TRY(attention::check_tensor(of_scales, &buffers[1]));
  of_scales.name = names.zeros;
  of_scales.address = zeros;
  if (zero_points) GATUN_TRY(attention::check_needed(of_scales, ""));
  return attention::check_tensor(of_scales, &buffers[2]);
}

}  // namespace gatun::kv_cache
