// gatun_gguf_quantize and gatun_gguf_dequantize.
#include "gatun/gguf.h"

#include <cstring>

#include "base/dtype.h"
#include "gguf/reference.h"
#include "input.h"

namespace gatun::fuzz {
namespace {

struct Call {
  int32_t type, x_dtype, threads;
  int64_t rows, depth, stride;

  explicit Call(Input& input) {
    const int64_t row = input.range(0, gguf::kTypes - 1);
    type = input.choice({gguf::kTypeTable[row].id});
    x_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
    threads = input.choice({0, 1, 2, 3});
    rows = input.range(0, 3) > 0 ? input.range(0, 3) : input.size();
    const int64_t elements = gguf::kTypeTable[row].elements;
    depth = input.range(0, 7) > 0 ? input.range(0, 20) * elements : input.size();
    stride = input.stride(depth);
  }
};

struct Buffers {
  const gguf::Type* type;
  Buffer x, blocks;
  bool affordable = true, valid;

  explicit Buffers(const Call& c) : type(gguf::find_type(c.type)) {
    const bool x_valid = c.x_dtype == GATUN_F32 || c.x_dtype == GATUN_F16 || c.x_dtype == GATUN_BF16;
    valid = type != nullptr && x_valid && c.threads >= 0 && c.threads <= 1024 && c.rows >= 0 && c.depth >= 0 &&
            c.depth % type->elements == 0 && (c.rows < 2 || c.stride >= c.depth);
    int64_t sizes[2] = {1, 1};
    if (valid) {
      sizes[0] = extent(c.rows, c.depth, c.stride, 1, dtype_bytes(c.x_dtype, 1));
      sizes[1] = extent(c.rows, c.depth / type->elements, c.depth / type->elements, 1, type->bytes);
      valid = sizes[0] != kImpossible && sizes[1] != kImpossible;
      affordable = !valid || (sizes[0] != kUnaffordable && sizes[1] != kUnaffordable);
    }
    if (!affordable) return;
    x = Buffer(valid ? sizes[0] : 1);
    blocks = Buffer(valid ? sizes[1] : 1);
  }

  void spoil(Input& input) {
    for (Buffer* buffer : {&x, &blocks}) {
      buffer->spoil(input);
      if (buffer->bytes() > 0 && (buffer->is_null() || (buffer == &x && buffer->misaligned()))) valid = false;
    }
  }
};

}  // namespace

void fuzz_gguf_quantize(Input& input) {
  const Call c(input);
  Buffers b(c);
  if (!b.affordable) return;
  test::Rng rng = input.rng();
  if (b.valid) b.x.fill_floats(rng, c.x_dtype, values(input), input.rarely() ? 1e6f : 1.0f);
  b.spoil(input);
  bool valid = b.valid;
  const bool any = valid && b.x.bytes() > 0;
  if (any) valid = gguf::reference_check(*b.type, c.x_dtype, c.rows, c.depth, c.stride, b.x.data()) == GATUN_OK;
  const std::vector<uint8_t> before = b.blocks.copy();
  const int32_t status =
      gatun_gguf_quantize(c.type, c.x_dtype, c.rows, c.depth, c.stride, c.threads, b.x.data(), b.blocks.data());
  check_status(status, valid, "gatun_gguf_quantize");
  if (status != GATUN_OK) {
    // Of a matrix with a value that is refused, blocks are unspecified.
    if (!any && before != b.blocks.copy()) defect("gatun_gguf_quantize failed and wrote blocks");
    return;
  }
  if (!any) return;
  Buffer expected(b.blocks.bytes());
  gguf::reference_quantize(*b.type, c.x_dtype, c.rows, c.depth, c.stride, b.x.data(), expected.data());
  if (b.blocks.copy() != expected.copy()) defect("blocks of %s differ from the reference", b.type->name);
}

void fuzz_gguf_dequantize(Input& input) {
  const Call c(input);
  Buffers b(c);
  if (!b.affordable) return;
  test::Rng rng = input.rng();
  if (b.valid) b.blocks.fill_integers(rng, 0, 255);
  b.spoil(input);
  const std::vector<uint8_t> before = b.x.copy();
  const int32_t status =
      gatun_gguf_dequantize(c.type, c.x_dtype, c.rows, c.depth, c.stride, c.threads, b.blocks.data(), b.x.data());
  check_status(status, b.valid, "gatun_gguf_dequantize");
  const std::vector<uint8_t> after = b.x.copy();
  if (status != GATUN_OK) {
    if (before != after) defect("gatun_gguf_dequantize failed and wrote x");
    return;
  }
  if (b.x.bytes() == 0) return;
  // Between rows nothing is written, so the reference starts from the same bytes.
  Buffer x(b.x.bytes());
  std::memcpy(x.data(), before.data(), before.size());
  gguf::reference_dequantize(*b.type, c.x_dtype, c.rows, c.depth, c.stride, b.blocks.data(), x.data());
  const std::vector<uint8_t> expected = x.copy();
  const size_t element = static_cast<size_t>(dtype_bytes(c.x_dtype, 1));
  for (size_t at = 0; at < after.size(); at += element) {
    if (std::memcmp(&after[at], &expected[at], element) == 0) continue;
    // Which NaN a bad scale gives is open.
    const auto is_nan = [&](const uint8_t* bytes) {
      uint32_t bits = 0;
      std::memcpy(&bits, bytes, element);
      if (c.x_dtype == GATUN_F16) return (bits & 0x7fff) > 0x7c00;
      return (c.x_dtype == GATUN_F32 ? bits & 0x7fffffff : (bits & 0x7fff) << 16) > 0x7f800000;
    };
    if (!is_nan(&after[at]) || !is_nan(&expected[at])) {
      defect("x[%zu] of %s differs from the reference", at / element, b.type->name);
    }
  }
}

}  // namespace gatun::fuzz
