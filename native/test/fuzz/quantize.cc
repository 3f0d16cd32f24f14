// gatun_quantize and gatun_dequantize, on the lowest tier and on the one in use: both equal to the reference.
#include "gatun/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "base/dtype.h"
#include "input.h"
#include "quantize/reference.h"
#include "quantize/reference_scaled.h"
#include "quantize/table.h"

namespace gatun::fuzz {
namespace {

bool is_float8(int32_t codes) { return codes == GATUN_F8E4M3 || codes == GATUN_F8E5M2; }
bool is_float_code(int32_t codes) { return codes >= GATUN_F8E4M3 && codes <= GATUN_F4E2M1; }

void choose_codes(Input& input, gatun_quantize_params& p) {
  p.code_dtype = input.choice({GATUN_I8, GATUN_U8, GATUN_U8, GATUN_U4, GATUN_U4, GATUN_U2, GATUN_F8E4M3, GATUN_F8E5M2,
                               GATUN_F6E3M2, GATUN_F6E2M3, GATUN_F4E2M1, GATUN_F4E2M1});
  const bool u4 = p.code_dtype == GATUN_U4, u8 = p.code_dtype == GATUN_U8, u2 = p.code_dtype == GATUN_U2;
  if (u4 && input.range(0, 1)) p.book = input.choice({GATUN_BOOK_GIVEN, GATUN_BOOK_NF4, GATUN_BOOK_FP4});
  if (u8 && input.range(0, 1)) p.book = input.choice({GATUN_BOOK_GIVEN, 4, 5, 6, 7});
  if (input.rarely()) p.book = static_cast<int32_t>(input.range(-1, 8));
  if (p.book == GATUN_BOOK_NONE && (u4 || u2)) p.zero_point = input.choice({0, 1, 2});
  if (p.book == GATUN_BOOK_NONE && u8) p.zero_point = input.choice({1, 2});
  if (input.rarely()) p.zero_point = input.choice({0, 1, 2});
}

gatun_quantize_params params_from(Input& input, test::Rng& rng, bool dequantize) {
  gatun_quantize_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.x_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
  choose_codes(input, p);
  p.scale_dtype = p.book != GATUN_BOOK_NONE      ? input.choice({GATUN_F32})
                  : p.code_dtype == GATUN_F4E2M1 ? input.choice({GATUN_F32, GATUN_F16, GATUN_E8M0, GATUN_F8E4M3})
                  : is_float_code(p.code_dtype)  ? input.choice({GATUN_F32, GATUN_F16, GATUN_E8M0})
                                                 : input.choice({GATUN_F32, GATUN_F16});
  p.scale_rule = p.scale_dtype == GATUN_E8M0   ? input.choice({0, 1, 4, 5, 6, 7})
                 : p.zero_point || p.book      ? input.choice({0, 0, 1})
                 : is_float_code(p.code_dtype) ? input.choice({0, 0, 1})
                                               : input.choice({0, 1, 2, 3});
  p.rounding = input.choice({0, 1, 2});
  p.threads = input.choice({0, 1, 2, 3});
  p.tensor_scale = 1;
  if (p.scale_dtype == GATUN_F8E4M3)
    p.tensor_scale = input.range(0, 3) ? std::fabs(rng.normal()) : rng.special_finite();
  if (input.rarely()) p.tensor_scale = rng.special();
  p.rows = input.size();
  p.depth = input.size();
  p.group = input.group(p.depth);
  p.group_rows = is_float8(p.code_dtype) && p.rows > 1 && input.range(0, 1) ? input.range(1, p.rows) : 1;
  if (input.rarely()) p.group_rows = input.size();
  p.x_column_stride = dequantize || input.range(0, 3) > 0 ? 1 : input.range(1, 9);
  if (input.rarely()) p.x_column_stride = input.size();
  p.x_row_stride = !dequantize && input.rarely() ? input.range(0, 50) : input.stride(p.depth);
  p.seed = static_cast<int64_t>(rng.next());
  return p;
}

bool documented_codes(const gatun_quantize_params& p) {
  const bool u4 = p.code_dtype == GATUN_U4, u8 = p.code_dtype == GATUN_U8, u2 = p.code_dtype == GATUN_U2;
  if (!u4 && !u8 && !u2) {
    return (p.code_dtype == GATUN_I8 || is_float_code(p.code_dtype)) && p.book == 0 && p.zero_point == 0;
  }
  if (p.book == GATUN_BOOK_NONE) return p.zero_point >= (u8 ? 1 : 0) && p.zero_point <= GATUN_ZERO_FLOAT;
  return p.zero_point == 0 && ((u4 && p.book >= GATUN_BOOK_GIVEN && p.book <= GATUN_BOOK_FP4) ||
                               (u8 && p.book >= GATUN_BOOK_DYNAMIC && p.book <= GATUN_BOOK_LINEAR_UNSIGNED) ||
                               (u8 && p.book == GATUN_BOOK_GIVEN));
}

bool documented_scales(const gatun_quantize_params& p) {
  if (p.scale_dtype == GATUN_F8E4M3) {
    return p.code_dtype == GATUN_F4E2M1 && p.tensor_scale > 0 && std::isfinite(p.tensor_scale);
  }
  return p.tensor_scale == 1 && (p.scale_dtype == GATUN_F32 || (p.scale_dtype == GATUN_F16 && p.book == 0) ||
                                 (p.scale_dtype == GATUN_E8M0 && is_float_code(p.code_dtype)));
}

bool documented_rules(const gatun_quantize_params& p) {
  const bool integers = !is_float_code(p.code_dtype) && p.zero_point == 0 && p.book == 0;
  const bool rule =
      p.scale_rule == GATUN_SCALE_DEFAULT || p.scale_rule == GATUN_SCALE_GIVEN ||
      (integers && (p.scale_rule == GATUN_SCALE_FULL_RANGE || p.scale_rule == GATUN_SCALE_NO_CLIPPING)) ||
      (p.scale_dtype == GATUN_E8M0 && p.scale_rule >= GATUN_SCALE_FLOOR && p.scale_rule <= GATUN_SCALE_EVEN);
  return rule && p.rounding >= GATUN_ROUND_NEAREST && p.rounding <= GATUN_ROUND_GIVEN;
}

bool documented_valid(const gatun_quantize_params& p, bool dequantize) {
  const bool x = p.x_dtype == GATUN_F32 || p.x_dtype == GATUN_F16 || p.x_dtype == GATUN_BF16;
  const bool shape = p.threads >= 0 && p.threads <= 1024 && p.rows >= 0 && p.depth >= 0 &&
                     (p.group == p.depth || (p.group >= 16 && p.group <= p.depth)) &&
                     (p.group_rows == 1 || (is_float8(p.code_dtype) && p.group_rows > 1 && p.group_rows <= p.rows));
  // One row of an output has no stride.
  const bool strides = dequantize ? p.x_column_stride == 1 && (p.rows < 2 || p.x_row_stride >= p.depth)
                                  : p.x_column_stride >= 1 && p.x_row_stride >= 0;
  return p.struct_size == sizeof(p) && x && documented_codes(p) && documented_scales(p) &&
         (dequantize || documented_rules(p)) && shape && strides;
}

int64_t parts(int64_t size, int64_t part) { return size == 0 ? 0 : (size - 1) / part + 1; }

struct Arguments {
  gatun_quantize_params p;
  bool dequantize, affordable = true, valid;
  Buffer x, book, round_up, codes, scales, zero_points;
  bool with_book, with_round_up, with_zero_points;

