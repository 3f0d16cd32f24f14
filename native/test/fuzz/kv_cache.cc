// gatun_kv_cache_write, gatun_kv_cache_read, gatun_kv_cache_move.
#include "gatun/kv_cache.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "base/dtype.h"
#include "input.h"
#include "kv_cache/reference.h"

namespace gatun::fuzz {
namespace {

using Layout = gatun_kv_layout;
using Params = gatun_kv_rows_params;
using LongLong = long long;

constexpr int64_t kMaxElements = int64_t{1} << 59;

struct Axis {
  int64_t size, stride;
};
using Axes = std::array<Axis, 3>;

bool any_size_0(const Axes& axes) {
  return std::any_of(axes.begin(), axes.end(), [](const Axis& axis) { return axis.size == 0; });
}

// Bytes of an array of good sizes and strides; kImpossible, kUnaffordable.
int64_t bytes_of(const Axes& axes, int64_t columns, int64_t element) {
  if (any_size_0(axes) || columns == 0) return 0;
  __int128 last = 0;
  for (const Axis& axis : axes) last += axis.size < 2 ? 0 : static_cast<__int128>(axis.size - 1) * axis.stride;
  if (last > kMaxElements - columns) return kImpossible;
  return (last + columns) * element > kMaxBytes ? kUnaffordable : static_cast<int64_t>(last + columns) * element;
}

// Whether rows of an output are apart: strides that step over all that smaller ones reach.
bool apart(Axes axes, int64_t columns) {
  if (any_size_0(axes)) return true;
  std::sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.stride < b.stride; });
  __int128 span = columns;
  for (const Axis& axis : axes) {
    if (axis.size < 2) continue;
    if (axis.stride < span) return false;
    span += static_cast<__int128>(axis.size - 1) * axis.stride;
  }
  return true;
}

bool of_codes(int32_t dtype) { return dtype == GATUN_I8 || dtype == GATUN_U4 || dtype == GATUN_U2; }

// As the header has it, without what depends on memory.
bool documented_valid(const Layout& l) {
  const bool values = l.dtype == GATUN_F32 || l.dtype == GATUN_BF16 || l.dtype == GATUN_F16 ||
                      l.dtype == GATUN_F8E4M3 || l.dtype == GATUN_F8E5M2;
  if (l.struct_size != sizeof(l) || (!values && !of_codes(l.dtype))) return false;
  if (values ? l.scaling != GATUN_KV_UNSCALED || l.group != 0
             : l.scaling != GATUN_KV_PER_TOKEN && l.scaling != GATUN_KV_PER_CHANNEL) {
    return false;
  }
  const bool zero = l.zero_point == GATUN_ZERO_FLOAT && (l.dtype == GATUN_U4 || l.dtype == GATUN_U2);
  if (l.zero_point != GATUN_ZERO_NONE && !zero) return false;
  if (l.size < 8 || l.size > 256 || l.size % 8 != 0 || l.heads < 0 || l.pages < 0 || l.page_size < 1) return false;
  if (static_cast<__int128>(l.pages) * l.page_size >= kMaxElements || l.page_size >= kMaxElements) return false;
  const bool sixteens = l.group >= 16 && l.group % 16 == 0;
  if (l.scaling == GATUN_KV_PER_TOKEN && l.group != l.size && !(sixteens && l.group < l.size)) return false;
  if (l.scaling == GATUN_KV_PER_CHANNEL && !(sixteens && l.page_size % l.group == 0)) return false;
  if (l.page_stride < 0 || l.head_stride < 0 || l.row_stride < 0) return false;
  return values || (l.scale_page_stride >= 0 && l.scale_head_stride >= 0 && l.scale_row_stride >= 0);
}

