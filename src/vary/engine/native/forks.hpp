// What a fork() leaves behind: of all threads only the one that called it, and locks as they were at that moment.
#pragma once

#include <cstdint>
#include <mutex>

namespace vary {

// How many forks lie between this process and the one that the program began in.
uint32_t forks();

// A mutex that no fork() finds locked, since the fork waits for whoever holds it: so what it guards is whole in the
// child too.
class ForkSafeMutex {
 public:
  ForkSafeMutex();
  ~ForkSafeMutex();
  ForkSafeMutex(const ForkSafeMutex&) = delete;
  ForkSafeMutex& operator=(const ForkSafeMutex&) = delete;

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

}  // namespace vary
