// How rows of a call become work: blocks of rows one after the other, each cut into tasks, one for each weight that has
// rows and columns in it.
#pragma once

#include <cstdint>

#include "qmatmul/table.h"

namespace gatun::qmatmul {

// Equal items of a task in the numbering of a loop: item i begins at `begin` + i * cost. A loop counts costs, not
// items, so that its ranges take about equal times, whatever the rows of each task.
struct Items {
  int64_t begin;
  int64_t count;
  int64_t cost;
};

struct Task {
  Job job;  // on the task's rows and columns; its packed activations begin with its rows
  const Kernel* kernel;
  const Layout* layout;
  Items packing;  // rows to be packed; none if an earlier task packs them for this one, too
  Items panels;   // `panels.count` = panels * chunks
  int64_t first_panel;
  int64_t chunks;  // of its rows
};

struct Block {
  int64_t rows;
  int64_t tasks;
  int32_t packing_threads;
  int32_t threads;
  int64_t packing_cost;  // sums of costs of all tasks
  int64_t panels_cost;
};

// Memory for packed activations of a block's rows. Kernels of one call pack alike, whatever the width of the weights.
struct Activations {
  uint8_t* values;
  int32_t* sums;  // these two null if the kernels don't use them
  float* scales;
};

// Pieces depend on the width of the weights and the kinds of their scales and offsets.
inline constexpr int kPieceLists = 2 * kScaleKinds * kOffsetKinds;
inline int piece_list(const Layout& layout) {
  const int kinds = static_cast<int>(layout.scale_kind()) * kOffsetKinds + static_cast<int>(layout.offset_kind());
  return 2 * kinds + layout.four_bits();
}

// What tasks point to; a call that is only explained has the tasks alone.
struct Workspace {
  Task* tasks;  // [call.count]
  const Piece* pieces[kPieceLists];
  Activations activations;
};

// Plans the block that begins at `first_row`; *part is the first part that may have rows there, and is moved on.
Block plan_block(const Call& call, int64_t first_row, int32_t* part, const Workspace& workspace);

}  // namespace gatun::qmatmul
