// Quantize and dequantize, of 1 GiB of values, beside the bandwidth of a copy.
#include <cmath>
#include <cstdio>
#include <vector>

#include "base/dtype.h"
#include "gatun/cuda_quantize.h"
#include "kernels.h"
#include "quantize/reference.h"
#include "session.h"

namespace gatun::bench {
namespace {

struct Format {
  const char* name;
  int32_t code_dtype, book, zero_point, scale_dtype;
  int64_t group;  // 0: the depth
  bool quick;
};

constexpr Format kFormats[] = {
    {"int8 g128", GATUN_I8, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_F16, 128, true},
    {"int8 row", GATUN_I8, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_F32, 0, true},
    {"int4 g128", GATUN_U4, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_F16, 128, true},
    {"int4 g32", GATUN_U4, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_F16, 32, false},
    {"int4 zero g128", GATUN_U4, GATUN_BOOK_NONE, GATUN_ZERO_INTEGER, GATUN_F16, 128, false},
    {"int4 float zero g64", GATUN_U4, GATUN_BOOK_NONE, GATUN_ZERO_FLOAT, GATUN_F32, 64, false},
    {"uint8 zero g128", GATUN_U8, GATUN_BOOK_NONE, GATUN_ZERO_INTEGER, GATUN_F16, 128, false},
    {"int2 g64", GATUN_U2, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_F16, 64, false},
    {"e4m3 g128", GATUN_F8E4M3, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_F32, 128, true},
    {"e5m2 g128", GATUN_F8E5M2, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_F32, 128, false},
    {"mxfp8", GATUN_F8E4M3, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_E8M0, 32, false},
    {"mxfp6", GATUN_F6E2M3, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_E8M0, 32, false},
    {"mxfp4", GATUN_F4E2M1, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_E8M0, 32, true},
    {"nvfp4", GATUN_F4E2M1, GATUN_BOOK_NONE, GATUN_ZERO_NONE, GATUN_F8E4M3, 16, true},
    {"nf4 g64", GATUN_U4, GATUN_BOOK_NF4, GATUN_ZERO_NONE, GATUN_F32, 64, true},
    {"dynamic g256", GATUN_U8, GATUN_BOOK_DYNAMIC, GATUN_ZERO_NONE, GATUN_F32, 256, true},
};

struct Case {
  Format format;
  int32_t x_dtype;
  int64_t rows, depth;

  std::string name(const char* direction) const {
    return std::string(direction) + " " + format.name + (x_dtype == GATUN_F32 ? " f32 " : " bf16 ") +
           std::to_string(rows) + "x" + std::to_string(depth);
  }
  gatun_quantize_params params() const {
    gatun_quantize_params p{};
    p.struct_size = sizeof(p);
    p.x_dtype = x_dtype;
    p.code_dtype = format.code_dtype;
    p.book = format.book;
    p.zero_point = format.zero_point;
    p.scale_dtype = format.scale_dtype;
    // Of values up to 1.
    p.tensor_scale = format.scale_dtype == GATUN_F8E4M3 ? 1.0f / (448 * 6) : 1;
    p.rows = rows;
    p.depth = p.x_row_stride = depth;
    p.group = format.group == 0 ? depth : format.group;
    p.group_rows = p.x_column_stride = 1;
    return p;
  }
};

// The planes of a case on the device.
struct Planes {
  gatun_quantize_params params;
  int64_t x_row, codes_row, scales_row, zeros_row;  // bytes
  Memory x, codes, scales, zeros, faults, workspace, decoded;

  explicit Planes(const Case& c) : params(c.params()) {
    const int64_t groups = (params.depth + params.group - 1) / params.group;
    x_row = dtype_bytes(params.x_dtype, params.depth);
    codes_row = dtype_bytes(params.code_dtype, params.depth);
    scales_row = dtype_bytes(params.scale_dtype, groups);
    zeros_row = params.zero_point == GATUN_ZERO_NONE ? 0 : params.zero_point == GATUN_ZERO_FLOAT ? 4 * groups : groups;
    int64_t workspace_bytes = 0;
    must(gatun_cuda_quantize_workspace_bytes(&params, &workspace_bytes), "workspace");
    x = Memory(params.rows * x_row);
    decoded = Memory(params.rows * x_row);
    codes = Memory(params.rows * codes_row);
    scales = Memory(params.rows * scales_row);
    zeros = Memory(params.rows * zeros_row);
    faults = Memory(sizeof(gatun_cuda_faults));
    workspace = Memory(workspace_bytes);
  }

  void quantize() {
    must(gatun_cuda_quantize(&params, x.get(), nullptr, nullptr, codes.get(), scales.get(), zeros.get(),
                             faults.as<gatun_cuda_faults>(), workspace.get(), workspace.bytes(), stream()),
         "gatun_cuda_quantize");
  }
  void dequantize() {
    must(gatun_cuda_dequantize(&params, nullptr, codes.get(), scales.get(), zeros.get(), decoded.get(), stream()),
         "gatun_cuda_dequantize");
  }
  // Read by the one and written by the other.
  double bytes_moved() const {
    return static_cast<double>(params.rows) * static_cast<double>(x_row + codes_row + scales_row + zeros_row);
  }

