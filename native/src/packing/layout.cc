#include "packing/layout.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"

namespace gatun::packing {
namespace {

using LongLong = long long;

// As of packed weights of qmatmul; sums of sizes and groups stay far from overflow.
constexpr int64_t kMaxSize = int64_t{1} << 52;

// Which axis is packed, and what lies beside its units: see plane.h.
enum class Arrangement { none, rows, columns, across };

// A packing, as the table of gatun/packing.h says: what is not set in a row is not so.
struct Packing {
  const char* name = "";
  Order order = Order::low_first;
  Arrangement codes = Arrangement::rows;
  Arrangement zero_points = Arrangement::none;  // of integer ones, in the same order; none: there are none
  bool always_zero_points = false;              // even where Gatun's planes have none; then all are 2^(bits - 1)
  int zero_bias = 0;
  bool by_group = false;  // scales and float zero points are [G, columns], not [columns, G]
  bool only_f32 = false;  // scales
  int fewest_bits = 4, most_bits = 4;
  int signed_bits = 0;                  // codes of so many bits are two's complement
  int column_bits = 0, depth_bits = 0;  // columns and depth fill whole words of so many bits
  int64_t block = 0;                    // all groups have so many elements
  bool padded = false;                  // rows are padded to whole groups
  // Gatun's planes may have these zero points.
  bool none = true, integers = false, floats = false;
};

Packing packing_of(int32_t number) {
  Packing p;
  switch (number) {
    case GATUN_PACKING_GPTQ:
    case GATUN_PACKING_GPTQ_V2:
      p.name = number == GATUN_PACKING_GPTQ ? "GPTQ" : "GPTQ_V2";
      p.order = Order::gptq_k8;
      p.codes = Arrangement::columns;
      p.zero_points = Arrangement::across;
      p.always_zero_points = p.by_group = p.integers = true;
      p.zero_bias = number == GATUN_PACKING_GPTQ ? 1 : 0;
      p.fewest_bits = 2;
      p.most_bits = 8;
      p.column_bits = p.depth_bits = 32;
      break;
    case GATUN_PACKING_AWQ:
      p.name = "AWQ";
      p.order = Order::awq_0246_1357;
      p.codes = p.zero_points = Arrangement::across;
      p.always_zero_points = p.by_group = p.integers = true;
      p.column_bits = 32;
      break;
    case GATUN_PACKING_MATMUL_NBITS:
      p.name = "MATMUL_NBITS";
      p.zero_points = Arrangement::rows;
      p.fewest_bits = 2;
      p.most_bits = 8;
      p.padded = p.integers = p.floats = true;
      break;
    case GATUN_PACKING_BITSANDBYTES:
      p.name = "BITSANDBYTES";
      p.order = Order::high_first;
      p.only_f32 = true;
      break;
    case GATUN_PACKING_TORCHAO:
      p.name = "TORCHAO";
      p.signed_bits = 4;
      p.depth_bits = 8;
      p.by_group = p.floats = true;
      p.none = false;
      break;
    case GATUN_PACKING_JLAMA:
      p.name = "JLAMA";
      p.order = Order::split_half_block;
      p.only_f32 = true;
      p.most_bits = p.signed_bits = 8;
      p.block = 32;
      break;
    default:
      break;
  }
  return p;
}

int bits_of(int32_t code_dtype) {
  switch (code_dtype) {
    case GATUN_U2:
      return 2;
    case GATUN_U4:
      return 4;
    default:
      return 8;
  }
}

int32_t check_types(const gatun_packing_params& p, const Packing& packing) {
  const int bits = bits_of(p.code_dtype);
  const bool known =
      p.code_dtype == GATUN_I8 || p.code_dtype == GATUN_U8 || p.code_dtype == GATUN_U4 || p.code_dtype == GATUN_U2;
  if (!known || bits < packing.fewest_bits || bits > packing.most_bits) {
    return fail(GATUN_INVALID_ARGUMENT, "params.code_dtype = %d (%s) with packing %s; allowed: %s", p.code_dtype,
                dtype_name(p.code_dtype), packing.name,
                packing.most_bits == 4     ? "U4"
                : packing.fewest_bits == 4 ? "U4, I8"
                                           : "U2, U4, U8, I8");
  }
  GATUN_TRY(check_range(p.zero_point, GATUN_ZERO_NONE, GATUN_ZERO_FLOAT, "params.zero_point"));
  const bool kinds[] = {packing.none, packing.integers, packing.floats};
  if (!kinds[p.zero_point]) {
    return fail(GATUN_INVALID_ARGUMENT, "params.zero_point = %d with packing %s; allowed: %s", p.zero_point,
                packing.name,
                packing.integers ? "GATUN_ZERO_NONE, GATUN_ZERO_INTEGER"
                : packing.floats ? "GATUN_ZERO_FLOAT"
                                 : "GATUN_ZERO_NONE");
  }
  if (bits == 8 && (p.code_dtype == GATUN_I8) != (p.zero_point == GATUN_ZERO_NONE)) {
    return fail(
        GATUN_INVALID_ARGUMENT,
        "params.code_dtype = %d (%s) with params.zero_point = %d; allowed: I8 without zero points, U8 with them",
        p.code_dtype, dtype_name(p.code_dtype), p.zero_point);
  }
  return GATUN_OK;
}

int32_t check_float_types(const gatun_packing_params& p, const Packing& packing) {
  const auto is_float = [](int32_t dtype) { return dtype == GATUN_F32 || dtype == GATUN_F16 || dtype == GATUN_BF16; };
  if (p.scale_dtype != GATUN_F32 && (p.scale_dtype != GATUN_F16 || packing.only_f32)) {
    return fail(GATUN_INVALID_ARGUMENT, "params.scale_dtype = %d (%s) with packing %s; allowed: %s", p.scale_dtype,
                dtype_name(p.scale_dtype), packing.name, packing.only_f32 ? "F32" : "F32, F16");
  }
  const bool same = p.packed_scale_dtype == p.scale_dtype;
  if (!same && (packing.only_f32 || p.scale_dtype != GATUN_F32 || !is_float(p.packed_scale_dtype))) {
    return fail(GATUN_INVALID_ARGUMENT,
                "params.packed_scale_dtype = %d (%s) with packing %s and params.scale_dtype %s; allowed: %s",
                p.packed_scale_dtype, dtype_name(p.packed_scale_dtype), packing.name, dtype_name(p.scale_dtype),
                packing.only_f32             ? "F32"
                : p.scale_dtype == GATUN_F32 ? "F32, F16, BF16"
                                             : "F16");
  }
  const bool floats = p.zero_point == GATUN_ZERO_FLOAT;
  if (floats ? !is_float(p.packed_zero_dtype) : p.packed_zero_dtype != 0) {
    return fail(GATUN_INVALID_ARGUMENT, "params.packed_zero_dtype = %d (%s) with params.zero_point = %d; allowed: %s",
                p.packed_zero_dtype, dtype_name(p.packed_zero_dtype), p.zero_point, floats ? "F32, F16, BF16" : "0");
  }
  return GATUN_OK;
}

// Whole words of `word_bits`.
int32_t check_words(int64_t size, int bits, int word_bits, const Packing& packing, const char* name) {
  if (word_bits == 0 || size % (word_bits / bits) == 0) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s = %lld with %d bits and packing %s; allowed: multiples of %d", name,
              LongLong{size}, bits, packing.name, word_bits / bits);
}

int32_t check_shape(const gatun_packing_params& p, const Packing& packing) {
  const int bits = bits_of(p.code_dtype);
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.columns, 0, kMaxSize, "params.columns"));
  GATUN_TRY(check_range(p.depth, 0, kMaxSize, "params.depth"));
  if (p.packing == GATUN_PACKING_BITSANDBYTES) GATUN_TRY(check_range(p.columns, 1, 1, "params.columns"));
  GATUN_TRY(check_words(p.columns, bits, packing.column_bits, packing, "params.columns"));
  GATUN_TRY(check_words(p.depth, bits, packing.depth_bits, packing, "params.depth"));
  if (packing.block != 0) {
    GATUN_TRY(check_range(p.group, packing.block, packing.block, "params.group"));
    if (p.depth % packing.block == 0) return GATUN_OK;
    return fail(GATUN_INVALID_ARGUMENT, "params.depth = %lld with packing %s; allowed: multiples of %lld",
                LongLong{p.depth}, packing.name, LongLong{packing.block});
  }
  if (packing.padded) {
    if (p.group >= 16 && p.group <= kMaxSize && (p.group & (p.group - 1)) == 0) return GATUN_OK;
    return fail(GATUN_INVALID_ARGUMENT, "params.group = %lld with packing %s; allowed: powers of two, 16..2^52",
                LongLong{p.group}, packing.name);
  }
  if (p.group == p.depth || (p.group >= 16 && p.group <= p.depth)) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "params.group = %lld with params.depth = %lld; allowed: 16..depth, or depth",
              LongLong{p.group}, LongLong{p.depth});
}

