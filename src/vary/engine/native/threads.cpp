#include "threads.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace vary {
namespace {

constexpr int kSpins = 4000;  // some tens of microseconds

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Threads::Threads(int count) : count_(count < 1 ? 1 : count) {}

Threads::~Threads() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Threads::start() {
  for (int thread = 1; thread < count_; thread++) threads_.emplace_back([this, thread] { serve(thread); });
}

void Threads::run_shared(int tasks, Call call, const void* context) {
  if (threads_.empty()) start();
  // A thread that comes late to the last job finds its number gone and takes no task of this one by mistake.
  const uint32_t job = job_.load() + 1;
  next_task_.store(static_cast<uint64_t>(job) << 32 | static_cast<uint32_t>(tasks));  // nothing to take yet
  call_.store(call);
  context_.store(context);
  tasks_.store(tasks);
  unfinished_.store(tasks);
  next_task_.store(static_cast<uint64_t>(job) << 32);
  job_.store(job);
  if (asleep_.load() > 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }
  take_tasks(job, 0);
  for (int spins = 0; unfinished_.load(std::memory_order_acquire) > 0; spins++) {
    if (spins < kSpins) pause();
    else std::this_thread::yield();
  }
}

void Threads::take_tasks(uint32_t job, int thread) {
  const int tasks = tasks_.load();
  const Call call = call_.load();
  const void* context = context_.load();
  for (uint64_t next = next_task_.load();;) {
    if (static_cast<uint32_t>(next >> 32) != job || static_cast<int>(next & 0xffffffffu) >= tasks) return;
    if (!next_task_.compare_exchange_weak(next, next + 1)) continue;
    call(context, static_cast<int>(next & 0xffffffffu), thread);
    unfinished_.fetch_sub(1, std::memory_order_release);
    next = next_task_.load();
  }
}

void Threads::serve(int thread) {
  uint32_t seen = 0;
  for (;;) {
    for (int spins = 0; job_.load() == seen && !stop_; spins++) {
      if (spins < kSpins) {
        pause();
        continue;
      }
      std::unique_lock<std::mutex> lock(mutex_);
      asleep_.fetch_add(1);
      wake_.wait(lock, [&] { return job_.load() != seen || stop_; });
      asleep_.fetch_sub(1);
    }
    if (stop_) return;
    seen = job_.load();
    take_tasks(seen, thread);
  }
}

}  // namespace vary
