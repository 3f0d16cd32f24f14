// gatun_qmatmul and gatun_qmatmul_scaled on packed weights, whole and tampered with.
#include "gatun/qmatmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "base/dtype.h"
#include "product.h"
#include "qmatmul/layout.h"
#include "qmatmul/reference.h"
#include "weights.h"

namespace gatun::fuzz {
namespace {

// With scales, x is quantized already.
gatun_qmatmul_params params_from(Input& input, const gatun_qmatmul_weights& w, bool scaled) {
  if (scaled && input.range(0, 1) == 0) {
    return product_from(input, {GATUN_I8}, {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP}, w.columns, w.depth);
  }
  if (scaled) return product_from(input, {GATUN_F8E4M3, GATUN_F8E5M2}, {GATUN_QMATMUL_BF16}, w.columns, w.depth);
  return product_from(input, {GATUN_F32, GATUN_BF16},
                      {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_PRECISE, GATUN_QMATMUL_BF16},
                      w.columns, w.depth);
}

bool documented_valid(const gatun_qmatmul_params& p, const gatun_qmatmul_weights& w, bool with_residual, bool scaled) {
  if (scaled && p.x_dtype == GATUN_I8) {
    return documented_product(p, {GATUN_I8}, GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, w.columns, w.depth,
                              with_residual);
  }
  if (scaled) {
    return documented_product(p, {GATUN_F8E4M3, GATUN_F8E5M2}, GATUN_QMATMUL_BF16, GATUN_QMATMUL_BF16, w.columns,
                              w.depth, with_residual);
  }
  return documented_product(p, {GATUN_F32, GATUN_BF16}, GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_BF16, w.columns, w.depth,
                            with_residual);
}

// The scales of x, as the fuzzer wants them.
struct XScales {
  int64_t group, row_stride;

