#include "tiers.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "gatun/gatun.h"

namespace gatun::test {
namespace {

void require(bool done, const char* call) {
  if (!done) {
    std::perror(call);
    std::abort();
  }
}

[[noreturn]] void child(const ChildBody& body, int pipe_end) {
  for (int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) signal(fault, SIG_DFL);
  std::vector<unsigned char> output;
  const bool good = body(output);
  for (size_t done = 0; done < output.size();) {
    const ssize_t written = write(pipe_end, output.data() + done, output.size() - done);
    require(written > 0, "write");
    done += static_cast<size_t>(written);
  }
  std::fflush(nullptr);
  _exit(good ? 0 : 1);
}

}  // namespace

Ending run_in_child(const ChildBody& body) {
  int ends[2];
  require(pipe(ends) == 0, "pipe");
  std::fflush(nullptr);
  const pid_t pid = fork();
  require(pid >= 0, "fork");
  if (pid == 0) {
    close(ends[0]);
    child(body, ends[1]);
  }
  close(ends[1]);
  Ending ending;
  unsigned char buffer[4096];
  for (ssize_t count; (count = read(ends[0], buffer, sizeof(buffer))) > 0;) {
    ending.output.insert(ending.output.end(), buffer, buffer + count);
  }
  close(ends[0]);
  int status = 0;
  require(waitpid(pid, &status, 0) == pid, "waitpid");
  if (WIFSIGNALED(status)) ending.signal = WTERMSIG(status);
  if (WIFEXITED(status)) ending.exit_code = WEXITSTATUS(status);
  return ending;
}

Ending run_on_tier(const std::string& tier, const ChildBody& body) {
  return run_in_child([&](std::vector<unsigned char>& output) {
    setenv("GATUN_MAX_ISA", tier.c_str(), 1);
    if (gatun_tier_name(gatun_tier()) != tier) {
      std::fprintf(stderr, "asked for tier %s, got %s\n", tier.c_str(), gatun_tier_name(gatun_tier()));
      return false;
    }
    return body(output);
  });
}

std::vector<std::string> supported_tiers() {
  std::vector<std::string> names;
  // In a child: the question itself makes the library read GATUN_MAX_ISA.
  const Ending ending = run_in_child([](std::vector<unsigned char>& output) {
    for (int32_t tier = 0; gatun_tier_name(tier) != nullptr; ++tier) {
      output.push_back(gatun_tier_supported(tier) ? 1 : 0);
    }
    return true;
  });
  for (size_t tier = 0; tier < ending.output.size(); ++tier) {
    if (ending.output[tier]) names.emplace_back(gatun_tier_name(static_cast<int32_t>(tier)));
  }
  return names;
}

}  // namespace gatun::test
