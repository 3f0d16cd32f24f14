// gatun_qmatmul_packed_bytes and gatun_qmatmul_pack.
#include <cstring>

#include "base/dtype.h"
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
    check_status(gatun_qmatmul_pack(&w, nothing.data(), nothing.data(), nothing.data(), nothing.data(), 1), false,
                 "gatun_qmatmul_pack");
    return;
  }
  Planes planes(w);
  // No rows at all, or rows of nothing, may be refused when the other size is absurd.
  const bool sane = w.columns <= int64_t{1} << 40 && w.depth <= int64_t{1} << 40;
  if (planes.affordable && sane) check_status(status, true, "gatun_qmatmul_packed_bytes");
  if (status != GATUN_OK) return;
  if (bytes < 64 || bytes > int64_t{1} << 62) defect("packed_bytes = %lld", static_cast<long long>(bytes));
  if (!planes.affordable || bytes > 4 * kMaxBytes) return;
  if (bytes < 64 + planes.codes.bytes() + planes.scales.bytes() + planes.zero_points.bytes()) {
    defect("%lld packed bytes do not hold the weights", static_cast<long long>(bytes));
  }

  planes.fill(input, w);
  const int64_t given = input.rarely() ? input.range(0, bytes - 1) : bytes;
  bool valid = given == bytes;
  if (planes.codes.bytes() > 0 && input.rarely()) {  // a value that no quantizer makes
    const bool code = w.code_dtype == GATUN_I8, zero_point = w.code_dtype == GATUN_U4 && w.asymmetric;
    if (code) planes.codes.data()[input.range(0, planes.codes.bytes() - 1)] = 0x80;
    if (zero_point) planes.zero_points.data()[input.range(0, planes.zero_points.bytes() - 1)] = 16;
    valid = valid && !code && !zero_point;
  }
  if (planes.scales.bytes() > 0 && input.rarely()) {
    const int64_t element = dtype_bytes(w.scale_dtype, 1);
    const int64_t index = input.range(0, planes.scales.bytes() / element - 1);
    const uint16_t infinity = w.scale_dtype == GATUN_F16 ? 0x7c00 : 0x7f80;  // its upper half as F32
    std::memset(planes.scales.data() + index * element, 0, static_cast<size_t>(element));
    std::memcpy(planes.scales.data() + (index + 1) * element - 2, &infinity, 2);
    valid = false;
  }
  for (Buffer* buffer : {&planes.codes, &planes.scales, &planes.zero_points}) {
    buffer->spoil(input);
    if (buffer->bytes() == 0) continue;
    if (buffer->is_null() || (buffer->misaligned() && buffer == &planes.scales)) valid = false;
  }
  Buffer packed(given);
  packed.spoil(input);  // any alignment will do
  if (packed.is_null()) valid = false;
  if (!packed.is_null() && given > 0) std::memset(packed.data(), 0xab, static_cast<size_t>(given));
  const std::vector<uint8_t> before = packed.copy();
  const int32_t pack_status =
      gatun_qmatmul_pack(&w, planes.codes.data(), planes.scales.data(), planes.zero_points_of(w), packed.data(), given);
  check_status(pack_status, valid, "gatun_qmatmul_pack");
  if (pack_status != GATUN_OK) {
    if (packed.copy() != before) defect("gatun_qmatmul_pack failed and wrote packed");
    return;
  }
  gatun_qmatmul_weights read{};
  check_status(gatun_qmatmul_describe(packed.data(), given, &read), true, "gatun_qmatmul_describe");
  if (std::memcmp(&read, &w, sizeof(w)) != 0) defect("gatun_qmatmul_describe differs from what was packed");
  Planes back(w);
  check_status(
      gatun_qmatmul_unpack(&w, packed.data(), given, back.codes.data(), back.scales.data(), back.zero_points_of(w)),
      true, "gatun_qmatmul_unpack");
  if (back.codes.copy() != planes.codes.copy() || back.scales.copy() != planes.scales.copy() ||
      back.zero_points.copy() != planes.zero_points.copy()) {
    defect("gatun_qmatmul_unpack differs from what was packed");
  }
}

}  // namespace gatun::fuzz