  XScales(Input& input, const gatun_qmatmul_weights& w)
      : group(input.rarely()           ? input.size()
              : input.range(0, 1) == 0 ? w.depth
                                       : w.group),
        row_stride(input.range(0, 2) == 0 ? 0 : input.stride(count(w))) {}
  int64_t count(const gatun_qmatmul_weights& w) const {
    return w.depth == 0 ? 0 : group == w.depth ? 1 : (w.depth - 1) / w.group + 1;
  }
  bool documented_valid(const gatun_qmatmul_params& p, const gatun_qmatmul_weights& w) const {
    const bool of_row = group == w.depth && p.mode != GATUN_QMATMUL_INT8_GROUP;
    const bool of_group = group == w.group && p.mode != GATUN_QMATMUL_INT8_ROW;
    return (of_row || of_group) && (row_stride == 0 || p.rows < 2 || row_stride >= count(w));
  }
};

// Codes of small floats, or of I8; what stands for NaN or infinity only among special values.
void fill_codes(Buffer& x, int32_t dtype, test::Rng& rng, Values kind) {
  x.fill_integers(rng, 0, 255);
  if (dtype == GATUN_I8) {
    for (int64_t i = 0; i < x.bytes(); ++i) {
      if (kind != Values::special && x.data()[i] == 0x80) x.data()[i] = 0;
    }
    return;
  }
  constexpr uint8_t kFinite = 0xf7;  // an exponent below the highest, in E4M3 and in E5M2
  for (int64_t i = 0; i < x.bytes(); ++i) {
    if (kind != Values::special || rng.integer(0, 99) != 0) x.data()[i] &= kFinite;
  }
}

double steps_of(const gatun_qmatmul_params& p, const gatun_qmatmul_weights& w) {
  const double depth = static_cast<double>(w.depth), pieces = static_cast<double>(qmatmul::Layout(w).pieces());
  return p.mode == GATUN_QMATMUL_PRECISE ? depth : p.mode == GATUN_QMATMUL_BF16 ? depth / 2 + 2 * pieces : 2 * pieces;
}

}  // namespace

void fuzz_qmatmul(Input& input) {
  gatun_qmatmul_weights w = weights_from(input);
  w.struct_size = sizeof(w);
  if (!documented_valid(w)) return;  // fuzz_pack tries these
  Planes planes(w);
  int64_t packed_bytes = 0;
  if (!planes.affordable || gatun_qmatmul_packed_bytes(&w, &packed_bytes) != GATUN_OK || packed_bytes > 4 * kMaxBytes) {
    return;
  }
  planes.fill(input, w);
  std::vector<uint8_t> bytes(static_cast<size_t>(packed_bytes));
  check_status(planes.pack(w, bytes.data(), packed_bytes), true, "gatun_qmatmul_pack");
  const bool tampered = input.range(0, 3) == 0;
  if (tampered) tamper(input, bytes);
  Buffer packed(static_cast<int64_t>(bytes.size()));
  std::memcpy(packed.data(), bytes.data(), bytes.size());

  // What the buffer says it is now, and the weights that it then holds.
  gatun_qmatmul_weights now = w;
  bool packed_valid = true, as_packed = true;
  if (tampered) {
    packed_valid = gatun_qmatmul_describe(packed.data(), packed.bytes(), &now) == GATUN_OK;
    if (packed_valid) {
      planes = Planes(now);
      if (!documented_valid(now) || !planes.affordable) defect("gatun_qmatmul_describe accepted what cannot fit");
      check_status(planes.unpack(now, packed.data(), packed.bytes()), true, "gatun_qmatmul_unpack");
      // Not all bytes that a packed form may hold are what unpacking gives back.
      std::vector<uint8_t> again(bytes.size());
      as_packed = planes.pack(now, again.data(), packed.bytes()) == GATUN_OK && again == bytes;
    }
  }

  const bool scaled = input.range(0, 3) == 0;
  const gatun_qmatmul_params p = params_from(input, now, scaled);
  const XScales scales(input, now);
  const bool with_bias = input.range(0, 1) == 1, with_residual = input.range(0, 1) == 1;
  bool valid =
      packed_valid && documented_valid(p, now, with_residual, scaled) && (!scaled || scales.documented_valid(p, now));
  int64_t scale_bytes = 1;
  if (valid) {
    const int64_t scale_rows = scales.row_stride == 0 && p.rows > 1 ? 1 : p.rows;
    scale_bytes = extent(scaled ? scale_rows : 0, scales.count(now), scales.row_stride, 1, 4);
    if (scale_bytes == kUnaffordable) return;
    valid = scale_bytes != kImpossible;
  }
  ProductData data(p, with_bias, with_residual, &valid);
  if (!data.affordable) return;
  Buffer &x = data.x, &y = data.y, &residual = data.residual, x_scales(valid ? scale_bytes : 1);
  test::Rng rng = input.rng();
  const Values kind = values(input);
  if (valid) {
    scaled ? fill_codes(x, p.x_dtype, rng, kind) : x.fill_floats(rng, p.x_dtype, kind);
    x_scales.fill_floats(rng, GATUN_F32, kind);
    data.fill(p, rng);
  }
  valid = data.spoil(input, scaled) && valid;
  x_scales.spoil(input);
  if (scaled && x_scales.bytes() > 0 && (x_scales.is_null() || x_scales.misaligned())) valid = false;
  const bool in_place = valid && with_residual && p.residual_row_stride == p.y_row_stride && input.range(0, 3) == 0;
  const Buffer& addend = in_place ? y : residual;

  qmatmul::Reference reference;
  const float* bias_at = data.bias_at();
  const void* residual_at = with_residual ? addend.data() : nullptr;
  const float* x_scales_at = reinterpret_cast<const float*>(x_scales.data());
  const bool supported = packed_valid && documented_mode(stands_for_integers(now, packed.data()), p.mode);
  const bool compare =
      valid && supported && (moderate(kind) || kind == Values::special) && as_packed && planes.numbers_below(16, now);
  if (compare) {
    reference = qmatmul::reference(
        p, x.data(),
        {now, planes.codes.data(), planes.scales.data(), planes.zero_points_of(now), planes.book_of(now),
         planes.codes.data()},
        bias_at, residual_at,
        scaled ? qmatmul::ReferenceScales{x_scales_at, scales.group, scales.row_stride} : qmatmul::ReferenceScales{});
  }
  const std::vector<uint8_t> before = y.copy();
  const int32_t status =
      scaled ? gatun_qmatmul_scaled(&p, scales.group, x.data(), x_scales_at, scales.row_stride, packed.data(),
                                    packed.bytes(), bias_at, residual_at, y.data())
             : gatun_qmatmul(&p, x.data(), packed.data(), packed.bytes(), bias_at, residual_at, y.data());
  if (status == GATUN_UNSUPPORTED ? supported : valid && !supported) defect("mode %d: status %d", p.mode, status);
  if (status != GATUN_UNSUPPORTED) check_status(status, valid, "gatun_qmatmul");
  if (status != GATUN_OK && y.copy() != before) defect("gatun_qmatmul failed and wrote y");
  if (status == GATUN_OK && compare && y.bytes() > 0) {
    check_product("gatun_qmatmul", p, {reference.y, reference.magnitude, reference.fixed_point, steps_of(p, now)},
                  before, y.copy());
  }

  if (scaled) return;
  char text[2048];
  const int32_t explained = gatun_qmatmul_explain(&p, packed.data(), packed.bytes(), text, sizeof(text));
  if (status == GATUN_OK && explained != GATUN_OK) defect("no explanation: %s", gatun_last_error());
}

}  // namespace gatun::fuzz
