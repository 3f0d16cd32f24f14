// What the benches of all ops work with.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cublas.h"
#include "device.h"
#include "records.h"
#include "timing.h"
#include "torch_peer.h"

namespace gatun::bench {

// Measured first, in the same run.
struct Limits {
  double copy_bytes = 0;     // a second, read and written, the better one of the runtime's copy and of a kernel
  double read_bytes = 0;     // a second
  double bf16_products = 0;  // operations a second of cuBLAS, two for a product and its addition; 0 without cuBLAS
};

enum class Scale {
  tiny,   // for the test of the bench: sizes that the emulator does in a second
  quick,  // fewer cases, measured for a shorter time
  full
};

struct Session {
  Scale scale = Scale::full;
  Effort effort = {3, 1e-3, 60e-3, 5};
  DeviceFacts device;
  Limits limits;
  std::unique_ptr<Cublas> cublas;
  std::unique_ptr<TorchPeer> torch;
  Records records;
  std::function<void()> save;  // called after each case: what was measured is not lost
  bool failed = false;         // a result was wrong

  bool is_tiny() const { return scale == Scale::tiny; }
};

void measure_limits(Session& session);
void bench_quantize(Session& session);
void bench_attention(Session& session);
void bench_qmatmul(Session& session);
void bench_decode(Session& session);
void bench_nm_matmul(Session& session);
void bench_attention_select(Session& session);
void bench_optimizer(Session& session);

// Ends the program with the library's message unless the call was taken.
void must(int32_t status, const char* what);

// The first line of what `explain(text, capacity)` writes.
template <class Explain>
std::string first_line(Explain explain) {
  char text[4096] = "";
  must(explain(text, static_cast<int64_t>(sizeof(text))), "explain");
  const std::string all = text;
  return all.substr(0, all.find('\n'));
}

}  // namespace gatun::bench
