// A few threads that share out small tasks.  They spin for some microseconds between two jobs, as a step of
// decoding has hundreds of them, and then sleep: where another process holds a core nothing burns it for long.
// Tasks are taken one by one, so a thread that lost its core leaves the rest of its share to the others.
//
// One thread at a time may call `run`.  In the child of a fork() the others are gone, and new ones take their place.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace vary {

class Threads {
 public:
  explicit Threads(int count);
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  int count() const { return count_; }

  // Calls work(task, thread) for all tasks of 0 .. tasks - 1; returns when all are done.
  template <class Work>
  void run(int tasks, const Work& work) {
    if (count_ == 1 || tasks <= 1) {
      for (int task = 0; task < tasks; task++) work(task, 0);
      return;
    }
    run_shared(tasks, [](const void* context, int task, int thread) {
      (*static_cast<const Work*>(context))(task, thread);
    }, &work);
  }

 private:
  using Call = void (*)(const void*, int, int);

  // The threads of one process, and what they share.
  struct Crew {
    const uint32_t process;  // the number of forks before it
    std::vector<std::thread> threads;
    std::mutex mutex;
    std::condition_variable wake;
    std::atomic<uint32_t> job{0};       // its number; changes when a job is there
    std::atomic<uint64_t> next_task{0};  // the job's number in the upper half, the next task in the lower
    std::atomic<int> unfinished{0};
    std::atomic<int> asleep{0};
    std::atomic<bool> stop{false};
    std::atomic<int> tasks{0};
    std::atomic<Call> call{nullptr};
    std::atomic<const void*> context{nullptr};

    explicit Crew(uint32_t forks) : process(forks) {}
    ~Crew();
    void take_tasks(uint32_t number, int thread);
    void serve(int thread);
  };

  void run_shared(int tasks, Call call, const void* context);
  Crew& crew();
  void leave_to_the_parent();

  const int count_;
  std::unique_ptr<Crew> crew_;
};

}  // namespace vary
