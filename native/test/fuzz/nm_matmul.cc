// Packing of N:M weights, and gatun_nm_matmul on packed ones, whole and tampered with.
#include "gatun/nm_matmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "gatun/quantize.h"
#include "nm_matmul/layout.h"
#include "nm_matmul/reference.h"
#include "product.h"

namespace gatun::fuzz {
namespace {

bool is_codes(int32_t dtype) { return dtype == GATUN_I8 || dtype == GATUN_U4; }

gatun_nm_weights nm_weights_from(Input& input) {
  gatun_nm_weights w{};
  w.struct_size = input.struct_size(sizeof(w));
  w.m = input.choice({2, 4, 4, 8, 16, 32});
  w.n = input.rarely() ? input.choice({0, 1, 2, 33}) : static_cast<int32_t>(input.range(1, std::clamp(w.m, 1, 32)));
  w.vector = input.choice({1, 1, 1, 2, 3, 16, 1000});
  w.value_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U4});
  const bool codes = is_codes(w.value_dtype);
  w.zero_point = w.value_dtype == GATUN_U4 || input.rarely() ? input.choice({GATUN_ZERO_NONE, GATUN_ZERO_INTEGER}) : 0;
  w.scale_dtype = codes != input.rarely() ? input.choice({GATUN_F32, GATUN_F16}) : 0;
  w.dense = input.choice({GATUN_NM_DENSE_NEVER, GATUN_NM_DENSE_IF_FASTER});
  w.rows = input.range(0, 1) ? 0 : input.size();
  w.columns = input.size();
  w.depth = input.size();
  if (codes && !input.rarely()) {
    w.group = input.group(w.depth);
    if (w.group > 0 && w.group < w.depth && w.m > 0 && !input.rarely()) w.group -= w.group % w.m;
    if (w.group < 16 && !input.rarely()) w.group = w.depth;
  } else if (codes || input.rarely()) {
    w.group = input.size();
  }
  return w;
}

bool documented_valid(const gatun_nm_weights& w) {
  constexpr int64_t kMost = int64_t{1} << 52;
  const bool m = w.m == 2 || w.m == 4 || w.m == 8 || w.m == 16 || w.m == 32;
  const bool codes = is_codes(w.value_dtype);
  const bool values = codes || w.value_dtype == GATUN_F32 || w.value_dtype == GATUN_F16 || w.value_dtype == GATUN_BF16;
  const bool zeros =
      w.zero_point == GATUN_ZERO_NONE || (w.value_dtype == GATUN_U4 && w.zero_point == GATUN_ZERO_INTEGER);
  const bool scales = codes ? w.scale_dtype == GATUN_F32 || w.scale_dtype == GATUN_F16 : w.scale_dtype == 0;
  const bool sizes = w.rows >= 0 && w.columns >= 0 && w.depth >= 0 && w.columns <= kMost && w.depth <= kMost &&
                     __int128{w.columns} * w.depth <= kMost;
  if (w.struct_size != sizeof(w) || !m || w.n < 1 || w.n > w.m || w.vector < 1 || !values || !zeros || !scales ||
      !sizes || w.dense < 0 || w.dense > 1) {
    return false;
  }
  if (!codes) return w.group == 0;
  return w.group == w.depth || (w.group >= 16 && w.group <= w.depth && w.group % w.m == 0);
}

// The canonical form of a valid description.
struct NmPlanes {
  Buffer values, indices, scales, zero_points;
  int64_t kept = 0, index_row = 0;
  bool affordable = true;

  explicit NmPlanes(const gatun_nm_weights& w) {
    const int64_t groups = w.depth / w.m + (w.depth % w.m != 0);
    const int64_t segments = is_codes(w.value_dtype) && w.depth > 0 ? (w.depth - 1) / w.group + 1 : 0;
    kept = groups * w.n;
    index_row = (kept * index_bits(w) + 7) / 8;
    const int64_t sizes[] = {
        extent(w.columns, dtype_bytes(w.value_dtype, kept), dtype_bytes(w.value_dtype, kept), 1, 1),
        extent(w.columns / w.vector + (w.columns % w.vector != 0), index_row, index_row, 1, 1),
        extent(w.columns, segments, segments, 1, w.scale_dtype == GATUN_F32 ? 4 : 2),
        extent(w.columns, w.zero_point != 0 ? segments : 0, segments, 1, 1)};
    for (const int64_t size : sizes) affordable = affordable && size >= 0;
    if (!affordable) return;
    values = Buffer(sizes[0]);
    indices = Buffer(sizes[1]);
    scales = Buffer(sizes[2]);
    zero_points = Buffer(sizes[3]);
  }
  static int64_t index_bits(const gatun_nm_weights& w) { return w.m <= 4 ? 2 : w.m <= 16 ? 4 : 8; }

