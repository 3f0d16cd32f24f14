// Every row of qmatmul's table on layers of a model, as the entry runs it on one thread: activations are packed, and
// quantized where the row multiplies integers, inside the time.
//
//   <row>/<columns>x<depth>/<format: groups of 4-bit codes, rows of 8-bit ones, or GGUF blocks>/m:<rows of x>
//
// With few rows, weights come from memory: calls take turns on copies that the caches cannot hold. Bytes count codes
// and scales as they were before packing.
#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "bench.h"
#include "gatun/gguf.h"
#include "gguf/block.h"
#include "qmatmul/table.h"

namespace gatun::bench {
namespace {

using qmatmul::Layout;
using qmatmul::Stored;
using qmatmul::TableRow;

struct Format {
  const char* name;
  Stored stored;  // as the table tells rows apart
  int32_t codes;
  int64_t group;  // 0: the whole row
  int32_t gguf_type = 0;
  int32_t book = GATUN_BOOK_NONE;
};
constexpr Format kFormats[] = {{"g32", Stored::u4, GATUN_U4, 32},
                               {"g128", Stored::u4, GATUN_U4, 128},
                               {"q4_k", Stored::u4, 0, 32, GATUN_GGUF_Q4_K},
                               {"row", Stored::u8, GATUN_I8, 0},
                               {"q6_k", Stored::u8, 0, 16, GATUN_GGUF_Q6_K},
                               {"mxfp4", Stored::t4, 0, 32, GATUN_GGUF_MXFP4},
                               {"iq4_xs", Stored::t4, 0, 32, GATUN_GGUF_IQ4_XS},
                               {"nf4", Stored::b4, GATUN_U4, 64, 0, GATUN_BOOK_NF4},
                               {"f8", Stored::b8, GATUN_F8E4M3, 128},
                               {"dynamic", Stored::b8, GATUN_U8, 256, 0, GATUN_BOOK_DYNAMIC}};

gatun_qmatmul_weights describe(const Layer& shape, const Format& format) {
  const bool by_row = format.group == 0, f32_scales = by_row || !qmatmul::is_integer(format.stored);
  return {sizeof(gatun_qmatmul_weights),
          format.codes,
          format.book,
          GATUN_ZERO_NONE,
          format.gguf_type != 0 ? 0
          : f32_scales          ? GATUN_F32
                                : GATUN_F16,
          format.gguf_type,
          1,
          1.0f,
          shape.columns,
          shape.depth,
          by_row ? shape.depth : format.group};
}

// Bytes of codes, or of GGUF blocks.
int64_t code_bytes(const gatun_qmatmul_weights& w) {
  const gguf::Type* type = gguf::find_type(w.gguf_type);
  return w.columns * (type == nullptr ? dtype_bytes(w.code_dtype, w.depth) : w.depth / type->elements * type->bytes);
}

int64_t groups(const gatun_qmatmul_weights& w) { return (w.depth + w.group - 1) / w.group; }

// Random weights of one description, packed once; copies are made when a benchmark wants more.
class Weights {
 public:
  explicit Weights(const gatun_qmatmul_weights& description)
      : description_(description), layout_(description), copies_(layout_.bytes()) {
    std::mt19937 random(1);
    std::vector<uint8_t> codes(static_cast<size_t>(code_bytes(description)));
    // Of small floats some codes are NaN, those of all ones.
    const int mask = description.code_dtype == GATUN_F8E4M3 ? 0xfe : 0xff;
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random() & mask);
    const int64_t scale_bytes = dtype_bytes(description.scale_dtype, 1);
    std::vector<uint8_t> scales(static_cast<size_t>(description.columns * groups(description) * scale_bytes));
    const float scale = 0x1p-8f;
    const uint16_t half = f32_to_f16(scale);
    for (size_t i = 0; i < scales.size(); i += static_cast<size_t>(scale_bytes)) {
      if (scale_bytes == 2) {
        std::memcpy(&scales[i], &half, 2);
      } else {
        std::memcpy(&scales[i], &scale, 4);
      }
    }
    uint8_t* packed = copies_.first();
    if (const gguf::Type* type = gguf::find_type(description.gguf_type)) {
      for (size_t at = 0; at < codes.size(); at += static_cast<size_t>(type->bytes)) set_scale(*type, &codes[at]);
      good_ = gatun_qmatmul_pack_gguf(&description, codes.data(), packed, layout_.bytes()) == GATUN_OK;
    } else {
      good_ = gatun_qmatmul_pack(&description, codes.data(), nullptr, scales.data(), nullptr, packed,
                                 layout_.bytes()) == GATUN_OK;
    }
  }

