// PyTorch as a peer: a process of python3 that measures what it is asked for, while this one waits.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "timing.h"

namespace gatun::bench {

struct TorchTime {
  std::string impl;
  Summary seconds;
};

class TorchPeer {
 public:
  // Starts the script; null, with the reason, if there is no python3 with a PyTorch that sees the device.
  static std::unique_ptr<TorchPeer> start(const std::string& script, std::string* why_not);
  ~TorchPeer();
  TorchPeer(const TorchPeer&) = delete;
  TorchPeer& operator=(const TorchPeer&) = delete;

  const std::string& version() const { return version_; }

  // The time of a request of torch_peer.py; none, with the reason printed, if it can't do that.
  std::optional<TorchTime> ask(const std::string& request);

 private:
  TorchPeer() = default;
  // A line, or nothing if the process has ended or says nothing for too long.
  std::string read_line(int timeout_seconds);

  int process_ = -1, to_ = -1, from_ = -1;
  std::string version_, pending_;
};

}  // namespace gatun::bench
