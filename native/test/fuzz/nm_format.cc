// The functions of gatun/nm_format.h: a status, or byte for byte what the reference makes.
#include "gatun/nm_format.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "input.h"
#include "nm_format/reference.h"
#include "prune.h"
#include "prune/reference.h"

namespace gatun::fuzz {
namespace {

gatun_nm_format format_from(Input& input) {
  gatun_nm_format f{};
  f.struct_size = input.struct_size(sizeof(f));
  f.m = input.choice({2, 4, 8, 16, 32});
  f.n = input.rarely() ? input.choice({-1, 0, 33}) : static_cast<int32_t>(input.range(1, f.m > 1 ? f.m : 1));
  f.vector = input.choice({1, 1, 2, 3, 4, 64});
  f.value_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U4});
  f.threads = input.choice({0, 1, 2, 8});
  f.columns = input.size();
  f.depth = input.size();
  f.group = input.group(f.depth);
  return f;
}

// As the header says, but sizes; those of a valid format that are affordable go to `sizes`.
struct Sizes {
  int64_t dense, values, indices, mask;
};
enum class Kind { valid, invalid, unaffordable };

Kind kind_of(const gatun_nm_format& f, Sizes* sizes) {
  *sizes = {1, 1, 1, 1};
  const bool valid = f.struct_size == sizeof(f) && is_group(f.n, f.m) && f.vector >= 1 &&
                     (is_float(f.value_dtype) || f.value_dtype == GATUN_I8 || f.value_dtype == GATUN_U4) &&
                     f.threads >= 0 && f.threads <= 1024 && f.columns >= 0 && f.depth >= 0;
  if (!valid) return Kind::invalid;
  // Whatever has too many weights for one byte each has too many.
  const int64_t dense = extent(f.columns, f.depth, f.depth, 1, 4);
  if (dense == kImpossible || f.columns > int64_t{1} << 62 || f.depth > int64_t{1} << 58) return Kind::unaffordable;
  // The references walk rows that have no bytes, too.
  if (dense == kUnaffordable || dense > (1 << 17) || f.columns > (1 << 17)) return Kind::unaffordable;
  const int64_t groups = f.depth / f.m + (f.depth % f.m != 0),
                vectors = f.columns / f.vector + (f.columns % f.vector != 0);
  const int64_t slots = groups * f.n, bits = f.m <= 4 ? 2 : f.m <= 16 ? 4 : 8;
  *sizes = {f.columns * dtype_bytes(f.value_dtype, f.depth), f.columns * dtype_bytes(f.value_dtype, slots),
            vectors * ((slots * bits + 7) / 8), f.columns * ((f.depth + 7) / 8)};
  return Kind::valid;
}

void check_sizes(const gatun_nm_format& f, const Sizes& sizes) {
  int64_t given[4];
  check_status(gatun_nm_bytes(&f, given, given + 1, given + 2, given + 3), true, "gatun_nm_bytes");
  const int64_t expected[] = {sizes.dense, sizes.values, sizes.indices, sizes.mask};
  for (int i = 0; i < 4; ++i) {
    if (given[i] != expected[i]) {
      defect("gatun_nm_bytes: size %d is %lld, expected %lld", i, static_cast<long long>(given[i]),
             static_cast<long long>(expected[i]));
    }
  }
}

void expect_same(const Buffer& actual, const std::vector<uint8_t>& expected, const char* what) {
  if (actual.copy() != expected) defect("%s differs from the reference", what);
}

// A mask of any bits, or one that keeps about n of m.
void fill_mask(Input& input, test::Rng& rng, const gatun_nm_format& f, Buffer& mask) {
  if (input.rarely()) return mask.fill_integers(rng, 0, 255);
  const bool exact = !input.rarely();
  const int64_t row_bytes = (f.depth + 7) / 8;
  std::fill(mask.data(), mask.data() + mask.bytes(), uint8_t{0});
  for (int64_t first = 0; first < f.columns; first += f.vector) {
    for (int64_t group = 0; group * f.m < f.depth; ++group) {
      const int64_t kept = rng.integer(0, exact ? f.n : f.n + 1);
      for (int64_t i = 0; i < kept; ++i) {
        const int64_t k = group * f.m + rng.integer(0, f.m - 1);
        for (int64_t row = first; row < std::min<int64_t>(f.columns, first + f.vector) && k < f.depth; ++row) {
          mask.data()[row * row_bytes + k / 8] |= static_cast<uint8_t>(1 << k % 8);
        }
      }
    }
  }
}

