#include "qmatmul/form.h"

#include "base/check.h"
#include "base/packed.h"
#include "base/status.h"
#include "qmatmul/layout.h"

namespace gatun::cuda::qmatmul {
namespace {

Codes codes_of(const gatun_qmatmul_weights& weights) {
  const bool book = weights.book != GATUN_BOOK_NONE;
  switch (weights.code_dtype) {
    case GATUN_U4:
      return book ? Codes::book4 : Codes::u4;
    case GATUN_U8:
      return book ? Codes::book8 : Codes::u8;
    case GATUN_U2:
      return Codes::u2;
    case GATUN_I8:
      return Codes::i8;
    case GATUN_F8E4M3:
      return Codes::f8e4m3;
    case GATUN_F8E5M2:
      return Codes::f8e5m2;
    case GATUN_F6E3M2:
      return Codes::f6e3m2;
    case GATUN_F6E2M3:
      return Codes::f6e2m3;
    default:
      return Codes::f4e2m1;
  }
}

int64_t aligned(int64_t bytes) { return blocks_of(bytes, kPartAlignment) * kPartAlignment; }

}  // namespace

int scale_bytes(int32_t scale_dtype) { return scale_dtype == GATUN_F32 ? 4 : scale_dtype == GATUN_F16 ? 2 : 1; }

int offset_bytes(int32_t zero_point) {
  return zero_point == GATUN_ZERO_FLOAT ? 4 : zero_point == GATUN_ZERO_INTEGER ? 1 : 0;
}

int32_t form_of(const gatun_qmatmul_weights* weights, Form* form) {
  GATUN_TRY(gatun::qmatmul::check_weights(weights, "weights"));
  if (weights->gguf_type != 0) {
    return fail(GATUN_UNSUPPORTED, "weights.gguf_type = %d; allowed on a device: 0, no GGUF blocks",
                weights->gguf_type);
  }
  Form f = {};
  f.codes = codes_of(*weights);
  f.scale_dtype = weights->scale_dtype;
  f.zero_point = weights->zero_point;
  f.book = weights->book;
  f.group_rows = weights->group_rows;
  f.factor = weights->tensor_scale;
  f.columns = weights->columns;
  f.depth = weights->depth;
  f.group = weights->group;
  f.groups = blocks_of(f.depth, f.group);
  f.strips = blocks_of(f.columns, kStripColumns);
  f.padded_depth = blocks_of(f.depth, kDepthMultiple) * kDepthMultiple;
  f.units = f.padded_depth / unit_depth(f.codes);
  f.codes_at = aligned(sizeof(PackedHeader));
  f.scales_at = f.codes_at + f.strips * f.units * kUnitBytes;
  f.offsets_at = f.scales_at + aligned(f.groups * f.padded_columns() * scale_bytes(f.scale_dtype));
  f.book_at = f.offsets_at + aligned(f.groups * f.padded_columns() * offset_bytes(f.zero_point));
  f.bytes = f.book_at + aligned(book_values(f.codes) * int64_t{sizeof(float)});
  *form = f;
  return GATUN_OK;
}

}  // namespace gatun::cuda::qmatmul
