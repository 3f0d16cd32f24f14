// Descriptions of weights: checks, and the header of the packed form.
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"
#include "gguf/block.h"
#include "qmatmul/layout.h"

namespace gatun::qmatmul {
namespace {

int32_t check_gguf(const gatun_qmatmul_weights& weights, const char* name) {
  const gguf::Type* type = gguf::find_type(weights.gguf_type);
  if (type == nullptr) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.gguf_type = %d; allowed: 0, or one of gatun_gguf_type", name,
                weights.gguf_type);
  }
  const struct {
    int32_t value, allowed;
    const char* name;
  } fields[] = {{weights.code_dtype, 0, "code_dtype"},
                {weights.book, GATUN_BOOK_NONE, "book"},
                {weights.zero_point, GATUN_ZERO_NONE, "zero_point"},
                {weights.scale_dtype, 0, "scale_dtype"},
                {weights.group_rows, 1, "group_rows"}};
  for (const auto& field : fields) {
    if (field.value == field.allowed) continue;
    return fail(GATUN_INVALID_ARGUMENT, "%s.%s = %d; allowed with GGUF blocks: %d", name, field.name, field.value,
                field.allowed);
  }
  if (weights.tensor_scale != 1.0f) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.tensor_scale = %g; allowed with GGUF blocks: 1", name,
                static_cast<double>(weights.tensor_scale));
  }
  if (weights.group != type->group) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.group = %lld; allowed with %s blocks: %d", name,
                static_cast<long long>(weights.group), type->name, type->group);
  }
  if (weights.depth % type->elements != 0) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.depth = %lld; allowed with %s blocks: multiples of %d", name,
                static_cast<long long>(weights.depth), type->name, type->elements);
  }
  return GATUN_OK;
}

int32_t check_codes(const gatun_qmatmul_weights& weights, const char* name) {
  const int32_t codes = weights.code_dtype;
  const bool four_bits = codes == GATUN_U4, bytes = codes == GATUN_U8;
  const bool floats = codes == GATUN_F8E4M3 || codes == GATUN_F8E5M2 || codes == GATUN_F6E3M2 ||
                      codes == GATUN_F6E2M3 || codes == GATUN_F4E2M1;
  if (!four_bits && !bytes && !floats && codes != GATUN_I8 && codes != GATUN_U2) {
    return fail(GATUN_INVALID_ARGUMENT,
                "%s.code_dtype = %d (%s); allowed: I8, U8, U4, U2, F8E4M3, F8E5M2, F6E3M2, F6E2M3, F4E2M1", name, codes,
                dtype_name(codes));
  }
  GATUN_TRY(check_field(weights.book, GATUN_BOOK_NONE, GATUN_BOOK_LINEAR_UNSIGNED, name, "book"));
  GATUN_TRY(check_field(weights.zero_point, GATUN_ZERO_NONE, GATUN_ZERO_FLOAT, name, "zero_point"));
  const bool of_16 = weights.book == GATUN_BOOK_NF4 || weights.book == GATUN_BOOK_FP4;
  const bool of_256 = weights.book >= GATUN_BOOK_DYNAMIC;
  const bool has_book = weights.book != GATUN_BOOK_NONE;
  if ((has_book && !four_bits && !bytes) || (of_16 && !four_bits) || (of_256 && !bytes)) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.book = %d with codes %s; allowed: 0; %s", name, weights.book,
                dtype_name(codes),
                four_bits ? "with U4 also GIVEN, NF4, FP4"
                : bytes   ? "with U8 also GIVEN, DYNAMIC to LINEAR_UNSIGNED"
                          : "a code book with U4 and U8");
  }
  const bool takes_zero_points = (four_bits || bytes || codes == GATUN_U2) && !has_book;
  if (weights.zero_point != GATUN_ZERO_NONE ? !takes_zero_points : bytes && !has_book) {
    return fail(GATUN_INVALID_ARGUMENT,
                "%s.zero_point = %d with codes %s and code book %d; allowed: any with U4 and U2, INTEGER and FLOAT "
                "with U8, 0 with code books, I8 and floats",
                name, weights.zero_point, dtype_name(codes), weights.book);
  }
  return GATUN_OK;
}