// Whether a mask is one of the format: bits within the depth, rows of a vector alike. How many are kept says
// compressing.
bool is_mask(const gatun_nm_format& f, const uint8_t* mask) {
  const int64_t row_bytes = (f.depth + 7) / 8;
  for (int64_t row = 0; row < f.columns; ++row) {
    const uint8_t* bits = mask + row * row_bytes;
    if (f.depth % 8 != 0 && bits[row_bytes - 1] >> f.depth % 8 != 0) return false;
    if (row_bytes > 0 &&
        std::memcmp(bits, mask + row / f.vector * f.vector * row_bytes, static_cast<size_t>(row_bytes)) != 0) {
      return false;
    }
  }
  return true;
}

// From values and indices back, with a bit of the indices perhaps another.
void go_back(Input& input, test::Rng& rng, const gatun_nm_format& f, const Sizes& sizes, Buffer& values,
             Buffer& indices, const uint8_t* zero_points) {
  if (input.range(0, 3) == 0 && indices.bytes() > 0) {
    indices.data()[rng.integer(0, indices.bytes() - 1)] ^= static_cast<uint8_t>(1 << rng.integer(0, 7));
  }
  const bool valid = nm_format::reference_check(f, indices.data());
  check_status(gatun_nm_check(&f, indices.data()), valid, "gatun_nm_check");
  Buffer dense(sizes.dense), mask(sizes.mask);
  const std::vector<uint8_t> dense_before = dense.copy(), mask_before = mask.copy();
  const int32_t expanded = gatun_nm_decompress(&f, values.data(), indices.data(), zero_points, dense.data());
  check_status(expanded, valid, "gatun_nm_decompress");
  check_status(gatun_nm_mask(&f, indices.data(), mask.data()), valid, "gatun_nm_mask");
  if (valid) {
    expect_same(dense, nm_format::reference_decompress(f, values.data(), indices.data(), zero_points), "dense");
    expect_same(mask, nm_format::reference_mask(f, indices.data()), "mask");
  } else if (dense.copy() != dense_before || mask.copy() != mask_before) {
    defect("a refused call wrote its output");
  }
  int64_t bytes = 0;
  if (gatun_nm_sm80_bytes(&f, &bytes) != GATUN_OK) return;
  Buffer metadata(bytes), again(sizes.indices);
  check_status(gatun_nm_to_sm80(&f, indices.data(), metadata.data()), valid, "gatun_nm_to_sm80");
  if (!valid) return;
  expect_same(metadata, nm_format::reference_sm80(f, indices.data()), "metadata");
  check_status(gatun_nm_from_sm80(&f, metadata.data(), again.data()), true, "gatun_nm_from_sm80");
  expect_same(again, indices.copy(), "indices of metadata");
}

}  // namespace

void fuzz_nm_format(Input& input) {
  gatun_nm_format f = format_from(input);
  if (input.range(0, 7) == 0) {  // a shape that metadata has
    f.columns = 32 * input.range(0, 3);
    f.depth = 64 * input.range(0, 3);
    f.m = f.value_dtype == GATUN_F32 ? 2 : 4;
    f.n = f.m / 2;
    f.vector = 1;
    f.group = f.depth;
  }
  Sizes sizes;
  const Kind kind = kind_of(f, &sizes);
  if (kind == Kind::unaffordable) return;
  bool valid = kind == Kind::valid;
  if (valid) check_sizes(f, sizes);
  test::Rng rng = input.rng();
  const bool masked = input.range(0, 3) != 0, zeros = input.range(0, f.value_dtype == GATUN_U4 ? 1 : 15) == 1;
  const bool group_valid = f.group == f.depth || (f.group >= 16 && f.group <= f.depth);
  const bool grouped = valid && zeros && group_valid;
  Buffer dense(sizes.dense), mask(sizes.mask), values(sizes.values), indices(sizes.indices);
  Buffer zero_points(!grouped || f.depth == 0 ? 0 : f.columns * ((f.depth - 1) / f.group + 1));
  uint8_t none = 0;
  const uint8_t* zeros_at = !zeros ? nullptr : zero_points.bytes() > 0 ? zero_points.data() : &none;
  bool empty = false;
  if (valid) {
    empty = f.columns == 0 || f.depth == 0;
    dense.fill_integers(rng, 0, 255);
    if (is_float(f.value_dtype) && input.range(0, 3) == 0) dense.fill_floats(rng, f.value_dtype, fuzz::values(input));
    fill_mask(input, rng, f, mask);
    zero_points.fill_integers(rng, 0, input.rarely() ? 255 : 15);
    if (zeros) {
      valid = f.value_dtype == GATUN_U4 && group_valid;
      for (const uint8_t code : zero_points.copy()) valid = valid && code < 16;
    }
    if (!masked && f.value_dtype == GATUN_U4 && !empty) valid = false;
    if (masked && valid && !is_mask(f, mask.data())) valid = false;
  }
  for (Buffer* buffer : {&dense, &values, &indices}) {
    buffer->spoil(input);
    const bool bytes_only = buffer == &indices || dtype_bytes(f.value_dtype, 1) == 1;
    if (buffer->bytes() > 0 && (buffer->is_null() || (buffer->misaligned() && !bytes_only))) valid = false;
  }
  const uint8_t* mask_at = masked ? mask.data() : nullptr;
  nm_format::Canonical expected{};
  if (valid) {
    expected = nm_format::reference_compress(f, dense.data(), mask_at, zeros_at);
    valid = expected.valid;
  }
  const std::vector<uint8_t> values_before = values.copy(), indices_before = indices.copy();
  const bool contents = kind == Kind::valid && !masked;  // unspecified after a refusal for what the weights are
  const int32_t status = gatun_nm_compress(&f, dense.data(), mask_at, zeros_at, values.data(), indices.data());
  check_status(status, valid, "gatun_nm_compress");
  if (status != GATUN_OK && !contents && (values.copy() != values_before || indices.copy() != indices_before)) {
    defect("gatun_nm_compress failed and wrote its outputs");
  }
  if (status != GATUN_OK) return;
  expect_same(values, expected.values, "values");
  expect_same(indices, expected.indices, "indices");
  go_back(input, rng, f, sizes, values, indices, zeros_at);
}

