// dx: chunk after chunk of dy is packed to panels; of each, every job takes kJobDepths depths. Block after block of
// columns it turns the weights of these depths over, from rows of columns to lists of entries, one a depth, and runs
// all panels through them.
#include <cstring>

#include "base/dtype.h"
#include "nm_backward/check.h"
#include "nm_backward/positions.h"
#include "nm_backward/table.h"
#include "nm_backward/work.h"

namespace gatun::nm_backward {

thread_local Scratch Memory::shared;
thread_local Scratch Memory::own;

namespace {

constexpr int64_t kJobDepths = 64;  // a multiple of every M

struct Lists {
  Entry entries[kJobDepths * kBlockColumns];
  int32_t counts[kJobDepths];
};

// Values as floats.
template <class T, float (*convert)(T)>
struct Values {
  const T* data;
  float operator()(int64_t i) const { return convert(data[i]); }
  // Asks for values that need not exist.
  void prefetch(int64_t first, int64_t count) const {
    const uintptr_t at = reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(first) * sizeof(T);
    for (uintptr_t line = at; line < at + static_cast<uintptr_t>(count) * sizeof(T); line += 64) {
      __builtin_prefetch(reinterpret_cast<const void*>(line));
    }
  }
};
float same(float value) { return value; }

// Of columns [first, first + columns) and depths [depth, depth + depths).
struct Window {
  int64_t first, columns, depth, depths;
};

// Each row lies on pages of its own, which no processor fetches ahead.
constexpr int64_t kRowsAhead = 16;

template <class Value>
void list_entries(const Positions& positions, const Window& window, int64_t width, Value value, Lists* lists) {
  std::memset(lists->counts, 0, sizeof(lists->counts));
  const int64_t begin = window.depth / positions.m(), end = blocks_of(window.depth + window.depths, positions.m());
  for (int64_t n = 0; n < window.columns; ++n) {
    const uint32_t offset = static_cast<uint32_t>(n * width);
    const int64_t row = window.first + n, from = row * positions.kept();
    positions.prefetch(row + kRowsAhead, begin);
    value.prefetch(from + kRowsAhead * positions.kept() + begin * positions.n(), (end - begin) * positions.n());
    positions.for_each(row, begin, end, [&](int64_t i, int64_t k) {
      const int64_t at = k - window.depth;
      // A depth is listed once for each column, unless somebody changed the indices since they were checked.
      if (at >= window.depths || lists->counts[at] >= kBlockColumns) return;
      lists->entries[at * kBlockColumns + lists->counts[at]++] = {offset, value(from + i)};
    });
  }
}

void list_entries(const Positions& positions, const Window& window, int64_t width, const void* values, int32_t dtype,
                  Lists* lists) {
  const uint16_t* const halves = static_cast<const uint16_t*>(values);
  if (dtype == GATUN_F32) {
    list_entries(positions, window, width, Values<float, same>{static_cast<const float*>(values)}, lists);
  } else if (dtype == GATUN_F16) {
    list_entries(positions, window, width, Values<uint16_t, f16_to_f32>{halves}, lists);
  } else {
    list_entries(positions, window, width, Values<uint16_t, bf16_to_f32>{halves}, lists);
  }
}

class Spread {
 public:
  Spread(const Kernel& kernel, const gatun_nm_backward_params& p, const void* values, const Positions& positions)
      : kernel_(kernel), p_(p), values_(values), positions_(positions) {}

  // dx of the packed rows, from columns [first, first + dy.columns); `add` to what dx holds.
  int32_t run(const Panels& dy, int64_t first, bool add, float* dx) const {
    // Few depths: panels are shared out, too, though each share lists the entries anew.
    const int64_t jobs = blocks_of(p_.depth, kJobDepths);
    const double products =
        static_cast<double>(dy.rows) * static_cast<double>(dy.columns) * static_cast<double>(positions_.kept());
    const int64_t wanted = threads_of(p_, jobs * dy.count(), products);
    const int64_t shares = std::clamp<int64_t>(blocks_of(wanted, jobs), 1, dy.count());
    std::atomic<bool> failed{false};
    parallel_for(jobs * shares, static_cast<int32_t>(wanted), [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t job = item / shares, share = item % shares;
        const Window window = {first, dy.columns, job * kJobDepths, std::min(kJobDepths, p_.depth - job * kJobDepths)};
        const int64_t panels = dy.count();
        if (!run_job(dy, window, panels * share / shares, panels * (share + 1) / shares, add, dx)) failed = true;
      }
    });
    return failed ? no_memory(own_bytes(dy)) : GATUN_OK;
  }

