// The different pieces are stored one after the other as a list of parts, linked over the parts
// that still exist. For each pair, its positions are recorded as they appear, so that a merge
// visits only these, and the whole training no more than the length of the list and
// what it appends.
#include "model/data/tokenizer/bpe_training.h"

#include <algorithm>
#include <queue>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "model/data/tokenizer/bpe.h"
#include "model/data/tokenizer/gpt2_scanner.h"

namespace longrun {
namespace {

constexpr std::uint32_t kNone = 0xffffffff;
constexpr std::uint64_t kCountMin = 2;
constexpr std::size_t kProgressEvery = 256;

struct Part {
  std::uint32_t id = kNone;  // kNone: merged into the part before
  std::uint32_t previous = kNone;
  std::uint32_t next = kNone;
  std::uint32_t piece = 0;
};

struct Pair {
  std::uint64_t count = 0;            // of positions, each weighted by how often its piece occurs
  std::vector<std::uint32_t> places;  // positions where it began; some may be gone
};

// An entry of the heap, with the count at the time when it was added.
struct Candidate {
  std::uint64_t count = 0;
  std::uint32_t left = 0, right = 0;
};

std::uint64_t Key(std::uint32_t left, std::uint32_t right) {
  return std::uint64_t{left} << 32 | right;
}

class Merging {
 public:
  explicit Merging(const std::vector<std::pair<std::string_view, std::uint64_t>>& pieces) {
    for (int byte = 0; byte < 256; ++byte) bytes_of_.emplace_back(1, static_cast<char>(byte));
    std::size_t n_parts = 0;
    for (const auto& [piece, count] : pieces) n_parts += piece.size();
    LR_CHECK(n_parts < kNone && pieces.size() < kNone);
    parts_.reserve(n_parts);
    counts_.reserve(pieces.size());
    for (const auto& [piece, count] : pieces) {
      const auto index = static_cast<std::uint32_t>(counts_.size());
      counts_.push_back(count);
      for (std::size_t i = 0; i < piece.size(); ++i) {
        const auto at = static_cast<std::uint32_t>(parts_.size());
        parts_.push_back({.id = static_cast<unsigned char>(piece[i]),
                          .previous = i > 0 ? at - 1 : kNone,
                          .next = i + 1 < piece.size() ? at + 1 : kNone,
                          .piece = index});
      }
    }
    for (std::uint32_t at = 0; at < parts_.size(); ++at) {
      if (parts_[at].next != kNone) Note(at);
    }
    for (const auto& [key, pair] : pairs_) Offer(key, pair);
  }

  // Makes the next id; false if no pair has two positions.
  bool Step() {
    while (!heap_.empty()) {
      const Candidate best = heap_.top();
      heap_.pop();
      const std::uint64_t key = Key(best.left, best.right);
      const auto at = pairs_.find(key);
      if (at == pairs_.end()) continue;
      if (at->second.count != best.count) {  // some positions are gone: move it to its place
        Offer(key, at->second);
        continue;
      }
      if (bytes_of_[best.left].size() + bytes_of_[best.right].size() > kTokenBytesMax) continue;
      Pair pair = std::move(at->second);
      pairs_.erase(at);
      Merge(best, std::move(pair.places));
      return true;
    }
    return false;
  }

  std::vector<std::string>& bytes_of() { return bytes_of_; }

 private:
  // Records the pair that begins at `at`.
  void Note(std::uint32_t at) {
    Pair& pair = pairs_[Key(parts_[at].id, parts_[parts_[at].next].id)];
    pair.count += counts_[parts_[at].piece];
    pair.places.push_back(at);
  }

  // Removes the pair at `at`. Its position stays in the list, and is skipped when its turn comes.
  void Forget(std::uint32_t at, const Candidate& merged) {
    const std::uint32_t left = parts_[at].id, right = parts_[parts_[at].next].id;
    if (left == merged.left && right == merged.right) return;
    const auto pair = pairs_.find(Key(left, right));
    pair->second.count -= counts_[parts_[at].piece];
    if (pair->second.count == 0) pairs_.erase(pair);
  }