  void fill(Input& input, const gatun_nm_weights& w) {
    test::Rng rng = input.rng();
    if (is_codes(w.value_dtype)) {
      values.fill_integers(rng, 0, 255);
      if (w.value_dtype == GATUN_U4 && kept % 2 != 0) {  // unused nibbles are 0
        for (int64_t end = (kept + 1) / 2; end <= values.bytes(); end += (kept + 1) / 2) values.data()[end - 1] &= 15;
      }
    } else {
      values.fill_floats(rng, w.value_dtype, input.range(0, 3) ? Values::normal : Values::special_finite);
      clear_not_finite(w.value_dtype);
    }
    scales.fill_floats(rng, w.scale_dtype == 0 ? GATUN_F32 : w.scale_dtype, Values::normal);
    zero_points.fill_integers(rng, 0, 15);
    for (int64_t row = 0; index_row > 0 && row < indices.bytes() / index_row; ++row) {
      for (int64_t slot = 0; slot < kept; ++slot) set_index(rng, w, row, slot);
    }
  }
  // Another index than the one before, and room for those after.
  void set_index(test::Rng& rng, const gatun_nm_weights& w, int64_t row, int64_t slot) {
    const int64_t bits = index_bits(w), i = slot % w.n;
    const auto at = [&](int64_t s) -> uint8_t& { return indices.data()[row * index_row + s * bits / 8]; };
    const auto shift = [&](int64_t s) { return static_cast<int>(s * bits % 8); };
    const int64_t before = i == 0 ? -1 : at(slot - 1) >> shift(slot - 1) & ((1 << bits) - 1);
    const int64_t index = rng.integer(before + 1, rng.integer(before + 1, w.m - w.n + i));
    at(slot) = static_cast<uint8_t>(at(slot) | index << shift(slot));
  }
  // What f16 rounds to infinity.
  void clear_not_finite(int32_t dtype) {
    const int64_t element = dtype_bytes(dtype, 1);
    for (int64_t at = 0; at + element <= values.bytes(); at += element) {
      if (!std::isfinite(float_at(values.data() + at, dtype)))
        std::memset(values.data() + at, 0, static_cast<size_t>(element));
    }
  }
  static float float_at(const uint8_t* at, int32_t dtype) {
    if (dtype == GATUN_F32) {
      float value;
      std::memcpy(&value, at, 4);
      return value;
    }
    uint16_t half;
    std::memcpy(&half, at, 2);
    return dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
  bool below(double limit, const gatun_nm_weights& w) const {
    const bool codes = is_codes(w.value_dtype);
    const Buffer& floats = codes ? scales : values;
    const int32_t dtype = codes ? w.scale_dtype : w.value_dtype;
    for (int64_t at = 0; at + dtype_bytes(dtype, 1) <= floats.bytes(); at += dtype_bytes(dtype, 1)) {
      if (!(std::fabs(float_at(floats.data() + at, dtype)) < limit)) return false;
    }
    return true;
  }
  void* scales_of(const gatun_nm_weights& w) { return w.scale_dtype != 0 ? scales.data() : nullptr; }
  uint8_t* zeros_of(const gatun_nm_weights& w) { return w.zero_point != 0 ? zero_points.data() : nullptr; }
  int32_t pack(const gatun_nm_weights& w, void* packed, int64_t bytes) {
    return gatun_nm_pack(&w, values.data(), indices.data(), scales_of(w), zeros_of(w), packed, bytes);
  }
  int32_t unpack(const gatun_nm_weights& w, const void* packed, int64_t bytes) {
    return gatun_nm_unpack(&w, packed, bytes, values.data(), indices.data(), scales_of(w), zeros_of(w));
  }
};

// Spoils one thing that packing refuses, rarely; whether packing must succeed.
bool spoil(Input& input, const gatun_nm_weights& w, NmPlanes& planes) {
  bool valid = true;
  if (planes.indices.bytes() > 0 && input.rarely()) {  // no index, or one out of its order, or an unused bit
    uint8_t& byte = planes.indices.data()[input.range(0, planes.indices.bytes() - 1)];
    const uint8_t before = byte;
    byte = static_cast<uint8_t>(input.range(0, 255));
    if (byte != before) return true;  // it may still be right, which canonical() says
  }
  if (planes.scales.bytes() > 0 && w.scale_dtype != 0 && input.rarely()) {
    std::memset(planes.scales.data(), 0xff, static_cast<size_t>(dtype_bytes(w.scale_dtype, 1)));
    valid = false;
  }
  if (planes.zero_points.bytes() > 0 && input.rarely()) {
    planes.zero_points.data()[input.range(0, planes.zero_points.bytes() - 1)] = 16;
    valid = false;
  }
  if (!is_codes(w.value_dtype) && planes.values.bytes() > 0 && input.rarely()) {
    std::memset(planes.values.data(), 0xff, static_cast<size_t>(dtype_bytes(w.value_dtype, 1)));
    valid = false;
  }
  return valid;
}

// Whether the indices are those of a canonical form, bit by bit.
bool canonical(const gatun_nm_weights& w, const NmPlanes& planes) {
  const int64_t bits = NmPlanes::index_bits(w);
  for (int64_t row = 0; planes.index_row > 0 && row < planes.indices.bytes() / planes.index_row; ++row) {
    const uint8_t* at = planes.indices.data() + row * planes.index_row;
    int64_t before = -1;
    for (int64_t slot = 0; slot < planes.index_row * 8 / bits; ++slot) {
      const int64_t index = at[slot * bits / 8] >> slot * bits % 8 & ((1 << bits) - 1);
      if (slot % w.n == 0) before = -1;
      if (slot < planes.kept ? index <= before || index >= w.m : index != 0) return false;
      before = index;
    }
  }
  return true;
}

void check_round_trip(const gatun_nm_weights& w, NmPlanes& planes, const std::vector<uint8_t>& packed) {
  NmPlanes back(w);
  const int64_t bytes = static_cast<int64_t>(packed.size());
  check_status(back.unpack(w, packed.data(), bytes), true, "gatun_nm_unpack");
  if (back.values.copy() != planes.values.copy() || back.indices.copy() != planes.indices.copy() ||
      (w.scale_dtype != 0 && back.scales.copy() != planes.scales.copy()) ||
      back.zero_points.copy() != planes.zero_points.copy()) {
    defect("unpacking is not the inverse of packing");
  }
}

}  // namespace