  // Whether a row is what the definition says, bit for bit.
  bool row_is_right(int64_t row) const {
    gatun_quantize_params p = params;
    p.rows = 1;
    const auto values = to_host<uint8_t>(x.at(row * x_row), x_row);
    std::vector<uint8_t> c(static_cast<size_t>(codes_row)), s(static_cast<size_t>(scales_row)),
        z(static_cast<size_t>(zeros_row)), d(static_cast<size_t>(x_row));
    quantize::reference_quantize(p, values.data(), nullptr, nullptr, c.data(), s.data(), z.data());
    quantize::reference_dequantize(p, nullptr, c.data(), s.data(), z.data(), d.data());
    return c == to_host<uint8_t>(codes.at(row * codes_row), codes_row) &&
           s == to_host<uint8_t>(scales.at(row * scales_row), scales_row) &&
           (zeros_row == 0 || z == to_host<uint8_t>(zeros.at(row * zeros_row), zeros_row)) &&
           d == to_host<uint8_t>(decoded.at(row * x_row), x_row);
  }
};

Record record_of(const std::string& name, const std::string& impl, const Summary& seconds, double bytes) {
  Record record{"quantize", name, impl, "time", "us", {}, {}, {}, {}, "", ""};
  record.value = {1e6 * seconds.median, 1e6 * seconds.min, 1e6 * seconds.max};
  record.timed = "the call; moves " + std::to_string(std::llround(bytes)) + " bytes";
  return record;
}

void measure(Session& session, const Case& c) {
  Planes planes(c);
  must(fill(c.x_dtype, c.rows * c.depth, 11, planes.x.get(), stream()), "fill");
  planes.quantize();
  planes.dequantize();
  const auto faults = to_host<int64_t>(planes.faults.get(), 2);
  bool right = faults[0] == -1 && faults[1] == -1;
  for (const int64_t row : {int64_t{0}, c.rows / 3, c.rows / 2, c.rows - 1}) right = right && planes.row_is_right(row);
  if (!right) {
    std::printf("WRONG: %s\n", c.name("quantize").c_str());
    session.failed = true;
    return;
  }
  const std::vector<Summary> seconds = time_side_by_side({{"gatun", "", "", 1, [&](int64_t) { planes.quantize(); }},
                                                          {"gatun", "", "", 1, [&](int64_t) { planes.dequantize(); }}},
                                                         session.effort);
  const char* const directions[] = {"quantize", "dequantize"};
  for (int i = 0; i < 2; ++i) {
    Record record = record_of(c.name(directions[i]), "gatun", seconds[static_cast<size_t>(i)], planes.bytes_moved());
    record.percent_of_limit =
        100 * planes.bytes_moved() / seconds[static_cast<size_t>(i)].median / session.limits.copy_bytes;
    record.rel_error = 0;
    record.kernel = first_line(
        [&](char* text, int64_t capacity) { return gatun_cuda_quantize_explain(&planes.params, 0, text, capacity); });
    session.records.add(record);
    session.records.add(Target{record.name, "% of device copy bandwidth", 85, record.percent_of_limit});
  }
}

// What PyTorch takes for int8 in groups of 128.
void measure_torch(Session& session, const Case& c) {
  if (session.torch == nullptr) return;
  Planes planes(c);
  const std::string shape = std::to_string(c.rows) + " " + std::to_string(c.depth) + " 128";
  const auto ask = [&](const char* direction, const std::string& request) {
    if (const auto time = session.torch->ask(request + " " + shape)) {
      Record record = record_of(c.name(direction), time->impl, time->seconds, planes.bytes_moved());
      record.percent_of_limit = 100 * planes.bytes_moved() / time->seconds.median / session.limits.copy_bytes;
      session.records.add(record);
    }
  };
  ask("quantize", "quantize_int8");
  if (session.scale == Scale::full) ask("quantize", "quantize_int8_compiled");
  ask("dequantize", "dequantize_int8");
}

}  // namespace

void bench_quantize(Session& session) {
  print_heading("quantize");
  const int64_t bytes = session.is_tiny() ? 4 * 1024 : int64_t{1} << 30;
  const int64_t depth = session.is_tiny() ? 512 : 8192;
  for (const Format& format : kFormats) {
    if (session.scale == Scale::quick && !format.quick) continue;
    for (const int32_t x_dtype : {GATUN_BF16, GATUN_F32}) {
      if (x_dtype == GATUN_F32 && !format.quick) continue;
      measure(session, {format, x_dtype, bytes / dtype_bytes(x_dtype, depth), depth});
      session.save();
    }
  }
  measure_torch(session, {kFormats[0], GATUN_BF16, bytes / dtype_bytes(GATUN_BF16, depth), depth});
}

}  // namespace gatun::bench
