// Tests on every tier. The library chooses its tier once a process, so a tier is forced either for a whole test
// executable (gatun_tier_test in ../CMakeLists.txt registers one ctest a tier, with GATUN_MAX_ISA set) or for a child.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace gatun::test {

// Names of the tiers that can run here.
std::vector<std::string> supported_tiers();

// How a child process ended.
struct Ending {
  int signal = 0;     // that killed it, or 0
  int exit_code = 0;  // 0 if the body returned true
  std::vector<unsigned char> output;

  bool succeeded() const { return signal == 0 && exit_code == 0; }
};

// Runs the body in a forked child and waits. What the body appends to `output` comes back. A fault kills the child
// (sanitizers' handlers are off there). Fork copies the calling thread only: call this before the thread pool starts.
using ChildBody = std::function<bool(std::vector<unsigned char>& output)>;
Ending run_in_child(const ChildBody& body);

// The same with GATUN_MAX_ISA set. The calling process must not have asked for its tier before.
Ending run_on_tier(const std::string& tier, const ChildBody& body);

}  // namespace gatun::test
