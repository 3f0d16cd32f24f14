// gatun_qmatmul_pack and its inverse: the writer and the reader of layout.h.
#include <cmath>
#include <cstdio>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/huge_pages.h"
#include "base/parallel.h"
#include "base/status.h"
#include "qmatmul/layout.h"

namespace gatun::qmatmul {
namespace {

// The caller's form of the weights, as gatun_quantize writes it. T is uint8_t or const uint8_t.
template <typename T>
struct Planes {
  T* codes;
  T* scales;
  T* zero_points;
};

// Bytes of the planes of a description.
struct PlaneSizes {
  int64_t codes, scales, zero_points;

  explicit PlaneSizes(const gatun_qmatmul_weights& weights, const Layout& layout)
      : codes(weights.columns * dtype_bytes(weights.code_dtype, weights.depth)),
        scales(weights.columns * layout.groups() * dtype_bytes(weights.scale_dtype, 1)),
        zero_points((layout.offset_kind() == OffsetKind::u8) ? weights.columns * layout.groups() : 0) {}
};

int32_t check_planes(const void* codes, const void* scales, const void* zero_points, const PlaneSizes& sizes,
                     const gatun_qmatmul_weights& weights, const void* packed, int64_t packed_bytes) {
  if (sizes.codes > 0) {
    GATUN_TRY(check_not_null(codes, "codes"));
    GATUN_TRY(check_not_null(scales, "scales"));
    GATUN_TRY(check_aligned(scales, dtype_bytes(weights.scale_dtype, 1), "scales"));
    if (sizes.zero_points > 0) GATUN_TRY(check_not_null(zero_points, "zero_points"));
  }
  if (sizes.zero_points == 0 && weights.zero_point == 0 && zero_points != nullptr) {
    return fail(GATUN_INVALID_ARGUMENT, "zero_points is not null; allowed with symmetric weights: null");
  }
  GATUN_TRY(check_disjoint(packed, packed_bytes, "packed", codes, sizes.codes, "codes"));
  GATUN_TRY(check_disjoint(packed, packed_bytes, "packed", scales, sizes.scales, "scales"));
  return check_disjoint(packed, packed_bytes, "packed", zero_points, sizes.zero_points, "zero_points");
}

// Values that no quantizer makes and that kernels could not bear.
int32_t check_values(const gatun_qmatmul_weights& weights, const Planes<const uint8_t>& from, const PlaneSizes& sizes) {
  const auto at = [](int64_t i, int64_t row_length, const char* name, const char* value) {
    return fail(GATUN_INVALID_ARGUMENT, "%s[%lld][%lld] = %s", name, static_cast<long long>(i / row_length),
                static_cast<long long>(i % row_length), value);
  };
  const int64_t groups = Layout(weights).groups();
  const int64_t scale_bytes = dtype_bytes(weights.scale_dtype, 1);
  for (int64_t i = 0; i < weights.columns * groups; ++i) {
    uint16_t half;
    float scale;
    if (weights.scale_dtype == GATUN_F16) {
      std::memcpy(&half, from.scales + i * scale_bytes, sizeof(half));
      scale = f16_to_f32(half);
    } else {
      std::memcpy(&scale, from.scales + i * scale_bytes, sizeof(scale));
    }
    if (std::fabs(scale) <= 0x1p64f) continue;
    char value[64];
    if (std::isfinite(scale)) {
      std::snprintf(value, sizeof(value), "%g; allowed: finite, -2^64..2^64", static_cast<double>(scale));
    } else {
      std::snprintf(value, sizeof(value), "%s; allowed: finite, -2^64..2^64", std::isnan(scale) ? "NaN" : "infinity");
    }
    return at(i, groups, "scales", value);
  }
  if (weights.code_dtype == GATUN_U4) {
    for (int64_t i = 0; i < sizes.zero_points; ++i) {
      if (from.zero_points[i] > 15) return at(i, groups, "zero_points", "more than 15; allowed with U4: 0..15");
    }
  }
  if (weights.code_dtype == GATUN_I8 && sizes.codes > 0) {
    if (const void* found = std::memchr(from.codes, 0x80, static_cast<size_t>(sizes.codes))) {
      return at(static_cast<const uint8_t*>(found) - from.codes, weights.depth, "codes", "-128; allowed: -127..127");
    }
  }
  return GATUN_OK;
}

int32_t check_packable(const gatun_qmatmul_weights& weights) {
  const Layout layout(weights);
  if (layout.table_bytes() == 0 && layout.scale_bytes() > 1 && layout.offset_bytes() < 2 && weights.group_rows == 1 &&
      weights.code_dtype != GATUN_U2 && weights.gguf_type == 0) {
    return GATUN_OK;
  }
  return fail(GATUN_UNSUPPORTED, "these weights cannot be packed");
}

// Visits every field of the packed form once: code(packed group, R, row, depth in the group, plane row, depth) and
// copy(packed field, plane field, bytes). The only place that knows both orders; packing and unpacking differ in the
// direction of the copy.
template <typename T, typename P, typename Code, typename Copy>
void walk(const Layout& layout, P* packed, const Planes<T>& planes, Code code, Copy copy) {
  const int64_t groups = layout.groups(), depth = layout.depth();
  if (groups == 0) return;  // any number of columns without a byte
  const int64_t row_code_bytes = layout.four_bits() ? (depth + 1) / 2 : depth;
  const int64_t scale_bytes = layout.scale_bytes();
  const auto walk_column = [&](int64_t n) {
    const int64_t panel = n / kPanelRows, row = n % kPanelRows;
    const int64_t rows = layout.panel_rows(panel);
    P* base = packed + layout.panel_offset(panel);
    for (int64_t g = 0; g < groups; ++g) {
      P* codes = base + rows * layout.group_offset(g);
      const int64_t valid = layout.group_depth(g);
      for (int64_t k = 0; k < valid; ++k) {
        code(codes, rows, row, k, planes.codes + n * row_code_bytes, g * layout.group() + k);
      }
      P* scales = base + rows * layout.scales_offset(g);
      copy(scales + row * scale_bytes, planes.scales + (n * groups + g) * scale_bytes, scale_bytes);
      if ((layout.offset_kind() == OffsetKind::u8))
        copy(scales + rows * scale_bytes + row, planes.zero_points + n * groups + g, int64_t{1});
    }
  };
  const int32_t threads = useful_threads(0, layout.columns(), layout.columns() * depth, 1 << 16);
  parallel_for(layout.columns(), threads, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) walk_column(n);
  });
}