  Arguments(Input& input, test::Rng& rng, bool back)
      : p(params_from(input, rng, back)), dequantize(back), valid(documented_valid(p, back)) {
    const int32_t zero_dtype = p.zero_point == GATUN_ZERO_FLOAT ? GATUN_F32 : GATUN_U8;
    int64_t sizes[] = {1, 1, 1, 1, 1, 1};  // of an invalid call nothing may be touched
    if (valid) {
      const int64_t groups = parts(p.depth, p.group), block_rows = parts(p.rows, p.group_rows);
      const int64_t code_bytes = dtype_bytes(p.code_dtype, p.depth);
      const int64_t wanted[] = {
          extent(p.rows, p.depth, p.x_row_stride, p.x_column_stride, dtype_bytes(p.x_dtype, 1)),
          extent(p.book == GATUN_BOOK_GIVEN, p.code_dtype == GATUN_U4 ? 16 : 256, 0, 1, 4),
          extent(!dequantize && p.rounding == GATUN_ROUND_GIVEN ? p.rows : 0, p.depth, p.depth, 1, 1),
          extent(p.rows, code_bytes, code_bytes, 1, 1),
          extent(block_rows, groups, groups, 1, dtype_bytes(p.scale_dtype, 1)),
          extent(p.zero_point ? block_rows : 0, groups, groups, 1, dtype_bytes(zero_dtype, 1))};
      for (const int64_t size : wanted) {
        affordable = affordable && size != kUnaffordable;
        valid = valid && size != kImpossible;
      }
      // The reference of small floats and books tries all codes.
      const int64_t most = quantize::is_scaled(p) ? 1 << 14 : 1 << 18;
      if (p.depth > 0 && p.rows > most / p.depth) affordable = false;
      if (!valid) affordable = true;  // refused before any access
      if (!affordable) return;
      if (valid) std::copy(std::begin(wanted), std::end(wanted), sizes);
    }
    Buffer* const buffers[] = {&x, &book, &round_up, &codes, &scales, &zero_points};
    for (int i = 0; i < 6; ++i) *buffers[i] = Buffer(sizes[i]);
    if (valid) fill(input, rng);
    const int64_t alignments[] = {dtype_bytes(p.x_dtype, 1),
                                  4,
                                  1,
                                  1,
                                  valid ? dtype_bytes(p.scale_dtype, 1) : 1,
                                  valid ? dtype_bytes(zero_dtype, 1) : 1};
    for (int i = 0; i < 6; ++i) {
      buffers[i]->spoil(input);
      if (sizes[i] > 0 && (buffers[i]->is_null() || (buffers[i]->misaligned() && alignments[i] > 1))) valid = false;
    }
    // Arguments that the parameters do not ask for have to be null.
    with_book = present(input, p.book == GATUN_BOOK_GIVEN, book);
    with_round_up = dequantize || present(input, p.rounding == GATUN_ROUND_GIVEN, round_up);
    with_zero_points = present(input, p.zero_point != GATUN_ZERO_NONE, zero_points);
  }

