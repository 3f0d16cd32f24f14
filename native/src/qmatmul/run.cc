// From a checked call to kernels: rows of x block by block; each block is packed, then multiplied with all panels.
#include <algorithm>
#include <atomic>

#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "qmatmul/table.h"

namespace gatun::qmatmul {
namespace {

// What the calling thread packs for all, and what each thread needs of its own.
thread_local Scratch shared_scratch;
thread_local Scratch thread_scratch;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Hands out 64-byte aligned parts of a buffer; with a null buffer it only counts.
class Parts {
 public:
  explicit Parts(uint8_t* base) : base_(base) {}
  template <typename T>
  T* take(int64_t count) {
    T* part = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += ceil_div(count * static_cast<int64_t>(sizeof(T)), 64) * 64;
    return part;
  }
  int64_t used() const { return used_; }

 private:
  uint8_t* base_;
  int64_t used_ = 0;
};

// Lays out the packed activations of a block in `parts`.
Piece* place(Job& job, Parts& parts, int64_t rows, const Kernel& kernel) {
  Piece* pieces = parts.take<Piece>(job.piece_count);
  job.values = parts.take<uint8_t>(rows * job.padded_depth * kernel.value_bytes);
  if (kernel.piece_sums > 0) {
    job.sums = parts.take<int32_t>(rows * job.piece_count * kernel.piece_sums);
    job.scales = parts.take<float>(rows * (job.piece_scales ? job.piece_count : 1));
  }
  job.pieces = pieces;
  return pieces;
}

// A thread is worth waking for this many multiply-adds, 10 to 20 us of one core with one row; f32 takes eight times as
// long as int8.
int64_t grain(int32_t mode) { return mode == GATUN_QMATMUL_PRECISE ? 1 << 17 : 1 << 20; }
// And for packing this many values.
constexpr int64_t kPackingGrain = 1 << 16;
// With fewer rows a chunk is not worth reading a panel once more.
constexpr int64_t kMinChunkRows = 32;

}  // namespace

Split split_of(const gatun_qmatmul_params& params, const Layout& layout) {
  Split split{};
  split.block_rows = std::min(params.rows, kBlockRows);
  split.first_panel = params.column_begin / kPanelRows;
  split.panels =
      params.column_end == params.column_begin ? 0 : ceil_div(params.column_end, kPanelRows) - split.first_panel;
  if (split.panels == 0 || split.block_rows == 0) return split;
  const double work = static_cast<double>(split.block_rows) * static_cast<double>(layout.padded_depth()) *
                      static_cast<double>(split.panels * kPanelRows);
  const int64_t max_chunks = std::max<int64_t>(1, split.block_rows / kMinChunkRows);
  split.threads = useful_threads(params.threads, split.panels * max_chunks,
                                 static_cast<int64_t>(std::min(work, 0x1p62)), grain(params.mode));
  // Some ranges more than threads, so that a late thread costs little.
  split.row_chunks =
      split.threads == 1 ? 1 : std::clamp<int64_t>(ceil_div(4 * split.threads, split.panels), 1, max_chunks);
  return split;
}

int32_t run(const TableRow& row, const Call& call) {
  const gatun_qmatmul_params& params = call.params;
  const Layout& layout = call.layout;
  const Split split = split_of(params, layout);
  if (split.panels == 0 || params.rows == 0) return GATUN_OK;

  Job job{};
  job.packed = call.packed;
  job.piece_count = layout.pieces();
  job.padded_depth = layout.padded_depth();
  job.asymmetric = layout.asymmetric();
  job.f16_scales = layout.f16_scales();
  job.zero_code = layout.zero_code();
  job.x_bf16 = params.x_dtype == GATUN_BF16;
  job.x_row_stride = layout.depth() == 0 ? 0 : params.x_row_stride;  // no depth: x may be null
  job.piece_scales = params.mode != GATUN_QMATMUL_INT8_ROW;
  job.y_bf16 = params.y_dtype == GATUN_BF16;
  job.y_row_stride = params.y_row_stride;
  job.bias = call.bias;
  job.residual_row_stride = params.residual_row_stride;
  job.activation = params.activation;
  job.column_begin = params.column_begin;
  job.column_end = params.column_end;

  const Kernel& kernel = *row.kernel;
  Parts count(nullptr);
  place(job, count, split.block_rows, kernel);
  uint8_t* memory = shared_scratch.get(count.used());
  if (memory == nullptr) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch", static_cast<long long>(count.used()));
  }
  Parts parts(memory);
  layout.list_pieces(place(job, parts, split.block_rows, kernel));

  std::atomic<bool> out_of_memory{false};
  for (int64_t first = 0; first < params.rows; first += kBlockRows) {
    job.rows = std::min(kBlockRows, params.rows - first);
    job.x = static_cast<const char*>(call.x) + first * job.x_row_stride * (job.x_bf16 ? 2 : 4);
    const int64_t y_bytes = job.y_bf16 ? 2 : 4;
    job.y = static_cast<char*>(call.y) + first * params.y_row_stride * y_bytes;
    job.residual = call.residual == nullptr
                       ? nullptr
                       : static_cast<const char*>(call.residual) + first * params.residual_row_stride * y_bytes;

    const int32_t packing_threads = useful_threads(split.threads, job.rows, job.rows * job.padded_depth, kPackingGrain);
    parallel_for(job.rows, packing_threads, [&](int64_t begin, int64_t end) { kernel.pack_rows(job, begin, end); });

    const int64_t tiles = ceil_div(job.rows, kTileRows);
    const int64_t chunks = std::min(split.row_chunks, tiles);
    parallel_for(split.panels * chunks, split.threads, [&](int64_t begin, int64_t end) {
      uint8_t* scratch = thread_scratch.get(kThreadScratchBytes);
      if (scratch == nullptr) {
        out_of_memory = true;
        return;
      }
      for (int64_t i = begin; i < end; ++i) {
        const int64_t panel = split.first_panel + i / chunks, chunk = i % chunks;
        kernel.multiply(job, {job.packed + layout.panel_offset(panel), layout.panel_rows(panel), panel * kPanelRows},
                        tiles * chunk / chunks * kTileRows,
                        std::min(job.rows, tiles * (chunk + 1) / chunks * kTileRows), scratch);
      }
    });
  }
  if (out_of_memory) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch a thread; y is written in part",
                static_cast<long long>(kThreadScratchBytes));
  }
  return GATUN_OK;
}

}  // namespace gatun::qmatmul
