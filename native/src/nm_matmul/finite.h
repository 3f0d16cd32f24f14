// Whether floats are finite, of values and scales.
#pragma once

#include <cstdint>

namespace gatun::nm_matmul {

// That all of [rows, columns] floats of `dtype`, rows after each other, are finite; the message names the first place.
int32_t check_finite(const uint8_t* at, int32_t dtype, int64_t rows, int64_t columns, const char* name);

// Names the first place of a row that is not finite; GATUN_INTERNAL if there is none, as somebody has changed it since
// it was found.
int32_t fail_not_finite(const uint8_t* at, int32_t dtype, int64_t row, int64_t columns, const char* name);

}  // namespace gatun::nm_matmul