  bool present(Input& input, bool wanted, const Buffer& buffer) {
    const bool there = wanted || input.range(0, 63) == 63;
    if (there && !wanted && !buffer.is_null()) valid = false;
    return there;
  }

  void fill(Input& input, test::Rng& rng) {
    x.fill_floats(rng, p.x_dtype, values(input));
    round_up.fill_integers(rng, 0, 1);
    codes.fill_integers(rng, 0, 255);
    if (p.scale_dtype == GATUN_F32 || p.scale_dtype == GATUN_F16) {
      scales.fill_floats(rng, p.scale_dtype, values(input));
    } else {
      const bool any = input.range(0, 7) == 0;
      scales.fill_integers(rng, any ? 0 : p.scale_dtype == GATUN_E8M0 ? 100 : 1, any ? 255 : 126);
    }
    if (p.zero_point == GATUN_ZERO_FLOAT) {
      zero_points.fill_floats(rng, GATUN_F32, values(input));
    } else {
      zero_points.fill_integers(rng, 0, 255);  // any do, those without a code too
    }
    if (p.book != GATUN_BOOK_GIVEN) return;
    book.fill_floats(rng, GATUN_F32, values(input));
    float* const begin = reinterpret_cast<float*>(book.data());
    float* const end = begin + book.bytes() / 4;
    const bool finite = std::all_of(begin, end, [](float value) { return std::isfinite(value); });
    if (finite && !input.rarely()) std::sort(begin, end);
    valid = finite && std::is_sorted(begin, end);
  }

