#include "qmatmul/stack.h"

#include <algorithm>
#include <cstdio>

#include "base/check.h"
#include "base/scratch.h"
#include "base/status.h"

namespace gatun::qmatmul {
namespace {

constexpr int64_t kFormAlignment = 64;

thread_local Scratch parts_scratch;

// Memory for `count` parts of the calling thread's call.
int32_t make_parts(int32_t count, Parts* parts) {
  const int64_t bytes = count * static_cast<int64_t>(sizeof(Part));
  *parts = {reinterpret_cast<Part*>(parts_scratch.get(bytes)), count, 0, 0, 0};
  if (parts->at != nullptr) return GATUN_OK;
  return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch", static_cast<long long>(bytes));
}

// Says which form the message of a failed check is about.
int32_t fail_at(int32_t status, int32_t index, int64_t offset) {
  char message[256];
  std::snprintf(message, sizeof(message), "%s", gatun_last_error());
  return fail(status, "packed[%d] at byte %lld: %s", index, static_cast<long long>(offset), message);
}

int32_t check_same(int64_t given, int64_t first, int32_t index, const char* name) {
  if (given == first) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "packed[%d]: %s = %lld; allowed: that of packed[0], %lld", index, name,
              static_cast<long long>(given), static_cast<long long>(first));
}

}  // namespace

int32_t read_alone(const void* packed, int64_t packed_bytes, Parts* parts) {
  PackedWeights weights;
  GATUN_TRY(read_header(packed, packed_bytes, &weights));
  GATUN_TRY(make_parts(1, parts));
  parts->at[0] = {Layout(weights.description, weights.integer_book), static_cast<const uint8_t*>(packed), 0, 0, 0, 0};
  parts->depth = weights.description.depth;
  parts->packed_bytes = parts->at[0].layout.bytes();
  return GATUN_OK;
}

int32_t read_stack(const void* packed, int64_t packed_bytes, int32_t count, Parts* parts) {
  GATUN_TRY(check_range(count, 1, INT32_MAX, "count"));
  GATUN_TRY(check_not_null(packed, "packed"));
  if (packed_bytes / kFormAlignment < count) {  // each has a header, so that memory for parts is bounded, too
    return fail(GATUN_INVALID_ARGUMENT, "packed_bytes = %lld; allowed: at least the %lld of %d headers",
                static_cast<long long>(packed_bytes), static_cast<long long>(count * kFormAlignment), count);
  }
  GATUN_TRY(make_parts(count, parts));
  Part* const at = parts->at;
  const uint8_t* base = static_cast<const uint8_t*>(packed);
  int64_t offset = 0;
  for (int32_t i = 0; i < count; ++i) {
    PackedWeights weights;
    if (const int32_t status = read_header(base + offset, packed_bytes - offset, &weights); status != GATUN_OK) {
      return fail_at(status, i, offset);
    }
    at[i] = {Layout(weights.description, weights.integer_book), base + offset, 0, 0, 0, 0};
    GATUN_TRY(check_same(weights.description.depth, at[0].layout.depth(), i, "depth"));
    GATUN_TRY(check_same(weights.description.group, at[0].layout.group(), i, "group"));
    parts->packed_bytes = offset + at[i].layout.bytes();
    offset = (parts->packed_bytes + kFormAlignment - 1) / kFormAlignment * kFormAlignment;
    offset = std::min(offset, packed_bytes);  // nothing follows the last form, and nothing fits behind the end
  }
  parts->depth = at[0].layout.depth();
  return GATUN_OK;
}

int32_t place_side_by_side(int64_t rows, Parts* parts) {
  for (Part* part = parts->at; part != parts->at + parts->count; ++part) {
    part->rows = rows;
    part->first_column = part->first_bias = parts->columns;
    if (part->layout.columns() > kMaxCells - parts->columns) {
      return fail(GATUN_INVALID_ARGUMENT, "packed: columns of %d weights up to packed[%d] exceed 2^52; allowed: less",
                  parts->count, static_cast<int>(part - parts->at));
    }
    parts->columns += part->layout.columns();
  }
  return GATUN_OK;
}

int32_t place_by_rows(const int64_t* group_rows, int64_t rows, Parts* parts) {
  GATUN_TRY(check_not_null(group_rows, "group_rows"));
  GATUN_TRY(check_aligned(group_rows, sizeof(*group_rows), "group_rows"));
  parts->columns = parts->at[0].layout.columns();
  int64_t placed = 0;
  for (int32_t i = 0; i < parts->count; ++i) {
    Part& part = parts->at[i];
    GATUN_TRY(check_same(part.layout.columns(), parts->columns, i, "columns"));
    part.first_row = placed;
    part.rows = group_rows[i];
    // Overflows only where no bias is as large; one that claims to be is refused with its size.
    (void)__builtin_mul_overflow(i, parts->columns, &part.first_bias);
    if (part.rows < 0 || part.rows > rows - placed) {
      return fail(GATUN_INVALID_ARGUMENT,
                  "group_rows[%d] = %lld; allowed: 0..%lld, what the groups before leave of params.rows = %lld", i,
                  static_cast<long long>(part.rows), static_cast<long long>(rows - placed),
                  static_cast<long long>(rows));
    }
    placed += part.rows;
  }
  if (placed != rows) {
    return fail(GATUN_INVALID_ARGUMENT, "group_rows: %d groups have %lld rows; allowed: params.rows = %lld together",
                parts->count, static_cast<long long>(placed), static_cast<long long>(rows));
  }
  return GATUN_OK;
}

}  // namespace gatun::qmatmul
