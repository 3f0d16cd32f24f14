// Optimizer steps and gradient norms, of 64 Mi parameters, beside the bandwidth of a copy.
#include <cmath>
#include <cstdio>
#include <vector>

#include "base/dtype.h"
#include "gatun/cuda_optimizer.h"
#include "kernels.h"
#include "optimizer/check.h"
#include "optimizer/reference.h"
#include "session.h"

namespace gatun::bench {
namespace {

struct Case {
  const char* name;
  int32_t rule, state, p_dtype;
  int64_t block;
  bool stochastic, limited;  // rounding of p; max_update_norm
  bool quick;
};

constexpr Case kCases[] = {
    {"adam dynamic8 bf16", GATUN_ADAM, GATUN_STATE_DYNAMIC8, GATUN_BF16, 256, false, false, true},
    {"adam f32 f32", GATUN_ADAM, GATUN_STATE_F32, GATUN_F32, 0, false, false, true},
    {"adam f32 bf16", GATUN_ADAM, GATUN_STATE_F32, GATUN_BF16, 0, false, false, true},
    {"adam dynamic8 bf16 stochastic", GATUN_ADAM, GATUN_STATE_DYNAMIC8, GATUN_BF16, 256, true, false, false},
    {"adam dynamic8 f32", GATUN_ADAM, GATUN_STATE_DYNAMIC8, GATUN_F32, 256, false, false, true},
    {"adam dynamic8 bf16 b2048", GATUN_ADAM, GATUN_STATE_DYNAMIC8, GATUN_BF16, 2048, false, false, false},
    {"adam f8e4m3 bf16", GATUN_ADAM, GATUN_STATE_F8E4M3, GATUN_BF16, 256, false, false, true},
    {"adam dynamic4 bf16", GATUN_ADAM, GATUN_STATE_DYNAMIC4, GATUN_BF16, 128, false, false, true},
    {"ademamix dynamic8 bf16", GATUN_ADEMAMIX, GATUN_STATE_DYNAMIC8, GATUN_BF16, 256, false, false, false},
    {"momentum dynamic8 bf16", GATUN_MOMENTUM, GATUN_STATE_DYNAMIC8, GATUN_BF16, 256, false, false, false},
    {"lion dynamic8 bf16", GATUN_LION, GATUN_STATE_DYNAMIC8, GATUN_BF16, 256, false, false, true},
    {"lamb dynamic8 bf16", GATUN_ADAM, GATUN_STATE_DYNAMIC8, GATUN_BF16, 256, false, true, false},
    {"lamb f32 f32", GATUN_ADAM, GATUN_STATE_F32, GATUN_F32, 0, false, true, false},
};

// A step's arrays on the device.
struct Arrays {
  gatun_optimizer_params params;
  Memory p, g, state1, scales1, state2, scales2, workspace;

  Arrays(const Case& c, int64_t count) : params(optimizer::step_params(c.rule, c.p_dtype, c.state, count, c.block)) {
    params.learning_rate = 1e-3f;
    params.rounding = c.stochastic ? GATUN_PARAMETER_STOCHASTIC : GATUN_PARAMETER_NEAREST;
    params.max_update_norm = c.limited ? 1.0f : 0.0f;
    const int64_t rows1 = optimizer::rows_of_state1(c.rule), rows2 = optimizer::rows_of_state2(c.rule);
    const int64_t row = optimizer::state_row_bytes(params), scales = 4 * optimizer::state_row_scales(params);
    int64_t bytes = 0;
    must(gatun_cuda_optimizer_workspace_bytes(&params, &bytes), "workspace");
    p = Memory(dtype_bytes(c.p_dtype, count));
    g = Memory(p.bytes());
    state1 = Memory(rows1 * row);
    scales1 = Memory(rows1 * scales);
    state2 = Memory(rows2 * row);
    scales2 = Memory(rows2 * scales);
    workspace = Memory(bytes);
    must(fill(c.p_dtype, count, 3, p.get(), stream()), "fill");
    must(fill(c.p_dtype, count, 5, g.get(), stream()), "fill");
    for (const Memory* memory : {&state1, &scales1, &state2, &scales2}) {
      const std::vector<uint8_t> zeros(static_cast<size_t>(memory->bytes()));
      copy_to_device(memory->get(), zeros.data(), memory->bytes());
    }
    for (int i = 0; i < 3; ++i) step();  // the state that codes have in use
  }