  const float* book_at() { return with_book ? reinterpret_cast<const float*>(book.data()) : nullptr; }
  const void* round_up_at() { return with_round_up ? round_up.data() : nullptr; }
  void* zero_points_at() { return with_zero_points ? zero_points.data() : nullptr; }
};

// Before a defect: what was asked for.
void describe(const gatun_quantize_params& p) {
  std::fprintf(stderr, "x_dtype %d code_dtype %d book %d zero_point %d scale_dtype %d scale_rule %d rounding %d\n",
               p.x_dtype, p.code_dtype, p.book, p.zero_point, p.scale_dtype, p.scale_rule, p.rounding);
  std::fprintf(stderr, "tensor_scale %g rows %lld depth %lld group %lld group_rows %lld strides %lld %lld\n",
               double{p.tensor_scale}, static_cast<long long>(p.rows), static_cast<long long>(p.depth),
               static_cast<long long>(p.group), static_cast<long long>(p.group_rows),
               static_cast<long long>(p.x_row_stride), static_cast<long long>(p.x_column_stride));
}

void restore(Buffer& buffer, const std::vector<uint8_t>& bytes) {
  if (!bytes.empty()) std::memcpy(buffer.data(), bytes.data(), bytes.size());
}

float element(const uint8_t* at, int32_t dtype) {
  if (dtype == GATUN_F32) {
    float value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  uint16_t half;
  std::memcpy(&half, at, sizeof(half));
  return dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

}  // namespace

void fuzz_quantize(Input& input) {
  test::Rng rng = input.rng();
  Arguments a(input, rng, false);
  if (!a.affordable) return;
  const gatun_quantize_params& p = a.p;
  char text[1024];
  if (a.valid) check_status(gatun_quantize_explain(&p, text, sizeof(text)), true, "gatun_quantize_explain");
  const bool some = a.valid && p.rows > 0 && p.depth > 0;
  const bool finite =
      !some || quantize::reference_check(p, a.x.data(), a.scales.data(), a.zero_points.data()) == GATUN_OK;
  Buffer* const outputs[] = {&a.codes, &a.scales, &a.zero_points};
  constexpr const char* kNames[] = {"codes", "scales", "zero points"};
  const std::vector<uint8_t> before[] = {a.codes.copy(), a.scales.copy(), a.zero_points.copy()};
  Buffer expected[] = {Buffer(a.codes.bytes()), Buffer(a.scales.bytes()), Buffer(a.zero_points.bytes())};
  if (some && finite) {
    for (int i = 0; i < 3; ++i) restore(expected[i], before[i]);  // given ones are input
    quantize::reference_quantize(p, a.x.data(), a.book_at(), a.round_up_at(), expected[0].data(), expected[1].data(),
                                 expected[2].data());
  }
  for (const Tier tier : {Tier::scalar, active_tier()}) {
    for (int i = 0; i < 3; ++i) restore(*outputs[i], before[i]);
    const int32_t status = quantize::run_quantize(tier, &p, a.x.data(), a.book_at(), a.round_up_at(), a.codes.data(),
                                                  a.scales.data(), a.zero_points_at());
    check_status(status, a.valid && finite, "gatun_quantize");
    if (a.valid && !finite) continue;  // outputs are unspecified
    for (int i = 0; i < 3; ++i) {
      const std::vector<uint8_t> after = outputs[i]->copy();
      if (!a.valid && after != before[i]) defect("gatun_quantize failed and wrote %s", kNames[i]);
      const std::vector<uint8_t> wanted = expected[i].copy();
      if (!some || after == wanted) continue;
      const int64_t at = std::mismatch(after.begin(), after.end(), wanted.begin()).first - after.begin();
      describe(p);
      defect("%s[byte %lld] = 0x%x of tier %s, reference 0x%x", kNames[i], static_cast<long long>(at),
             unsigned{after[static_cast<size_t>(at)]}, tier_name(tier), unsigned{wanted[static_cast<size_t>(at)]});
    }
  }
}

void fuzz_dequantize(Input& input) {
  test::Rng rng = input.rng();
  Arguments a(input, rng, true);
  if (!a.affordable) return;
  const gatun_quantize_params& p = a.p;
  const std::vector<uint8_t> before = a.x.copy();
  // Between rows nothing is written, so the reference starts from the same bytes.
  Buffer expected(a.x.bytes());
  restore(expected, before);
  if (a.valid && a.x.bytes() > 0) {
    quantize::reference_dequantize(p, a.book_at(), a.codes.data(), a.scales.data(), a.zero_points_at(),
                                   expected.data());
  }
  for (const Tier tier : {Tier::scalar, active_tier()}) {
    restore(a.x, before);
    const int32_t status = quantize::run_dequantize(tier, &p, a.book_at(), a.codes.data(), a.scales.data(),
                                                    a.zero_points_at(), a.x.data());
    check_status(status, a.valid, "gatun_dequantize");
    const std::vector<uint8_t> after = a.x.copy();
    if (!a.valid && after != before) defect("gatun_dequantize failed and wrote x");
    if (!a.valid) continue;
    const int64_t size = dtype_bytes(p.x_dtype, 1);
    for (int64_t at = 0; at < a.x.bytes(); at += size) {
      if (std::memcmp(&after[static_cast<size_t>(at)], expected.data() + at, static_cast<size_t>(size)) == 0) continue;
      const float actual = element(&after[static_cast<size_t>(at)], p.x_dtype);
      const float wanted = element(expected.data() + at, p.x_dtype);
      if (std::isnan(actual) && std::isnan(wanted)) continue;  // whichever
      describe(p);
      defect("x[%lld] = %g of tier %s, reference %g", static_cast<long long>(at / size), double{actual},
             tier_name(tier), double{wanted});
    }
  }
}

}  // namespace gatun::fuzz
