// gatun_nm_backward_x, _values and _dense: a status, or what the reference makes.
#include "gatun/nm_backward.h"

#include <cmath>
#include <cstring>

#include "input.h"
#include "nm_backward/reference.h"
#include "prune.h"
#include "sparse_indices.h"

namespace fuzzed = gatun::nm_backward;

namespace gatun::fuzz {
namespace {

enum class Which { x, values, dense };

gatun_nm_backward_params params_from(Input& input) {
  gatun_nm_backward_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.m = input.choice({2, 4, 8, 16, 32});
  p.n = input.rarely() ? input.choice({-1, 0, 33}) : static_cast<int32_t>(input.range(1, p.m > 1 ? p.m : 1));
  p.vector = input.choice({1, 1, 2, 3, 64});
  p.value_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
  p.threads = input.choice({0, 1, 2, 8});
  const float decays[] = {0, 0.25f, 1, -1, 2, std::nanf("")};
  p.decay = decays[input.rarely() ? input.range(3, 5) : input.range(0, 2)];
  p.accumulate = input.choice({0, 1});
  p.rows = input.size();
  p.columns = input.size();
  p.depth = input.size();
  p.x_row_stride = input.stride(p.depth);
  p.dy_row_stride = input.stride(p.columns);
  return p;
}

bool documented_valid(const gatun_nm_backward_params& p, Which which) {
  return p.struct_size == sizeof(p) && is_group(p.n, p.m) && p.vector >= 1 && is_float(p.value_dtype) &&
         p.threads >= 0 && p.threads <= 1024 && (which != Which::dense || (p.decay >= 0 && p.decay <= 1)) &&
         (p.accumulate == 0 || p.accumulate == 1) && p.rows >= 0 && p.columns >= 0 && p.depth >= 0 &&
         p.depth <= INT64_MAX - 31 && (p.rows < 2 || (p.x_row_stride >= p.depth && p.dy_row_stride >= p.columns));
}

float at(const std::vector<uint8_t>& bytes, int64_t i) {
  float value;
  std::memcpy(&value, bytes.data() + i * 4, 4);
  return value;
}

void compare(const std::vector<uint8_t>& before, const std::vector<uint8_t>& after, int64_t i, bool accumulate,
             double sum, double magnitudes, int64_t terms) {
  const double start = accumulate ? double{at(before, i)} : 0, actual = double{at(after, i)};
  const double allowed = 0x1p-23 * (static_cast<double>(terms) + 8) * (magnitudes + std::fabs(start));
  if (!(std::fabs(actual - (start + sum)) <= allowed)) {
    defect("element %lld is %g, reference %g, allowed %g", static_cast<long long>(i), actual, start + sum, allowed);
  }
}

void check_results(const gatun_nm_backward_params& p, Which which, const float* dy, const void* in,
                   const uint8_t* indices, const std::vector<uint8_t>& before, const std::vector<uint8_t>& after) {
  const fuzzed::DenseWeights weights(p, which == Which::x ? in : nullptr, indices);
  const int64_t kept = (p.depth + p.m - 1) / p.m * p.n;
  double magnitudes;
  if (which == Which::x) {
    for (int64_t t = 0; t < p.rows; ++t) {
      for (int64_t k = 0; k < p.depth; ++k) {
        const double sum = fuzzed::reference_dx(p, weights, dy, t, k, &magnitudes);
        compare(before, after, t * p.x_row_stride + k, p.accumulate == 1, sum, magnitudes, p.columns);
      }
    }
    return;
  }
  for (int64_t w = 0; w < p.columns * p.depth; ++w) {
    const bool is_kept = weights.kept[static_cast<size_t>(w)];
    if (!is_kept && which == Which::values) continue;
    const double factor = is_kept ? 1 : double{p.decay};
    const double sum =
        fuzzed::reference_dw(p, dy, static_cast<const float*>(in), w / p.depth, w % p.depth, &magnitudes);
    const int64_t i = which == Which::dense ? w : w / p.depth * kept + weights.place[static_cast<size_t>(w)];
    compare(before, after, i, p.accumulate == 1, factor * sum, factor * magnitudes, p.rows);
  }
}

}  // namespace

void fuzz_nm_backward(Input& input) {
  const Which which = static_cast<Which>(input.range(0, 2));
  const gatun_nm_backward_params p = params_from(input);
  test::Rng rng = input.rng();
  bool valid = documented_valid(p, which);
  int64_t sizes[] = {1, 1, 1, 1, 1};  // dy, x, the weights' operand or gradient, indices
  if (valid) {
    const int64_t kept = kept_of_row(p.depth, p.n, p.m);
    const int64_t row = which == Which::dense ? p.depth : kept;
    const int64_t element = which == Which::x && p.value_dtype != GATUN_F32 ? 2 : 4;
    sizes[0] = extent(p.rows, p.columns, p.dy_row_stride, 1, 4);
    sizes[1] = extent(p.rows, p.depth, p.x_row_stride, 1, 4);
    sizes[2] = extent(p.columns, row, row, 1, element);
    const int64_t bytes = index_row_bytes(kept, p.m);
    sizes[3] = extent(p.columns / p.vector + (p.columns % p.vector != 0), bytes, bytes, 1, 1);
    for (const int64_t size : sizes) {
      if (size == kImpossible) valid = false;
    }
    for (const int64_t size : sizes) {
      if (valid && size == kUnaffordable) return;
    }
    const double work = static_cast<double>(p.rows) * static_cast<double>(p.columns) * static_cast<double>(p.depth);
    if (valid && work > 3e6) return;
    if (!valid) std::fill(std::begin(sizes), std::end(sizes), 1);
  }
  Buffer dy(sizes[0]), x(sizes[1]), weights(sizes[2]), indices(sizes[3]);
  const Values kind = values(input);
  const int32_t dtype = which == Which::x ? p.value_dtype : int32_t{GATUN_F32};
  if (valid) {
    dy.fill_floats(rng, GATUN_F32, kind);
    x.fill_floats(rng, GATUN_F32, kind);
    weights.fill_floats(rng, dtype, kind);
    if (!fill_indices(input, rng, p.columns, p.depth, p.n, p.m, p.vector, &indices)) valid = false;
  }
  for (Buffer* buffer : {&dy, &x, &weights, &indices}) {
    buffer->spoil(input);
    if (buffer->bytes() == 0) continue;
    const bool bytes_only = buffer == &indices || (buffer == &weights && dtype != GATUN_F32);
    if (buffer->is_null() || (buffer->misaligned() && !bytes_only)) valid = false;
    if (buffer->misaligned() && bytes_only) return;  // whether it is misaligned for its element is not told
  }
  Buffer& out = which == Which::x ? x : weights;
  const void* const in = which == Which::x ? static_cast<const void*>(weights.data()) : x.data();
  const std::vector<uint8_t> before = out.copy();
  const float* const dy_at = reinterpret_cast<const float*>(dy.data());
  float* const out_at = reinterpret_cast<float*>(out.data());
  int32_t status;
  if (which == Which::x) {
    status = gatun_nm_backward_x(&p, dy_at, in, indices.data(), out_at);
  } else {
    status = (which == Which::values ? gatun_nm_backward_values : gatun_nm_backward_dense)(
        &p, dy_at, static_cast<const float*>(in), indices.data(), out_at);
  }
  check_status(status, valid, "gatun_nm_backward");
  if (status != GATUN_OK && out.copy() != before) defect("gatun_nm_backward failed and wrote its output");
  if (status == GATUN_OK && moderate(kind) && out.bytes() > 0) {
    check_results(p, which, dy_at, in, indices.data(), before, out.copy());
  }
}

}  // namespace gatun::fuzz
