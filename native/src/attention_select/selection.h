// What the entry points of selections share.
#pragma once

#include <exception>

#include "attention_select/call.h"

namespace gatun::attention_select {

// Reads and checks both structs but for what depends on the entry.
int32_t read_structs(const Arguments& arguments, Call* call);

// The elements of scores and maps.
int32_t check_map_size(const Call& call, const char* name, int64_t* count);

// For a map, which may be null where it is not the caller's, of `count` bytes.
int32_t check_select(Tier limit, const Arguments& arguments, uint8_t* map, Call* call, int64_t* count);
int32_t select_into(const Call& call, uint8_t* map);
int32_t select_lines(const Call& call, uint8_t* map);

int32_t no_memory();

// What the body returns; no_memory() if it throws, as containers do.
template <class Body>
int32_t or_no_memory(Body body) {
  try {
    return body();
  } catch (const std::exception&) {
    return no_memory();
  }
}

// Rows of blocks that an item does not have.
template <class T>
void clear_rest(const Call& call, T* rows) {
  for (int64_t b = 0; b < call.p.batch; ++b) {
    const int64_t first = call.query_blocks(call.item(b));
    for (int64_t head = 0; head < call.p.query_heads; ++head) {
      std::fill(rows + call.map_row(b, head, first), rows + call.map_row(b, head, call.p.query_blocks), T{0});
    }
  }
}

}  // namespace gatun::attention_select