// Where depth k of a row's group lies: the byte, and the shift of its nibble.
int64_t code_byte(bool four_bits, int64_t rows, int64_t row, int64_t k) {
  return four_bits ? (k / 8 * rows + row) * 4 + k % 4 : (k / 4 * rows + row) * 4 + k % 4;
}
int code_shift(int64_t k) { return k % 8 < 4 ? 0 : 4; }

}  // namespace
}  // namespace gatun::qmatmul

using namespace gatun;
using namespace gatun::qmatmul;

int32_t gatun_qmatmul_packed_bytes(const gatun_qmatmul_weights* weights, int64_t* bytes) {
  GATUN_TRY(check_weights(weights, "weights"));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = Layout(*weights).bytes();
  return GATUN_OK;
}

int32_t gatun_qmatmul_pack(const gatun_qmatmul_weights* weights, const void* codes, const float*, const void* scales,
                           const void* zero_points, void* packed, int64_t packed_bytes) {
  GATUN_TRY(check_weights(weights, "weights"));
  GATUN_TRY(check_packable(*weights));
  GATUN_TRY(check_not_null(packed, "packed"));
  const Layout layout(*weights);
  if (packed_bytes < layout.bytes()) {
    return fail(GATUN_INVALID_ARGUMENT, "packed_bytes = %lld; these weights need %lld",
                static_cast<long long>(packed_bytes), static_cast<long long>(layout.bytes()));
  }
  const PlaneSizes sizes(*weights, layout);
  GATUN_TRY(check_planes(codes, scales, zero_points, sizes, *weights, packed, layout.bytes()));
  const Planes<const uint8_t> from{static_cast<const uint8_t*>(codes), static_cast<const uint8_t*>(scales),
                                   static_cast<const uint8_t*>(zero_points)};
  GATUN_TRY(check_values(*weights, from, sizes));

  prefer_huge_pages(packed, layout.bytes());
  uint8_t* to = static_cast<uint8_t*>(packed);
  std::memset(to, 0, static_cast<size_t>(layout.bytes()));
  const PackedHeader header = header_of(*weights, layout);
  std::memcpy(to, &header, sizeof(header));
  const bool four_bits = layout.four_bits();
  const int offset = layout.code_offset();
  walk(
      layout, to, from,
      [=](uint8_t* group, int64_t rows, int64_t row, int64_t k, const uint8_t* plane_row, int64_t plane_k) {
        uint8_t& byte = group[code_byte(four_bits, rows, row, k)];
        if (four_bits) {
          const int code = plane_row[plane_k / 2] >> (plane_k % 2 * 4) & 15;
          byte = static_cast<uint8_t>(byte | code << code_shift(k));
        } else {
          byte = static_cast<uint8_t>(plane_row[plane_k] + offset);
        }
      },
      [](uint8_t* packed_field, const uint8_t* plane_field, int64_t size) {
        std::memcpy(packed_field, plane_field, static_cast<size_t>(size));
      });
  return GATUN_OK;
}

