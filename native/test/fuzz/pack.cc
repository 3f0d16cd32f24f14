// gatun_qmatmul_packed_bytes and gatun_qmatmul_pack.
#include <cstring>

#include "base/dtype.h"
#include "gguf/block.h"
#include "weights.h"

namespace gatun::fuzz {

void fuzz_pack(Input& input) {
  const gatun_qmatmul_weights w = weights_from(input);
  const bool described = documented_valid(w);
  constexpr int64_t kNothing = -77;
  int64_t bytes = kNothing;
  const int32_t status = gatun_qmatmul_packed_bytes(&w, &bytes);
  if (!described) check_status(status, false, "gatun_qmatmul_packed_bytes");
  if (status != GATUN_OK && bytes != kNothing)
    defect("gatun_qmatmul_packed_bytes failed and wrote %lld", static_cast<long long>(bytes));
  if (!described) {
    Buffer nothing(1);
    check_status(gatun_qmatmul_pack(&w, nothing.data(), nullptr, nothing.data(), nothing.data(), nothing.data(), 1),
                 false, "gatun_qmatmul_pack");
    check_status(gatun_qmatmul_pack_gguf(&w, nothing.data(), nothing.data(), 1), false, "gatun_qmatmul_pack_gguf");
    return;
  }
  Planes planes(w);
  // No rows at all, or rows of nothing, may be refused when the other size is absurd.
  const bool sane = w.columns <= int64_t{1} << 40 && w.depth <= int64_t{1} << 40;
  if (planes.affordable && sane) check_status(status, true, "gatun_qmatmul_packed_bytes");
  if (status != GATUN_OK) return;
  if (bytes < 64 || bytes > int64_t{1} << 62) defect("packed_bytes = %lld", static_cast<long long>(bytes));
  if (!planes.affordable || bytes > 4 * kMaxBytes) return;
  if (bytes < 64 + planes.scales.bytes() + planes.zero_points.bytes()) {
    defect("%lld packed bytes do not hold the weights", static_cast<long long>(bytes));
  }

  planes.fill(input, w);
  const int64_t given = input.rarely() ? input.range(0, bytes - 1) : bytes;
  bool valid = given == bytes;
  if (planes.codes.bytes() > 0 && input.rarely()) {  // a value that no quantizer makes
    const bool zero_point = w.zero_point == GATUN_ZERO_INTEGER && w.code_dtype != GATUN_U8;
    const bool code = w.code_dtype == GATUN_F8E4M3 || w.code_dtype == GATUN_F8E5M2;
    if (zero_point) planes.zero_points.data()[input.range(0, planes.zero_points.bytes() - 1)] = 16;
    if (code) planes.codes.data()[input.range(0, planes.codes.bytes() - 1)] = 0xff;
    valid = valid && !zero_point && !code;
  }
  const auto spoil_number = [&](Buffer& numbers, int32_t dtype) {
    const int64_t element = dtype_bytes(dtype, 1), index = input.range(0, numbers.bytes() / element - 1);
    const uint32_t ones = 0xffffffff;  // NaN of every type
    std::memcpy(numbers.data() + index * element, &ones, static_cast<size_t>(element));
    valid = false;
  };
  if (planes.scales.bytes() > 0 && input.rarely()) spoil_number(planes.scales, w.scale_dtype);
  if (planes.book.bytes() > 0 && input.rarely()) spoil_number(planes.book, GATUN_F32);
  if (w.zero_point == GATUN_ZERO_FLOAT && planes.zero_points.bytes() > 0 && input.rarely()) {
    spoil_number(planes.zero_points, GATUN_F32);
  }
  if (w.gguf_type != 0 && planes.codes.bytes() > 0 && input.rarely()) {
    const gguf::Type& type = *gguf::find_type(w.gguf_type);
    uint8_t* block = planes.codes.data() + input.range(0, planes.codes.bytes() / type.bytes - 1) * type.bytes;
    gguf::Fields fields;
    gguf::read_block(type, block, fields);
    fields.d = type.power_scale ? 0 : 0x7c00;
    fields.e = type.power_scale ? 255 : 0;
    gguf::write_block(type, fields, block);
    valid = false;
  }
  for (Buffer* buffer : {&planes.codes, &planes.scales, &planes.zero_points, &planes.book}) {
    buffer->spoil(input);
    if (buffer->bytes() == 0) continue;
    const bool aligned = buffer == &planes.scales        ? dtype_bytes(w.scale_dtype, 1) > 1
                         : buffer == &planes.zero_points ? w.zero_point == GATUN_ZERO_FLOAT
                                                         : buffer == &planes.book;
    if (buffer->is_null() || (buffer->misaligned() && aligned)) valid = false;
  }
  Buffer packed(given);
  packed.spoil(input);  // any alignment will do
  if (packed.is_null()) valid = false;
  if (!packed.is_null() && given > 0) std::memset(packed.data(), 0xab, static_cast<size_t>(given));
  const std::vector<uint8_t> before = packed.copy();
  const int32_t pack_status = planes.pack(w, packed.data(), given);
  check_status(pack_status, valid, "gatun_qmatmul_pack");
  if (pack_status != GATUN_OK) {
    if (packed.copy() != before) defect("gatun_qmatmul_pack failed and wrote packed");
    return;
  }
  gatun_qmatmul_weights read{};
  check_status(gatun_qmatmul_describe(packed.data(), given, &read), true, "gatun_qmatmul_describe");
  if (std::memcmp(&read, &w, sizeof(w)) != 0) defect("gatun_qmatmul_describe differs from what was packed");
  Planes back(w);
  check_status(back.unpack(w, packed.data(), given), true, "gatun_qmatmul_unpack");
  if (back.codes.copy() != planes.codes.copy() || back.scales.copy() != planes.scales.copy() ||
      back.zero_points.copy() != planes.zero_points.copy() || back.book.copy() != planes.book.copy()) {
    defect("gatun_qmatmul_unpack differs from what was packed");
  }
}

}  // namespace gatun::fuzz
