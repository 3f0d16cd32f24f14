// The gradient of kept weights: chunk after chunk of rows; x and dy are packed to panels, and each job takes a stretch
// of depths whose panel of x fits the first-level cache, and kJobColumns columns.
#include <cstring>

#include "gemm/gemm.h"
#include "nm_backward/check.h"
#include "nm_backward/positions.h"
#include "nm_backward/table.h"
#include "nm_backward/work.h"

namespace gatun::nm_backward {
namespace {

constexpr int64_t kJobColumns = 64;  // lines of so many rows of the output stay in the second-level cache

// Groups of a job: in up to 32 depths (on AVX-512 16 KiB of x) the number whose kept weights fill vectors of
// kMostLanes best, or as many as fill one.
int64_t job_groups(int32_t n, int32_t m) {
  const int64_t most = std::max<int64_t>(32 / m, blocks_of(kMostLanes, n));
  int64_t best = 1;
  for (int64_t groups = 2; groups <= most; ++groups) {
    // kept(groups) / computed(groups) >= kept(best) / computed(best)
    if (groups * blocks_of(best * n, kMostLanes) >= best * blocks_of(groups * n, kMostLanes)) best = groups;
  }
  return best;
}

// The kept weights of a job: columns [first, first + columns), groups [begin, end).
struct Stretch {
  int64_t first, columns;
  int64_t begin, end;
};

struct Own {
  uint32_t* offsets;  // [columns][stride]
  float* sums;
};

// How the sums of a stretch are read from the output and written to it.
struct ValuesOutput {
  float* dvalues;
  int64_t kept;
  float* at(int64_t n, int64_t i, int64_t) const { return dvalues + n * kept + i; }
  void prefetch(int64_t n, int64_t i, int64_t) const { __builtin_prefetch(at(n, i, 0), 1); }
};
struct DenseOutput {
  float* dw;
  int64_t depth;
  float* at(int64_t n, int64_t, int64_t k) const { return dw + n * depth + k; }
  void prefetch(int64_t n, int64_t, int64_t k) const { __builtin_prefetch(at(n, 0, k), 1); }
};

template <class Output>
class Dots {
 public:
  Dots(const Kernel& kernel, const gatun_nm_backward_params& p, const Positions& positions, const Output& output)
      : kernel_(kernel),
        p_(p),
        positions_(positions),
        output_(output),
        groups_(job_groups(p.n, p.m)),
        stride_(blocks_of(groups_ * p.n, kMostLanes) * kMostLanes) {}

  int64_t job_depths() const { return groups_ * p_.m; }

  // Adds what the packed rows give for depths [depth, depth + x.columns) and columns [column, column + dy.columns) to
  // the output, or starts it.
  int32_t run(const Panels& x, int64_t depth, const Panels& dy, int64_t column, bool add) const {
    const int64_t stretches = blocks_of(x.columns, job_depths()), parts = blocks_of(dy.columns, kJobColumns);
    const double products =
        static_cast<double>(x.rows) * static_cast<double>(dy.columns) * static_cast<double>(x.columns) * p_.n / p_.m;
    const int64_t own_bytes = kJobColumns * stride_ * 8;
    std::atomic<bool> failed{false};
    parallel_for(stretches * parts, threads_of(p_, stretches * parts, products), [&](int64_t begin, int64_t end) {
      uint8_t* const memory = Memory::own.get(own_bytes);
      if (memory == nullptr) {
        failed = true;
        return;
      }
      const Own own = {reinterpret_cast<uint32_t*>(memory), reinterpret_cast<float*>(memory + own_bytes / 2)};
      for (int64_t item = begin; item < end; ++item) {
        const int64_t first = item % parts * kJobColumns, from = item / parts * job_depths();
        const int64_t to = std::min(from + job_depths(), x.columns);
        const Stretch stretch = {column + first, std::min(kJobColumns, dy.columns - first), (depth + from) / p_.m,
                                 blocks_of(depth + to, p_.m)};
        run_job(x, depth, dy, column, stretch, add, own);
      }
    });
    return failed ? no_memory(own_bytes) : GATUN_OK;
  }

 private:
  // Calls of(entry of own, the output's element) for the weights of a stretch that lie within the depth.
  template <class Of>
  void for_each(const Stretch& stretch, Of of) const {
    for (int64_t n = 0; n < stretch.columns; ++n) {
      const int64_t row = n * stride_ - stretch.begin * p_.n;
      positions_.for_each(stretch.first + n, stretch.begin, stretch.end, [&](int64_t i, int64_t k) {
        if (k < p_.depth) of(row + i, k, output_.at(stretch.first + n, i, k));
      });
    }
  }