int32_t check_scales(const gatun_qmatmul_weights& weights, const char* name) {
  const int32_t dtype = weights.scale_dtype;
  if (dtype != GATUN_F32 && dtype != GATUN_F16 && dtype != GATUN_E8M0 && dtype != GATUN_F8E4M3) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.scale_dtype = %d (%s); allowed: F32, F16, E8M0, F8E4M3", name, dtype,
                dtype_name(dtype));
  }
  GATUN_TRY(check_field(weights.group_rows, 1, INT32_MAX, name, "group_rows"));
  if (!(weights.tensor_scale >= 0x1p-120f && std::isfinite(weights.tensor_scale))) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.tensor_scale = %g; allowed: finite, from 2^-120 on", name,
                static_cast<double>(weights.tensor_scale));
  }
  if (weights.group != weights.depth && (weights.group < 16 || weights.group > weights.depth)) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.group = %lld; allowed: 16..%lld, or the depth %lld", name,
                static_cast<long long>(weights.group), static_cast<long long>(weights.depth),
                static_cast<long long>(weights.depth));
  }
  return GATUN_OK;
}

}  // namespace

int32_t check_weights(const gatun_qmatmul_weights* weights, const char* name) {
  GATUN_TRY(check_not_null(weights, name));
  GATUN_TRY(check_struct_size(weights->struct_size, sizeof(*weights), name));
  if (weights->gguf_type == 0) GATUN_TRY(check_codes(*weights, name));
  GATUN_TRY(check_field(weights->columns, 0, INT64_MAX, name, "columns"));
  GATUN_TRY(check_field(weights->depth, 0, INT64_MAX, name, "depth"));
  GATUN_TRY(weights->gguf_type == 0 ? check_scales(*weights, name) : check_gguf(*weights, name));
  int64_t cells;
  if (__builtin_mul_overflow(weights->columns, weights->depth, &cells) || cells > kMaxCells ||
      weights->columns > kMaxCells || weights->depth > kMaxCells) {
    return fail(GATUN_INVALID_ARGUMENT, "%s: columns = %lld, depth = %lld; allowed: each and their product up to 2^52",
                name, static_cast<long long>(weights->columns), static_cast<long long>(weights->depth));
  }
  return GATUN_OK;
}

PackedHeader header_of(const gatun_qmatmul_weights& weights, const Layout& layout) {
  const bool given_integers = weights.book == GATUN_BOOK_GIVEN && layout.stored() == Stored::t4;
  return {kPackedMagic,
          kPackedVersion,
          PackedFormat::qmatmul,
          static_cast<int16_t>(weights.code_dtype),
          static_cast<int16_t>(weights.book),
          static_cast<int16_t>(weights.zero_point),
          static_cast<int16_t>(weights.scale_dtype),
          static_cast<int16_t>(weights.gguf_type),
          kPanelRows,
          given_integers,
          weights.group_rows,
          weights.tensor_scale,
          weights.columns,
          weights.depth,
          weights.group,
          layout.bytes()};
}

int32_t read_header(const void* packed, int64_t packed_bytes, PackedWeights* weights) {
  GATUN_TRY(check_packed_prefix(packed, packed_bytes, PackedFormat::qmatmul));
  PackedHeader header;
  std::memcpy(&header, packed, sizeof(header));
  GATUN_TRY(check_field(header.panel_rows, kPanelRows, kPanelRows, "packed header", "panel_rows"));
  const PackedWeights read{
      {sizeof(gatun_qmatmul_weights), header.code_dtype, header.book, header.zero_point, header.scale_dtype,
       header.gguf_type, header.group_rows, header.tensor_scale, header.columns, header.depth, header.group},
      header.integer_book == 1};
  GATUN_TRY(check_weights(&read.description, "packed header"));
  const bool may_be_integers = read.description.book == GATUN_BOOK_GIVEN && read.description.code_dtype == GATUN_U4;
  GATUN_TRY(check_field(header.integer_book, 0, may_be_integers ? 1 : 0, "packed header", "integer_book"));
  const int64_t needed = Layout(read.description, read.integer_book).bytes();
  GATUN_TRY(check_packed_size(packed_bytes, header.bytes, needed));
  *weights = read;
  return GATUN_OK;
}

}  // namespace gatun::qmatmul
