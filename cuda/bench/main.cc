// gatun_cuda_bench: kernels on a GPU beside the device's limits, cuBLAS and PyTorch, in one run. `./gatun bench --gpu`
// builds and runs it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iterator>
#include <string>

#include "gatun/cuda.h"
#include "session.h"

namespace gatun::bench {

void must(int32_t status, const char* what) {
  if (status == GATUN_OK) return;
  std::fprintf(stderr, "gatun_cuda_bench: %s: status %d: %s\n", what, status, gatun_cuda_last_error());
  std::exit(1);
}

namespace {

struct Arguments {
  std::string op, records, commit, cublas, torch_peer;
  Scale scale = Scale::full;
  bool peers = true;
};

// In the order in which they run.
constexpr struct {
  const char* name;
  void (*run)(Session&);
} kOps[] = {{"quantize", bench_quantize},
            {"qmatmul", bench_qmatmul},
            {"nm_matmul", bench_nm_matmul},
            {"attention", bench_attention},
            {"attention_select", bench_attention_select},
            {"decode", bench_decode},
            {"optimizer", bench_optimizer}};

bool is_op(const std::string& word) {
  return std::any_of(std::begin(kOps), std::end(kOps), [&](const auto& op) { return word == op.name; });
}

[[noreturn]] void usage(const std::string& wrong) {
  std::string ops;
  for (const auto& op : kOps) ops += std::string(ops.empty() ? "" : "|") + op.name;
  std::fprintf(stderr, "gatun_cuda_bench: %s\n", wrong.c_str());
  std::fprintf(stderr,
               "usage: gatun_cuda_bench [%s]\n"
               "                        [--quick | --tiny] [--records file] [--commit id]\n"
               "                        [--cublas file] [--torch-peer script] [--no-peers]\n",
               ops.c_str());
  std::exit(2);
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] {
      if (i + 1 == argc) usage(word + " needs a value");
      return std::string(argv[++i]);
    };
    if (is_op(word)) {
      arguments.op = word;
    } else if (word == "--gpu") {
      // What the script was called with.
    } else if (word == "--quick") {
      arguments.scale = Scale::quick;
    } else if (word == "--tiny") {
      arguments.scale = Scale::tiny;
    } else if (word == "--no-peers") {
      arguments.peers = false;
    } else if (word == "--records") {
      arguments.records = value();
    } else if (word == "--commit") {
      arguments.commit = value();
    } else if (word == "--cublas") {
      arguments.cublas = value();
    } else if (word == "--torch-peer") {
      arguments.torch_peer = value();
    } else {
      usage("what is '" + word + "'?");
    }
  }
  return arguments;
}

std::string date() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

std::string text_or_null(const std::string& text) { return text.empty() ? "null" : json_string(text); }

int run(const Arguments& arguments) {
  Session session;
  session.scale = arguments.scale;
  if (session.scale == Scale::quick) session.effort = {2, 1e-3, 25e-3, 3};
  if (session.scale == Scale::tiny) session.effort = {1, 0, 0, 2};
  session.device = open_device();
  // What follows each other on the emulator is no cache's.
  if (session.is_tiny()) session.device.l2_bytes = 1;
  std::string why_not, torch_version;
  if (arguments.peers) {
    session.cublas = Cublas::open(arguments.cublas, stream(), &why_not);
    if (session.cublas == nullptr) std::printf("no cuBLAS:\n%s", why_not.c_str());
    if (session.cublas == nullptr && !arguments.cublas.empty()) return 2;
  }
  if (arguments.peers && !arguments.torch_peer.empty()) {
    session.torch = TorchPeer::start(arguments.torch_peer, &why_not);
    if (session.torch == nullptr) {
      std::printf("no PyTorch: %s\n", why_not.c_str());
    } else {
      torch_version = session.torch->version();
    }
  }
  const std::string cublas_version = session.cublas == nullptr ? "" : session.cublas->version();
  std::printf("%s, compute capability %s, driver %s, runtime %s; cuBLAS %s; PyTorch %s\n", session.device.name.c_str(),
              session.device.capability.c_str(), session.device.driver.c_str(), session.device.runtime.c_str(),
              cublas_version.empty() ? "none" : (cublas_version + " (" + session.cublas->path() + ")").c_str(),
              torch_version.empty() ? "none" : torch_version.c_str());
  bool written = true;
  session.save = [&] {
    if (arguments.records.empty()) return;
    written =
        session.records.write(arguments.records, {{"schema", "1"},
                                                  {"gpu", json_string(session.device.name)},
                                                  {"compute_capability", json_string(session.device.capability)},
                                                  {"multiprocessors", std::to_string(session.device.multiprocessors)},
                                                  {"memory_bytes", std::to_string(session.device.memory_bytes)},
                                                  {"l2_bytes", std::to_string(session.device.l2_bytes)},
                                                  {"driver", json_string(session.device.driver)},
                                                  {"runtime", json_string(session.device.runtime)},
                                                  {"cublas", text_or_null(cublas_version)},
                                                  {"torch", text_or_null(torch_version)},
                                                  {"gatun", json_string(gatun_cuda_version())},
                                                  {"commit", text_or_null(arguments.commit)},
                                                  {"date", json_string(date())},
                                                  {"quick", session.scale == Scale::full ? "false" : "true"}});
  };
  measure_limits(session);
  session.save();
  for (const auto& op : kOps) {
    if (arguments.op.empty() || arguments.op == op.name) op.run(session);
  }
  session.save();
  session.records.print_targets();
  if (!arguments.records.empty()) {
    std::printf("\n%s %s\n", written ? "Records:" : "Cannot write", arguments.records.c_str());
  }
  return session.failed || !written ? 1 : 0;
}

}  // namespace
}  // namespace gatun::bench

int main(int argc, char** argv) { return gatun::bench::run(gatun::bench::parse(argc, argv)); }
