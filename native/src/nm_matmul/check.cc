// Descriptions of weights: checks, and the header of the packed form.
#include "base/check.h"

#include <cstring>

#include "base/dtype.h"
#include "base/nm.h"
#include "base/packed.h"
#include "base/status.h"
#include "nm_matmul/layout.h"

namespace gatun::nm_matmul {
namespace {

struct Header {
  uint64_t magic;
  uint16_t version;
  PackedFormat format;
  uint8_t n, m;
  uint8_t value_dtype;
  uint8_t zero_point;
  uint8_t scale_dtype;
  uint8_t dense;         // gatun_nm_dense
  uint8_t stored_dense;  // 1: it is
  uint8_t panel_columns;
  int32_t vector;
  int64_t rows;
  int64_t columns;
  int64_t depth;
  int64_t group;
  int64_t bytes;  // of the whole buffer, this header included
};
static_assert(sizeof(Header) == kHeaderBytes);

int32_t check_scales(const gatun_nm_weights& w, const char* name) {
  const bool codes = w.value_dtype == GATUN_I8 || w.value_dtype == GATUN_U4;
  const bool zeros = w.value_dtype == GATUN_U4;
  if (w.zero_point != GATUN_ZERO_NONE && !(zeros && w.zero_point == GATUN_ZERO_INTEGER)) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.zero_point = %d with values %s; allowed: NONE (0), with U4 INTEGER (1)",
                name, w.zero_point, dtype_name(w.value_dtype));
  }
  if (codes ? w.scale_dtype != GATUN_F32 && w.scale_dtype != GATUN_F16 : w.scale_dtype != 0) {
    return fail(GATUN_INVALID_ARGUMENT,
                "%s.scale_dtype = %d (%s) with values %s; allowed: F32, F16 with I8 and U4, otherwise 0", name,
                w.scale_dtype, dtype_name(w.scale_dtype), dtype_name(w.value_dtype));
  }
  if (!codes ? w.group != 0 : w.group != w.depth && (w.group < 16 || w.group > w.depth || w.group % w.m != 0)) {
    return fail(GATUN_INVALID_ARGUMENT,
                "%s.group = %lld with values %s; allowed: with I8 and U4 the depth %lld, or multiples of m = %d in "
                "16..%lld, otherwise 0",
                name, static_cast<long long>(w.group), dtype_name(w.value_dtype), static_cast<long long>(w.depth), w.m,
                static_cast<long long>(w.depth));
  }
  return GATUN_OK;
}

}  // namespace

int32_t check_weights(const gatun_nm_weights* weights, const char* name) {
  GATUN_TRY(check_not_null(weights, name));
  const gatun_nm_weights& w = *weights;
  GATUN_TRY(check_struct_size(w.struct_size, sizeof(w), name));
  GATUN_TRY(check_nm(w.n, w.m, name));
  GATUN_TRY(check_field(w.vector, 1, INT32_MAX, name, "vector"));
  if (w.value_dtype != GATUN_F32 && w.value_dtype != GATUN_F16 && w.value_dtype != GATUN_BF16 &&
      w.value_dtype != GATUN_I8 && w.value_dtype != GATUN_U4) {
    return fail(GATUN_INVALID_ARGUMENT, "%s.value_dtype = %d (%s); allowed: F32, F16, BF16, I8, U4", name,
                w.value_dtype, dtype_name(w.value_dtype));
  }
  GATUN_TRY(check_field(w.dense, GATUN_NM_DENSE_NEVER, GATUN_NM_DENSE_IF_FASTER, name, "dense"));
  GATUN_TRY(check_field(w.rows, 0, INT64_MAX, name, "rows"));
  // Sizes in bytes don't overflow: a weight takes at most 16 (columns of a panel) times 192 bytes (its group of 32 f32,
  // their indices twice), and only one column of them does.
  GATUN_TRY(check_field(w.columns, 0, kMaxCells, name, "columns"));
  GATUN_TRY(check_field(w.depth, 0, kMaxCells, name, "depth"));
  int64_t cells;
  if (__builtin_mul_overflow(w.columns, w.depth, &cells) || cells > kMaxCells) {
    return fail(GATUN_INVALID_ARGUMENT, "%s: columns = %lld, depth = %lld; allowed: a product up to 2^52", name,
                static_cast<long long>(w.columns), static_cast<long long>(w.depth));
  }
  return check_scales(w, name);
}

void write_header(const gatun_nm_weights& w, const Layout& layout, uint8_t* packed) {
  const Header header{kPackedMagic,
                      kPackedVersion,
                      PackedFormat::nm_matmul,
                      static_cast<uint8_t>(w.n),
                      static_cast<uint8_t>(w.m),
                      static_cast<uint8_t>(w.value_dtype),
                      static_cast<uint8_t>(w.zero_point),
                      static_cast<uint8_t>(w.scale_dtype),
                      static_cast<uint8_t>(w.dense),
                      static_cast<uint8_t>(layout.dense()),
                      kPanelColumns,
                      w.vector,
                      w.rows,
                      w.columns,
                      w.depth,
                      w.group,
                      layout.bytes()};
  std::memcpy(packed, &header, sizeof(header));
}

int32_t read_header(const void* packed, int64_t packed_bytes, PackedWeights* weights) {
  GATUN_TRY(check_packed_prefix(packed, packed_bytes, PackedFormat::nm_matmul));
  Header header;
  std::memcpy(&header, packed, sizeof(header));
  GATUN_TRY(check_field(header.panel_columns, kPanelColumns, kPanelColumns, "packed header", "panel_columns"));
  const PackedWeights read{
      {sizeof(gatun_nm_weights), header.n, header.m, header.vector, header.value_dtype, header.zero_point,
       header.scale_dtype, header.dense, header.rows, header.columns, header.depth, header.group},
      header.stored_dense == 1};
  GATUN_TRY(check_weights(&read.description, "packed header"));
  GATUN_TRY(check_field(header.stored_dense, 0, header.dense == GATUN_NM_DENSE_IF_FASTER ? 1 : 0, "packed header",
                        "stored_dense"));
  GATUN_TRY(check_packed_size(packed_bytes, header.bytes, Layout(read.description, read.dense).bytes()));
  *weights = read;
  return GATUN_OK;
}

}  // namespace gatun::nm_matmul
