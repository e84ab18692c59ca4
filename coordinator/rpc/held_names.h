// Names that one call uses at a time, such as that of a dataset which is being stored or removed.
#pragma once

#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace longrun::coordinator {

class HeldNames {
 public:
  class Hold {
   public:
    Hold(HeldNames& all, std::string name) : all_(&all), name_(std::move(name)) {}
    Hold(Hold&& other) noexcept
        : all_(std::exchange(other.all_, nullptr)), name_(std::move(other.name_)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (all_ == nullptr) return;
      const std::lock_guard lock(all_->mutex_);
      all_->names_.erase(name_);
    }

   private:
    HeldNames* all_;
    std::string name_;
  };
  // nullopt: another call holds the name.
  std::optional<Hold> Take(const std::string& name) {
    const std::lock_guard lock(mutex_);
    if (!names_.insert(name).second) return std::nullopt;
    return Hold(*this, name);
  }

 private:
  std::mutex mutex_;  // guards names_
  std::set<std::string> names_;
};

}  // namespace longrun::coordinator