int32_t gatun_qmatmul_describe(const void* packed, int64_t packed_bytes, gatun_qmatmul_weights* weights) {
  GATUN_TRY(check_not_null(weights, "weights"));
  PackedWeights read;
  GATUN_TRY(read_header(packed, packed_bytes, &read));
  *weights = read.description;
  return GATUN_OK;
}

int32_t gatun_qmatmul_unpack(const gatun_qmatmul_weights* expected, const void* packed, int64_t packed_bytes,
                             void* codes, float*, void* scales, void* zero_points) {
  GATUN_TRY(check_weights(expected, "weights"));
  GATUN_TRY(check_packable(*expected));
  PackedWeights read;
  GATUN_TRY(read_header(packed, packed_bytes, &read));
  const gatun_qmatmul_weights& weights = read.description;
  if (std::memcmp(expected, &weights, sizeof(weights)) != 0) {
    return fail(
        GATUN_INVALID_ARGUMENT,
        "packed holds [%lld, %lld] %s in groups of %lld; allowed: what weights says, [%lld, %lld] %s in groups of %lld",
        static_cast<long long>(weights.columns), static_cast<long long>(weights.depth), dtype_name(weights.code_dtype),
        static_cast<long long>(weights.group), static_cast<long long>(expected->columns),
        static_cast<long long>(expected->depth), dtype_name(expected->code_dtype),
        static_cast<long long>(expected->group));
  }
  const Layout layout(weights);
  const PlaneSizes sizes(weights, layout);
  GATUN_TRY(check_planes(codes, scales, zero_points, sizes, weights, packed, layout.bytes()));
  GATUN_TRY(check_disjoint(codes, sizes.codes, "codes", scales, sizes.scales, "scales"));
  GATUN_TRY(check_disjoint(codes, sizes.codes, "codes", zero_points, sizes.zero_points, "zero_points"));
  GATUN_TRY(check_disjoint(scales, sizes.scales, "scales", zero_points, sizes.zero_points, "zero_points"));
  const Planes<uint8_t> to{static_cast<uint8_t*>(codes), static_cast<uint8_t*>(scales),
                           static_cast<uint8_t*>(zero_points)};
  if (sizes.codes > 0) std::memset(to.codes, 0, static_cast<size_t>(sizes.codes));
  const bool four_bits = layout.four_bits();
  const int offset = layout.code_offset();
  walk(
      layout, static_cast<const uint8_t*>(packed), to,
      [=](const uint8_t* group, int64_t rows, int64_t row, int64_t k, uint8_t* plane_row, int64_t plane_k) {
        const uint8_t byte = group[code_byte(four_bits, rows, row, k)];
        if (four_bits) {
          uint8_t& pair = plane_row[plane_k / 2];
          pair = static_cast<uint8_t>(pair | (byte >> code_shift(k) & 15) << (plane_k % 2 * 4));
        } else {
          plane_row[plane_k] = static_cast<uint8_t>(byte - offset);
        }
      },
      [](const uint8_t* packed_field, uint8_t* plane_field, int64_t size) {
        std::memcpy(plane_field, packed_field, static_cast<size_t>(size));
      });
  return GATUN_OK;
}

int32_t gatun_qmatmul_pack_gguf(const gatun_qmatmul_weights* weights, const void*, void*, int64_t) {
  GATUN_TRY(check_weights(weights, "weights"));
  return fail(GATUN_UNSUPPORTED, "GGUF blocks cannot be packed");
}

int32_t gatun_qmatmul_unpack_gguf(const gatun_qmatmul_weights* weights, const void*, int64_t, void*) {
  GATUN_TRY(check_weights(weights, "weights"));
  return fail(GATUN_UNSUPPORTED, "GGUF blocks cannot be unpacked");
}