Layout make_layout(Input& input) {
  Layout l{};
  l.struct_size = input.struct_size(sizeof(l));
  l.dtype = input.choice(
      {GATUN_F32, GATUN_BF16, GATUN_F16, GATUN_F8E4M3, GATUN_F8E5M2, GATUN_I8, GATUN_U4, GATUN_U2, GATUN_U4, GATUN_U2});
  const bool codes = of_codes(l.dtype), zeros = l.dtype == GATUN_U4 || l.dtype == GATUN_U2;
  l.scaling = codes ? input.choice({GATUN_KV_PER_TOKEN, GATUN_KV_PER_CHANNEL}) : input.choice({GATUN_KV_UNSCALED});
  l.zero_point = zeros ? input.choice({GATUN_ZERO_NONE, GATUN_ZERO_FLOAT}) : input.choice({GATUN_ZERO_NONE});
  const auto rarely_any = [&](int64_t good) { return input.rarely() && input.rarely() ? input.size() : good; };
  l.size = rarely_any(8 * input.range(1, 32));
  l.group = rarely_any(!codes ? 0 : input.range(0, 2) == 0 ? l.size : 16 * input.range(1, 4));
  l.heads = rarely_any(input.range(0, 3));
  l.pages = rarely_any(input.range(0, 4));
  const bool groups = l.scaling == GATUN_KV_PER_CHANNEL && l.group > 0 && l.group <= 256;
  l.page_size = rarely_any(groups ? l.group * input.range(1, 2) : input.range(1, 40));
  if (!documented_valid(l)) return l;  // sizes may be any
  const auto arrange = [&](int64_t rows, int64_t columns, int64_t unit, int64_t* page, int64_t* head, int64_t* row) {
    const int64_t gap = input.range(0, 3) == 0 ? unit * input.range(1, 5) : 0;
    const bool outside = input.range(0, 1) == 0;
    int64_t *const outer = outside ? head : row, *const inner = outside ? row : head;
    *inner = columns + gap;
    const __int128 of_outer = static_cast<__int128>(outside ? rows : l.heads) * *inner + gap;
    *outer = static_cast<int64_t>(std::min<__int128>(of_outer, INT64_MAX / 8));
    const __int128 of_page = static_cast<__int128>(outside ? l.heads : rows) * *outer + gap;
    *page = static_cast<int64_t>(std::min<__int128>(of_page, INT64_MAX / 8));
    for (int64_t* stride : {page, head, row}) {
      if (input.rarely() && input.rarely()) *stride = input.size();
    }
  };
  arrange(l.page_size, kv_cache::row_bytes(l), dtype_bytes(l.dtype, 1), &l.page_stride, &l.head_stride, &l.row_stride);
  arrange(kv_cache::scale_rows(l), kv_cache::scales_of_row(l), 1, &l.scale_page_stride, &l.scale_head_stride,
          &l.scale_row_stride);
  return l;
}

// Strides of bytes, along which something lies, are multiples of an element's.
bool of_elements(const Layout& l) {
  const int64_t element = dtype_bytes(l.dtype, 1);
  if (l.pages == 0 || l.heads == 0) return true;
  return (l.pages < 2 || l.page_stride % element == 0) && (l.heads < 2 || l.head_stride % element == 0) &&
         (l.page_size < 2 || l.row_stride % element == 0);
}

Axes row_axes(const Layout& l) {
  return {{{l.pages, l.page_stride}, {l.heads, l.head_stride}, {l.page_size, l.row_stride}}};
}
Axes scale_axes(const Layout& l) {
  return {
      {{l.pages, l.scale_page_stride}, {l.heads, l.scale_head_stride}, {kv_cache::scale_rows(l), l.scale_row_stride}}};
}

// Distinct slots, whole groups of them where scales are those of channels; rarely anything.
std::vector<int64_t> slots_of(Input& input, test::Rng& rng, const Layout& l, int64_t tokens, bool leave_out) {
  const int64_t unit = l.scaling == GATUN_KV_PER_CHANNEL ? l.group : 1, units = l.pages * l.page_size / unit;
  std::vector<int64_t> order(static_cast<size_t>(units)), slots;
  std::iota(order.begin(), order.end(), 0);
  const bool shuffled = input.range(0, 2) != 0;
  for (int64_t i = units - 1; shuffled && i > 0; --i) {
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(rng.integer(0, i))]);
  }
  for (int64_t t = 0; t < tokens; ++t) {
    const bool none = t / unit >= units || (leave_out && (t / unit * 7 + tokens) % 5 == 0);
    slots.push_back(none ? -1 : order[static_cast<size_t>(t / unit)] * unit + t % unit);
  }
  if (!slots.empty() && input.rarely()) {
    slots[static_cast<size_t>(input.range(0, tokens - 1))] =
        input.range(0, 1) == 0 ? input.range(-2, l.pages * l.page_size) : input.range(INT64_MIN, INT64_MAX);
  }
  return slots;
}

