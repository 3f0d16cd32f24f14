// gatun_qmatmul and gatun_qmatmul_scaled on packed weights, whole and tampered with.
#include "gatun/qmatmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "base/dtype.h"
#include "qmatmul/layout.h"
#include "qmatmul/reference.h"
#include "weights.h"

namespace gatun::fuzz {
namespace {

// Multiply-adds that the reference is asked for.
constexpr int64_t kMaxWork = 1 << 18;

gatun_qmatmul_params params_from(Input& input, const gatun_qmatmul_weights& w, bool scaled) {
  gatun_qmatmul_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.x_dtype = scaled ? input.choice({GATUN_F8E4M3, GATUN_F8E5M2}) : input.choice({GATUN_F32, GATUN_BF16});
  p.y_dtype = input.choice({GATUN_F32, GATUN_BF16});
  p.mode =
      scaled
          ? input.choice({GATUN_QMATMUL_BF16})
          : input.choice({GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_PRECISE, GATUN_QMATMUL_BF16});
  p.activation = input.choice({GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_RELU,
                               GATUN_ACTIVATION_GELU, GATUN_ACTIVATION_GELU_TANH, GATUN_ACTIVATION_SILU});
  p.threads = input.choice({0, 1, 2, 3});
  p.rows = input.size();
  p.columns = input.rarely() ? input.size() : w.columns;
  p.depth = input.rarely() ? input.size() : w.depth;
  p.x_row_stride = input.stride(w.depth);
  p.y_row_stride = input.stride(w.columns);
  p.residual_row_stride = input.stride(w.columns);
  p.column_begin = input.range(0, 1) ? 0 : input.rarely() ? input.size() : input.range(0, w.columns);
  p.column_end = input.range(0, 1) ? w.columns : input.rarely() ? input.size() : input.range(0, w.columns);
  return p;
}

bool documented_valid(const gatun_qmatmul_params& p, const gatun_qmatmul_weights& w, bool with_residual, bool scaled) {
  const auto is_float = [](int32_t dtype) { return dtype == GATUN_F32 || dtype == GATUN_BF16; };
  const bool x_valid = scaled ? p.x_dtype == GATUN_F8E4M3 || p.x_dtype == GATUN_F8E5M2 : is_float(p.x_dtype);
  return p.struct_size == sizeof(p) && x_valid && is_float(p.y_dtype) && p.mode >= (scaled ? GATUN_QMATMUL_BF16 : 0) &&
         p.mode <= GATUN_QMATMUL_BF16 && p.activation >= 0 && p.activation <= 4 && p.threads >= 0 &&
         p.threads <= 1024 && p.rows >= 0 && p.columns == w.columns && p.depth == w.depth && 0 <= p.column_begin &&
         p.column_begin <= p.column_end && p.column_end <= w.columns &&
         (p.rows < 2 || (p.x_row_stride >= w.depth && p.y_row_stride >= w.columns &&
                         (!with_residual || p.residual_row_stride >= w.columns)));
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
  bool documented_valid(int64_t rows, const gatun_qmatmul_weights& w) const {
    return (group == w.depth || group == w.group) && (row_stride == 0 || rows < 2 || row_stride >= count(w));
  }
};

// Codes of small floats; NaN and infinity only among special values.
void fill_f8(Buffer& x, test::Rng& rng, Values kind) {
  x.fill_integers(rng, 0, 255);
  constexpr uint8_t kFinite = 0xf7;  // an exponent below the highest, in E4M3 and in E5M2
  for (int64_t i = 0; i < x.bytes(); ++i) {
    if (kind != Values::special || rng.integer(0, 99) != 0) x.data()[i] &= kFinite;
  }
}

double element(const uint8_t* data, int32_t dtype, int64_t index) {
  if (dtype == GATUN_F32) {
    float value;
    std::memcpy(&value, data + 4 * index, 4);
    return double{value};
  }
  uint16_t half;
  std::memcpy(&half, data + 2 * index, 2);
  return double{bf16_to_f32(half)};
}

// The bound of the op's tests: f32 sums of pieces or depths, a slope of at most 1.13 through activations and their own
// error, rounding to the output.
double allowed_error(const gatun_qmatmul_params& p, double steps, double magnitude, double fixed_point, double y) {
  const double rounding = (p.y_dtype == GATUN_BF16 ? 0x1p-7 : 0x1p-23) * std::fabs(y);
  const double sum = 0x1p-23 * (steps + 8) * magnitude + fixed_point + steps * 0x1p-149 + 0x1p-126;
  const double through = p.activation == GATUN_ACTIVATION_NONE ? sum : 1.13 * sum + 0x1p-19 * magnitude + 0x1p-40;
  return through + rounding;
}

void check_result(const gatun_qmatmul_params& p, const gatun_qmatmul_weights& w, const qmatmul::Reference& reference,
                  const std::vector<uint8_t>& before, const std::vector<uint8_t>& after) {
  const double depth = static_cast<double>(w.depth), pieces = static_cast<double>(qmatmul::Layout(w).pieces());
  const double steps = p.mode == GATUN_QMATMUL_PRECISE ? depth
                       : p.mode == GATUN_QMATMUL_BF16  ? depth / 2 + 2 * pieces
                                                       : 2 * pieces;
  const int64_t columns = p.column_end - p.column_begin, bytes = dtype_bytes(p.y_dtype, 1);
  std::vector<uint8_t> expected = before;
  for (int64_t m = 0; m < p.rows; ++m) {
    for (int64_t n = p.column_begin; n < p.column_end; ++n) {
      const int64_t index = m * p.y_row_stride + n;
      const size_t at = static_cast<size_t>(m * columns + n - p.column_begin);
      const double actual = element(after.data(), p.y_dtype, index), wanted = reference.y[at];
      const double allowed = allowed_error(p, steps, reference.magnitude[at], reference.fixed_point[at], wanted);
      if (std::isnan(wanted) ? !std::isnan(actual) : !(std::fabs(actual - wanted) <= allowed)) {
        defect("y[%lld][%lld] = %g, reference %g, allowed %g", static_cast<long long>(m), static_cast<long long>(n),
               actual, wanted, allowed);
      }
      std::memcpy(&expected[static_cast<size_t>(index * bytes)], &after[static_cast<size_t>(index * bytes)],
                  static_cast<size_t>(bytes));
    }
  }
  if (expected != after) defect("gatun_qmatmul wrote outside of its range");
}

// Flips bytes of the header or behind it, or cuts the end off. False if the header is as it was.
bool tamper(Input& input, std::vector<uint8_t>& packed) {
  switch (input.range(0, 2)) {
    case 0:
      packed.resize(static_cast<size_t>(input.range(0, static_cast<int64_t>(packed.size()))));
      break;
    case 1:
      for (int64_t i = input.range(1, 4); i > 0; --i) {
        packed[static_cast<size_t>(input.range(0, 63))] = static_cast<uint8_t>(input.range(0, 255));
      }
      break;
    default:
      for (int64_t i = input.range(1, 4); i > 0; --i) {
        packed[static_cast<size_t>(input.range(0, static_cast<int64_t>(packed.size()) - 1))] =
            static_cast<uint8_t>(input.range(0, 255));
      }
      break;
  }
  return true;
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
  const bool tampered = input.range(0, 3) == 0 && tamper(input, bytes);
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
  bool valid = packed_valid && documented_valid(p, now, with_residual, scaled) &&
               (!scaled || scales.documented_valid(p.rows, now));
  int64_t sizes[] = {1, 1, 1, 1, 1};  // x, y, bias, residual, x_scales
  if (valid) {
    const int64_t y_element = dtype_bytes(p.y_dtype, 1);
    sizes[0] = extent(p.rows, now.depth, p.x_row_stride, 1, dtype_bytes(p.x_dtype, 1));
    sizes[1] = extent(p.rows, now.columns, p.y_row_stride, 1, y_element);
    sizes[2] = extent(1, with_bias ? now.columns : 0, now.columns, 1, 4);
    sizes[3] = extent(p.rows, with_residual ? now.columns : 0, p.residual_row_stride, 1, y_element);
    const int64_t scale_rows = scales.row_stride == 0 && p.rows > 1 ? 1 : p.rows;
    sizes[4] = extent(scaled ? scale_rows : 0, scales.count(now), scales.row_stride, 1, 4);
    bool affordable = true;
    for (const int64_t size : sizes) {
      affordable = affordable && size != kUnaffordable;
      valid = valid && size != kImpossible;
    }
    if (valid && !affordable) return;
    if (!valid) std::fill(std::begin(sizes), std::end(sizes), 1);
  }
  const int64_t work_row = (now.columns + 1) * (now.depth + 1);
  if (valid && p.rows > 0 && work_row > kMaxWork / p.rows) return;

  Buffer x(sizes[0]), y(sizes[1]), bias(sizes[2]), residual(sizes[3]), x_scales(sizes[4]);
  test::Rng rng = input.rng();
  const Values kind = values(input);
  if (valid) {
    scaled ? fill_f8(x, rng, kind) : x.fill_floats(rng, p.x_dtype, kind);
    x_scales.fill_floats(rng, GATUN_F32, kind);
    bias.fill_floats(rng, GATUN_F32, Values::normal);
    residual.fill_floats(rng, p.y_dtype, Values::normal);
    y.fill_floats(rng, p.y_dtype, Values::normal);
  }
  for (Buffer* buffer : {&x, &y, &bias, &residual, &x_scales}) {
    const bool optional = buffer == &bias || buffer == &residual;
    if (!optional) buffer->spoil(input);
    const bool any_alignment = scaled && buffer == &x, used = scaled || buffer != &x_scales;
    if (used && buffer->bytes() > 0 && (buffer->is_null() || (buffer->misaligned() && !any_alignment))) valid = false;
  }
  const bool in_place = valid && with_residual && p.residual_row_stride == p.y_row_stride && input.range(0, 3) == 0;
  const Buffer& addend = in_place ? y : residual;

  qmatmul::Reference reference;
  const float* bias_at = with_bias ? reinterpret_cast<const float*>(bias.data()) : nullptr;
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
  if (status == GATUN_OK && compare && y.bytes() > 0) check_result(p, now, reference, before, y.copy());

  if (scaled) return;
  char text[2048];
  const int32_t explained = gatun_qmatmul_explain(&p, packed.data(), packed.bytes(), text, sizeof(text));
  if (status == GATUN_OK && explained != GATUN_OK) defect("no explanation: %s", gatun_last_error());
}

}  // namespace gatun::fuzz
