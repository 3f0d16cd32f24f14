// gatun_qmatmul_concat and gatun_qmatmul_grouped on stacks, whole and tampered with. What they accept must be what
// gatun_qmatmul, which fuzz_qmatmul compares with the reference, computes weight by weight.
#include <algorithm>
#include <cstring>

#include "base/dtype.h"
#include "gatun/qmatmul.h"
#include "weights.h"

namespace gatun::fuzz {
namespace {

constexpr int64_t kMaxWork = 1 << 20;  // multiply-adds of a call
constexpr int64_t kMaxStackBytes = 1 << 20;

// The forms that a stack of `count` holds now, if the documentation allows them.
struct Forms {
  std::vector<gatun_qmatmul_weights> weights;
  std::vector<int64_t> offsets, bytes;
  bool valid = false;
  bool integers = false, mixed = false;  // what the codes stand for
};

Forms forms_of(const Buffer& packed, int64_t count) {
  Forms forms;
  int64_t offset = 0;
  for (int64_t i = 0; i < count; ++i) {
    gatun_qmatmul_weights w;
    int64_t bytes;
    if (offset > packed.bytes() ||
        gatun_qmatmul_describe(packed.data() + offset, packed.bytes() - offset, &w) != GATUN_OK ||
        gatun_qmatmul_packed_bytes(&w, &bytes) != GATUN_OK) {
      return forms;
    }
    if (i > 0 && (w.depth != forms.weights[0].depth || w.group != forms.weights[0].group)) return forms;
    const bool integers = stands_for_integers(w, packed.data() + offset);
    forms.mixed = forms.mixed || (i > 0 && integers != forms.integers);
    forms.integers = integers;
    forms.weights.push_back(w);
    forms.offsets.push_back(offset);
    forms.bytes.push_back(bytes);
    offset = (offset + bytes + 63) / 64 * 64;
  }
  forms.valid = count > 0;
  return forms;
}

std::vector<uint8_t> stack_from(Input& input, int64_t count) {
  gatun_qmatmul_weights w = weights_from(input);
  w.struct_size = sizeof(w);
  std::vector<uint8_t> stack;
  for (int64_t i = 0; i < count; ++i) {
    if (input.range(0, 2) == 0) w.columns = input.size();
    if (input.range(0, 2) == 0 && w.gguf_type == 0) w.scale_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_E8M0});
    int64_t bytes;
    if (!documented_valid(w)) return {};
    Planes planes(w);
    if (!planes.affordable || gatun_qmatmul_packed_bytes(&w, &bytes) != GATUN_OK || bytes > kMaxStackBytes) return {};
    planes.fill(input, w);
    stack.resize((stack.size() + 63) / 64 * 64);
    stack.resize(stack.size() + static_cast<size_t>(bytes));
    check_status(planes.pack(w, stack.data() + stack.size() - bytes, bytes), true, "gatun_qmatmul_pack");
  }
  return stack;
}

// Cuts the end off, or overwrites a few bytes of headers or of anything.
void tamper(Input& input, std::vector<uint8_t>& stack) {
  const int64_t size = static_cast<int64_t>(stack.size());
  if (input.range(0, 2) == 0) {
    stack.resize(static_cast<size_t>(input.range(0, size)));
    return;
  }
  const bool anywhere = input.range(0, 1) == 0;
  for (int64_t i = input.range(1, 4); i > 0; --i) {
    const int64_t at = anywhere ? input.range(0, size - 1) : input.range(0, size / 64 - 1) * 64 + input.range(0, 63);
    stack[static_cast<size_t>(at)] = static_cast<uint8_t>(input.range(0, 255));
  }
}

struct Call {
  gatun_qmatmul_params params;
  bool grouped;
  int32_t count;
  std::vector<int64_t> group_rows;
  Forms forms;

  int64_t columns_before(size_t i) const {
    int64_t sum = 0;
    for (size_t j = 0; j < i; ++j) sum += forms.weights[j].columns;
    return sum;
  }
};

// Sum of numbers >= 0, or -1 if there is another one or the sum exceeds `limit`.
template <class Numbers>
int64_t sum_up_to(int64_t limit, const Numbers& numbers) {
  int64_t sum = 0;
  for (const int64_t number : numbers) {
    if (number < 0 || number > limit - sum) return -1;
    sum += number;
  }
  return sum;
}

// The columns of y that the documentation asks for, or -1 if the weights do not go together.
int64_t columns_of(const Call& call) {
  if (!call.forms.valid) return -1;
  std::vector<int64_t> columns;
  for (const gatun_qmatmul_weights& w : call.forms.weights) columns.push_back(w.columns);
  if (!call.grouped) return sum_up_to(int64_t{1} << 52, columns);
  return std::count(columns.begin(), columns.end(), columns[0]) == call.count ? columns[0] : -1;
}

