#include "threads.hpp"

#include "forks.hpp"

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

Threads::~Threads() { leave_to_the_parent(); }

// In a child the threads that would have to be woken and joined are not there, and a condition variable that they
// wait for cannot be destroyed: what they shared stays in memory.
void Threads::leave_to_the_parent() {
  if (crew_ && crew_->process != forks()) static_cast<void>(crew_.release());
}

Threads::Crew& Threads::crew() {
  leave_to_the_parent();
  if (!crew_) {
    crew_ = std::make_unique<Crew>(forks());
    for (int thread = 1; thread < count_; thread++)
      crew_->threads.emplace_back([crew = crew_.get(), thread] { crew->serve(thread); });
  }
  return *crew_;
}

void Threads::run_shared(int tasks, Call call, const void* context) {
  Crew& shared = crew();
  // A thread that comes late to the last job finds its number gone and takes no task of this one by mistake.
  const uint32_t job = shared.job.load() + 1;
  shared.next_task.store(static_cast<uint64_t>(job) << 32 | static_cast<uint32_t>(tasks));  // nothing to take yet
  shared.call.store(call);
  shared.context.store(context);
  shared.tasks.store(tasks);
  shared.unfinished.store(tasks);
  shared.next_task.store(static_cast<uint64_t>(job) << 32);
  shared.job.store(job);
  if (shared.asleep.load() > 0) {
    std::lock_guard<std::mutex> lock(shared.mutex);
    shared.wake.notify_all();
  }
  shared.take_tasks(job, 0);
  for (int spins = 0; shared.unfinished.load(std::memory_order_acquire) > 0; spins++) {
    if (spins < kSpins) pause();
    else std::this_thread::yield();
  }
}

Threads::Crew::~Crew() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stop = true;
  }
  wake.notify_all();
  for (auto& thread : threads) thread.join();
}

void Threads::Crew::take_tasks(uint32_t number, int thread) {
  const int last = tasks.load();
  const Call work = call.load();
  const void* with = context.load();
  for (uint64_t next = next_task.load();;) {
    if (static_cast<uint32_t>(next >> 32) != number || static_cast<int>(next & 0xffffffffu) >= last) return;
    if (!next_task.compare_exchange_weak(next, next + 1)) continue;
    work(with, static_cast<int>(next & 0xffffffffu), thread);
    unfinished.fetch_sub(1, std::memory_order_release);
    next = next_task.load();
  }
}

void Threads::Crew::serve(int thread) {
  uint32_t seen = 0;
  for (;;) {
    for (int spins = 0; job.load() == seen && !stop; spins++) {
      if (spins < kSpins) {
        pause();
        continue;
      }
      std::unique_lock<std::mutex> lock(mutex);
      asleep.fetch_add(1);
      wake.wait(lock, [&] { return job.load() != seen || stop; });
      asleep.fetch_sub(1);
    }
    if (stop) return;
    seen = job.load();
    take_tasks(seen, thread);
  }
}

}  // namespace vary