  void Offer(std::uint64_t key, const Pair& pair) {
    if (pair.count < kCountMin) return;
    heap_.push({.count = pair.count,
                .left = static_cast<std::uint32_t>(key >> 32),
                .right = static_cast<std::uint32_t>(key)});
  }

  void Merge(const Candidate& merged, std::vector<std::uint32_t> places) {
    const auto whole = static_cast<std::uint32_t>(bytes_of_.size());
    bytes_of_.push_back(bytes_of_[merged.left] + bytes_of_[merged.right]);
    std::ranges::sort(places);  // from left to right: "aaa" is (aa)a
    std::vector<std::uint64_t> made;
    for (const std::uint32_t at : places) {
      const std::uint32_t gone = parts_[at].next;
      if (parts_[at].id != merged.left || gone == kNone || parts_[gone].id != merged.right)
        continue;
      const std::uint32_t before = parts_[at].previous, after = parts_[gone].next;
      if (before != kNone) Forget(before, merged);
      if (after != kNone) Forget(gone, merged);
      parts_[at].id = whole;
      parts_[at].next = after;
      parts_[gone].id = kNone;
      if (after != kNone) {
        parts_[after].previous = at;
        Note(at);
        made.push_back(Key(whole, parts_[after].id));
      }
      if (before != kNone) {
        Note(before);
        made.push_back(Key(parts_[before].id, whole));
      }
    }
    std::ranges::sort(made);
    made.erase(std::unique(made.begin(), made.end()), made.end());
    for (const std::uint64_t key : made) {
      if (const auto pair = pairs_.find(key); pair != pairs_.end()) Offer(key, pair->second);
    }
  }

  // The heap's order: whether `a` is worse than `b`.
  struct Worse {
    const std::vector<std::string>* bytes_of = nullptr;
    bool operator()(const Candidate& a, const Candidate& b) const {
      if (a.count != b.count) return a.count < b.count;
      const int left = (*bytes_of)[a.left].compare((*bytes_of)[b.left]);
      if (left != 0) return left > 0;
      return (*bytes_of)[a.right].compare((*bytes_of)[b.right]) > 0;
    }
  };

  std::vector<std::string> bytes_of_;  // by id
  std::vector<Part> parts_;
  std::vector<std::uint64_t> counts_;  // by piece
  std::unordered_map<std::uint64_t, Pair> pairs_;
  std::priority_queue<Candidate, std::vector<Candidate>, Worse> heap_{Worse{&bytes_of_}};
};

}  // namespace

void BpeTraining::Add(std::string_view text) {
  n_bytes_ += text.size();
  for (Gpt2Scanner scanner(text); !scanner.done();) ++count_of_piece_[std::string(scanner.Next())];
}

Result<std::vector<std::string>> BpeTraining::Train(
    std::size_t n_ids, const std::function<void(std::size_t)>& progress) const {
  LR_CHECK(n_ids >= 256 && n_ids <= kVocabularyMax);
  std::vector<std::pair<std::string_view, std::uint64_t>> pieces(count_of_piece_.begin(),
                                                                 count_of_piece_.end());
  std::ranges::sort(pieces);  // so that nothing depends on the order of a hash table
  Merging merging(pieces);
  while (merging.bytes_of().size() < n_ids) {
    if (!merging.Step()) {
      return Status(Code::kInvalidArgument,
                    Str("the texts give only ", merging.bytes_of().size(), " of the ", n_ids,
                        " tokens asked for, since no other pair occurs twice; give more text, or "
                        "ask for fewer tokens"));
    }
    if (progress && merging.bytes_of().size() % kProgressEvery == 0) {
      progress(merging.bytes_of().size());
    }
  }
  return std::move(merging.bytes_of());
}

}  // namespace longrun
