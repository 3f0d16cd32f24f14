// gatun_quantization_error: dequantizes a stretch of a row at a time and sums the squares of what is left of x.
#include "base/check.h"
#include "base/dtype.h"
#include "base/failure.h"
#include "calibrate/blocks.h"
#include "calibrate/table.h"
#include "gatun/calibrate.h"
#include "gatun/gguf.h"
#include "gguf/table.h"
#include "quantize/table.h"

namespace gatun::calibrate {
namespace {

using LongLong = long long;

struct Call {
  Tier limit;
  gatun_quantize_params p;  // of GGUF blocks: group the elements of a block, group_rows 1
  int32_t gguf_type;        // or 0
  int64_t block_bytes;      // of GGUF
  const void* x;
  const float* code_book;
  const uint8_t* codes;
  const uint8_t* scales;
  const uint8_t* zero_points;
  Kernel kernel;
  FirstFailure* failure;

  int64_t groups() const { return (p.depth - 1) / p.group + 1; }
  int64_t zero_point_bytes() const { return p.zero_point == GATUN_ZERO_FLOAT ? 4 : 1; }
};

// Values of a row as gatun_dequantize makes them. Some more than are asked for are made at once, and kept.
class Decoder {
 public:
  explicit Decoder(const Call& call) : call_(call) {}

  // Values [begin, end) of a row, at most kPiece.
  const float* values(int64_t row, int64_t begin, int64_t end) {
    if (row != row_ || begin < begin_ || end > end_) {
      row_ = row;
      begin_ = end_ = begin;
      // Of blocks of several rows the next piece is in another row.
      const int64_t ahead = call_.p.group_rows == 1 ? std::min(begin + kPiece, call_.p.depth) : end;
      while (end_ < end) call_.gguf_type != 0 ? decode_gguf(ahead) : decode(ahead);
    }
    return values_ + (begin - begin_);
  }

 private:
  // Blocks from end_ on, where a block begins.
  void decode_gguf(int64_t ahead) {
    const gatun_quantize_params& p = call_.p;
    const int64_t first = end_ / p.group, count = (ahead - end_) / p.group * p.group;
    const uint8_t* blocks = call_.codes + (row_ * (p.depth / p.group) + first) * call_.block_bytes;
    check(gguf::run_dequantize(call_.limit, call_.gguf_type, GATUN_F32, 1, count, count, 1, blocks,
                               values_ + (end_ - begin_)));
    end_ += count;
  }

  // Some groups from end_ on; a part of a group if it is long, or does not begin with a byte. All of these are matrices
  // of one row.
  void decode(int64_t ahead) {
    const int64_t group = call_.p.group, begin = end_;
    const int64_t group_end = std::min((begin / group + 1) * group, call_.p.depth);
    if (begin % kByteCodes != 0) {
      // From the byte before, of which some codes may be another group's.
      const int64_t byte = begin / kByteCodes * kByteCodes;
      const int64_t end = std::min({byte + kByteCodes, group_end, ahead});
      float some[kByteCodes];
      run(byte, end, begin / group, end - byte, some);
      for (int64_t k = begin; k < end; ++k) values_[k - begin_] = some[k - byte];
      end_ = end;
      return;
    }
    int64_t end = std::min(group_end, ahead), whole = (ahead - begin) / group;
    if (begin % group == 0 && whole > 1) {
      if (whole > kByteCodes) whole = whole / kByteCodes * kByteCodes;  // the next one begins with a byte
      end = begin + whole * group;
    }
    run(begin, end, begin / group, std::min(group, end - begin), values_ + (begin - begin_));
    end_ = end;
  }

  // Codes [begin, end) as a matrix of one row whose first group is `scale`.
  void run(int64_t begin, int64_t end, int64_t scale, int64_t group, float* values) {
    const gatun_quantize_params& p = call_.p;
    gatun_quantize_params part = p;
    part.x_dtype = GATUN_F32;
    part.rows = part.group_rows = part.threads = 1;
    part.depth = part.x_row_stride = end - begin;
    part.group = group;
    const int64_t block = row_ / p.group_rows * call_.groups() + scale;
    const uint8_t* codes = call_.codes + row_ * dtype_bytes(p.code_dtype, p.depth) + dtype_bytes(p.code_dtype, begin);
    const uint8_t* zero_points =
        call_.zero_points == nullptr ? nullptr : call_.zero_points + block * call_.zero_point_bytes();
    check(quantize::run_dequantize(call_.limit, &part, call_.code_book, codes,
                                   call_.scales + block * dtype_bytes(p.scale_dtype, 1), zero_points, values));
  }

  void check(int32_t status) const { call_.failure->note(status); }

  static constexpr int64_t kByteCodes = 8;  // so many codes of any bits take whole bytes