// A plane of small codes of [columns, depth], its bytes in *bytes.
int32_t arrange(Arrangement arrangement, Order order, int bits, int64_t columns, int64_t depth, const char* name,
                Plane* plane, int64_t* bytes) {
  const int64_t per_word = 32 / bits;
  switch (arrangement) {
    case Arrangement::none:
      *bytes = 0;
      return GATUN_OK;
    case Arrangement::rows: {
      const int64_t per_byte = 8 / bits, row_bytes = depth / per_byte + (depth % per_byte != 0);
      *plane = packed_in_rows(bits == 8 ? Order::low_first : order, bits, row_bytes);
      return check_extent(columns, row_bytes, row_bytes, 1, 8, name, bytes);
    }
    case Arrangement::columns:
      *plane = packed_in_columns(order, bits, columns);
      return check_extent(depth / per_word, columns, columns, 1, 32, name, bytes);
    case Arrangement::across:
      *plane = packed_across(order, bits, columns);
      return check_extent(depth, columns / per_word, columns / per_word, 1, 32, name, bytes);
  }
  __builtin_unreachable();
}

}  // namespace

int32_t layout_of(const gatun_packing_params* params, Layout* layout) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  const gatun_packing_params& p = *params;
  GATUN_TRY(check_range(p.packing, GATUN_PACKING_GPTQ, GATUN_PACKING_JLAMA, "params.packing"));
  const Packing packing = packing_of(p.packing);
  GATUN_TRY(check_types(p, packing));
  GATUN_TRY(check_float_types(p, packing));
  GATUN_TRY(check_shape(p, packing));

  Layout& l = *layout;
  l = {};
  l.bits = bits_of(p.code_dtype);
  l.code_bias = (l.bits == packing.signed_bits) != (p.code_dtype == GATUN_I8) ? 1 << (l.bits - 1) : 0;
  l.zero_bias = packing.zero_bias;
  l.groups = p.depth == 0 ? 0 : (p.depth + p.group - 1) / p.group;
  l.padded_depth = packing.padded ? l.groups * p.group : p.depth;
  GATUN_TRY(arrange(packing.codes, packing.order, l.bits, p.columns, l.padded_depth, "packed_codes", &l.packed_codes,
                    &l.packed_codes_bytes));
  GATUN_TRY(
      arrange(Arrangement::rows, Order::low_first, l.bits, p.columns, p.depth, "codes", &l.codes, &l.codes_bytes));

  l.floats = {l.groups, 1};
  l.packed_floats = packing.by_group ? Strides{1, p.columns} : l.floats;
  const int64_t blocks = p.columns * l.groups;  // no more than codes
  l.packed_scales_bytes = blocks * dtype_bytes(p.packed_scale_dtype, 1);
  l.scales_bytes = blocks * dtype_bytes(p.scale_dtype, 1);

  if (p.zero_point == GATUN_ZERO_FLOAT) {
    l.packed_zeros = ZeroPoints::floats;
    l.packed_zeros_bytes = blocks * dtype_bytes(p.packed_zero_dtype, 1);
    l.zeros_bytes = blocks * 4;
    return GATUN_OK;
  }
  const bool integers = p.zero_point == GATUN_ZERO_INTEGER;
  l.packed_zeros = integers || packing.always_zero_points ? ZeroPoints::codes : ZeroPoints::none;
  GATUN_TRY(arrange(integers ? Arrangement::rows : Arrangement::none, Order::low_first, 8, p.columns, l.groups,
                    "zero_points", &l.zero_codes, &l.zeros_bytes));
  return arrange(l.packed_zeros == ZeroPoints::codes ? packing.zero_points : Arrangement::none, packing.order, l.bits,
                 p.columns, l.groups, "packed_zero_points", &l.packed_zero_codes, &l.packed_zeros_bytes);
}

}  // namespace gatun::packing