bool good_slots(const Layout& l, const std::vector<int64_t>& slots, int64_t least, bool groups) {
  for (size_t t = 0; t < slots.size(); ++t) {
    if (slots[t] < least || slots[t] >= l.pages * l.page_size) return false;
    const size_t within = groups ? t % static_cast<size_t>(l.group) : 0;
    if (within > 0 && slots[t] != (slots[t - 1] == -1 ? -1 : slots[t - 1] + 1)) return false;
    if (groups && within == 0 && slots[t] != -1 && slots[t] % l.group != 0) return false;
  }
  return true;
}

bool distinct(const std::vector<int64_t>& slots) {
  std::set<int64_t> seen;
  for (const int64_t slot : slots) {
    if (slot != -1 && !seen.insert(slot).second) return false;
  }
  return true;
}

Buffer buffer_of(const std::vector<int64_t>& values) {
  Buffer buffer(static_cast<int64_t>(values.size() * sizeof(int64_t)));
  std::copy_n(reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(int64_t), buffer.data());
  return buffer;
}

// A pool of any bytes but that scales and zero points are finite.
struct Memory {
  Buffer rows, scales, zeros;

  // False if it is more than the fuzzer can afford. *possible: whether it can exist.
  static bool make(Input& input, test::Rng& rng, const Layout& l, Memory* memory, bool* possible) {
    const int64_t bytes = bytes_of(row_axes(l), kv_cache::row_bytes(l), 1);
    const int64_t more = bytes_of(scale_axes(l), kv_cache::scales_of_row(l), 2);
    *possible = bytes != kImpossible && more != kImpossible;
    if (bytes == kUnaffordable || more == kUnaffordable) return false;
    memory->rows = Buffer(bytes);
    memory->scales = Buffer(more);
    memory->zeros = Buffer(l.zero_point != GATUN_ZERO_NONE ? more : 0);
    memory->rows.fill_integers(rng, 0, 255);
    memory->scales.fill_floats(rng, GATUN_F16, Values::normal);
    memory->zeros.fill_floats(rng, GATUN_F16, Values::normal, 5);
    memory->rows.spoil(input);
    memory->scales.spoil(input);
    memory->zeros.spoil(input);
    return true;
  }

  // What is not wanted is null; what is, is there and aligned.
  bool good(const Layout& l) const {
    const bool empty = l.pages == 0 || l.heads == 0;
    const auto fine = [&](const Buffer& b, int64_t element) {
      return (empty || !b.is_null()) && (element == 1 || b.bytes() == 0 || !b.misaligned());
    };
    return fine(rows, dtype_bytes(l.dtype, 1)) && (l.scaling == GATUN_KV_UNSCALED || fine(scales, 2)) &&
           (l.zero_point == GATUN_ZERO_NONE || fine(zeros, 2));
  }

  void* scales_of(const Layout& l) { return l.scaling != GATUN_KV_UNSCALED ? scales.data() : nullptr; }
  void* zeros_of(const Layout& l) { return l.zero_point != GATUN_ZERO_NONE ? zeros.data() : nullptr; }
};

// Copies of a pool's bytes, as a pool.
struct Copy {
  std::vector<uint8_t> rows, scales, zeros;

