// What the device allows: bandwidth of its memory, and products of cuBLAS.
#include "gatun/types.h"
#include "kernels.h"
#include "session.h"

namespace gatun::bench {
namespace {

void add(Session& session, const char* name, const char* metric, const char* unit, double amount,
         const Summary& seconds, const char* what) {
  const Summary rate = {amount / seconds.median, amount / seconds.max, amount / seconds.min};
  session.records.add(Record{"limits", name, "device", metric, unit, rate, {}, {}, {}, what, "the loop alone"});
}

}  // namespace

void measure_limits(Session& session) {
  const int64_t bytes = session.is_tiny() ? 4 * kBytesOfBlock : int64_t{1} << 30;
  print_heading("limits");
  Memory from(bytes), to(bytes), sink(4);
  must(fill(GATUN_F32, bytes / 4, 1, from.get(), stream()), "fill");
  const std::vector<Summary> seconds = time_side_by_side(
      {{"device", "", "", 1, [&](int64_t) { copy_on_device(to.get(), from.get(), bytes); }},
       {"device", "", "", 1, [&](int64_t) { must(copy_all(to.get(), from.get(), bytes, stream()), "copy_all"); }},
       {"device", "", "", 1, [&](int64_t) { must(read_all(from.get(), bytes, sink.get(), stream()), "read_all"); }}},
      session.effort);
  if (to_host<uint8_t>(to.get(), 1 << 10) != to_host<uint8_t>(from.get(), 1 << 10)) {
    std::printf("WRONG: a copy differs from what was copied\n");
    session.failed = true;
  }
  const double giga = 1e-9 * static_cast<double>(bytes);
  add(session, "copy", "bandwidth", "GB/s", 2 * giga, seconds[0], "cudaMemcpyAsync, read and written bytes");
  add(session, "copy by a kernel", "bandwidth", "GB/s", 2 * giga, seconds[1],
      "16 bytes a load, read and written bytes");
  add(session, "read", "bandwidth", "GB/s", giga, seconds[2], "16 bytes a load");
  session.limits.copy_bytes = 2e9 * giga / std::min(seconds[0].median, seconds[1].median);
  session.limits.read_bytes = 1e9 * giga / seconds[2].median;

  if (session.cublas == nullptr) return;
  const int64_t size = session.is_tiny() ? 64 : 8192;
  Memory x(size * size * 2), w(size * size * 2), y(size * size * 2);
  must(fill(GATUN_BF16, size * size, 2, x.get(), stream()), "fill");
  must(fill(GATUN_BF16, size * size, 3, w.get(), stream()), "fill");
  const Summary product = time_side_by_side(
      {{"cuBLAS", "", "", 1,
        [&](int64_t) { session.cublas->multiply_bf16(x.get(), w.get(), y.get(), size, size, size); }}},
      session.effort)[0];
  const double operations = 2.0 * static_cast<double>(size * size * size);
  add(session, "bf16 8192x8192 m=8192", "rate", "TFLOP/s", 1e-12 * operations, product, "cublasGemmEx");
  session.limits.bf16_products = operations / product.median;
}

}  // namespace gatun::bench
