#include "weights.h"

#include <cmath>
#include <cstring>

#include "base/dtype.h"

namespace gatun::fuzz {

gatun_qmatmul_weights weights_from(Input& input) {
  gatun_qmatmul_weights w{};
  w.struct_size = input.struct_size(sizeof(w));
  w.code_dtype = input.choice({GATUN_I8, GATUN_U8, GATUN_U4, GATUN_U4});
  w.asymmetric = w.code_dtype == GATUN_I8 ? 0 : w.code_dtype == GATUN_U8 ? 1 : input.choice({0, 1});
  if (input.rarely()) w.asymmetric = input.choice({0, 1});
  w.scale_dtype = input.choice({GATUN_F32, GATUN_F16});
  w.columns = input.size();
  w.depth = input.size();
  w.group = input.group(w.depth);
  return w;
}

bool documented_valid(const gatun_qmatmul_weights& w) {
  const bool types =
      (w.scale_dtype == GATUN_F32 || w.scale_dtype == GATUN_F16) &&
      ((w.code_dtype == GATUN_I8 && w.asymmetric == 0) || (w.code_dtype == GATUN_U8 && w.asymmetric == 1) ||
       (w.code_dtype == GATUN_U4 && (w.asymmetric == 0 || w.asymmetric == 1)));
  return w.struct_size == sizeof(w) && types && w.columns >= 0 && w.depth >= 0 &&
         (w.group == w.depth || (w.group >= 16 && w.group <= w.depth));
}

Planes::Planes(const gatun_qmatmul_weights& w) {
  const int64_t groups = w.depth == 0 ? 0 : (w.depth - 1) / w.group + 1;
  const int64_t code_bytes = dtype_bytes(w.code_dtype, w.depth);
  const int64_t sizes[] = {extent(w.columns, code_bytes, code_bytes, 1, 1),
                           extent(w.columns, groups, groups, 1, dtype_bytes(w.scale_dtype, 1)),
                           extent(w.columns, w.asymmetric ? groups : 0, groups, 1, 1)};
  for (const int64_t size : sizes) affordable = affordable && size >= 0;
  if (!affordable) return;
  codes = Buffer(sizes[0]);
  scales = Buffer(sizes[1]);
  zero_points = Buffer(sizes[2]);
}

void Planes::fill(Input& input, const gatun_qmatmul_weights& w) {
  test::Rng rng = input.rng();
  if (w.code_dtype == GATUN_I8) {
    codes.fill_integers(rng, -127, 127);
  } else {
    codes.fill_integers(rng, 0, 255);
  }
  if (w.code_dtype == GATUN_U4 && w.depth % 2 == 1) {  // the unused nibble of an odd row is 0
    const int64_t row = (w.depth + 1) / 2;
    for (int64_t last = row - 1; last < codes.bytes(); last += row) {
      codes.data()[last] = static_cast<uint8_t>(codes.data()[last] & 15);
    }
  }
  scales.fill_floats(rng, w.scale_dtype, Values::normal, 0.05f);
  zero_points.fill_integers(rng, 0, w.code_dtype == GATUN_U4 ? 15 : 255);
}

bool Planes::scales_below(double limit, const gatun_qmatmul_weights& w) const {
  const int64_t element = dtype_bytes(w.scale_dtype, 1);
  for (int64_t at = 0; at + element <= scales.bytes(); at += element) {
    float value;
    if (element == 4) {
      std::memcpy(&value, scales.data() + at, 4);
    } else {
      uint16_t half;
      std::memcpy(&half, scales.data() + at, 2);
      value = f16_to_f32(half);
    }
    if (!(std::fabs(double{value}) < limit)) return false;
  }
  return true;
}

}  // namespace gatun::fuzz
