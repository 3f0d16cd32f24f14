// gatun_requantize: codes of 8 bits read as fewer.
#include <cmath>

#include "base/check.h"
#include "base/dtype.h"
#include "calibrate/blocks.h"
#include "calibrate/table.h"
#include "gatun/calibrate.h"
#include "simd/float_mode.h"

namespace gatun::calibrate {
namespace {

using LongLong = long long;

// Codes that are made together: rows begin with whole bytes every so many codes.
constexpr int64_t kChunk = 4096;

int32_t check_params(const gatun_quantize_params* params, int32_t bits) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  const gatun_quantize_params& p = *params;
  if (bits != 6 && bits != 4 && bits != 2) {
    return fail(GATUN_INVALID_ARGUMENT, "bits = %d; allowed: 6, 4, 2", bits);
  }
  GATUN_TRY(check_dtype(p.code_dtype, {GATUN_I8, GATUN_U8}, "params.code_dtype"));
  const bool is_signed = p.code_dtype == GATUN_I8;
  GATUN_TRY(check_range(p.zero_point, is_signed ? GATUN_ZERO_NONE : GATUN_ZERO_INTEGER,
                        is_signed ? GATUN_ZERO_NONE : GATUN_ZERO_FLOAT, "params.zero_point"));
  GATUN_TRY(check_dtype(p.scale_dtype, {GATUN_F32, GATUN_F16}, "params.scale_dtype"));
  GATUN_TRY(check_range(p.book, GATUN_BOOK_NONE, GATUN_BOOK_NONE, "params.book"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.rows, 0, INT64_MAX, "params.rows"));
  GATUN_TRY(check_range(p.depth, 0, INT64_MAX, "params.depth"));
  GATUN_TRY(check_range(p.group_rows, 1, 1, "params.group_rows"));
  if (p.group != p.depth && (p.group < 16 || p.group > p.depth)) {
    return fail(GATUN_INVALID_ARGUMENT, "params.group = %lld with params.depth = %lld; allowed: 16..depth, or depth",
                LongLong{p.group}, LongLong{p.depth});
  }
  return GATUN_OK;
}

// A scale times 2^shift, which is exact unless it overflows its type.
float shifted(const gatun_quantize_params& p, int shift, const void* scales, int64_t index) {
  const float factor = static_cast<float>(1 << shift);
  if (p.scale_dtype == GATUN_F32) return static_cast<const float*>(scales)[index] * factor;
  return f16_to_f32(f32_to_f16(f16_to_f32(static_cast<const uint16_t*>(scales)[index]) * factor));
}

int32_t check_shifted(const gatun_quantize_params& p, int shift, int64_t count, const void* scales) {
  for (int64_t i = 0; i < count; ++i) {
    if (std::isfinite(shifted(p, shift, scales, i))) continue;
    return fail(GATUN_INVALID_ARGUMENT, "scales[%lld] * %d is not finite in %s; allowed: finite values", LongLong{i},
                1 << shift, dtype_name(p.scale_dtype));
  }
  return GATUN_OK;
}

void shift_scales(const gatun_quantize_params& p, int shift, int64_t count, const void* scales, void* out) {
  for (int64_t i = 0; i < count; ++i) {
    const float scale = shifted(p, shift, scales, i);
    if (p.scale_dtype == GATUN_F32) {
      static_cast<float*>(out)[i] = scale;
    } else {
      static_cast<uint16_t*>(out)[i] = f32_to_f16(scale);
    }
  }
}

// Halves to even.
int narrow_zero_point(int zero_point, int shift, int most) {
  return std::min(static_cast<int>(std::nearbyint(std::ldexp(zero_point, -shift))), most);
}

void shift_zero_points(const gatun_quantize_params& p, int bits, int64_t count, const void* zero_points, void* out) {
  for (int64_t i = 0; i < count; ++i) {
    if (p.zero_point == GATUN_ZERO_FLOAT) {
      static_cast<float*>(out)[i] = static_cast<const float*>(zero_points)[i];
    } else {
      static_cast<uint8_t*>(out)[i] = static_cast<uint8_t>(
          narrow_zero_point(static_cast<const uint8_t*>(zero_points)[i], 8 - bits, (1 << bits) - 1));
    }
  }
}

struct Call {
  const gatun_quantize_params& p;
  const CodeKernel& kernel;
  int bits;
  const uint8_t* codes;
  const uint8_t* zero_points;  // of integer zero points, otherwise null
  uint8_t* out;
  int64_t groups, out_row_bytes;