gatun_qmatmul_params params_from(Input& input, int64_t rows, int64_t columns, int64_t depth) {
  gatun_qmatmul_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.x_dtype = input.choice({GATUN_F32, GATUN_BF16});
  p.y_dtype = input.choice({GATUN_F32, GATUN_BF16});
  p.mode = input.choice({GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_PRECISE, GATUN_QMATMUL_BF16});
  p.activation = input.choice({GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_RELU, GATUN_ACTIVATION_SILU});
  p.threads = input.choice({0, 1, 2, 3});
  p.rows = input.rarely() ? input.size() : rows;
  p.columns = input.rarely() ? input.size() : columns;
  p.depth = input.rarely() ? input.size() : depth;
  p.x_row_stride = input.stride(depth);
  p.y_row_stride = input.stride(columns);
  p.residual_row_stride = input.stride(columns);
  const int64_t end = std::max<int64_t>(columns, 0);
  p.column_begin = input.range(0, 1) ? 0 : input.rarely() ? input.size() : input.range(0, end);
  p.column_end = input.range(0, 1) ? columns : input.rarely() ? input.size() : input.range(0, end);
  return p;
}

bool documented_valid(const Call& call, int64_t columns, bool with_residual) {
  const gatun_qmatmul_params& p = call.params;
  const auto is_float = [](int32_t dtype) { return dtype == GATUN_F32 || dtype == GATUN_BF16; };
  if (columns < 0 || p.struct_size != sizeof(p) || !is_float(p.x_dtype) || !is_float(p.y_dtype)) return false;
  const int64_t depth = call.forms.weights[0].depth;
  return p.mode >= 0 && p.mode <= GATUN_QMATMUL_BF16 && p.activation >= 0 && p.activation <= 4 && p.threads >= 0 &&
         p.threads <= 1024 && p.rows >= 0 && p.columns == columns && p.depth == depth && 0 <= p.column_begin &&
         p.column_begin <= p.column_end && p.column_end <= columns &&
         (!call.grouped || sum_up_to(p.rows, call.group_rows) == p.rows) &&
         (p.rows < 2 || (p.x_row_stride >= depth && p.y_row_stride >= columns &&
                         (!with_residual || p.residual_row_stride >= columns)));
}

int32_t run(const Call& call, const Buffer& x, const Buffer& packed, const float* bias, const void* residual, void* y) {
  if (!call.grouped) {
    return gatun_qmatmul_concat(&call.params, call.count, x.data(), packed.data(), packed.bytes(), bias, residual, y);
  }
  return gatun_qmatmul_grouped(&call.params, call.group_rows.data(), call.count, x.data(), packed.data(),
                               packed.bytes(), bias, residual, y);
}

void run_alone(const Call& call, const Buffer& x, const Buffer& packed, const float* bias, const uint8_t* residual,
               uint8_t* y) {
  const gatun_qmatmul_params& p = call.params;
  const int64_t x_bytes = dtype_bytes(p.x_dtype, 1), y_bytes = dtype_bytes(p.y_dtype, 1);
  int64_t row = 0;
  for (size_t i = 0; i < call.forms.weights.size(); ++i) {
    const int64_t column = call.grouped ? 0 : call.columns_before(i);
    gatun_qmatmul_params alone = p;
    alone.threads = 1;
    alone.rows = call.grouped ? call.group_rows[i] : p.rows;
    alone.columns = call.forms.weights[i].columns;
    alone.column_begin = std::clamp<int64_t>(p.column_begin - column, 0, alone.columns);
    alone.column_end = std::clamp<int64_t>(p.column_end - column, 0, alone.columns);
    const int64_t first_bias = call.grouped ? static_cast<int64_t>(i) * alone.columns : column;
    if (alone.rows > 0 && alone.columns > 0) {
      check_status(
          gatun_qmatmul(&alone, x.data() == nullptr ? nullptr : x.data() + row * p.x_row_stride * x_bytes,
                        packed.data() + call.forms.offsets[i], call.forms.bytes[i],
                        bias == nullptr ? nullptr : bias + first_bias,
                        residual == nullptr ? nullptr : residual + (row * p.residual_row_stride + column) * y_bytes,
                        y + (row * p.y_row_stride + column) * y_bytes),
          true, "gatun_qmatmul");
    }
    if (call.grouped) row += alone.rows;
  }
}

}  // namespace

