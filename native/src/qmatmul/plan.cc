#include "qmatmul/plan.h"

#include <algorithm>

#include "base/dtype.h"
#include "base/parallel.h"

namespace gatun::qmatmul {
namespace {

// A thread is worth waking for packing this many values.
constexpr int64_t kPackingGrain = 1 << 16;
// With fewer rows a chunk is not worth reading a panel once more.
constexpr int64_t kMinChunkRows = 32;
// What reading a panel costs, counted in rows that are multiplied with it.
constexpr int64_t kPanelCost = 2;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t max_chunks(int64_t rows) { return std::max<int64_t>(1, rows / kMinChunkRows); }

// What the jobs of a call have in common.
Job common_job(const Call& call) {
  const gatun_qmatmul_params& params = call.params;
  const Layout& layout = call.parts[0].layout;
  Job job{};
  job.piece_count = layout.pieces();
  job.padded_depth = layout.padded_depth();
  job.x_dtype = params.x_dtype;
  job.x_row_stride = layout.depth() == 0 ? 0 : params.x_row_stride;  // no depth: x may be null
  job.x_scales_row_stride = call.x_scales_row_stride;
  job.x_scales_groups = call.x_scales_groups;
  job.piece_scales = has_piece_scales(call);
  job.y_bf16 = params.y_dtype == GATUN_BF16;
  job.y_row_stride = params.y_row_stride;
  job.residual_row_stride = params.residual_row_stride;
  job.activation = params.activation;
  return job;
}

// `base` may be null: arguments without elements or that a call does not have, all when it is only explained.
template <class T>
T* offset(T* base, int64_t elements) {
  return base == nullptr ? nullptr : base + elements;
}

// The row and column of a matrix. Where there is no matrix its stride may be any number, whose multiples overflow.
template <class T>
T* element(T* base, int64_t row, int64_t row_stride, int64_t column, int64_t bytes) {
  return base == nullptr ? nullptr : base + (row * row_stride + column) * bytes;
}

// Moves the job to rows of x and y, and to the part's first column of y.
void move_to(const Call& call, const Part& part, int64_t first_row, int64_t rows, Job& job) {
  const int64_t x_bytes = dtype_bytes(job.x_dtype, 1), y_bytes = job.y_bf16 ? 2 : 4;
  job.rows = rows;
  job.x = element(static_cast<const char*>(call.x), first_row, job.x_row_stride, 0, x_bytes);
  if (call.x_scales != nullptr) job.x_scales = call.x_scales + first_row * job.x_scales_row_stride;
  job.y = element(static_cast<char*>(call.y), first_row, job.y_row_stride, part.first_column, y_bytes);
  job.residual =
      element(static_cast<const char*>(call.residual), first_row, job.residual_row_stride, part.first_column, y_bytes);
  job.bias = offset(call.bias, part.first_bias);
}

void set_weights(const Part& part, const Workspace& workspace, Job& job) {
  job.packed = part.packed;
  job.pieces = workspace.pieces[piece_list(part.layout)];
  job.table = offset(part.packed, Layout::table_offset());
  job.scale_kind = part.layout.scale_kind();
  job.offset_kind = part.layout.offset_kind();
  job.float_offsets = is_float(job.offset_kind);
  job.zero_code = part.layout.zero_code();
  job.factor = part.layout.factor();
}

// `row`: counted from the block's first one.
void set_activations(const Activations& packed, const Kernel& kernel, int64_t row, Job& job) {
  job.values = offset(packed.values, row * job.padded_depth * kernel.value_bytes);
  job.sums = offset(packed.sums, row * job.piece_count * kernel.piece_sums);
  job.scales = offset(packed.scales, row * (job.piece_scales ? job.piece_count : 1));
}

Items append(int64_t* begin, int64_t count, int64_t cost) {
  const Items items{*begin, count, cost};
  *begin += count * cost;
  return items;
}

}  // namespace

Block plan_block(const Call& call, int64_t first_row, int32_t* part, const Workspace& workspace) {
  const gatun_qmatmul_params& params = call.params;
  const auto end_of = [](const Part& p) { return p.first_row + p.rows; };
  while (end_of(call.parts[*part]) <= first_row) ++*part;

  const Job common = common_job(call);
  int64_t end = std::min(params.rows, first_row + kBlockRows);
  int64_t packed_until = first_row;
  Block block{};
  int64_t row_panels = 0, most_items = 0;
  for (int32_t i = *part; i < call.count && call.parts[i].first_row < end; ++i) {
    const Part& weights = call.parts[i];
    // Rows that would be cut wait for the next block, so that their weights are read once.
    if (weights.first_row > first_row && end_of(weights) > end) end = weights.first_row;
    const int64_t begin_row = std::max(weights.first_row, first_row);
    const int64_t rows = std::min(end_of(weights), end) - begin_row;
    const int64_t columns = weights.layout.columns();
    const int64_t begin = std::clamp<int64_t>(params.column_begin - weights.first_column, 0, columns);
    const int64_t last = std::clamp<int64_t>(params.column_end - weights.first_column, 0, columns);
    if (rows <= 0 || begin == last) continue;

    Task& task = workspace.tasks[block.tasks++];
    task.job = common;
    task.job.column_begin = begin;
    task.job.column_end = last;
    task.kernel = kernel_of(call, weights);
    task.layout = &weights.layout;
    task.first_panel = begin / kPanelRows;
    task.panels.count = ceil_div(last, kPanelRows) - task.first_panel;
    set_weights(weights, workspace, task.job);
    move_to(call, weights, begin_row, rows, task.job);
    set_activations(workspace.activations, *task.kernel, begin_row - first_row, task.job);
    task.packing = append(&block.packing_cost, begin_row < packed_until ? 0 : rows, 1);
    packed_until = begin_row + rows;
    row_panels += rows * task.panels.count;
    most_items += max_chunks(rows) * task.panels.count;
  }
  block.rows = end - first_row;

  const double columns = static_cast<double>(kPanelRows) * static_cast<double>(row_panels);
  const double work = std::min(columns * static_cast<double>(common.padded_depth), 0x1p62);
  block.threads =
      useful_threads(params.threads, most_items, static_cast<int64_t>(work), kernel_of(call, call.parts[0])->grain);
  block.packing_threads =
      useful_threads(block.threads, block.packing_cost, block.packing_cost * common.padded_depth, kPackingGrain);
  for (Task* task = workspace.tasks; task != workspace.tasks + block.tasks; ++task) {
    const int64_t rows = task->job.rows, panels = task->panels.count;
    // Some items more than threads, so that a late thread costs little.
    const int64_t wanted = block.threads == 1 ? 1 : ceil_div(4 * block.threads * rows, row_panels);
    task->chunks = std::clamp<int64_t>(wanted, 1, max_chunks(rows));
    task->panels = append(&block.panels_cost, panels * task->chunks, ceil_div(rows, task->chunks) + kPanelCost);
  }
  return block;
}

}  // namespace gatun::qmatmul