  explicit Copy(const Memory& memory)
      : rows(memory.rows.copy()), scales(memory.scales.copy()), zeros(memory.zeros.copy()) {}
  kv_cache::Pool pool(const Layout& l) {
    const auto halves = [](std::vector<uint8_t>& bytes, bool wanted) {
      return wanted ? reinterpret_cast<uint16_t*>(bytes.data()) : nullptr;
    };
    return {l, rows.data(), halves(scales, l.scaling != GATUN_KV_UNSCALED),
            halves(zeros, l.zero_point != GATUN_ZERO_NONE)};
  }
  void expect(const Memory& memory, const char* when) const {
    if (memory.rows.copy() != rows || memory.scales.copy() != scales || memory.zeros.copy() != zeros) {
      defect("a pool differs from its reference %s", when);
    }
  }
};

}  // namespace

void fuzz_kv_cache_rows(Input& input) {
  const Layout l = make_layout(input);
  Params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.dtype = input.choice({GATUN_F32, GATUN_BF16, GATUN_F16});
  p.threads = input.choice({0, 1, 2, 3});
  p.reserved = input.rarely() ? input.choice({0}) : 0;
  test::Rng rng = input.rng();
  bool valid = documented_valid(l) && p.struct_size == sizeof(p) && p.threads >= 0 && p.threads <= 1024 &&
               p.reserved == 0 && (p.dtype == GATUN_F32 || p.dtype == GATUN_BF16 || p.dtype == GATUN_F16);
  if (!valid) {
    p.tokens = input.size();
    check_status(gatun_kv_cache_write(&p, &l, nullptr, nullptr, nullptr, nullptr, nullptr), false, "kv_cache_write");
    check_status(gatun_kv_cache_read(&p, &l, nullptr, nullptr, nullptr, nullptr, nullptr), false, "kv_cache_read");
    return;
  }
  const bool groups = l.scaling == GATUN_KV_PER_CHANNEL;
  p.tokens = groups && !input.rarely() ? l.group * input.range(0, 2) : input.range(0, 70);
  p.x_row_stride = input.stride(l.size);
  p.x_head_stride = input.stride(p.x_row_stride > 0 && p.x_row_stride < 1000 ? p.tokens * p.x_row_stride : l.size);
  const Axes x_axes = {{{1, 0}, {l.heads, p.x_head_stride}, {p.tokens, p.x_row_stride}}};
  bool possible = true;
  Memory memory;
  if (l.heads > 1000 || !Memory::make(input, rng, l, &memory, &possible)) return;
  const bool strides = p.x_row_stride >= 0 && p.x_head_stride >= 0 && (p.tokens < 2 || p.x_row_stride >= l.size);
  const int64_t element = dtype_bytes(p.dtype, 1), x_bytes = strides ? bytes_of(x_axes, l.size, element) : 0;
  if (x_bytes == kUnaffordable || l.pages * l.page_size > 100000) return;
  Buffer x(x_bytes);
  const float scales[] = {1, 1, 1e-4f, 1e6f};
  const Values contents = values(input);
  x.fill_floats(rng, p.dtype, contents, scales[input.range(0, 3)]);
  x.spoil(input);
  const std::vector<int64_t> slots = slots_of(input, rng, l, p.tokens, true);
  const Buffer slot_bytes = buffer_of(slots);
  const auto* const slots_at = reinterpret_cast<const int64_t*>(slot_bytes.data());
  const bool absent = x.is_null() && any_size_0(x_axes);  // then its strides do not matter
  valid = (strides || (absent && (p.tokens < 2 || p.x_row_stride >= l.size))) && possible && x_bytes != kImpossible &&
          of_elements(l) && memory.good(l) && (any_size_0(x_axes) || !x.is_null()) &&
          (x_bytes == 0 || !x.misaligned()) && good_slots(l, slots, -1, false);

  Copy expected(memory);
  const kv_cache::Call call{p, expected.pool(l)};
  bool writable = valid && apart(row_axes(l), kv_cache::row_bytes(l)) &&
                  apart(scale_axes(l), kv_cache::scales_of_row(l)) && good_slots(l, slots, -1, groups) &&
                  (!groups || p.tokens % l.group == 0);
  const bool finite = !writable || kv_cache::reference_check(call, x.data(), slots_at) == GATUN_OK;
  const int32_t status =
      gatun_kv_cache_write(&p, &l, x.data(), slots_at, memory.rows.data(), memory.scales_of(l), memory.zeros_of(l));
  check_status(status, writable && finite, "kv_cache_write");
  if (!finite) return;
  if (writable && !distinct(slots)) return;
  if (writable) kv_cache::reference_write(call, x.data(), slots_at);
  expected.expect(memory, "after a write");

  const std::vector<uint8_t> before = x.copy();
  const bool readable = valid && apart(x_axes, l.size);
  check_status(
      gatun_kv_cache_read(&p, &l, memory.rows.data(), memory.scales_of(l), memory.zeros_of(l), slots_at, x.data()),
      readable, "kv_cache_read");
  std::vector<uint8_t> wanted = before;
  if (readable) kv_cache::reference_read(call, slots_at, wanted.data());
  const std::vector<uint8_t> actual = x.copy();
  for (int64_t i = 0; i < static_cast<int64_t>(actual.size()) / element; ++i) {
    if (std::equal(actual.begin() + i * element, actual.begin() + (i + 1) * element, wanted.begin() + i * element)) {
      continue;
    }
    const float value = float_at(actual.data(), p.dtype, i), reference = float_at(wanted.data(), p.dtype, i);
    if (!std::isnan(value) || !std::isnan(reference)) {
      defect("x[%lld] = %g, reference %g", LongLong{i}, double{value}, double{reference});
    }
  }
}

