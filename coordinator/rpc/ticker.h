// Wakes waiting calls four times a second, so that they can look for changes.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace longrun::coordinator {

class Ticker {
 public:
  Ticker();
  ~Ticker();  // Stop()

  // Calls `wake` once, at the next tick, on the ticker's thread. If the ticker has stopped, calls
  // it immediately.
  void Add(std::function<void()> wake);
  // Wakes all waiting calls and ends the thread.
  void Stop();

 private:
  void Run();

  std::mutex mutex_;  // guards the two below
  std::vector<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::condition_variable stop_;
  std::thread thread_;
};

}  // namespace longrun::coordinator
