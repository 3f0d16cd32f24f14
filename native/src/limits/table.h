// The table of kernels.inc as data.
#pragma once

#include "base/cpu.h"
#include "limits/kernel.h"

namespace gatun::limits {

struct TableRow {
  const char* name;
  Tier tier;
  Loop loop;
  const Kernel* kernel;
};

// The first row of the loop whose tier may run when `limit` is the tier in use; null if there is none.
const TableRow* select(Loop loop, Tier limit);

struct Rows {
  const TableRow* first;
  const TableRow* last;
  const TableRow* begin() const { return first; }
  const TableRow* end() const { return last; }
};
Rows table();

}  // namespace gatun::limits