  void step() {
    const bool second = state2.bytes() > 0, scales = scales1.bytes() > 0;
    must(gatun_cuda_optimizer_step(&params, p.get(), g.get(), state1.get(), scales ? scales1.as<float>() : nullptr,
                                   second ? state2.get() : nullptr, second && scales ? scales2.as<float>() : nullptr,
                                   workspace.get(), workspace.bytes(), stream()),
         "gatun_cuda_optimizer_step");
  }

  // Read and written: all but g twice, and with a norm all once more.
  double bytes_moved() const {
    const double state = static_cast<double>(state1.bytes() + scales1.bytes() + state2.bytes() + scales2.bytes());
    const double values = static_cast<double>(p.bytes());
    return 3 * values + 2 * state + (params.max_update_norm > 0 ? 2 * values + state : 0);
  }

  // A part that begins with a block, as the host's.
  struct Part {
    std::vector<uint8_t> p, g, state1, state2;
    std::vector<float> scales1, scales2;

    bool same_state(const Part& other) const {
      return state1 == other.state1 && state2 == other.state2 && scales1 == other.scales1 && scales2 == other.scales2;
    }
  };
  Part part(int64_t first, int64_t count) const {
    gatun_optimizer_params some = params;
    some.count = count;
    const int64_t at = dtype_bytes(params.p_dtype, first),
                  state = dtype_bytes(optimizer::state_dtype(params.state), first);
    const int64_t bytes = optimizer::state_row_bytes(some), scales = optimizer::state_row_scales(some);
    const int64_t scale = scales == 0 ? 0 : 4 * (first / params.block);
    const int64_t rows1 = optimizer::rows_of_state1(params.rule), rows2 = optimizer::rows_of_state2(params.rule);
    Part part = {to_host<uint8_t>(p.at(at), dtype_bytes(params.p_dtype, count)),
                 to_host<uint8_t>(g.at(at), dtype_bytes(params.p_dtype, count)),
                 {},
                 {},
                 {},
                 {}};
    const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    for (int64_t row = 0; row < rows1; ++row) {
      append(part.state1, to_host<uint8_t>(state1.at(row * state1.bytes() / rows1 + state), bytes));
      append(part.scales1, to_host<float>(scales1.at(row * scales1.bytes() / rows1 + scale), scales));
    }
    if (rows2 > 0) {
      append(part.state2, to_host<uint8_t>(state2.at(state), bytes));
      append(part.scales2, to_host<float>(scales2.at(scale), scales));
    }
    return part;
  }