void fuzz_kv_cache_move(Input& input) {
  const Layout l = make_layout(input);
  if (!documented_valid(l)) {
    check_status(gatun_kv_cache_move(&l, 0, nullptr, nullptr, nullptr, nullptr, nullptr), false, "kv_cache_move");
    return;
  }
  test::Rng rng = input.rng();
  const bool groups = l.scaling == GATUN_KV_PER_CHANNEL;
  const int64_t tokens = groups && !input.rarely() ? l.group * input.range(0, 3) : input.range(0, 70);
  bool possible = true;
  Memory memory;
  if (l.heads > 1000 || l.pages * l.page_size > 100000 || !Memory::make(input, rng, l, &memory, &possible)) return;
  const std::vector<int64_t> from = slots_of(input, rng, l, tokens, false), to = slots_of(input, rng, l, tokens, false);
  const Buffer from_bytes = buffer_of(from), to_bytes = buffer_of(to);
  const bool valid = possible && of_elements(l) && memory.good(l) && apart(row_axes(l), kv_cache::row_bytes(l)) &&
                     apart(scale_axes(l), kv_cache::scales_of_row(l)) && (!groups || tokens % l.group == 0) &&
                     good_slots(l, from, 0, groups) && good_slots(l, to, 0, groups);
  Copy expected(memory);
  if (valid && distinct(to)) {
    Copy original = expected;
    const kv_cache::Pool old = original.pool(l), pool = expected.pool(l);
    const int64_t count = kv_cache::scales_of_row(l);
    for (int64_t head = 0; head < l.heads; ++head) {
      for (size_t t = 0; t < to.size(); ++t) {
        std::copy_n(old.row(head, from[t]), kv_cache::row_bytes(l), pool.row(head, to[t]));
        if (pool.scales == nullptr) continue;
        const int64_t source = old.scale_index(head, from[t]), target = pool.scale_index(head, to[t]);
        std::copy_n(old.scales + source, count, pool.scales + target);
        if (pool.zeros != nullptr) std::copy_n(old.zeros + source, count, pool.zeros + target);
      }
    }
  }
  check_status(gatun_kv_cache_move(&l, tokens, reinterpret_cast<const int64_t*>(from_bytes.data()),
                                   reinterpret_cast<const int64_t*>(to_bytes.data()), memory.rows.data(),
                                   memory.scales_of(l), memory.zeros_of(l)),
               valid, "kv_cache_move");
  if (!valid || distinct(to)) expected.expect(memory, "after a move");
}

}  // namespace gatun::fuzz
