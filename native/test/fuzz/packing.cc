// gatun_packing_bytes, _read, _write, _permute: what was read is written again and read as the same.
#include "gatun/packing.h"

#include <cstring>
#include <numeric>

#include "base/dtype.h"
#include "input.h"

namespace gatun::fuzz {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 52;

int bits_of(int32_t code_dtype) { return code_dtype == GATUN_U2 ? 2 : code_dtype == GATUN_U4 ? 4 : 8; }
bool is_float(int32_t dtype) { return dtype == GATUN_F32 || dtype == GATUN_F16 || dtype == GATUN_BF16; }
bool is_gptq(const gatun_packing_params& p) {
  return p.packing == GATUN_PACKING_GPTQ || p.packing == GATUN_PACKING_GPTQ_V2;
}

bool documented_types(const gatun_packing_params& p) {
  const bool plain = p.packing == GATUN_PACKING_BITSANDBYTES || p.packing == GATUN_PACKING_JLAMA;
  const bool only_4_bits =
      p.packing == GATUN_PACKING_AWQ || p.packing == GATUN_PACKING_BITSANDBYTES || p.packing == GATUN_PACKING_TORCHAO;
  const bool none = p.zero_point == GATUN_ZERO_NONE, integers = p.zero_point == GATUN_ZERO_INTEGER,
             floats = p.zero_point == GATUN_ZERO_FLOAT;
  const bool codes = p.code_dtype == GATUN_U4 ||
                     (!only_4_bits && (none ? p.code_dtype == GATUN_I8 : p.code_dtype == GATUN_U8)) ||
                     (!only_4_bits && !plain && p.code_dtype == GATUN_U2);
  const bool zeros = p.packing == GATUN_PACKING_TORCHAO ? floats
                     : plain                            ? none
                             : none || integers || (floats && p.packing == GATUN_PACKING_MATMUL_NBITS);
  const bool scales =
      (p.scale_dtype == GATUN_F32 && (plain ? p.packed_scale_dtype == GATUN_F32 : is_float(p.packed_scale_dtype))) ||
      (!plain && p.scale_dtype == GATUN_F16 && p.packed_scale_dtype == GATUN_F16);
  return codes && zeros && scales && (floats ? is_float(p.packed_zero_dtype) : p.packed_zero_dtype == 0);
}

bool documented_valid(const gatun_packing_params& p) {
  if (p.struct_size != sizeof(p) || p.packing < GATUN_PACKING_GPTQ || p.packing > GATUN_PACKING_JLAMA) return false;
  if (!documented_types(p) || p.threads < 0 || p.threads > 1024) return false;
  if (p.columns < 0 || p.columns > kMaxSize || p.depth < 0 || p.depth > kMaxSize) return false;
  const int64_t per_word = 32 / bits_of(p.code_dtype);
  switch (p.packing) {
    case GATUN_PACKING_GPTQ:
    case GATUN_PACKING_GPTQ_V2:
      if (p.columns % per_word != 0 || p.depth % per_word != 0) return false;
      break;
    case GATUN_PACKING_AWQ:
      if (p.columns % 8 != 0) return false;
      break;
    case GATUN_PACKING_MATMUL_NBITS:
      return p.group >= 16 && p.group <= kMaxSize && (p.group & (p.group - 1)) == 0;
    case GATUN_PACKING_BITSANDBYTES:
      if (p.columns != 1) return false;
      break;
    case GATUN_PACKING_TORCHAO:
      if (p.depth % 2 != 0) return false;
      break;
    default:
      return p.group == 32 && p.depth % 32 == 0;
  }
  return p.group == p.depth || (p.group >= 16 && p.group <= p.depth);
}

gatun_packing_params params_from(Input& input) {
  gatun_packing_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.packing = input.choice({GATUN_PACKING_GPTQ, GATUN_PACKING_GPTQ_V2, GATUN_PACKING_AWQ, GATUN_PACKING_MATMUL_NBITS,
                            GATUN_PACKING_BITSANDBYTES, GATUN_PACKING_TORCHAO, GATUN_PACKING_JLAMA});
  const bool few = p.packing == GATUN_PACKING_BITSANDBYTES || p.packing == GATUN_PACKING_JLAMA;
  p.zero_point = p.packing == GATUN_PACKING_TORCHAO ? input.choice({GATUN_ZERO_FLOAT})
                 : few                              ? input.choice({GATUN_ZERO_NONE})
                 : p.packing == GATUN_PACKING_MATMUL_NBITS
                     ? input.choice({GATUN_ZERO_NONE, GATUN_ZERO_INTEGER, GATUN_ZERO_FLOAT})
                     : input.choice({GATUN_ZERO_NONE, GATUN_ZERO_INTEGER});
  const int32_t of_8_bits = p.zero_point == GATUN_ZERO_NONE ? GATUN_I8 : GATUN_U8;
  p.code_dtype = input.choice({GATUN_U4, GATUN_U4, of_8_bits, GATUN_U2});
  p.scale_dtype = input.choice({GATUN_F32, GATUN_F32, GATUN_F16});
  p.packed_scale_dtype = few ? p.scale_dtype : input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
  p.packed_zero_dtype = p.zero_point == GATUN_ZERO_FLOAT ? input.choice({GATUN_F32, GATUN_F16, GATUN_BF16}) : 0;
  p.threads = input.choice({0, 1, 2, 3});
  p.columns = p.packing == GATUN_PACKING_BITSANDBYTES && !input.rarely() ? 1 : input.size();
  p.depth = input.size();
  // Whole words, mostly.
  if (!input.rarely() && p.columns > 1 && p.columns < kMaxSize) p.columns = p.columns / 16 * 16;
  if (!input.rarely() && p.depth > 0 && p.depth < kMaxSize && p.packing != GATUN_PACKING_AWQ) {
    p.depth = p.depth / 32 * 32 + (p.packing == GATUN_PACKING_MATMUL_NBITS ? input.range(0, 31) : 0);
  }
  p.group = p.packing == GATUN_PACKING_JLAMA && !input.rarely()          ? 32
            : p.packing == GATUN_PACKING_MATMUL_NBITS && !input.rarely() ? int64_t{16} << input.range(0, 5)
                                                                         : input.group(p.depth);
  return p;
}

int64_t groups_of(const gatun_packing_params& p) {
  return p.depth == 0 ? 0 : p.depth / p.group + (p.depth % p.group != 0);
}

// The zero points that GATUN_ZERO_NONE asks for, and one bit of them wrong, rarely.
bool fill_middle(Input& input, const gatun_packing_params& p, Buffer& zero_points) {
  const int bits = bits_of(p.code_dtype), stored = (1 << (bits - 1)) - (p.packing == GATUN_PACKING_GPTQ);
  std::memset(zero_points.data(), stored * (255 / ((1 << bits) - 1)), static_cast<size_t>(zero_points.bytes()));
  if (!input.rarely()) return true;
  zero_points.data()[input.range(0, zero_points.bytes() - 1)] ^= static_cast<uint8_t>(1 << input.range(0, 7));
  return false;
}

// A shuffled group index, one number of it wrong, rarely.
bool fill_index(Input& input, test::Rng& rng, const gatun_packing_params& p, std::vector<int32_t>& index) {
  for (int64_t k = 0; k < p.depth; ++k) index[static_cast<size_t>(k)] = static_cast<int32_t>(k / p.group);
  for (int64_t k = p.depth - 1; k > 0; --k) {
    std::swap(index[static_cast<size_t>(k)], index[static_cast<size_t>(rng.integer(0, k))]);
  }
  if (p.depth == 0 || !input.rarely()) return true;
  int32_t& wrong = index[static_cast<size_t>(input.range(0, p.depth - 1))];
  const int32_t before = wrong;
  wrong = static_cast<int32_t>(input.range(-2, groups_of(p)));
  return wrong == before;
}

void check_permute(test::Rng& rng, const gatun_packing_params& p, const std::vector<int32_t>& permutation) {
  const int64_t rows = rng.integer(0, 3);
  Buffer x(rows * p.depth * 4), y(rows * p.depth * 4);
  x.fill_integers(rng, 0, 255);
  check_status(gatun_packing_permute(GATUN_F32, rows, p.depth, p.depth, p.depth, p.threads, permutation.data(),
                                     x.data(), y.data()),
               true, "gatun_packing_permute");
  for (int64_t i = 0; i < rows * p.depth; ++i) {
    const int64_t from = i / p.depth * p.depth + permutation[static_cast<size_t>(i % p.depth)];
    if (std::memcmp(y.data() + 4 * i, x.data() + 4 * from, 4) != 0) defect("permute moved another element");
  }
}

}  // namespace

