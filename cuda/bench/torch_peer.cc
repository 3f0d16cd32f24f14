#include "torch_peer.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace gatun::bench {
namespace {

constexpr int kStartSeconds = 90, kAnswerSeconds = 60;

// The text of a field of a line of JSON as json.dumps writes it, or nothing.
std::string field(const std::string& line, const std::string& name) {
  const std::string key = "\"" + name + "\": ";
  size_t begin = line.find(key);
  if (begin == std::string::npos) return "";
  begin += key.size();
  if (line[begin] == '"') return line.substr(begin + 1, line.find('"', begin + 1) - begin - 1);
  return line.substr(begin, line.find_first_of(",}", begin) - begin);
}

double number(const std::string& line, const std::string& name) { return std::atof(field(line, name).c_str()); }

}  // namespace

std::unique_ptr<TorchPeer> TorchPeer::start(const std::string& script, std::string* why_not) {
  int to[2], from[2];
  if (pipe(to) != 0 || pipe(from) != 0) {
    *why_not = "no pipe";
    return nullptr;
  }
  signal(SIGPIPE, SIG_IGN);
  const int process = fork();
  if (process == 0) {
    dup2(to[0], 0);
    dup2(from[1], 1);
    for (const int end : {to[0], to[1], from[0], from[1]}) close(end);
    execlp("python3", "python3", script.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  close(to[0]);
  close(from[1]);
  std::unique_ptr<TorchPeer> peer(new TorchPeer);
  peer->process_ = process;
  peer->to_ = to[1];
  peer->from_ = from[0];
  const std::string hello = peer->read_line(kStartSeconds);
  peer->version_ = field(hello, "torch");
  if (!peer->version_.empty()) return peer;
  *why_not = hello.empty() ? "python3 did not answer" : field(hello, "skip");
  return nullptr;
}

TorchPeer::~TorchPeer() {
  close(to_);
  close(from_);
  if (process_ > 0) {
    kill(process_, SIGTERM);
    waitpid(process_, nullptr, 0);
  }
}

std::string TorchPeer::read_line(int timeout_seconds) {
  size_t end;
  while ((end = pending_.find('\n')) == std::string::npos) {
    pollfd ready = {from_, POLLIN, 0};
    char text[4096];
    if (poll(&ready, 1, timeout_seconds * 1000) <= 0) return "";
    const ssize_t count = read(from_, text, sizeof(text));
    if (count <= 0) return "";
    pending_.append(text, static_cast<size_t>(count));
  }
  const std::string line = pending_.substr(0, end);
  pending_.erase(0, end + 1);
  return line;
}

std::optional<TorchTime> TorchPeer::ask(const std::string& request) {
  if (to_ < 0) return std::nullopt;
  const std::string line = request + "\n";
  const bool sent = write(to_, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const std::string answer = sent ? read_line(kAnswerSeconds) : "";
  if (answer.empty()) {
    // What comes later would be taken for the answer to something else.
    std::printf("  PyTorch did not answer '%s', and is not asked again\n", request.c_str());
    kill(process_, SIGKILL);
    close(to_);
    to_ = -1;
    return std::nullopt;
  }
  const std::string skip = field(answer, "skip");
  if (!skip.empty()) {
    std::printf("  PyTorch, '%s': %s\n", request.c_str(), skip.c_str());
    return std::nullopt;
  }
  return TorchTime{"torch " + field(answer, "impl"),
                   {number(answer, "median"), number(answer, "min"), number(answer, "max")}};
}

}  // namespace gatun::bench