// The bytes of gatun_prune and gatun_nm_compress, and refused where either refuses.
void fuzz_nm_prune(Input& input) {
  const gatun_nm_format f = format_from(input);
  Sizes sizes;
  // A matrix without columns may be of any depth; its norms would need that much memory.
  if (kind_of(f, &sizes) != Kind::valid || !is_float(f.value_dtype) || f.depth > 1 << 20) return;
  gatun_prune_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.w_dtype = input.rarely() ? input.choice({GATUN_F32, GATUN_BF16}) : f.value_dtype;
  p.score = input.choice({GATUN_SCORE_MAGNITUDE, GATUN_SCORE_WANDA, GATUN_SCORE_LAMP, GATUN_SCORE_GIVEN});
  p.pattern = input.choice({GATUN_PATTERN_NM, GATUN_PATTERN_NM, GATUN_PATTERN_TRANSPOSABLE});
  p.n = input.rarely() ? input.choice({1, 2}) : f.n;
  p.m = input.rarely() ? input.choice({2, 4}) : f.m;
  p.vector = input.rarely() ? input.choice({1, 2}) : f.vector;
  p.columns = f.columns;
  p.depth = f.depth;
  const bool transposable = p.pattern == GATUN_PATTERN_TRANSPOSABLE;
  bool same = p.w_dtype == f.value_dtype &&
              (transposable ? f.n == 2 && f.m == 4 && f.vector == 1 : p.n == f.n && p.m == f.m && p.vector == f.vector);
  same = same && (transposable || p.pattern == GATUN_PATTERN_NM);
  test::Rng rng = input.rng();
  Buffer w(sizes.dense), scores(f.columns * f.depth * 4), mask(sizes.mask);
  w.fill_floats(rng, f.value_dtype, values(input));
  scores.fill_floats(rng, GATUN_F32, values(input));
  Buffer norms = factors(rng, f.depth * 4, input);
  const bool given = p.score == GATUN_SCORE_GIVEN, wanda = p.score == GATUN_SCORE_WANDA;
  const float* norms_at = wanda ? reinterpret_cast<const float*>(norms.data()) : nullptr;
  const float* scores_at = given ? reinterpret_cast<const float*>(scores.data()) : nullptr;
  Buffer pruned_values(sizes.values), pruned_indices(sizes.indices), kept_values(sizes.values),
      kept_indices(sizes.indices);
  gatun_prune_params q = p;
  q.w_dtype = f.value_dtype;
  const bool valid =
      gatun_prune(&q, given ? nullptr : w.data(), norms_at, scores_at, mask.data()) == GATUN_OK && same &&
      gatun_nm_compress(&f, w.data(), mask.data(), nullptr, kept_values.data(), kept_indices.data()) == GATUN_OK;
  const int32_t status =
      gatun_nm_prune(&f, &p, w.data(), norms_at, scores_at, pruned_values.data(), pruned_indices.data());
  check_status(status, valid, "gatun_nm_prune");
  if (status != GATUN_OK) return;
  expect_same(pruned_values, kept_values.copy(), "values of a pruned matrix");
  expect_same(pruned_indices, kept_indices.copy(), "indices of a pruned matrix");
}

}  // namespace gatun::fuzz
