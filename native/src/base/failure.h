// The failure of a loop whose bodies run on several threads, each with a message of its own.
#pragma once

#include <cstdint>
#include <mutex>

namespace gatun {

// Bodies note what they get; the thread that waited for them returns the result.
class FirstFailure {
 public:
  // Keeps the status and this thread's message, unless the status is GATUN_OK or another one came before.
  void note(int32_t status);

  // GATUN_OK, or the status that was kept, with its message as that of the calling thread.
  int32_t result() const;

 private:
  std::mutex mutex_;
  int32_t status_ = 0;
  char message_[512] = "";
};

}  // namespace gatun