  // Whether a step makes of parts what the definition says, bit for bit. Of p with a norm, and of stochastic rounding,
  // which counts the tensor's elements, other tests do.
  bool is_right() {
    const int64_t length = std::min<int64_t>(params.count, 4096), unit = 2048;
    const int64_t firsts[] = {0, params.count / 2 / unit * unit, (params.count - length) / unit * unit};
    std::vector<Part> before, after;
    for (const int64_t first : firsts) before.push_back(part(first, std::min(length, params.count - first)));
    step();
    bool right = true;
    for (size_t i = 0; i < before.size(); ++i) {
      Part& expected = before[i];
      gatun_optimizer_params some = params;
      some.count = std::min(length, params.count - firsts[i]);
      const Part actual = part(firsts[i], some.count);
      optimizer::reference_step(some, expected.p.data(), expected.g.data(), expected.state1.data(),
                                expected.scales1.data(), expected.state2.data(), expected.scales2.data());
      const bool whole = params.max_update_norm == 0 && params.rounding == GATUN_PARAMETER_NEAREST;
      right = right && actual.same_state(expected) && (!whole || actual.p == expected.p);
    }
    return right;
  }
};

Record record_of(const std::string& name, const std::string& impl, const Summary& seconds, double bytes,
                 double copy_bytes) {
  Record record{"optimizer", name, impl, "time", "us", {}, {}, {}, {}, "", ""};
  record.value = {1e6 * seconds.median, 1e6 * seconds.min, 1e6 * seconds.max};
  record.timed = "the call; moves " + std::to_string(std::llround(bytes)) + " bytes";
  record.percent_of_limit = 100 * bytes / seconds.median / copy_bytes;
  return record;
}

void report_wrong(Session& session, const std::string& name) {
  std::printf("WRONG: %s\n", name.c_str());
  session.failed = true;
}

void measure(Session& session, const Case& c, int64_t count) {
  Arrays arrays(c, count);
  const std::string name = std::string(c.name) + " " + std::to_string(count);
  if (!arrays.is_right()) return report_wrong(session, name);
  const Summary seconds = time_side_by_side({{"gatun", "", "", 1, [&](int64_t) { arrays.step(); }}}, session.effort)[0];
  Record record = record_of(name, "gatun", seconds, arrays.bytes_moved(), session.limits.copy_bytes);
  record.rel_error = 0;
  record.kernel = first_line(
      [&](char* text, int64_t capacity) { return gatun_cuda_optimizer_explain(&arrays.params, 0, text, capacity); });
  session.records.add(record);
  session.records.add(Target{name, "% of device copy bandwidth", 85, record.percent_of_limit});
}

void measure_norm(Session& session, int32_t dtype, int64_t count) {
  const std::string name =
      std::string("gradient norm ") + (dtype == GATUN_F32 ? "f32 " : "bf16 ") + std::to_string(count);
  Memory g(dtype_bytes(dtype, count)), sum(sizeof(double));
  int64_t bytes = 0;
  must(gatun_cuda_gradient_norm_workspace_bytes(dtype, count, &bytes), "workspace");
  Memory workspace(bytes);
  must(fill(dtype, count, 7, g.get(), stream()), "fill");
  const auto call = [&](int64_t) {
    must(gatun_cuda_gradient_norm(dtype, count, g.get(), sum.as<double>(), workspace.get(), bytes, stream()),
         "gatun_cuda_gradient_norm");
  };
  call(0);
  const std::vector<uint8_t> values = to_host<uint8_t>(g.get(), g.bytes());
  const double expected = optimizer::reference_sum_of_squares(dtype, count, values.data());
  const double error = std::fabs(to_host<double>(sum.get(), 1)[0] - expected) / expected;
  if (!(error <= 0x1p-18)) return report_wrong(session, name);
  const Summary seconds = time_side_by_side({{"gatun", "", "", 1, call}}, session.effort)[0];
  Record record = record_of(name, "gatun", seconds, static_cast<double>(g.bytes()), session.limits.read_bytes);
  record.rel_error = error;
  record.kernel = "optimizer_squares_sm80";
  session.records.add(record);
}

// torch.optim.AdamW(fused=True), whose state has the type of p.
void measure_torch(Session& session, int32_t p_dtype, int64_t count) {
  if (session.torch == nullptr) return;
  const int64_t element = dtype_bytes(p_dtype, 1);
  if (const auto time = session.torch->ask("adamw " + std::to_string(count) + " " + std::to_string(8 * element))) {
    const std::string name =
        std::string(p_dtype == GATUN_F32 ? "adam f32 f32 " : "adam bf16 bf16 ") + std::to_string(count);
    session.records.add(record_of(name, time->impl, time->seconds, static_cast<double>(7 * element * count),
                                  session.limits.copy_bytes));
  }
}

}  // namespace

void bench_optimizer(Session& session) {
  print_heading("optimizer");
  const int64_t count = session.is_tiny() ? 5000 : int64_t{1} << 26;
  for (const Case& c : kCases) {
    if (session.scale == Scale::quick && !c.quick) continue;
    measure(session, c, count);
    session.save();
  }
  for (const int32_t dtype : {GATUN_BF16, GATUN_F32}) measure_norm(session, dtype, count);
  for (const int32_t dtype : {GATUN_BF16, GATUN_F32}) measure_torch(session, dtype, count);
}

}  // namespace gatun::bench