void fuzz_stack(Input& input) {
  Call call{};
  call.grouped = input.range(0, 1) == 1;
  const int64_t forms = input.range(1, 5);
  std::vector<uint8_t> bytes = stack_from(input, forms);
  if (bytes.empty()) return;
  if (input.range(0, 3) == 0) tamper(input, bytes);
  Buffer packed(static_cast<int64_t>(bytes.size()));
  if (!bytes.empty()) std::memcpy(packed.data(), bytes.data(), bytes.size());
  call.count = input.rarely() ? input.choice({0, -1, 1, INT32_MAX}) : static_cast<int32_t>(forms);
  call.forms = forms_of(packed, call.count);

  // As many as `count` says, for it says how many are read; a count that no stack has is refused before.
  const int64_t listed = std::clamp<int64_t>(call.count, 0, 8);
  int64_t rows = 0;
  for (int64_t i = 0; i < listed; ++i) {
    call.group_rows.push_back(input.rarely() ? input.size() : input.range(0, 1) ? input.range(0, 9) : 0);
  }
  if (call.grouped) rows = std::max<int64_t>(sum_up_to(1 << 20, call.group_rows), 0);
  if (!call.grouped) rows = input.range(0, 20);
  const int64_t columns = columns_of(call);
  call.params = params_from(input, rows, columns, call.forms.weights.empty() ? 0 : call.forms.weights[0].depth);
  const gatun_qmatmul_params& p = call.params;
  const bool with_bias = input.range(0, 1) == 1, with_residual = input.range(0, 1) == 1;

  bool valid = documented_valid(call, columns, with_residual);
  int64_t sizes[] = {1, 1, 1, 1};  // x, y, bias, residual
  if (valid) {
    const int64_t y_element = dtype_bytes(p.y_dtype, 1);
    sizes[0] = extent(p.rows, p.depth, p.x_row_stride, 1, dtype_bytes(p.x_dtype, 1));
    sizes[1] = extent(p.rows, columns, p.y_row_stride, 1, y_element);
    sizes[2] = extent(call.grouped ? call.count : 1, with_bias ? columns : 0, columns, 1, 4);
    sizes[3] = extent(p.rows, with_residual ? columns : 0, p.residual_row_stride, 1, y_element);
    bool affordable = true;
    for (const int64_t size : sizes) {
      affordable = affordable && size != kUnaffordable;
      valid = valid && size != kImpossible;
    }
    if (valid && !affordable) return;
    if (!valid) std::fill(std::begin(sizes), std::end(sizes), 1);
  }
  if (valid && p.rows > 0 && (columns + 1) * (p.depth + 1) > kMaxWork / p.rows) return;

  Buffer x(sizes[0]), y(sizes[1]), bias(sizes[2]), residual(sizes[3]);
  test::Rng rng = input.rng();
  if (valid) {
    x.fill_floats(rng, p.x_dtype, values(input));
    bias.fill_floats(rng, GATUN_F32, Values::normal);
    residual.fill_floats(rng, p.y_dtype, Values::normal);
    y.fill_floats(rng, p.y_dtype, Values::normal);
  }
  x.spoil(input);
  y.spoil(input);
  for (const Buffer* buffer : {&x, &y}) {
    if (buffer->bytes() > 0 && (buffer->is_null() || buffer->misaligned())) valid = false;
  }
  const bool in_place = valid && with_residual && p.residual_row_stride == p.y_row_stride && input.range(0, 3) == 0;
  const float* bias_at = with_bias ? reinterpret_cast<const float*>(bias.data()) : nullptr;
  const uint8_t* residual_at = with_residual ? (in_place ? y : residual).data() : nullptr;

  const bool supported = !call.forms.mixed && documented_mode(call.forms.integers, call.params.mode);
  const std::vector<uint8_t> before = y.copy();
  std::vector<uint8_t> expected = before;
  if (valid && supported && y.bytes() > 0) {
    run_alone(call, x, packed, bias_at, in_place ? expected.data() : residual_at, expected.data());
  }
  const int32_t status = run(call, x, packed, bias_at, residual_at, y.data());
  if (status == GATUN_UNSUPPORTED ? supported : valid && !supported) {
    defect("mode %d: status %d", call.params.mode, status);
  }
  if (status != GATUN_UNSUPPORTED) {
    check_status(status, valid, call.grouped ? "gatun_qmatmul_grouped" : "gatun_qmatmul_concat");
  }
  if (status != GATUN_OK && y.copy() != before) defect("a refused call with a stack wrote y");
  if (status == GATUN_OK && y.copy() != expected) defect("a call with a stack differs from calls for each weight");

  char text[4096];
  const int32_t explained =
      call.grouped ? gatun_qmatmul_grouped_explain(&p, call.group_rows.data(), call.count, packed.data(),
                                                   packed.bytes(), text, sizeof(text))
                   : gatun_qmatmul_concat_explain(&p, call.count, packed.data(), packed.bytes(), text, sizeof(text));
  if (status == GATUN_OK && explained != GATUN_OK) defect("no explanation: %s", gatun_last_error());
}

}  // namespace gatun::fuzz
