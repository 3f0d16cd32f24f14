#include "gguf/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/dtype.h"
#include "base/status.h"

namespace gatun::gguf {
namespace {

// Where bits of a code or of a sub-scale lie: `bits` bits of a byte from `shift` on are its bits from `at` on.
struct Piece {
  int byte, shift, bits, at;
};
struct Place {
  Piece pieces[2];
  int count;
};

Place one(Piece a) { return {{a, {}}, 1}; }
Place two(Piece a, Piece b) { return {{a, b}, 2}; }

// A nibble of 16 bytes from `base` on: element j % 32 < 16 in the low ones.
Piece nibble16(int base, int i) { return {base + i % 16, i % 32 < 16 ? 0 : 4, 4, 0}; }

Place code_place(int32_t type, int i) {
  switch (type) {
    case GATUN_GGUF_Q4_0:
    case GATUN_GGUF_IQ4_NL:
      return one(nibble16(2, i));
    case GATUN_GGUF_Q4_1:
      return one(nibble16(4, i));
    case GATUN_GGUF_Q5_0:
      return two(nibble16(6, i), {2 + i / 8, i % 8, 1, 4});
    case GATUN_GGUF_Q5_1:
      return two(nibble16(8, i), {4 + i / 8, i % 8, 1, 4});
    case GATUN_GGUF_Q8_0:
      return one({2 + i, 0, 8, 0});
    case GATUN_GGUF_Q2_K:
      return one({16 + i / 128 * 32 + i % 32, 2 * (i % 128 / 32), 2, 0});
    case GATUN_GGUF_Q3_K:
      return two({32 + i / 128 * 32 + i % 32, 2 * (i % 128 / 32), 2, 0}, {i % 32, i / 32, 1, 2});
    case GATUN_GGUF_Q4_K:
      return one({16 + i / 64 * 32 + i % 32, i % 64 < 32 ? 0 : 4, 4, 0});
    case GATUN_GGUF_Q5_K:
      return two({48 + i / 64 * 32 + i % 32, i % 64 < 32 ? 0 : 4, 4, 0}, {16 + i % 32, i / 32, 1, 4});
    case GATUN_GGUF_Q6_K:
      return two({i / 128 * 64 + i % 64, i % 128 < 64 ? 0 : 4, 4, 0},
                 {128 + i / 128 * 32 + i % 32, 2 * (i % 128 / 32), 2, 4});
    case GATUN_GGUF_IQ4_XS:
      return one(nibble16(8 + i / 32 * 16, i));
    default:
      return one(nibble16(1, i));
  }
}

Place scale_place(int32_t type, int k) {
  switch (type) {
    case GATUN_GGUF_Q2_K:
      return one({k, 0, 4, 0});
    case GATUN_GGUF_Q3_K:
      return two({96 + k % 8, k < 8 ? 0 : 4, 4, 0}, {104 + k % 4, 2 * (k / 4), 2, 4});
    case GATUN_GGUF_Q6_K:
      return one({192 + k, 0, 8, 0});
    case GATUN_GGUF_IQ4_XS:
      return two({4 + k / 2, 4 * (k % 2), 4, 0}, {2 + k / 4, 2 * (k % 4), 2, 4});
    default:  // Q4_K, Q5_K
      return k < 4 ? one({4 + k, 0, 6, 0}) : two({4 + k + 4, 0, 4, 0}, {4 + k - 4, 6, 2, 4});
  }
}

Place min_place(int32_t type, int k) {
  if (type == GATUN_GGUF_Q2_K) return one({k, 4, 4, 0});
  return k < 4 ? one({4 + k + 4, 0, 6, 0}) : two({4 + k + 4, 4, 4, 0}, {4 + k, 6, 2, 4});
}

int get(const Place& place, const uint8_t* block) {
  int value = 0;
  for (int i = 0; i < place.count; ++i) {
    const Piece& p = place.pieces[i];
    value |= (block[p.byte] >> p.shift & ((1 << p.bits) - 1)) << p.at;
  }
  return value;
}

void set(const Place& place, int value, uint8_t* block) {
  for (int i = 0; i < place.count; ++i) {
    const Piece& p = place.pieces[i];
    const int mask = (1 << p.bits) - 1;
    block[p.byte] = static_cast<uint8_t>((block[p.byte] & ~(mask << p.shift)) | (value >> p.at & mask) << p.shift);
  }
}

// Bytes of d, and of m or dmin.
int d_byte(int32_t type) {
  return type == GATUN_GGUF_Q2_K ? 80 : type == GATUN_GGUF_Q3_K ? 108 : type == GATUN_GGUF_Q6_K ? 208 : 0;
}
int m_byte(int32_t type) { return type == GATUN_GGUF_Q2_K ? 82 : 2; }

void set_half(uint16_t half, uint8_t* to) {
  to[0] = static_cast<uint8_t>(half);
  to[1] = static_cast<uint8_t>(half >> 8);
}
float get_half(const uint8_t* from) { return f16_to_f32(static_cast<uint16_t>(from[0] | from[1] << 8)); }

constexpr int kIq4[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr float kE2m1Doubled[] = {0, 1, 2, 3, 4, 6, 8, 12, -0.0f, -1, -2, -3, -4, -6, -8, -12};

float mxfp4_scale(int e) {
  return e == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, e - 127) * 0.5f;
}

float value_of(const Type& type, const uint8_t* block, int i) {
  const int k = i / type.group, q = get(code_place(type.id, i), block);
  if (type.id == GATUN_GGUF_MXFP4) return mxfp4_scale(block[0]) * kE2m1Doubled[q];
  const float d = get_half(block + d_byte(type.id));
  switch (type.id) {
    case GATUN_GGUF_Q4_0:
      return d * static_cast<float>(q - 8);
    case GATUN_GGUF_Q5_0:
      return d * static_cast<float>(q - 16);
    case GATUN_GGUF_Q4_1:
    case GATUN_GGUF_Q5_1: {
      const float product = d * static_cast<float>(q);
      return product + get_half(block + m_byte(type.id));
    }
    case GATUN_GGUF_Q8_0:
      return d * static_cast<float>(static_cast<int8_t>(q));
    case GATUN_GGUF_IQ4_NL:
      return d * static_cast<float>(kIq4[q]);
    case GATUN_GGUF_Q2_K:
    case GATUN_GGUF_Q4_K:
    case GATUN_GGUF_Q5_K: {
      const float scale = d * static_cast<float>(get(scale_place(type.id, k), block));
      const float product = scale * static_cast<float>(q);
      return product - get_half(block + m_byte(type.id)) * static_cast<float>(get(min_place(type.id, k), block));
    }
    case GATUN_GGUF_Q3_K:
      return d * static_cast<float>(get(scale_place(type.id, k), block) - 32) * static_cast<float>(q - 4);
    case GATUN_GGUF_Q6_K:
      return d * static_cast<float>(static_cast<int8_t>(get(scale_place(type.id, k), block))) *
             static_cast<float>(q - 32);
    default:  // IQ4_XS
      return d * static_cast<float>(get(scale_place(type.id, k), block) - 32) * static_cast<float>(kIq4[q]);
  }
}

bool overflows(uint16_t half) { return (half & 0x7fff) >= 0x7c00; }

float inverse_of(float d) {
  const float inverse = d == 0 ? 0 : 1 / d;
  return std::isinf(inverse) ? 0 : inverse;
}

float first_extreme(const float* x, int count) {
  float extreme = 0;
  for (int i = 0; i < count; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

// Blocks of 32 as ggml makes them. False if a scale overflows.
bool make_signed(const Type& type, const float* x, uint8_t* block) {
  const float zero = static_cast<float>(type.zero), d = first_extreme(x, 32) / -zero, id = inverse_of(d);
  set_half(f32_to_f16(d), block);
  if (overflows(f32_to_f16(d))) return false;
  for (int i = 0; i < 32; ++i) {
    const float steps = x[i] * id;
    set(code_place(type.id, i), std::min(2 * type.zero - 1, static_cast<int>(steps + (zero + 0.5f))), block);
  }
  return true;
}

bool make_offset(const Type& type, const float* x, uint8_t* block) {
  const int highest = (1 << type.bits) - 1;
  float low = std::numeric_limits<float>::max(), high = -low;
  for (int i = 0; i < 32; ++i) {
    if (x[i] < low) low = x[i];
    if (x[i] > high) high = x[i];
  }
  const float d = (high - low) / static_cast<float>(highest), id = inverse_of(d);
  set_half(f32_to_f16(d), block);
  set_half(f32_to_f16(low), block + 2);
  if (overflows(f32_to_f16(d)) || overflows(f32_to_f16(low))) return false;
  for (int i = 0; i < 32; ++i) {
    const float steps = (x[i] - low) * id;
    set(code_place(type.id, i), std::min(highest, static_cast<int>(steps + 0.5f)), block);
  }
  return true;
}

bool make_bytes(const Type& type, const float* x, uint8_t* block) {
  const float d = std::fabs(first_extreme(x, 32)) / 127, id = inverse_of(d);
  set_half(f32_to_f16(d), block);
  if (overflows(f32_to_f16(d))) return false;
  for (int i = 0; i < 32; ++i) set(code_place(type.id, i), static_cast<int>(std::round(x[i] * id)), block);
  return true;
}

bool make_mxfp4(const Type& type, const float* x, uint8_t* block) {
  const float amax = std::fabs(first_extreme(x, 32));
  const int e = amax == 0 ? 0 : std::clamp(std::ilogb(amax) - 2 + 127, 0, 254);
  const float scale = mxfp4_scale(e);
  block[0] = static_cast<uint8_t>(e);
  for (int i = 0; i < 32; ++i) {
    int nearest = 0;
    for (int code = 1; code < 16; ++code) {
      if (std::fabs(kE2m1Doubled[code] * scale - x[i]) < std::fabs(kE2m1Doubled[nearest] * scale - x[i]))
        nearest = code;
    }
    set(code_place(type.id, i), nearest, block);
  }
  return true;
}

// The search that tile_search.h states, a group at a time.
constexpr float kTiny = 0x1p-100f;

struct Levels {
  float lowest;         // what the extreme becomes at the start
  float candidates[9];  // what it becomes on trial
};

Levels levels_of(const Type& type) {
  if (type.table != nullptr) return {-127, {-136, -128, -120, -112, -104, 118, 110, 102, 94}};
  Levels levels = {static_cast<float>(-type.zero), {}};
  for (int c = 0; c < 9; ++c) levels.candidates[c] = levels.lowest - 0.5f + 0.25f * static_cast<float>(c);
  return levels;
}

// The code of x / scale; without a table or mins around `zero`.
int code_of(const Type& type, float steps) {
  if (type.table == nullptr) {
    const float highest = static_cast<float>((1 << type.bits) - 1 - type.zero), lowest = static_cast<float>(-type.zero);
    return static_cast<int>(std::nearbyint(std::clamp(steps, lowest, highest))) + type.zero;
  }
  int nearest = 0;  // in doubles the distances are exact; the lower code on a tie
  for (int code = 1; code < 16; ++code) {
    if (std::fabs(kIq4[code] - static_cast<double>(steps)) < std::fabs(kIq4[nearest] - static_cast<double>(steps))) {
      nearest = code;
    }
  }
  return nearest;
}

float level_of(const Type& type, float steps) {
  const int code = code_of(type, steps);
  return static_cast<float>(type.table != nullptr ? kIq4[code] : code - type.zero);
}

struct Fit {
  float scale, min;
};

Fit fit_with_min(const Type& type, const float* x) {
  const float highest = static_cast<float>((1 << type.bits) - 1), n = static_cast<float>(type.group);
  const float low = std::min(0.0f, *std::min_element(x, x + type.group));
  const float range = *std::max_element(x, x + type.group) - low, bound = 0.0f - low;
  float z1 = 0, z2 = 0;
  for (int j = 0; j < type.group; ++j) {
    z1 += x[j] - low;
    z2 += (x[j] - low) * (x[j] - low);
  }
  Fit best = {range / highest, bound};
  float least = std::numeric_limits<float>::infinity();
  if (range < kTiny) return best;
  for (float levels = highest + 0.5f; levels >= highest - 2; levels -= 0.25f) {
    float q1 = 0, q2 = 0, qz = 0;
    for (int j = 0; j < type.group; ++j) {
      const float z = x[j] - low, q = std::min(highest, std::nearbyint(z * (levels / range)));
      q1 += q;
      q2 += q * q;
      qz += q * z;
    }
    float s = (n * qz - q1 * z1) / (n * q2 - q1 * q1), t = (z1 - s * q1) / n;
    if (t > bound) {
      t = bound;
      s = (qz - t * q1) / q2;
    }
    const float squares = (z2 + s * s * q2) + t * t * n, products = (s * qz - s * t * q1) + t * z1;
    const float error = squares - (products + products);
    if (error < least) {
      best = {s, bound - t};
      least = error;
    }
  }
  return best;
}

Fit fit(const Type& type, const float* x) {
  const Levels levels = levels_of(type);
  const float extreme = first_extreme(x, type.group);
  Fit best = {extreme / levels.lowest, 0};
  float most = 0;
  for (const float candidate : levels.candidates) {
    const float inverse = std::fabs(extreme) < kTiny ? 0 : candidate / extreme;
    float vx = 0, vv = 0;
    for (int j = 0; j < type.group; ++j) {
      const float v = level_of(type, x[j] * inverse);
      vx += v * x[j];
      vv += v * v;
    }
    const float s = vx / vv;
    if (s * vx > most) {
      best.scale = s;
      most = s * vx;
    }
  }
  return best;
}

// What a group reads as with these scales, or its codes.
struct Step {
  float scale, offset;  // x ~ scale * level - offset

  float steps(float x) const { return (x + offset) * (std::fabs(scale) < kTiny ? 0 : 1 / scale); }
};

bool make_searched(const Type& type, const float* x, uint8_t* block) {
  const int groups = type.elements / type.group;
  float scales[kMaxGroups], mins[kMaxGroups];
  for (int g = 0; g < groups; ++g) {
    const Fit found =
        type.offset == Offset::mins ? fit_with_min(type, x + g * type.group) : fit(type, x + g * type.group);
    scales[g] = found.scale;
    mins[g] = found.min;
  }
  const bool sub_scales = groups > 1, with_mins = type.offset == Offset::mins;
  const float divisor = static_cast<float>(!sub_scales ? 1 : with_mins ? type.scale_highest : type.scale_lowest);
  const uint16_t d = f32_to_f16(first_extreme(scales, groups) / divisor + 0.0f);
  const uint16_t dmin = f32_to_f16(first_extreme(mins, groups) / divisor + 0.0f);
  if (overflows(d) || (with_mins && overflows(dmin))) return false;
  set_half(d, block + d_byte(type.id));
  if (with_mins) set_half(dmin, block + m_byte(type.id));
  const float base = f16_to_f32(d), base_min = with_mins ? f16_to_f32(dmin) : 0;

  for (int g = 0; g < groups; ++g) {
    const float* group = x + g * type.group;
    float scale = 1, minimum = 0;
    if (sub_scales) {
      const auto lower = [](float value, float unit) { return std::nearbyint((unit == 0 ? 0 : value / unit) - 0.5f); };
      const float low = lower(scales[g], base), low_min = with_mins ? lower(mins[g], base_min) : 0;
      const float least_scale = static_cast<float>(type.scale_lowest),
                  most_scale = static_cast<float>(type.scale_highest);
      float least = std::numeric_limits<float>::infinity();
      for (float up = 0; up < 2; ++up) {
        for (float up_min = 0; up_min < (with_mins ? 2 : 1); ++up_min) {
          const float s = std::clamp(low + up, least_scale, most_scale);
          const float m = with_mins ? std::clamp(low_min + up_min, 0.0f, most_scale) : 0;
          const Step step = {base * s, base_min * m};
          float error = 0;
          for (int j = 0; j < type.group; ++j) {
            const float made = step.scale * level_of(type, step.steps(group[j])) - step.offset;
            error += (made - group[j]) * (made - group[j]);
          }
          if (error < least) {
            least = error;
            scale = s;
            minimum = m;
          }
        }
      }
      const int bias = type.id == GATUN_GGUF_Q3_K || type.id == GATUN_GGUF_IQ4_XS ? 32 : 0;
      set(scale_place(type.id, g), static_cast<int>(scale) + bias, block);
      if (with_mins) set(min_place(type.id, g), static_cast<int>(minimum), block);
    }
    const Step step = {base * scale, base_min * minimum};
    for (int j = 0; j < type.group; ++j) {
      set(code_place(type.id, g * type.group + j), code_of(type, step.steps(group[j])), block);
    }
  }
  return true;
}

bool make(const Type& type, const float* x, uint8_t* block) {
  std::memset(block, 0, static_cast<size_t>(type.bytes));
  if (!made_as_ggml(type)) return make_searched(type, x, block);
  if (type.power_scale) return make_mxfp4(type, x, block);
  if (type.offset == Offset::value) return make_offset(type, x, block);
  return type.bits == 8 ? make_bytes(type, x, block) : make_signed(type, x, block);
}

float load(const void* x, int32_t dtype, int64_t i) {
  if (dtype == GATUN_F32) return static_cast<const float*>(x)[i];
  const uint16_t half = static_cast<const uint16_t*>(x)[i];
  return dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

void store(void* x, int32_t dtype, int64_t i, float value) {
  if (dtype == GATUN_F32) {
    static_cast<float*>(x)[i] = value;
  } else {
    static_cast<uint16_t*>(x)[i] = dtype == GATUN_F16 ? f32_to_f16(value) : f32_to_bf16(value);
  }
}

// Calls visit(row, block of the row, its values) until it returns false.
template <class Visit>
void for_each_block(const Type& type, int32_t dtype, int64_t rows, int64_t depth, int64_t stride, const void* x,
                    Visit visit) {
  float values[kMaxElements];
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t b = 0; b < depth / type.elements; ++b) {
      for (int i = 0; i < type.elements; ++i) values[i] = load(x, dtype, row * stride + b * type.elements + i);
      if (!visit(row, b, values)) return;
    }
  }
}

}  // namespace

bool made_as_ggml(const Type& type) { return type.elements == 32 && type.id != GATUN_GGUF_IQ4_NL; }

int32_t reference_check(const Type& type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                        const void* x) {
  using LongLong = long long;
  int32_t status = GATUN_OK;
  for_each_block(type, x_dtype, rows, depth, x_row_stride, x, [&](int64_t row, int64_t b, const float* values) {
    for (int i = 0; i < type.elements; ++i) {
      if (std::isfinite(values[i])) continue;
      status = fail(GATUN_INVALID_ARGUMENT, "x[%lld][%lld] = %g; allowed: finite values", LongLong{row},
                    LongLong{b * type.elements + i}, static_cast<double>(values[i]));
      return false;
    }
    uint8_t block[kMaxBytes];
    if (make(type, values, block)) return true;
    status = fail(GATUN_INVALID_ARGUMENT,
                  "a scale of block %lld in row %lld of x (elements %lld to %lld) overflows F16; allowed: up to 65504",
                  LongLong{b}, LongLong{row}, LongLong{b * type.elements}, LongLong{(b + 1) * type.elements - 1});
    return false;
  });
  return status;
}

void reference_quantize(const Type& type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                        const void* x, void* blocks) {
  uint8_t* next = static_cast<uint8_t*>(blocks);
  for_each_block(type, x_dtype, rows, depth, x_row_stride, x, [&](int64_t, int64_t, const float* values) {
    make(type, values, next);
    next += type.bytes;
    return true;
  });
}

void reference_dequantize(const Type& type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                          const void* blocks, void* x) {
  const uint8_t* block = static_cast<const uint8_t*>(blocks);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t k = 0; k < depth; ++k) {
      store(x, x_dtype, row * x_row_stride + k, value_of(type, block, static_cast<int>(k % type.elements)));
      if ((k + 1) % type.elements == 0) block += type.bytes;
    }
  }
}

}  // namespace gatun::gguf