  void run_job(const Panels& x, int64_t depth, const Panels& dy, int64_t column, const Stretch& stretch, bool add,
               const Own& own) const {
    // They come while the sums are made: each row lies on pages of its own, which no processor fetches ahead.
    for (int64_t n = 0; n < stretch.columns; ++n)
      output_.prefetch(stretch.first + n, stretch.begin * p_.n, stretch.begin * p_.m);
    std::memset(own.offsets, 0, static_cast<size_t>(stretch.columns * stride_) * sizeof(uint32_t));
    std::memset(own.sums, 0, static_cast<size_t>(stretch.columns * stride_) * sizeof(float));
    const int64_t first_depth = stretch.begin * p_.m;
    for_each(stretch, [&](int64_t at, int64_t k, const float* out) {
      own.offsets[at] = static_cast<uint32_t>((k - first_depth) * x.width);
      if (add) own.sums[at] = *out;
    });
    for (int64_t panel = 0; panel < x.count(); ++panel) {
      kernel_.dot({dy.panel(panel).data + (stretch.first - column) * dy.width,
                   x.panel(panel).data + (first_depth - depth) * x.width, own.offsets, stretch.columns,
                   (stretch.end - stretch.begin) * p_.n, stride_, static_cast<int32_t>(x.width / kernel_.lanes),
                   own.sums});
    }
    for_each(stretch, [&](int64_t at, int64_t, float* out) { *out = own.sums[at]; });
  }

  const Kernel& kernel_;
  const gatun_nm_backward_params& p_;
  const Positions& positions_;
  const Output& output_;
  const int64_t groups_, stride_;
};

// All rows; the output holds what its sums start with.
template <class Output>
int32_t add_dots(const Kernel& kernel, const gatun_nm_backward_params& p, const Positions& positions, const float* dy,
                 const float* x, const Output& output) {
  if (p.rows == 0 || p.columns == 0 || p.depth == 0) return GATUN_OK;  // the others may be any number
  const Dots<Output> dots(kernel, p, positions, output);
  const int64_t chunk_depths = kChunkColumns / dots.job_depths() * dots.job_depths();
  const int64_t width = int64_t{kernel.lanes} * vectors_for(p.rows, kernel.lanes, kernel.dot_vectors);
  for (int64_t row = 0; row < p.rows; row += kChunkRows) {
    for (int64_t depth = 0; depth < p.depth; depth += chunk_depths) {
      Panels xs = {std::min(kChunkRows, p.rows - row), std::min(chunk_depths, p.depth - depth), width, nullptr};
      for (int64_t column = 0; column < p.columns; column += kChunkColumns) {
        Panels dys = {xs.rows, std::min(kChunkColumns, p.columns - column), width, nullptr};
        const int64_t bytes = xs.bytes() + dys.bytes();
        uint8_t* const memory = Memory::shared.get(bytes);
        if (memory == nullptr) return no_memory(bytes);
        xs.data = reinterpret_cast<float*>(memory);
        dys.data = reinterpret_cast<float*>(memory + xs.bytes());
        pack(kernel, p, x + row * p.x_row_stride + depth, p.x_row_stride, xs);
        pack(kernel, p, dy + row * p.dy_row_stride + column, p.dy_row_stride, dys);
        GATUN_TRY(dots.run(xs, depth, dys, column, p.accumulate == 1 || row > 0));
      }
    }
  }
  return GATUN_OK;
}

// dw with a decay above 0: dense products, of which those of pruned weights are scaled.
class DenseGradient {
 public:
  static constexpr int64_t kColumns = gemm::kBlockRows, kDepths = gemm::kBlockColumns;

  DenseGradient(const gemm::Kernel& kernel, const gatun_nm_backward_params& p, const Positions& positions,
                const float* dy, const float* x, float* dw)
      : kernel_(kernel), p_(p), positions_(positions), dy_(dy), x_(x), dw_(dw) {}

  int32_t run() const {
    const int64_t across = blocks_of(p_.depth, kDepths), items = blocks_of(p_.columns, kColumns) * across;
    const double products =
        static_cast<double>(p_.rows) * static_cast<double>(p_.columns) * static_cast<double>(p_.depth);
    std::atomic<bool> failed{false};
    parallel_for(items, threads_of(p_, items, products), [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        if (!run_tile(item / across * kColumns, item % across * kDepths)) failed = true;
      }
    });
    return failed ? no_memory(gemm::kScratchBytes + kColumns * kDepths * 4) : GATUN_OK;
  }