  bool good() const { return good_; }
  const gatun_qmatmul_weights& description() const { return description_; }
  const Layout& layout() const { return layout_; }
  Copies& copies() { return copies_; }

 private:
  // Any bytes are a block, but for its binary16 scales and the power of two.
  static void set_scale(const gguf::Type& type, uint8_t* block) {
    gguf::Fields fields;
    gguf::read_block(type, block, fields);
    if (!type.power_scale) fields.d = f32_to_f16(0x1p-8f);
    if (type.power_scale) fields.e = 119;
    if (type.offset != gguf::Offset::none) fields.dmin = f32_to_f16(0x1p-6f);
    gguf::write_block(type, fields, block);
  }

  const gatun_qmatmul_weights description_;
  const Layout layout_;
  Copies copies_;
  bool good_;
};

Work work_of(const gatun_qmatmul_weights& w, int64_t rows) {
  const double bytes =
      static_cast<double>(code_bytes(w)) + static_cast<double>(w.columns * groups(w) * dtype_bytes(w.scale_dtype, 1));
  return {bytes, 2.0 * static_cast<double>(rows) * static_cast<double>(w.columns) * static_cast<double>(w.depth)};
}

// A product is as many 8-bit dots as activations have integer parts, a bf16 dot where they are packed as bf16, else an
// fma.
double limit_seconds(const TableRow& row, const Work& work) {
  const int32_t dots = row.kernel->piece_sums;
  const double rate = dots > 0                       ? limit(GATUN_LIMIT_INT8_DOT, row.tier) / dots
                      : row.kernel->value_bytes == 2 ? limit(GATUN_LIMIT_BF16_DOT, row.tier)
                                                     : limit(GATUN_LIMIT_FMA, row.tier);
  return std::max(work.bytes / limit(GATUN_LIMIT_READ, active_tier()), work.operations / rate);
}

void multiply(benchmark::State& state, const TableRow& row, const gatun_qmatmul_weights& description, int64_t rows) {
  Weights& w = of_last_benchmark<Weights>(description);
  if (!w.good()) return state.SkipWithError(gatun_last_error());
  w.copies().rotate(rows);

  const std::vector<float> x = normal_values(rows * description.depth);
  std::vector<float> y(static_cast<size_t>(rows * description.columns));

  gatun_qmatmul_params params{};
  params.struct_size = sizeof(params);
  params.x_dtype = params.y_dtype = GATUN_F32;
  params.mode = row.from == GATUN_F32    ? GATUN_QMATMUL_PRECISE
                : row.from == GATUN_BF16 ? GATUN_QMATMUL_BF16
                                         : GATUN_QMATMUL_INT8_ROW;
  params.threads = 1;
  params.rows = rows;
  params.columns = params.column_end = params.y_row_stride = description.columns;
  params.depth = params.x_row_stride = description.depth;
  const Work work = work_of(description, rows);
  run(state, work, limit_seconds(row, work), [&] {
    const uint8_t* packed = w.copies().next();
    return qmatmul::run(row, {params, w.layout(), x.data(), packed, nullptr, nullptr, y.data()}) == GATUN_OK;
  });
}

}  // namespace

void register_qmatmul() {
  for (const Layer& shape : kLayers) {
    for (const Format& format : kFormats) {
      for (const TableRow& row : qmatmul::table()) {
        if (row.to != static_cast<int32_t>(format.stored) || !tier_supported(row.tier)) continue;
        for (const int64_t rows : kRows) {
          const std::string name = std::string(row.name) + "/" + std::to_string(shape.columns) + "x" +
                                   std::to_string(shape.depth) + "/" + format.name + "/m:" + std::to_string(rows);
          benchmark::RegisterBenchmark(name.c_str(), multiply, row, describe(shape, format), rows)
              ->Unit(benchmark::kMillisecond);
        }
      }
    }
  }
}

}  // namespace gatun::bench