void fuzz_nm_matmul(Input& input) {
  const gatun_nm_weights w = nm_weights_from(input);
  const bool described = documented_valid(w);
  int64_t packed_bytes = -77;
  const int32_t sized = gatun_nm_packed_bytes(&w, &packed_bytes);
  check_status(sized, described, "gatun_nm_packed_bytes");
  int32_t slower = -77;
  char text[2048];
  check_status(gatun_nm_report(&w, &slower, text, 1024), described, "gatun_nm_report");
  if (!described) {
    Buffer nothing(1);
    check_status(gatun_nm_pack(&w, nothing.data(), nothing.data(), nothing.data(), nothing.data(), nothing.data(), 1),
                 false, "gatun_nm_pack");
    return;
  }
  if (packed_bytes < 64 || packed_bytes > int64_t{1} << 62)
    defect("%lld packed bytes", static_cast<long long>(packed_bytes));
  NmPlanes planes(w);
  if (!planes.affordable || packed_bytes > 4 * kMaxBytes) return;
  planes.fill(input, w);
  const bool packable = spoil(input, w, planes) && canonical(w, planes);
  std::vector<uint8_t> bytes(static_cast<size_t>(packed_bytes), 0xab);
  const std::vector<uint8_t> unwritten = bytes;
  check_status(planes.pack(w, bytes.data(), packed_bytes), packable, "gatun_nm_pack");
  if (!packable) {
    if (bytes != unwritten) defect("gatun_nm_pack failed and wrote");
    return;
  }
  check_round_trip(w, planes, bytes);

  const bool tampered = input.range(0, 3) == 0;
  if (tampered) tamper(input, bytes);
  Buffer packed(static_cast<int64_t>(bytes.size()));
  std::memcpy(packed.data(), bytes.data(), bytes.size());
  // What the buffer says it is now, and the weights that it then holds.
  gatun_nm_weights now = w;
  bool packed_valid = true, as_packed = true;
  if (tampered) {
    packed_valid = gatun_nm_describe(packed.data(), packed.bytes(), &now) == GATUN_OK;
    if (packed_valid) {
      planes = NmPlanes(now);
      if (!documented_valid(now) || !planes.affordable) defect("gatun_nm_describe accepted what cannot fit");
      check_status(planes.unpack(now, packed.data(), packed.bytes()), true, "gatun_nm_unpack");
      std::vector<uint8_t> again(bytes.size());
      as_packed = planes.pack(now, again.data(), packed.bytes()) == GATUN_OK && again == bytes;
    }
  }

  gatun_qmatmul_params p = product_from(input, {GATUN_F32, GATUN_BF16}, {GATUN_NM_F32, GATUN_NM_BF16, GATUN_NM_INT8},
                                        now.columns, now.depth);
  const bool with_bias = input.range(0, 1) == 1, with_residual = input.range(0, 1) == 1;
  bool valid = packed_valid && documented_product(p, {GATUN_F32, GATUN_BF16}, GATUN_NM_F32, GATUN_NM_INT8, now.columns,
                                                  now.depth, with_residual);
  ProductData data(p, with_bias, with_residual, &valid);
  if (!data.affordable) return;
  test::Rng rng = input.rng();
  const Values kind = values(input);
  if (valid) {
    data.x.fill_floats(rng, p.x_dtype, kind);
    data.fill(p, rng);
  }
  valid = data.spoil(input, false) && valid;
  const bool in_place = valid && with_residual && p.residual_row_stride == p.y_row_stride && input.range(0, 3) == 0;
  const void* residual = !with_residual ? nullptr : in_place ? data.y.data() : data.residual.data();

  gatun_nm_matmul_params params;
  std::memcpy(&params, &p, sizeof(params));
  const bool supported =
      p.mode == GATUN_NM_F32 || (p.mode == GATUN_NM_BF16 ? now.value_dtype == GATUN_BF16 : is_codes(now.value_dtype));
  // Where weights are stored dense, infinities times their zeros count.
  bool dense = false;
  if (packed_valid && now.dense == GATUN_NM_DENSE_IF_FASTER) {
    nm_matmul::PackedWeights read;
    dense = nm_matmul::read_header(packed.data(), packed.bytes(), &read) == GATUN_OK && read.dense;
  }
  const bool compare =
      valid && supported && (moderate(kind) || kind == Values::special) && as_packed && planes.below(16, now);
  nm_matmul::Reference reference;
  if (compare) {
    reference = nm_matmul::reference(
        params, data.x.data(),
        {now, planes.values.data(), planes.indices.data(), planes.scales_of(now), planes.zeros_of(now)}, data.bias_at(),
        residual, dense);
  }
  const std::vector<uint8_t> before = data.y.copy();
  const int32_t status =
      gatun_nm_matmul(&params, data.x.data(), packed.data(), packed.bytes(), data.bias_at(), residual, data.y.data());
  if (status == GATUN_UNSUPPORTED ? supported : valid && !supported) defect("mode %d: status %d", p.mode, status);
  if (status != GATUN_UNSUPPORTED) check_status(status, valid, "gatun_nm_matmul");
  if (status != GATUN_OK && data.y.copy() != before) defect("gatun_nm_matmul failed and wrote y");
  if (status == GATUN_OK && compare && data.y.bytes() > 0) {
    check_product("gatun_nm_matmul", p,
                  {reference.y, reference.magnitude, reference.small, nm_matmul::reference_steps(now, p.mode, dense)},
                  before, data.y.copy());
  }
  const int32_t explained = gatun_nm_matmul_explain(&params, packed.data(), packed.bytes(), text, sizeof(text));
  if (status == GATUN_OK && explained != GATUN_OK) defect("no explanation: %s", gatun_last_error());
}

}  // namespace gatun::fuzz
