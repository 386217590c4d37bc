#include "forks.hpp"

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include <algorithm>
#include <atomic>
#include <vector>

namespace vary {
namespace {

std::atomic<uint32_t> count{0};

struct Mutexes {
  std::mutex mutex;  // guards the list, and is taken before any of it
  std::vector<ForkSafeMutex*> all;
};

// Never destroyed: other threads may still compute while the process ends.
Mutexes& mutexes() {
  static auto* const found = new Mutexes;
  return *found;
}

#if !defined(_WIN32)
void before() {
  mutexes().mutex.lock();
  for (ForkSafeMutex* mutex : mutexes().all) mutex->lock();
}

void after() {
  for (ForkSafeMutex* mutex : mutexes().all) mutex->unlock();
  mutexes().mutex.unlock();
}

void in_child() {
  count.fetch_add(1);
  after();
}

// As the library is loaded, when nothing of it has computed yet.
[[maybe_unused]] const int registered = pthread_atfork(before, after, in_child);
#endif

}  // namespace

uint32_t forks() { return count.load(std::memory_order_relaxed); }

ForkSafeMutex::ForkSafeMutex() {
  std::lock_guard<std::mutex> lock(mutexes().mutex);
  mutexes().all.push_back(this);
}

ForkSafeMutex::~ForkSafeMutex() {
  std::lock_guard<std::mutex> lock(mutexes().mutex);
  auto& all = mutexes().all;
  all.erase(std::find(all.begin(), all.end(), this));
}

}  // namespace vary