  Narrowing narrowing(int64_t row, int64_t column) const {
    const int most = (1 << bits) - 1, shift = 8 - bits;
    const float factor = 1.0f / static_cast<float>(1 << shift);
    if (zero_points != nullptr) {
      const int zero = zero_points[row * groups + column / p.group];
      return {static_cast<float>(zero), factor, static_cast<float>(narrow_zero_point(zero, shift, most)), 0,
              static_cast<float>(most)};
    }
    if (p.code_dtype == GATUN_U8) return {0, factor, 0, 0, static_cast<float>(most)};
    const float half = static_cast<float>((most + 1) / 2);
    if (bits == 6) return {0, factor, 0, -half, half - 1};
    return {0, factor, half, 0, static_cast<float>(most)};
  }

  // Codes [column, end) of a row, at most kChunk of them.
  void narrow(int64_t row, int64_t column, int64_t end) const {
    uint8_t bytes[kChunk + kJoinRoom];
    uint8_t* to = out + row * out_row_bytes + column * (bits == 6 ? 8 : bits) / 8;
    uint8_t* at = bits == 6 ? to : bytes;
    for (int64_t k = column; k < end;) {
      const int64_t stop = zero_points == nullptr ? end : std::min(end, (k / p.group + 1) * p.group);
      kernel.narrow(narrowing(row, k), codes + row * p.depth + k, stop - k, at + (k - column));
      k = stop;
    }
    if (bits != 6) kernel.join(bytes, end - column, bits, to);
  }
};

}  // namespace

int32_t run_requantize(Tier limit, const gatun_quantize_params* params, int32_t bits, const void* codes,
                       const void* scales, const void* zero_points, void* out_codes, void* out_scales,
                       void* out_zero_points) {
  GATUN_TRY(check_params(params, bits));
  const gatun_quantize_params& p = *params;
  const int64_t groups = p.depth == 0 ? 0 : blocks_of(p.depth, p.group);
  const int32_t out_dtype = bits == 4 ? int{GATUN_U4} : bits == 2 ? int{GATUN_U2} : p.code_dtype;
  const int64_t row_bytes = dtype_bytes(out_dtype, p.depth), scale_bytes = dtype_bytes(p.scale_dtype, 1);
  const bool with_zeros = p.zero_point != GATUN_ZERO_NONE;
  const int64_t zero_columns = with_zeros ? groups : 0, zero_bytes = p.zero_point == GATUN_ZERO_FLOAT ? 4 : 1;
  constexpr char kWhyAbsent[] = "params.zero_point = 0";
  GATUN_TRY(check_absent(with_zeros, zero_points, "zero_points", kWhyAbsent));
  GATUN_TRY(check_absent(with_zeros, out_zero_points, "out_zero_points", kWhyAbsent));
  Buffer buffers[] = {{"codes", codes, p.rows, p.depth, p.depth, 1, false},
                      {"scales", scales, p.rows, groups, groups, scale_bytes, false},
                      {"zero_points", zero_points, p.rows, zero_columns, groups, zero_bytes, false},
                      {"out_codes", out_codes, p.rows, row_bytes, row_bytes, 1, true},
                      {"out_scales", out_scales, p.rows, groups, groups, scale_bytes, true},
                      {"out_zero_points", out_zero_points, p.rows, zero_columns, groups, zero_bytes, true}};
  GATUN_TRY(check_buffers(buffers));
  if (p.rows == 0 || p.depth == 0) return GATUN_OK;
  {
    const DefaultFloatMode mode;  // as in a loop's body
    GATUN_TRY(check_shifted(p, 8 - bits, p.rows * groups, scales));
    shift_scales(p, 8 - bits, p.rows * groups, scales, out_scales);
    if (with_zeros) shift_zero_points(p, bits, p.rows * groups, zero_points, out_zero_points);
  }
  const Call call{p,
                  *code_table().select(p.code_dtype, 0, limit).kernel,
                  bits,
                  static_cast<const uint8_t*>(codes),
                  p.zero_point == GATUN_ZERO_INTEGER ? static_cast<const uint8_t*>(zero_points) : nullptr,
                  static_cast<uint8_t*>(out_codes),
                  groups,
                  row_bytes};
  const int64_t chunks = blocks_of(p.depth, kChunk);
  parallel_for(p.rows * chunks, useful_threads(p.threads, p.rows * chunks, p.rows * p.depth, kGrainBytes),
               [&](int64_t begin, int64_t end) {
                 for (int64_t unit = begin; unit < end; ++unit) {
                   const int64_t column = unit % chunks * kChunk;
                   call.narrow(unit / chunks, column, std::min(column + kChunk, p.depth));
                 }
               });
  return GATUN_OK;
}

}  // namespace gatun::calibrate

int32_t gatun_requantize(const gatun_quantize_params* params, int32_t bits, const void* codes, const void* scales,
                         const void* zero_points, void* out_codes, void* out_scales, void* out_zero_points) {
  return gatun::calibrate::run_requantize(gatun::active_tier(), params, bits, codes, scales, zero_points, out_codes,
                                          out_scales, out_zero_points);
}
