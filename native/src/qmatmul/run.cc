// From a checked call to kernels: rows block by block; each block is packed, then multiplied with all panels of all
// weights.
#include <algorithm>
#include <atomic>
#include <utility>

#include "base/check.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "qmatmul/plan.h"

namespace gatun::qmatmul {
namespace {

// What the calling thread packs for all, and what each thread needs of its own.
thread_local Scratch shared_scratch;
thread_local Scratch thread_scratch;

// Hands out 64-byte aligned slices of a buffer; with a null buffer it only counts.
class Slices {
 public:
  explicit Slices(uint8_t* base) : base_(base) {}
  template <typename T>
  T* take(int64_t count) {
    T* slice = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return slice;
  }
  int64_t used() const { return used_; }

 private:
  uint8_t* base_;
  int64_t used_ = 0;
};

void place(const Call& call, Slices& memory, Workspace* workspace) {
  workspace->tasks = memory.take<Task>(call.count);
  bool placed[kPieceLists] = {};
  for (const Part* part = call.parts; part != call.parts + call.count; ++part) {
    const int list = piece_list(part->layout);
    if (std::exchange(placed[list], true)) continue;
    Piece* pieces = memory.take<Piece>(part->layout.pieces());
    if (pieces != nullptr) part->layout.list_pieces(pieces);
    workspace->pieces[list] = pieces;
  }
  // All weights have the same depth and group, and all their kernels pack alike.
  const Layout& layout = call.parts[0].layout;
  const Kernel& kernel = *kernel_of(call, call.parts[0]);
  const int64_t rows = std::min(call.params.rows, kBlockRows);
  Activations& packed = workspace->activations;
  packed.values = memory.take<uint8_t>(rows * layout.padded_depth() * kernel.value_bytes);
  if (kernel.piece_sums > 0) packed.sums = memory.take<int32_t>(rows * layout.pieces() * kernel.piece_sums);
  if (kernel.scales) packed.scales = memory.take<float>(rows * (has_piece_scales(call) ? layout.pieces() : 1));
}

int32_t get_shared(int64_t bytes, uint8_t** memory) {
  *memory = shared_scratch.get(bytes);
  if (*memory != nullptr) return GATUN_OK;
  return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch", static_cast<long long>(bytes));
}

int32_t prepare(const Call& call, Workspace* workspace) {
  Slices count(nullptr);
  place(call, count, workspace);
  uint8_t* memory;
  GATUN_TRY(get_shared(count.used(), &memory));
  Slices slices(memory);
  place(call, slices, workspace);
  return GATUN_OK;
}

// Calls of(task, first, last) for the tasks' items that begin in [begin, end).
template <class Of>
void for_items(const Task* tasks, int64_t count, Items Task::* items, int64_t begin, int64_t end, Of of) {
  const Task* const last_task = tasks + count;
  const Task* task = std::upper_bound(tasks, last_task, begin,
                                      [items](int64_t value, const Task& t) { return value < (t.*items).begin; });
  for (--task; task != last_task && (task->*items).begin < end; ++task) {
    const Items& all = task->*items;
    const auto at = [&all](int64_t value) {
      return std::clamp<int64_t>((value - all.begin + all.cost - 1) / all.cost, 0, all.count);
    };
    if (const int64_t first = begin <= all.begin ? 0 : at(begin), last = at(end); first < last) of(*task, first, last);
  }
}

void multiply(const Task& task, int64_t item, uint8_t* scratch) {
  const int64_t panel = task.first_panel + item / task.chunks, chunk = item % task.chunks;
  const int64_t tile_rows = task.kernel->tile_rows, tiles = (task.job.rows + tile_rows - 1) / tile_rows;
  task.kernel->multiply(
      task.job,
      {task.job.packed + task.layout->panel_offset(panel), task.layout->panel_rows(panel), panel * kPanelRows},
      tiles * chunk / task.chunks * tile_rows, std::min(task.job.rows, tiles * (chunk + 1) / task.chunks * tile_rows),
      scratch);
}

bool empty(const gatun_qmatmul_params& params) { return params.rows == 0 || params.column_begin == params.column_end; }

}  // namespace

int32_t split_of(const Call& call, Split* split) {
  *split = {};
  if (empty(call.params)) return GATUN_OK;
  uint8_t* memory;
  GATUN_TRY(get_shared(call.count * static_cast<int64_t>(sizeof(Task)), &memory));
  Workspace workspace{};
  workspace.tasks = reinterpret_cast<Task*>(memory);
  int32_t part = 0;
  const Block block = plan_block(call, 0, &part, workspace);
  *split = {block.rows, block.tasks, 0, 1, block.threads};
  for (const Task* task = workspace.tasks; task != workspace.tasks + block.tasks; ++task) {
    split->panels += task->panels.count / task->chunks;
    split->row_chunks = std::max(split->row_chunks, task->chunks);
  }
  return GATUN_OK;
}

int32_t run(const Call& call) {
  if (empty(call.params)) return GATUN_OK;
  Workspace workspace{};
  GATUN_TRY(prepare(call, &workspace));
  const Task* tasks = workspace.tasks;
  std::atomic<bool> out_of_memory{false};
  int32_t part = 0;
  for (int64_t row = 0; row < call.params.rows;) {
    const Block block = plan_block(call, row, &part, workspace);
    parallel_for(block.packing_cost, block.packing_threads, [&](int64_t begin, int64_t end) {
      for_items(tasks, block.tasks, &Task::packing, begin, end,
                [](const Task& task, int64_t first, int64_t last) { task.kernel->pack_rows(task.job, first, last); });
    });
    parallel_for(block.panels_cost, block.threads, [&](int64_t begin, int64_t end) {
      uint8_t* scratch = thread_scratch.get(kThreadScratchBytes);
      if (scratch == nullptr) {
        out_of_memory = true;
        return;
      }
      for_items(tasks, block.tasks, &Task::panels, begin, end, [&](const Task& task, int64_t first, int64_t last) {
        for (int64_t item = first; item < last; ++item) multiply(task, item, scratch);
      });
    });
    row += block.rows;
  }
  if (out_of_memory) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch a thread; y is written in part",
                static_cast<long long>(kThreadScratchBytes));
  }
  return GATUN_OK;
}

int32_t run(const TableRow& row, const Product& product) {
  const Part part{product.layout, product.packed, 0, product.params.rows, 0, 0};
  Call call{product.params, &part, 1, {}, product.x, nullptr, 0, false, product.bias, product.residual, product.y};
  call.rows[static_cast<int>(product.layout.stored())] = &row;
  call.x_scales = product.x_scales;
  call.x_scales_row_stride = product.x_scales_row_stride;
  call.x_scales_groups = product.x_scales_groups;
  return run(call);
}

}  // namespace gatun::qmatmul