 private:
  bool run_job(const Panels& dy, const Window& window, int64_t begin, int64_t end, bool add, float* dx) const {
    const int64_t panel_sums = window.depths * dy.width, bytes = own_bytes(dy);
    uint8_t* const memory = Memory::own.get(bytes);
    if (memory == nullptr) return false;
    Lists* const lists = reinterpret_cast<Lists*>(memory);
    float* const sums = reinterpret_cast<float*>(memory + sizeof(Lists)) - begin * panel_sums;
    const auto dx_of = [&](int64_t panel) { return dx + panel * dy.width * p_.x_row_stride + window.depth; };
    for (int64_t panel = begin; panel < end; ++panel) {
      const Panel out = {sums + panel * panel_sums, dy.width};
      if (add) {
        kernel_.to_panel(dx_of(panel), p_.x_row_stride, dy.rows_of(panel), window.depths, out);
      } else {
        std::memset(out.data, 0, static_cast<size_t>(panel_sums) * sizeof(float));
      }
    }
    for (int64_t n = 0; n < window.columns; n += kBlockColumns) {
      const Window block = {window.first + n, std::min(kBlockColumns, window.columns - n), window.depth, window.depths};
      list_entries(positions_, block, dy.width, values_, p_.value_dtype, lists);
      for (int64_t panel = begin; panel < end; ++panel) {
        kernel_.spread({dy.panel(panel).data + n * dy.width, lists->entries, lists->counts, window.depths,
                        static_cast<int32_t>(dy.width / kernel_.lanes), sums + panel * panel_sums});
      }
    }
    for (int64_t panel = begin; panel < end; ++panel) {
      kernel_.from_panel({sums + panel * panel_sums, dy.width}, dy.rows_of(panel), window.depths, dx_of(panel),
                         p_.x_row_stride);
    }
    return true;
  }

  static int64_t own_bytes(const Panels& dy) {
    return static_cast<int64_t>(sizeof(Lists)) + dy.count() * kJobDepths * dy.width * 4;
  }

  const Kernel& kernel_;
  const gatun_nm_backward_params& p_;
  const void* values_;
  const Positions& positions_;
};

// Sums of no terms.
void clear(const gatun_nm_backward_params& p, float* dx) {
  for (int64_t t = 0; t < p.rows; ++t) {
    std::memset(dx + t * p.x_row_stride, 0, static_cast<size_t>(p.depth) * sizeof(float));
  }
}

}  // namespace

int32_t run_x(Tier limit, const gatun_nm_backward_params* params, const float* dy, const void* values,
              const uint8_t* indices, float* dx) {
  GATUN_TRY(check_call(Gradient::x, params, dy, dx, values, indices));
  const gatun_nm_backward_params& p = *params;
  GATUN_TRY(check_indices(p, indices));
  if (p.rows == 0 || p.depth == 0) return GATUN_OK;
  if (p.columns == 0) {
    if (p.accumulate == 0) clear(p, dx);
    return GATUN_OK;
  }
  const Kernel& kernel = *table().select(GATUN_F32, GATUN_F32, limit).kernel;
  const Positions positions(p.n, p.m, p.vector, p.depth, indices);
  const Spread spread(kernel, p, values, positions);
  const int64_t width = int64_t{kernel.lanes} * vectors_for(p.rows, kernel.lanes, kernel.spread_vectors);
  for (int64_t row = 0; row < p.rows; row += kChunkRows) {
    for (int64_t column = 0; column < p.columns; column += kChunkColumns) {
      Panels chunk = {std::min(kChunkRows, p.rows - row), std::min(kChunkColumns, p.columns - column), width, nullptr};
      chunk.data = reinterpret_cast<float*>(Memory::shared.get(chunk.bytes()));
      if (chunk.data == nullptr) return no_memory(chunk.bytes());
      pack(kernel, p, dy + row * p.dy_row_stride + column, p.dy_row_stride, chunk);
      GATUN_TRY(spread.run(chunk, column, p.accumulate == 1 || column > 0, dx + row * p.x_row_stride));
    }
  }
  return GATUN_OK;
}

}  // namespace gatun::nm_backward