void fuzz_packing(Input& input) {
  const gatun_packing_params p = params_from(input);
  constexpr int64_t kNothing = -77;
  int64_t codes_bytes = kNothing, scales_bytes = kNothing, zeros_bytes = kNothing;
  const int32_t status = gatun_packing_bytes(&p, &codes_bytes, &scales_bytes, &zeros_bytes);
  if (!documented_valid(p)) {
    check_status(status, false, "gatun_packing_bytes");
    if (codes_bytes != kNothing || scales_bytes != kNothing || zeros_bytes != kNothing) {
      defect("gatun_packing_bytes failed and wrote sizes");
    }
    Buffer nothing(1);
    uint8_t* const at = nothing.data();
    check_status(gatun_packing_read(&p, at, at, at, nullptr, at, at, at, nullptr), false, "gatun_packing_read");
    check_status(gatun_packing_write(&p, at, at, at, nullptr, at, at, at, nullptr), false, "gatun_packing_write");
    return;
  }
  if (status != GATUN_OK) {
    if (p.columns < (1 << 24) && p.depth < (1 << 24) && p.group < (1 << 24)) {
      defect("valid params of a moderate size are refused: %s", gatun_last_error());
    }
    return;
  }
  const int64_t blocks = p.columns * groups_of(p), row_bytes = dtype_bytes(p.code_dtype, p.depth);
  if (codes_bytes > kMaxBytes || scales_bytes > kMaxBytes || p.columns > kMaxBytes || p.depth > kMaxBytes) return;
  const int64_t plain_zeros = p.zero_point == GATUN_ZERO_NONE ? 0 : p.zero_point == GATUN_ZERO_INTEGER ? 1 : 4;

  test::Rng rng = input.rng();
  Buffer packed_codes(codes_bytes), packed_scales(scales_bytes), packed_zeros(zeros_bytes);
  Buffer codes(p.columns * row_bytes), scales(blocks * dtype_bytes(p.scale_dtype, 1)), zeros(blocks * plain_zeros);
  packed_codes.fill_integers(rng, 0, 255);
  packed_scales.fill_floats(rng, p.packed_scale_dtype, Values::normal);
  bool valid = true;
  if (p.zero_point == GATUN_ZERO_FLOAT) {
    packed_zeros.fill_floats(rng, p.packed_zero_dtype, Values::normal);
  } else if (p.zero_point == GATUN_ZERO_INTEGER) {
    packed_zeros.fill_integers(rng, 0, 255);
  } else if (zeros_bytes > 0) {
    valid = fill_middle(input, p, packed_zeros);
  }
  if (scales_bytes > 0 && input.rarely()) {
    const int64_t element = dtype_bytes(p.packed_scale_dtype, 1);
    const int64_t index = input.range(0, scales_bytes / element - 1);
    const uint16_t nan = 0x7fff;
    std::memcpy(packed_scales.data() + (index + 1) * element - 2, &nan, 2);
    valid = false;
  }
  const bool indexed = is_gptq(p) && input.range(0, 1) == 1;
  std::vector<int32_t> index(static_cast<size_t>(p.depth) + 1, -1), permutation(index.size(), -1);
  if (indexed) valid = fill_index(input, rng, p, index) && valid;

  const auto given = [](Buffer& buffer, bool exists) { return exists ? buffer.data() : nullptr; };
  const bool has_packed_zeros = p.zero_point != GATUN_ZERO_NONE || is_gptq(p) || p.packing == GATUN_PACKING_AWQ;
  const auto read = [&](Buffer& from_codes, Buffer& from_scales, Buffer& from_zeros) {
    return gatun_packing_read(&p, from_codes.data(), from_scales.data(), given(from_zeros, has_packed_zeros),
                              indexed ? index.data() : nullptr, codes.data(), scales.data(),
                              given(zeros, plain_zeros != 0), indexed ? permutation.data() : nullptr);
  };
  const std::vector<uint8_t> codes_before = codes.copy();
  const int32_t read_status = read(packed_codes, packed_scales, packed_zeros);
  check_status(read_status, valid, "gatun_packing_read");
  if (read_status != GATUN_OK) {
    if (codes.copy() != codes_before) defect("gatun_packing_read failed and wrote codes");
    return;
  }
  if (index.back() != -1 || permutation.back() != -1) defect("gatun_packing_read wrote past the permutation");

  const std::vector<uint8_t> codes_read = codes.copy(), scales_read = scales.copy(), zeros_read = zeros.copy();
  const std::vector<int32_t> index_read = index, permutation_read = permutation;
  Buffer codes_written(codes_bytes), scales_written(scales_bytes), zeros_written(zeros_bytes);
  std::fill(index.begin(), index.end(), -1);
  check_status(gatun_packing_write(&p, codes.data(), scales.data(), given(zeros, plain_zeros != 0),
                                   indexed ? permutation.data() : nullptr, codes_written.data(), scales_written.data(),
                                   given(zeros_written, has_packed_zeros), indexed ? index.data() : nullptr),
               true, "gatun_packing_write");
  if (scales_written.copy() != packed_scales.copy()) defect("scales written differ from those read");
  if (index != index_read) defect("the group index written differs from the one read");
  check_status(read(codes_written, scales_written, zeros_written), true, "gatun_packing_read of what was written");
  if (codes.copy() != codes_read || scales.copy() != scales_read || permutation != permutation_read) {
    defect("planes read again differ");
  }
  if (p.zero_point != GATUN_ZERO_FLOAT && zeros.copy() != zeros_read) defect("zero points read again differ");
  if (indexed) check_permute(rng, p, permutation);
}

}  // namespace gatun::fuzz