 private:
  bool run_tile(int64_t column, int64_t depth) const {
    float* const sums = reinterpret_cast<float*>(Memory::own.get(kColumns * kDepths * 4));
    if (sums == nullptr) return false;
    const int64_t columns = std::min(kColumns, p_.columns - column), depths = std::min(kDepths, p_.depth - depth);
    if (!gemm::run(kernel_, {dy_ + column, 1, p_.dy_row_stride, x_ + depth, p_.x_row_stride, 1, sums, kDepths, columns,
                             depths, p_.rows, false})) {
      return false;
    }
    for (int64_t n = 0; n < columns; ++n) {
      finish(column + n, depth, depths, sums + n * kDepths, dw_ + (column + n) * p_.depth + depth);
    }
    return true;
  }

  void finish(int64_t row, int64_t depth, int64_t depths, float* sums, float* out) const {
    float factors[kDepths];
    std::fill_n(factors, depths, p_.decay);
    positions_.for_each(row, depth / p_.m, blocks_of(depth + depths, p_.m), [&](int64_t, int64_t k) {
      if (k - depth < depths) factors[k - depth] = 1;
    });
    for (int64_t k = 0; k < depths; ++k) {
      const float gradient = sums[k] * factors[k];
      out[k] = p_.accumulate == 1 ? out[k] + gradient : gradient;
    }
  }

  const gemm::Kernel& kernel_;
  const gatun_nm_backward_params& p_;
  const Positions& positions_;
  const float *dy_, *x_;
  float* dw_;
};
static_assert(DenseGradient::kDepths % 32 == 0, "tiles hold whole groups");

}  // namespace

int32_t run_values(Tier limit, const gatun_nm_backward_params* params, const float* dy, const float* x,
                   const uint8_t* indices, float* dvalues) {
  GATUN_TRY(check_call(Gradient::values, params, dy, x, dvalues, indices));
  const gatun_nm_backward_params& p = *params;
  GATUN_TRY(check_indices(p, indices));
  const Positions positions(p.n, p.m, p.vector, p.depth, indices);
  // Positions beyond the depth, and sums of no rows.
  if (p.accumulate == 0 && p.columns > 0) {
    const int64_t last = p.rows == 0 ? 0 : p.depth / p.m * p.n;
    for (int64_t n = 0; n < p.columns && last < positions.kept(); ++n) {
      std::fill(dvalues + n * positions.kept() + last, dvalues + (n + 1) * positions.kept(), 0.0f);
    }
  }
  const Kernel& kernel = *table().select(GATUN_F32, GATUN_F32, limit).kernel;
  return add_dots(kernel, p, positions, dy, x, ValuesOutput{dvalues, positions.kept()});
}

int32_t run_dense(Tier limit, const gatun_nm_backward_params* params, const float* dy, const float* x,
                  const uint8_t* indices, float* dw) {
  GATUN_TRY(check_call(Gradient::dense, params, dy, x, dw, indices));
  const gatun_nm_backward_params& p = *params;
  GATUN_TRY(check_indices(p, indices));
  const Positions positions(p.n, p.m, p.vector, p.depth, indices);
  if (p.decay > 0) return DenseGradient(gemm::kernel_of(limit), p, positions, dy, x, dw).run();
  if (p.accumulate == 0 && p.columns > 0 && p.depth > 0) std::fill_n(dw, p.columns * p.depth, 0.0f);
  const Kernel& kernel = *table().select(GATUN_F32, GATUN_F32, limit).kernel;
  return add_dots(kernel, p, positions, dy, x, DenseOutput{dw, p.depth});
}

}  // namespace gatun::nm_backward

using namespace gatun;

int32_t gatun_nm_backward_values(const gatun_nm_backward_params* params, const float* dy, const float* x,
                                 const uint8_t* indices, float* dvalues) {
  return nm_backward::run_values(active_tier(), params, dy, x, indices, dvalues);
}

int32_t gatun_nm_backward_dense(const gatun_nm_backward_params* params, const float* dy, const float* x,
                                const uint8_t* indices, float* dw) {
  return nm_backward::run_dense(active_tier(), params, dy, x, indices, dw);
}

int32_t gatun_nm_backward_x(const gatun_nm_backward_params* params, const float* dy, const void* values,
                            const uint8_t* indices, float* dx) {
  return nm_backward::run_x(active_tier(), params, dy, values, indices, dx);
}
