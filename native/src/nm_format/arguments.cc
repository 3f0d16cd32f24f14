// What arguments are, and checks that look at no data: libgatun_cuda has them, too.
#include <algorithm>

#include "base/check.h"
#include "base/status.h"
#include "nm_format/check.h"

namespace gatun::nm_format {

using LongLong = long long;

Buffer dense_buffer(const Layout& l, const char* name, const void* address, bool output) {
  return {name, address, l.columns, l.dense_row / l.element, l.dense_row / l.element, l.element, output};
}
Buffer values_buffer(const Layout& l, const void* address, bool output) {
  return {"values", address, l.columns, l.values_row / l.element, l.values_row / l.element, l.element, output};
}
Buffer indices_buffer(const Layout& l, const void* address, bool output) {
  return {"indices", address, l.vectors, l.indices_row, l.indices_row, 1, output};
}
Buffer mask_buffer(const Layout& l, const void* address, bool output) {
  return {"mask", address, l.columns, l.mask_row, l.mask_row, 1, output};
}

ZeroPoints::ZeroPoints(const gatun_nm_format& format, const uint8_t* codes)
    : codes_(codes),
      columns_(codes == nullptr ? 0 : format.columns),
      depth_(format.depth),
      group_(codes == nullptr ? std::max<int64_t>(format.depth, 1) : std::max<int64_t>(format.group, 1)),
      groups_(blocks_of(format.depth, group_)) {}

int ZeroPoints::at(int64_t row, int64_t k) const {
  return codes_ == nullptr ? 8 : codes_[row * groups_ + std::min(k, depth_ - 1) / group_];
}

int32_t ZeroPoints::check_format(const gatun_nm_format& format) const {
  if (codes_ == nullptr) return GATUN_OK;
  GATUN_TRY(check_absent(format.value_dtype == GATUN_U4, codes_, "zero_points", "format.value_dtype is not U4"));
  if (format.group == format.depth || (format.group >= 16 && format.group < format.depth)) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "format.group = %lld; allowed: 16..depth, or depth = %lld",
              LongLong{format.group}, LongLong{format.depth});
}

Buffer ZeroPoints::buffer() const { return {"zero_points", codes_, columns_, groups_, groups_, 1, false}; }

int32_t check_prune(const gatun_nm_format& f, const gatun_prune_params& p) {
  const bool transposable = p.pattern == GATUN_PATTERN_TRANSPOSABLE;
  if (!transposable && p.pattern != GATUN_PATTERN_NM) {
    return fail(GATUN_INVALID_ARGUMENT, "prune.pattern = %d; allowed: NM (0), TRANSPOSABLE (1)", p.pattern);
  }
  const struct {
    const char* name;
    int64_t given, expected;
  } fields[] = {
      {"prune.w_dtype", p.w_dtype, f.value_dtype},
      {"prune.columns", p.columns, f.columns},
      {"prune.depth", p.depth, f.depth},
      {transposable ? "format.n (with TRANSPOSABLE)" : "prune.n", transposable ? f.n : p.n, transposable ? 2 : f.n},
      {transposable ? "format.m (with TRANSPOSABLE)" : "prune.m", transposable ? f.m : p.m, transposable ? 4 : f.m},
      {transposable ? "format.vector (with TRANSPOSABLE)" : "prune.vector", transposable ? f.vector : p.vector,
       transposable ? 1 : f.vector},
  };
  for (const auto& field : fields) {
    if (field.given == field.expected) continue;
    return fail(GATUN_INVALID_ARGUMENT, "%s = %lld; allowed: %lld%s", field.name, LongLong{field.given},
                LongLong{field.expected}, field.name[0] == 'p' ? ", as in format" : "");
  }
  return GATUN_OK;
}

}  // namespace gatun::nm_format
