#include "input.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/dtype.h"
#include "gatun/status.h"

namespace gatun::fuzz {

void defect(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::fprintf(stderr, "defect: ");
  std::vfprintf(stderr, format, arguments);
  std::fprintf(stderr, "\n");
  va_end(arguments);
  std::abort();
}

int64_t extent(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride, int64_t element_bytes) {
  if (rows == 0 || columns == 0) return 0;
  using Wide = __int128;
  constexpr Wide kDocumented = Wide{1} << 62;
  const Wide last_row = Wide{rows - 1} * row_stride, last_column = Wide{columns - 1} * column_stride;
  if (last_row > kDocumented || last_column > kDocumented) return kImpossible;
  const Wide bytes = (last_row + last_column + 1) * element_bytes;
  if (bytes > kDocumented) return kImpossible;
  return bytes > kMaxBytes ? kUnaffordable : static_cast<int64_t>(bytes);
}

int64_t Input::size() {
  switch (range(0, 15)) {
    case 0:
      return bytes_.ConsumeIntegral<int64_t>();
    case 1:
      return bytes_.PickValueInArray<int64_t>(
          {-1, INT64_MIN, INT64_MAX, INT64_MAX / 2, int64_t{1} << 60, int64_t{1} << 32, int64_t{1} << 31});
    case 2:
    case 3:
    case 4:
      return range(0, 300);
    case 5:
      return bytes_.PickValueInArray<int64_t>({15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 511, 512, 513});
    default:
      return range(0, 40);
  }
}

int32_t Input::choice(std::initializer_list<int32_t> good) {
  if (rarely()) return bytes_.ConsumeIntegral<int32_t>();
  return good.begin()[range(0, static_cast<int64_t>(good.size()) - 1)];
}

int64_t Input::stride(int64_t columns) {
  if (rarely()) return size();
  const int64_t more = range(0, 3) == 0 ? range(0, 9) : 0;
  return columns > INT64_MAX - more ? columns : columns + more;
}

int64_t Input::group(int64_t depth) {
  switch (range(0, 7)) {
    case 0:
      return size();
    case 1:
    case 2:
      return depth;
    default:
      return depth > 16 ? range(16, depth) : depth;
  }
}

Buffer::Buffer(int64_t bytes) : bytes_(bytes < 0 ? 1 : bytes) {
  memory_ = std::make_unique<uint8_t[]>(static_cast<size_t>(bytes_));
  at_ = memory_.get();
}

void Buffer::spoil(Input& input) {
  if (input.range(0, 63) != 63) return;
  if (input.range(0, 1) == 0) {
    at_ = nullptr;
    return;
  }
  std::unique_ptr<uint8_t[]> moved = std::make_unique<uint8_t[]>(static_cast<size_t>(bytes_) + 1);
  if (bytes_ > 0) std::memcpy(moved.get() + 1, at_, static_cast<size_t>(bytes_));
  memory_ = std::move(moved);
  offset_ = 1;
  at_ = memory_.get() + 1;
}

void Buffer::fill_floats(test::Rng& rng, int32_t dtype, Values values, float scale) {
  const int64_t element = dtype_bytes(dtype, 1);
  for (int64_t at = 0; at + element <= bytes_; at += element) {
    float value = 0;
    switch (values) {
      case Values::normal:
        value = scale * rng.normal();
        break;
      case Values::small_integers:
        value = scale * static_cast<float>(rng.integer(-8, 8));
        break;
      case Values::subnormal:
        value = 0x1p-126f * rng.normal();
        break;
      case Values::special_finite:
        value = rng.special_finite();
        break;
      case Values::special: {  // rows without NaN and infinity should exist
        constexpr float kInfinity = std::numeric_limits<float>::infinity();
        const float specials[] = {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()};
        value = rng.integer(0, 99) == 0 ? specials[rng.integer(0, 2)] : rng.normal();
        break;
      }
    }
    const uint16_t half = dtype == GATUN_F16 ? f32_to_f16(value) : f32_to_bf16(value);
    std::memcpy(at_ + at, element == 4 ? static_cast<const void*>(&value) : &half, static_cast<size_t>(element));
  }
}

void Buffer::fill_integers(test::Rng& rng, int64_t low, int64_t high) {
  for (int64_t i = 0; i < bytes_; ++i) at_[i] = static_cast<uint8_t>(rng.integer(low, high));
}

std::vector<uint8_t> Buffer::copy() const {
  return at_ == nullptr ? std::vector<uint8_t>() : std::vector<uint8_t>(at_, at_ + bytes_);
}

float float_at(const uint8_t* data, int32_t dtype, int64_t index) {
  float value;
  uint16_t half;
  if (dtype == GATUN_F32) {
    std::memcpy(&value, data + 4 * index, 4);
    return value;
  }
  std::memcpy(&half, data + 2 * index, 2);
  return dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

void check_status(int32_t status, bool documented_valid, const char* call) {
  if (documented_valid && status != GATUN_OK) defect("%s refused valid arguments: %s", call, gatun_last_error());
  if (!documented_valid && status == GATUN_OK) defect("%s accepted invalid arguments", call);
  if (!documented_valid && status != GATUN_INVALID_ARGUMENT) defect("%s returned status %d", call, status);
  if (!documented_valid && gatun_last_error()[0] == '\0') defect("%s refused without a message", call);
}

}  // namespace gatun::fuzz
