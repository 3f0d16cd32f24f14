// From a checked call to a kernel: rows block by block; each block is packed, then multiplied with all panels.
#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "nm_matmul/table.h"

namespace gatun::nm_matmul {
namespace {

// The calling thread's lists, what it packs for all, and what each thread needs of its own.
thread_local Scratch list_scratch;
thread_local Scratch shared_scratch;
thread_local Scratch thread_scratch;

// Bytes of x for which waking another thread to pack pays.
constexpr int64_t kPackGrain = 1 << 16;

int index_kind(const Layout& layout) {
  return layout.index_bits() == 0 ? 0 : layout.index_bits() == 2 ? 1 : layout.index_bits() == 4 ? 2 : 3;
}

int32_t window_bytes(const Kernel& kernel, const Layout& layout) { return kernel.window_bytes[index_kind(layout)]; }

// What places the chunks of the longest piece in windows; the slots that fill the last chunk of a piece up read a zero
// behind its groups, which lie in the same window: it is only their number times n that is odd, and m is at most half a
// window.
void list_chunks(const Kernel& kernel, const Layout& layout, const Piece* pieces, Chunk* chunks) {
  const int per_chunk = kernel.chunk_slots, element_bytes = 4 / per_chunk, bits = 8 * element_bytes;
  const int window = window_bytes(kernel, layout) / element_bytes, window_log2 = __builtin_ctz(window);
  const int slots = layout.pieces() == 0 ? 0 : pieces[0].slots;
  // Counted, not divided: a call with one row would notice.
  int depth = 0, in_group = 0;  // of a slot: where its group begins, and its place there
  for (int c = 0; c * per_chunk < slots; ++c) {
    const int begin = depth >> window_log2 << window_log2;
    chunks[c] = {0, depth >> window_log2};
    if (layout.dense()) chunks[c].base = static_cast<uint32_t>((depth - begin) * element_bytes);
    for (int i = 0; i < per_chunk; ++i) {
      if (!layout.dense()) {
        chunks[c].base |= static_cast<uint32_t>((depth - begin) & (window - 1)) << (i * bits % 32);
      }
      if (layout.dense() || ++in_group == layout.n()) {
        in_group = 0;
        depth += layout.dense() ? 1 : layout.m();
      }
    }
  }
}

// Writes the first window of each piece, then the number of all.
void list_windows(const Kernel& kernel, const Layout& layout, const Piece* pieces, int64_t* windows) {
  const int window = window_bytes(kernel, layout) * kernel.chunk_slots / 4;
  int64_t count = 0;
  for (int64_t p = 0; p < layout.pieces(); ++p) {
    windows[p] = count;
    count += (int64_t{pieces[p].groups} * layout.m() + window - 1) / window;
  }
  windows[layout.pieces()] = count;
}

// Hands out 64-byte aligned slices of a buffer.
template <typename T>
T* take(uint8_t*& memory, int64_t count) {
  T* slice = reinterpret_cast<T*>(memory);
  memory += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
  return slice;
}

int32_t get(Scratch& scratch, int64_t bytes, uint8_t** memory) {
  *memory = scratch.get(bytes);
  if (*memory != nullptr) return GATUN_OK;
  return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch", static_cast<long long>(bytes));
}

struct Range {
  int64_t begin, end;
};
Range panels_of(const gatun_nm_matmul_params& params) {
  return {params.column_begin / kPanelColumns, (params.column_end + kPanelColumns - 1) / kPanelColumns};
}

}  // namespace

Split split_of(const TableRow& row, const Product& product) {
  const gatun_nm_matmul_params& p = product.params;
  Split split{std::min(p.rows, kBlockRows), 1, 0, 1, 1};
  if (p.rows == 0 || p.column_begin == p.column_end) return split;
  const Range panels = panels_of(p);
  split.panels = panels.end - panels.begin;
  const int64_t kept = blocks_of(p.depth, product.layout.m()) * product.layout.n();
  // At most 2^59 weights of whole panels and groups, as there are 2^52 cells; far fewer have work for every thread.
  const int64_t weights = split.panels * kPanelColumns * std::max<int64_t>(kept, 1);
  const int64_t cost = split.block_rows * std::min(weights, INT64_MAX / kBlockRows);
  const int64_t tiles = blocks_of(split.block_rows, row.kernel->tile_rows);
  split.threads = useful_threads(p.threads, split.panels * tiles, cost, row.kernel->grain);
  split.panels_together = std::clamp<int64_t>(split.panels / (int64_t{4} * split.threads), 1, row.kernel->panels);
  // Rows are cut only where threads have not panels enough, as each part takes the weights apart again.
  if (split.threads > 1 && split.panels < 4 * split.threads) {
    split.row_chunks = std::min(tiles, blocks_of(int64_t{4} * split.threads, split.panels));
  }
  return split;
}

int32_t run(const TableRow& row, const Product& product) {
  const gatun_nm_matmul_params& p = product.params;
  const Layout& layout = product.layout;
  const Kernel& kernel = *row.kernel;
  if (p.rows == 0 || p.column_begin == p.column_end) return GATUN_OK;
  const Split split = split_of(row, product);
  const int64_t pieces = layout.pieces();
  uint8_t* memory;
  GATUN_TRY(get(list_scratch,
                pieces * static_cast<int64_t>(sizeof(Piece) + sizeof(int64_t)) +
                    kMaxPieceSlots * static_cast<int64_t>(sizeof(Chunk)) + 4 * 64,
                &memory));
  Piece* const piece_list = take<Piece>(memory, pieces);
  layout.list_pieces(piece_list);
  int64_t* const windows = take<int64_t>(memory, pieces + 1);
  list_windows(kernel, layout, piece_list, windows);
  Chunk* const chunks = take<Chunk>(memory, kMaxPieceSlots);
  list_chunks(kernel, layout, piece_list, chunks);
  const int64_t tile_rows = kernel.tile_rows, packed_rows = blocks_of(split.block_rows, tile_rows) * tile_rows;
  GATUN_TRY(get(shared_scratch, packed_rows * (windows[pieces] * window_bytes(kernel, layout) + 4) + 2 * 64, &memory));
  float* const scales = take<float>(memory, split.block_rows);

  Job job{};
  job.pieces = piece_list;
  job.windows = windows;
  job.piece_count = pieces;
  job.chunks = chunks;
  job.window_bytes = window_bytes(kernel, layout);
  job.depth = p.depth;
  job.m = layout.m();
  job.index_bits = layout.index_bits();
  job.unit_bytes = layout.unit_bytes();
  job.scale_dtype = layout.scale_dtype();
  job.zero_points = layout.zero_points();
  job.x_dtype = p.x_dtype;
  job.x_row_stride = p.x_row_stride;
  job.values = memory;
  job.scales = row.x == GATUN_I8 ? scales : nullptr;
  job.y_bf16 = p.y_dtype == GATUN_BF16;
  job.y_row_stride = p.y_row_stride;
  job.bias = product.bias;
  job.residual_row_stride = p.residual_row_stride;
  job.activation = p.activation;
  job.column_begin = p.column_begin;
  job.column_end = p.column_end;

  const Range panels = panels_of(p);
  const int64_t x_bytes = dtype_bytes(p.x_dtype, 1), y_bytes = dtype_bytes(p.y_dtype, 1);
  std::atomic<bool> out_of_memory{false};
  for (int64_t first = 0; first < p.rows; first += kBlockRows) {
    job.rows = std::min(p.rows - first, kBlockRows);
    job.x = static_cast<const uint8_t*>(product.x) + first * p.x_row_stride * x_bytes;
    job.y = static_cast<uint8_t*>(product.y) + first * p.y_row_stride * y_bytes;
    if (product.residual != nullptr) {
      job.residual = static_cast<const uint8_t*>(product.residual) + first * p.residual_row_stride * y_bytes;
    }
    const int64_t tiles = blocks_of(job.rows, tile_rows);
    const int32_t packers = useful_threads(split.threads, tiles, job.rows * p.depth * x_bytes, kPackGrain);
    parallel_for(tiles, packers, [&](int64_t begin, int64_t end) {
      kernel.pack_rows(job, begin * tile_rows, std::min(job.rows, end * tile_rows));
    });
    const int64_t chunk_count = std::min(split.row_chunks, tiles), together = split.panels_together;
    parallel_for(blocks_of(split.panels, together) * chunk_count, split.threads, [&](int64_t begin, int64_t end) {
      uint8_t* scratch = thread_scratch.get(kernel.scratch_bytes);
      if (scratch == nullptr) {
        out_of_memory.store(true, std::memory_order_relaxed);
        return;
      }
      for (int64_t item = begin; item < end; ++item) {
        const int64_t panel = panels.begin + item / chunk_count * together, chunk = item % chunk_count;
        const int64_t last = std::min(panel + together, panels.end) - 1;
        kernel.multiply(
            job,
            {{product.packed + layout.panel_offset(panel), layout.panel_columns(panel), panel * kPanelColumns},
             static_cast<int32_t>(last + 1 - panel),
             layout.panel_columns(last),
             layout.panel_offset(1) - layout.panel_offset(0)},
            tiles * chunk / chunk_count * tile_rows, std::min(job.rows, tiles * (chunk + 1) / chunk_count * tile_rows),
            scratch);
      }
    });
  }
  if (!out_of_memory.load()) return GATUN_OK;
  return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld bytes of scratch on each thread",
              static_cast<long long>(kernel.scratch_bytes));
}

}  // namespace gatun::nm_matmul