  const Call& call_;
  int64_t row_ = -1, begin_ = 0, end_ = 0;  // what is in values_
  float values_[kPiece];
};

struct Squares {
  struct Result {
    double error, square;
    void merge(const Result& other) {
      error += other.error;
      square += other.square;
    }
  };
  explicit Squares(const Call& c) : call(c), decoder(c) {}
  Result operator()(int64_t, const Piece& piece) {
    double errors[kSums] = {}, squares[kSums] = {};
    const int64_t element = dtype_bytes(call.p.x_dtype, 1);
    for (int64_t row = piece.row; row < piece.row + piece.rows && piece.columns > 0; ++row) {
      const char* x = static_cast<const char*>(call.x) + (row * call.p.x_row_stride + piece.column) * element;
      call.kernel.squares(x, decoder.values(row, piece.column, piece.column + piece.columns), piece.columns, errors,
                          squares);
    }
    return {fold(errors), fold(squares)};
  }
  const Call& call;
  Decoder decoder;
};

// What does not depend on the format.
int32_t check_matrix(const gatun_quantize_params& p) {
  GATUN_TRY(check_dtype(p.x_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.x_dtype"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.rows, 0, INT64_MAX, "params.rows"));
  GATUN_TRY(check_range(p.depth, 0, INT64_MAX, "params.depth"));
  return check_row_stride(p.rows, p.depth, p.x_row_stride, "params.x_row_stride");
}

int32_t check_gguf(Call* call, const void* scales, const void* zero_points) {
  constexpr char kWhyAbsent[] = "gguf_type is not 0";
  int32_t elements, bytes;
  GATUN_TRY(gatun_gguf_block(call->gguf_type, &elements, &bytes));
  GATUN_TRY(check_absent(false, call->code_book, "code_book", kWhyAbsent));
  GATUN_TRY(check_absent(false, scales, "scales", kWhyAbsent));
  GATUN_TRY(check_absent(false, zero_points, "zero_points", kWhyAbsent));
  gatun_quantize_params& p = call->p;
  if (p.depth % elements != 0) {
    return fail(GATUN_INVALID_ARGUMENT, "params.depth = %lld; allowed: multiples of %d", LongLong{p.depth}, elements);
  }
  p.group = p.depth == 0 ? 0 : elements;
  p.group_rows = 1;
  call->block_bytes = bytes;
  return GATUN_OK;
}

// gatun_dequantize knows what formats there are: it is asked to make a matrix without columns.
int32_t check_planes(const Call& call, const void* zero_points) {
  gatun_quantize_params p = call.p;
  p.depth = p.group = 0;
  GATUN_TRY(quantize::run_dequantize(call.limit, &p, call.code_book, nullptr, nullptr, zero_points, nullptr));
  p = call.p;
  if (p.group != p.depth && (p.group < 16 || p.group > p.depth)) {
    return fail(GATUN_INVALID_ARGUMENT, "params.group = %lld with params.depth = %lld; allowed: 16..depth, or depth",
                LongLong{p.group}, LongLong{p.depth});
  }
  return GATUN_OK;
}

}  // namespace

int32_t run_error(Tier limit, const gatun_quantize_params* params, int32_t gguf_type, int32_t per, const void* x,
                  const float* code_book, const void* codes, const void* scales, const void* zero_points,
                  double* errors, double* squares) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  GATUN_TRY(check_range(per, GATUN_ERROR_PER_BLOCK, GATUN_ERROR_PER_ROW, "per"));
  GATUN_TRY(check_matrix(*params));
  FirstFailure failure;
  Call call{limit,
            *params,
            gguf_type,
            0,
            x,
            code_book,
            static_cast<const uint8_t*>(codes),
            static_cast<const uint8_t*>(scales),
            static_cast<const uint8_t*>(zero_points),
            *table().select(params->x_dtype, 0, limit).kernel,
            &failure};
  GATUN_TRY(gguf_type != 0 ? check_gguf(&call, scales, zero_points) : check_planes(call, zero_points));
  const gatun_quantize_params& p = call.p;
  const bool gguf = gguf_type != 0, empty = p.rows == 0 || p.depth == 0;
  const int64_t row_blocks = blocks_of(p.rows, p.group_rows), groups = p.depth == 0 ? 0 : call.groups();
  const int64_t row_bytes = gguf ? groups * call.block_bytes : dtype_bytes(p.code_dtype, p.depth);
  const int64_t out_rows = per == GATUN_ERROR_PER_ROW ? p.rows : row_blocks;
  const int64_t out_columns = per == GATUN_ERROR_PER_ROW ? 1 : groups;
  Buffer buffers[] = {
      {"x", x, p.rows, p.depth, p.x_row_stride, dtype_bytes(p.x_dtype, 1), false},
      {"codes", codes, p.rows, row_bytes, row_bytes, 1, false},
      {"scales", scales, gguf ? 0 : row_blocks, groups, groups, gguf ? 1 : dtype_bytes(p.scale_dtype, 1), false},
      {"zero_points", zero_points, gguf || p.zero_point == GATUN_ZERO_NONE ? 0 : row_blocks, groups, groups,
       call.zero_point_bytes(), false},
      {"errors", errors, out_rows, out_columns, out_columns, 8, true},
      {"squares", squares, out_rows, out_columns, out_columns, 8, true}};
  GATUN_TRY(check_buffers(buffers));
  if (empty) {
    for (int64_t i = 0; i < out_rows * out_columns; ++i) errors[i] = squares[i] = 0;  // rows without columns
    return GATUN_OK;
  }
  const Blocks blocks =
      per == GATUN_ERROR_PER_ROW ? Blocks(p.rows, p.depth, 1, p.depth) : Blocks(p.rows, p.depth, p.group_rows, p.group);
  GATUN_TRY(reduce<Squares>(blocks, blocks.threads(p.threads, dtype_bytes(p.x_dtype, 1)), call,
                            [&](int64_t block, const Squares::Result& result) {
                              errors[block] = result.error;
                              squares[block] = result.square;
                            }));
  return failure.result();
}

}  // namespace gatun::calibrate

int32_t gatun_quantization_error(const gatun_quantize_params* params, int32_t gguf_type, int32_t per, const void* x,
                                 const float* code_book, const void* codes, const void* scales, const void* zero_points,
                                 double* errors, double* squares) {
  return gatun::calibrate::run_error(gatun::active_tier(), params, gguf_type, per, x, code_book, codes, scales,
                                     zero_points, errors, squares);
}
