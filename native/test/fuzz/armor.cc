// gatun_armor_fit and gatun_armor_matmul: a status, or factors that stand for the losses, and the product of them.
#include "gatun/armor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "armor/blocks.h"
#include "armor/reference.h"
#include "input.h"
#include "prune.h"
#include "sparse_indices.h"

namespace gatun::fuzz {
namespace {

constexpr int64_t kMostSize = 70;

int64_t block_floats(int64_t size, int64_t block) {
  return armor::Blocks{size, std::max<int64_t>(1, std::min(size, block))}.floats();
}

const float* floats_at(const Buffer& buffer) { return reinterpret_cast<const float*>(buffer.data()); }
float* floats_at(Buffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }

struct Factors {
  std::vector<double> a, b, s;

  std::vector<double> product(int64_t columns, int64_t depth, bool magnitudes = false) const {
    return armor::reference_product(a, armor::reference_product(s, b, columns, depth, depth, magnitudes), columns,
                                    columns, depth, magnitudes);
  }
};

Factors factors_of(int64_t columns, int64_t depth, int64_t block, int32_t n, int32_t m, const float* left,
                   const float* values, const uint8_t* indices, const float* right) {
  return {armor::reference_diagonal(columns, block, left), armor::reference_diagonal(depth, block, right),
          armor::reference_core(columns, depth, n, m, values, indices)};
}

}  // namespace

void fuzz_armor_fit(Input& input) {
  gatun_armor_fit_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.m = input.choice({2, 4, 8, 16, 32});
  p.n = input.rarely() ? input.choice({-1, 0, 33}) : static_cast<int32_t>(input.range(1, p.m > 1 ? p.m : 1));
  p.rounds = input.choice({0, 1, 2, 4});
  p.threads = input.choice({0, 1, 2});
  p.reserved = input.rarely() ? input.choice({0}) : 0;
  p.columns = input.size();
  p.depth = input.size();
  p.block = input.rarely() ? input.size() : input.range(1, 40);
  const bool with_norms = input.range(0, 1) == 1, with_losses = input.range(0, 3) > 0;
  test::Rng rng = input.rng();
  bool valid = p.struct_size == sizeof(p) && is_group(p.n, p.m) && p.rounds >= 0 && p.threads >= 0 &&
               p.threads <= 1024 && p.reserved == 0 && p.columns >= 0 && p.depth >= 0 && p.block >= 1;
  // What is too large to try, or to exist, is the boundary tests'.
  if (valid && (p.columns > kMostSize || p.depth > kMostSize || p.rounds > 4)) return;
  const int64_t kept = valid ? kept_of_row(p.depth, p.n, p.m) : 0;
  Buffer w(valid ? p.columns * p.depth * 4 : 1);
  Buffer norms = factors(rng, valid && with_norms ? p.depth * 4 : 1, input);
  Buffer left(valid ? block_floats(p.columns, p.block) * 4 : 1), right(valid ? block_floats(p.depth, p.block) * 4 : 1);
  Buffer values_out(valid ? p.columns * kept * 4 : 1), indices(valid ? p.columns * index_row_bytes(kept, p.m) : 1);
  Buffer losses(valid && with_losses ? (int64_t{p.rounds} + 1) * 8 : 1);
  const Values kind = values(input);
  if (valid) {
    w.fill_floats(rng, GATUN_F32, kind);
    for (int64_t i = 0; i < p.columns * p.depth; ++i) valid = valid && std::isfinite(floats_at(w)[i]);
    if (with_norms && !good_factors(norms)) valid = false;
  }
  for (Buffer* buffer : {&w, &left, &right, &values_out}) {
    buffer->spoil(input);
    if (buffer->bytes() > 0 && (buffer->is_null() || buffer->misaligned())) valid = false;
  }
  const float* const norms_at = with_norms ? floats_at(std::as_const(norms)) : nullptr;
  double* const losses_at = with_losses ? reinterpret_cast<double*>(losses.data()) : nullptr;
  const std::vector<uint8_t> before = left.copy();
  const int32_t status = gatun_armor_fit(&p, floats_at(w), norms_at, floats_at(left), floats_at(values_out),
                                         indices.data(), floats_at(right), losses_at);
  check_status(status, valid, "gatun_armor_fit");
  if (status != GATUN_OK && left.copy() != before) defect("gatun_armor_fit failed and wrote its outputs");
  if (status != GATUN_OK || !with_losses) return;
  for (int32_t round = 0; round < p.rounds; ++round) {
    if (!(losses_at[round + 1] <= losses_at[round])) {
      defect("the loss rises in round %d from %g to %g", round, losses_at[round], losses_at[round + 1]);
    }
  }
  if (!moderate(kind) || p.columns == 0 || p.depth == 0) return;
  const Factors f = factors_of(p.columns, p.depth, p.block, p.n, p.m, floats_at(left), floats_at(values_out),
                               indices.data(), floats_at(right));
  const std::vector<double> product = f.product(p.columns, p.depth), zeros(product.size());
  const double loss = armor::reference_loss(p.columns, p.depth, floats_at(w), norms_at, product);
  const double total = armor::reference_loss(p.columns, p.depth, floats_at(w), norms_at, zeros);
  const double reported = losses_at[p.rounds];
  if (std::isfinite(loss) && !(std::fabs(reported - loss) <= 1e-3 * loss + 1e-7 * total)) {
    defect("the loss %g is reported as %g", loss, reported);
  }
}

void fuzz_armor_matmul(Input& input) {
  const int32_t m = static_cast<int32_t>(1 << input.range(1, 5)), n = static_cast<int32_t>(input.range(1, m));
  const int64_t columns = input.range(0, kMostSize), depth = input.range(0, kMostSize);
  const int64_t block = input.rarely() ? input.size() : input.range(1, 40);
  gatun_nm_matmul_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.x_dtype = input.choice({GATUN_F32, GATUN_BF16});
  p.y_dtype = input.choice({GATUN_F32, GATUN_BF16});
  p.mode = input.rarely() ? input.choice({GATUN_NM_INT8}) : int32_t{GATUN_NM_F32};
  p.activation = input.choice({GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_RELU});
  p.threads = input.choice({0, 1, 2});
  p.rows = input.size();
  p.columns = input.rarely() ? input.size() : columns;
  p.depth = input.rarely() ? input.size() : depth;
  p.x_row_stride = input.stride(p.depth);
  p.y_row_stride = input.stride(p.columns);
  p.residual_row_stride = input.stride(p.columns);
  p.column_end = input.rarely() ? input.size() : p.columns;
  const bool with_bias = input.range(0, 1) == 1, with_residual = input.range(0, 1) == 1;
  test::Rng rng = input.rng();
  const auto is_good = [](int32_t dtype) { return dtype == GATUN_F32 || dtype == GATUN_BF16; };
  bool valid = p.struct_size == sizeof(p) && is_good(p.x_dtype) && is_good(p.y_dtype) && p.mode == GATUN_NM_F32 &&
               (p.activation == GATUN_ACTIVATION_NONE || p.activation == GATUN_ACTIVATION_RELU) && p.threads >= 0 &&
               p.threads <= 1024 && p.rows >= 0 && p.columns == columns && p.depth == depth &&
               p.column_end == p.columns && block >= 1 &&
               (p.rows < 2 || (p.x_row_stride >= depth && p.y_row_stride >= columns &&
                               (!with_residual || p.residual_row_stride >= columns)));
  // Codes and other activations are nm_matmul's to fuzz.
  if (!valid && p.struct_size == sizeof(p) && (p.mode != GATUN_NM_F32 || p.activation > GATUN_ACTIVATION_RELU)) return;
  int64_t sizes[] = {1, 1, 1};
  if (valid) {
    sizes[0] = extent(p.rows, depth, p.x_row_stride, 1, p.x_dtype == GATUN_F32 ? 4 : 2);
    sizes[1] = extent(p.rows, columns, p.y_row_stride, 1, p.y_dtype == GATUN_F32 ? 4 : 2);
    sizes[2] = with_residual ? extent(p.rows, columns, p.residual_row_stride, 1, p.y_dtype == GATUN_F32 ? 4 : 2) : 1;
    for (const int64_t size : sizes) {
      if (size == kImpossible) valid = false;
    }
    for (const int64_t size : sizes) {
      if (valid && size == kUnaffordable) return;
    }
    if (!valid) std::fill(std::begin(sizes), std::end(sizes), 1);
  }
  gatun_nm_weights weights{};
  weights.struct_size = sizeof(weights);
  weights.n = n;
  weights.m = m;
  weights.vector = 1;
  weights.value_dtype = GATUN_F32;
  weights.columns = columns;
  weights.depth = depth;
  const int64_t kept = kept_of_row(depth, n, m);
  Buffer core(columns * kept * 4), indices(columns * index_row_bytes(kept, m));
  core.fill_floats(rng, GATUN_F32, Values::normal);
  if (!fill_indices(input, rng, columns, depth, n, m, 1, &indices)) return;
  int64_t bytes;
  check_status(gatun_nm_packed_bytes(&weights, &bytes), true, "gatun_nm_packed_bytes");
  Buffer packed(bytes);
  check_status(gatun_nm_pack(&weights, core.data(), indices.data(), nullptr, nullptr, packed.data(), bytes), true,
               "gatun_nm_pack");
  Buffer left(valid ? block_floats(columns, block) * 4 : 1), right(valid ? block_floats(depth, block) * 4 : 1);
  Buffer x(sizes[0]), y(sizes[1]), residual(sizes[2]), bias(with_bias ? columns * 4 : 0);
  const Values kind = values(input);
  if (valid) {
    left.fill_floats(rng, GATUN_F32, Values::normal);
    right.fill_floats(rng, GATUN_F32, Values::normal);
    bias.fill_floats(rng, GATUN_F32, Values::normal);
    x.fill_floats(rng, p.x_dtype, kind);
    if (with_residual) residual.fill_floats(rng, p.y_dtype, Values::normal);
  }
  const std::vector<uint8_t> before = y.copy();
  const int32_t status =
      gatun_armor_matmul(&p, block, x.data(), floats_at(right), packed.data(), bytes, floats_at(left),
                         with_bias ? floats_at(bias) : nullptr, with_residual ? residual.data() : nullptr, y.data());
  check_status(status, valid, "gatun_armor_matmul");
  if (status != GATUN_OK && y.copy() != before) defect("gatun_armor_matmul failed and wrote y");
  if (status != GATUN_OK || !moderate(kind) || p.rows == 0 || columns == 0) return;
  const Factors f =
      factors_of(columns, depth, block, n, m, floats_at(left), floats_at(core), indices.data(), floats_at(right));
  const std::vector<double> w = f.product(columns, depth), magnitude = f.product(columns, depth, true);
  const std::vector<float> inputs = floats(x, p.x_dtype), outputs = floats(y, p.y_dtype);
  const std::vector<float> added = with_residual ? floats(residual, p.y_dtype) : std::vector<float>();
  for (int64_t t = 0; t < p.rows; ++t) {
    for (int64_t c = 0; c < columns; ++c) {
      double sum = with_bias ? double{floats_at(bias)[c]} : 0, terms = std::fabs(sum);
      for (int64_t k = 0; k < depth; ++k) {
        const double v = double{inputs[static_cast<size_t>(t * p.x_row_stride + k)]};
        sum += w[static_cast<size_t>(c * depth + k)] * v;
        terms += magnitude[static_cast<size_t>(c * depth + k)] * std::fabs(v);
      }
      if (p.activation == GATUN_ACTIVATION_RELU) sum = std::fmax(sum, 0);
      const double extra = with_residual ? double{added[static_cast<size_t>(t * p.residual_row_stride + c)]} : 0;
      const double expected = sum + extra, actual = double{outputs[static_cast<size_t>(t * p.y_row_stride + c)]};
      const double steps = static_cast<double>(2 * std::min(block, kMostSize) + kept + 24);
      const double allowed = 0x1p-23 * steps * (terms + std::fabs(extra)) +
                             (p.y_dtype == GATUN_BF16 ? 0x1p-8 * std::fabs(expected) + 0x1p-126 : 0);
      if (!(std::fabs(actual - expected) <= allowed)) {
        defect("y[%lld][%lld] = %g, reference %g, allowed %g", static_cast<long long>(t), static_cast<long long>(c),
               actual, expected, allowed);
      }
    }
  }
}

}  // namespace gatun::fuzz
