#include "model/data/tokenizer/bpe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <queue>
#include <utility>

#include "base/check.h"
#include "base/str.h"
#include "model/data/tokenizer/added_tokens.h"
#include "model/data/tokenizer/gpt2_scanner.h"

namespace longrun {
namespace {

// Up to this length, a scan of all pairs finds the best: no heap,
// and everything in the first-level cache.
constexpr std::size_t kShortPiece = 64;
// Above this length, a list of positions for each id pays off.
constexpr std::size_t kLongPiece = 16384;

std::string Shown(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string shown = "\"";
  for (const char c : bytes.substr(0, 32)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '"' && c != '\\') {
      shown += c;
    } else {
      shown += "\\x";
      shown += kDigits[byte >> 4];
      shown += kDigits[byte & 15];
    }
  }
  return shown + (bytes.size() > 32 ? "...\"" : "\"");
}

Status Invalid(std::string_view message) { return {Code::kInvalidArgument, message}; }

}  // namespace

void PairTable::Reserve(std::size_t n_pairs) {
  const std::size_t n_entries = std::bit_ceil(std::max<std::size_t>(2 * n_pairs, 2));
  entries_.assign(n_entries, kEmpty);
  mask_ = n_entries - 1;
  shift_ = 64u - static_cast<unsigned>(std::bit_width(mask_));
}

void PairTable::Add(std::uint32_t left, std::uint32_t right, std::uint32_t whole) {
  const std::uint64_t key = Key(left, right);
  std::size_t at = Home(key);
  while (entries_[at] != kEmpty) at = (at + 1) & mask_;
  entries_[at] = key << kIdBits | whole;
}

// ---- merging one piece --------------------------------------------------------------------------

Result<BpeMerger> BpeMerger::Make(const std::vector<Token>& tokens) {
  if (tokens.size() > kVocabularyMax) {
    return Invalid(Str("there are ", tokens.size(), " tokens, but at most ", kVocabularyMax,
                       " are supported"));
  }
  BpeMerger merger;
  merger.id_of_bytes_.reserve(tokens.size());
  for (std::uint32_t id = 0; id < tokens.size(); ++id) {
    const Token& token = tokens[id];
    if (token.kind != Token::Kind::kText) continue;
    if (token.bytes.empty()) return Invalid(Str("token ", id, " has no bytes"));
    if (token.bytes.size() > kTokenBytesMax) {
      return Invalid(Str("token ", id, " has ", token.bytes.size(), " bytes, but at most ",
                         kTokenBytesMax, " are supported"));
    }
    const auto [there, fresh] = merger.id_of_bytes_.emplace(token.bytes, id);
    if (!fresh) {
      return Invalid(Str("token ", id, " has the same bytes as token ", there->second, " (",
                         Shown(token.bytes), "): the bytes of each token must differ"));
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    const std::uint32_t id = merger.Find(bytes);
    if (id == PairTable::kNone) {
      return Invalid(Str("no token is the byte ", Shown(bytes),
                         ": a byte-level vocabulary has a token for each of the 256 bytes"));
    }
    merger.id_of_byte_.push_back(id);
  }
  merger.n_ids_ = tokens.size();
  merger.SetBytePairs(tokens);
  const std::vector<Pair> all = merger.AllPairs(tokens);
  merger.SetPairs(all);
  const std::vector<Pair> meeting = merger.PairsThatMeet(tokens);
  merger.every_token_is_merged_ = meeting.size() + 256 == merger.id_of_bytes_.size();
  if (merger.every_token_is_merged_) merger.SetPairs(meeting);
  return merger;
}

void BpeMerger::SetBytePairs(const std::vector<Token>& tokens) {
  whole_of_bytes_.assign(std::size_t{1} << 16, PairTable::kNone);
  meet_.assign(std::size_t{1} << 16, 0);
  for (std::uint32_t id = 0; id < tokens.size(); ++id) {
    const std::string& bytes = tokens[id].bytes;
    if (tokens[id].kind != Token::Kind::kText) continue;
    for (std::size_t i = 0; i + 1 < bytes.size(); ++i) meet_[BytePair(bytes[i], bytes[i + 1])] = 1;
    if (bytes.size() == 2) whole_of_bytes_[BytePair(bytes[0], bytes[1])] = id;
  }
}

void BpeMerger::SetPairs(const std::vector<Pair>& pairs) {
  pairs_.Reserve(pairs.size());
  for (const Pair& pair : pairs) pairs_.Add(pair.left, pair.right, pair.whole);
}

// Every way to cut a token into two tokens.
std::vector<BpeMerger::Pair> BpeMerger::AllPairs(const std::vector<Token>& tokens) const {
  std::vector<Pair> pairs;
  for (std::uint32_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].kind != Token::Kind::kText) continue;
    const std::string_view bytes = tokens[id].bytes;
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
      const std::uint32_t left = Find(bytes.substr(0, cut));
      if (left == PairTable::kNone) continue;
      const std::uint32_t right = Find(bytes.substr(cut));
      if (right != PairTable::kNone) pairs.push_back({left, right, id});
    }
  }
  return pairs;
}

// For each token, the two tokens that its bytes have become when its turn comes, if there are two.
// If that holds for every token, no other pair is ever merged, and the rest need not be looked up.
// Proof: take a pair about to be merged into token t. Nothing crossed its ends, so its bytes were
// merged as they would be alone, and there the merges below t leave two tokens, which t's id then
// joins before any merge above t.
std::vector<BpeMerger::Pair> BpeMerger::PairsThatMeet(const std::vector<Token>& tokens) const {
  std::vector<Pair> pairs;
  std::vector<std::int32_t> ids;
  for (std::uint32_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].kind != Token::Kind::kText || tokens[id].bytes.size() == 1) continue;
    ids.clear();
    Merge(tokens[id].bytes, id, ids);
    if (ids.size() != 2) continue;
    pairs.push_back({static_cast<std::uint32_t>(ids[0]), static_cast<std::uint32_t>(ids[1]), id});
  }
  return pairs;
}

std::uint32_t BpeMerger::Find(std::string_view bytes) const {
  const auto at = id_of_bytes_.find(bytes);
  return at == id_of_bytes_.end() ? PairTable::kNone : at->second;
}

void BpeMerger::Merge(std::string_view piece, std::uint32_t below,
                      std::vector<std::int32_t>& ids) const {
  while (!piece.empty()) {
    std::size_t n = 1;
    while (n < piece.size() && meet_[BytePair(piece[n - 1], piece[n])] != 0) ++n;
    if (n == 1) {
      ids.push_back(static_cast<std::int32_t>(id_of_byte_[static_cast<unsigned char>(piece[0])]));
    } else if (n <= kShortPiece) {
      MergeShort(piece.substr(0, n), below, ids);
    } else {
      MergeLong(piece.substr(0, n), below, ids);
    }
    piece.remove_prefix(n);
  }
}

// wholes[i] is the token that parts i and i + 1 form together.
void BpeMerger::MergeShort(std::string_view piece, std::uint32_t below,
                           std::vector<std::int32_t>& ids) const {
  std::array<std::uint32_t, kShortPiece> parts;
  std::array<std::uint32_t, kShortPiece> wholes;
  std::size_t n_parts = piece.size();
  for (std::size_t i = 0; i < n_parts; ++i) {
    parts[i] = id_of_byte_[static_cast<unsigned char>(piece[i])];
  }
  for (std::size_t i = 0; i + 1 < n_parts; ++i) {
    const std::uint32_t whole = whole_of_bytes_[BytePair(piece[i], piece[i + 1])];
    wholes[i] = whole < below ? whole : PairTable::kNone;
  }
  while (n_parts > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n_parts; ++i) {
      if (wholes[i] < wholes[best]) best = i;
    }
    if (wholes[best] == PairTable::kNone) break;
    parts[best] = wholes[best];
    --n_parts;
    for (std::size_t i = best + 1; i < n_parts; ++i) {
      parts[i] = parts[i + 1];
      wholes[i - 1] = wholes[i];
    }
    if (best > 0) wholes[best - 1] = Whole(parts[best - 1], parts[best], below);
    if (best + 1 < n_parts) wholes[best] = Whole(parts[best], parts[best + 1], below);
  }
  for (std::size_t i = 0; i < n_parts; ++i) ids.push_back(static_cast<std::int32_t>(parts[i]));
}

namespace {

// The pair to merge next: the one with the lowest whole, then the leftmost. Also returns pairs that
// no longer exist, which the caller skips.
struct Next {
  std::uint32_t whole = 0, position = 0;
};

class HeapOfPairs {
 public:
  void Add(std::uint32_t whole, std::uint32_t position) {
    heap_.push(std::uint64_t{whole} << 32 | position);
  }
  bool Take(Next& next) {
    if (heap_.empty()) return false;
    next = {.whole = static_cast<std::uint32_t>(heap_.top() >> 32),
            .position = static_cast<std::uint32_t>(heap_.top())};
    heap_.pop();
    return true;
  }

 private:
  std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> heap_;
};

// The same for a vocabulary in which each token has two halves of lower ids, or bytes: a merge then
// adds only pairs above its own, so that one whole after the other is finished, with all its
// positions in order. A heap of millions of positions would miss the cache at each step.
class WavesOfPairs {
 public:
  explicit WavesOfPairs(std::size_t n_ids) : positions_(n_ids) {}

  void Add(std::uint32_t whole, std::uint32_t position) {
    if (positions_[whole].empty()) wholes_.push(whole);
    positions_[whole].push_back(position);
  }
  bool Take(Next& next) {
    while (at_ == wave_.size()) {
      if (wholes_.empty()) return false;
      whole_ = wholes_.top();
      wholes_.pop();
      wave_ = std::move(positions_[whole_]);
      positions_[whole_] = {};
      at_ = 0;
      if (!std::ranges::is_sorted(wave_)) std::ranges::sort(wave_);
    }
    next = {.whole = whole_, .position = wave_[at_++]};
    return true;
  }

 private:
  std::vector<std::vector<std::uint32_t>> positions_;  // by whole
  std::priority_queue<std::uint32_t, std::vector<std::uint32_t>, std::greater<>> wholes_;
  std::uint32_t whole_ = 0;  // the token whose positions are being merged
  std::vector<std::uint32_t> wave_;
  std::size_t at_ = 0;
};

}  // namespace

void BpeMerger::MergeLong(std::string_view piece, std::uint32_t below,
                          std::vector<std::int32_t>& ids) const {
  if (every_token_is_merged_ && piece.size() > kLongPiece) {
    MergeBy(WavesOfPairs(n_ids_), piece, below, ids);
  } else {
    MergeBy(HeapOfPairs(), piece, below, ids);
  }
}

// Parts are a linked list over the positions at which they begin.
template <typename Pairs>
void BpeMerger::MergeBy(Pairs pairs, std::string_view piece, std::uint32_t below,
                        std::vector<std::int32_t>& ids) const {
  LR_CHECK(piece.size() < PairTable::kNone);
  struct Part {
    std::uint32_t id = 0, whole = PairTable::kNone, previous = 0, next = 0;
  };
  const auto n = static_cast<std::uint32_t>(piece.size());
  std::vector<Part> parts(n);
  const auto offer = [&](std::uint32_t i, std::uint32_t whole) {
    parts[i].whole = whole < below ? whole : PairTable::kNone;
    if (parts[i].whole != PairTable::kNone) pairs.Add(whole, i);
  };
  for (std::uint32_t i = 0; i < n; ++i) {
    parts[i] = {.id = id_of_byte_[static_cast<unsigned char>(piece[i])],
                .previous = i - 1,  // meaningless for the first, which i == 0 shows
                .next = i + 1};
    if (i + 1 < n) offer(i, whole_of_bytes_[BytePair(piece[i], piece[i + 1])]);
  }
  const auto renew = [&](std::uint32_t i) {
    const std::uint32_t next = parts[i].next;
    offer(i, next < n ? pairs_.Find(parts[i].id, parts[next].id) : PairTable::kNone);
  };
  for (Next next; pairs.Take(next);) {
    const std::uint32_t i = next.position;
    if (parts[i].whole != next.whole) continue;
    const std::uint32_t gone = parts[i].next;
    parts[i].id = next.whole;
    parts[i].next = parts[gone].next;
    parts[gone].whole = PairTable::kNone;
    if (parts[i].next < n) parts[parts[i].next].previous = i;
    renew(i);
    if (i > 0) renew(parts[i].previous);
  }
  for (std::uint32_t i = 0; i < n; i = parts[i].next) {
    ids.push_back(static_cast<std::int32_t>(parts[i].id));
  }
}

// ---- text ---------------------------------------------------------------------------------------

namespace {

// The ids of pieces seen before. Each has one slot, which the next piece with the same hash takes
// over. Holds pieces of up to 16 bytes and three ids, which is nearly all of a text,
// at two to a cache line.
class PieceCache {
 public:
  static constexpr std::size_t kPieceBytes = 16;
  static constexpr std::size_t kPieceIds = 3;

  struct Key {
    std::uint64_t low = 0, high = 0;  // the bytes, then zeros
    std::uint32_t n_bytes = 0;
  };
  struct Slot {
    std::uint64_t low = 0, high = 0;
    std::uint16_t n_bytes = 0;  // 0: empty
    std::uint16_t n_ids = 0;
    std::array<std::int32_t, kPieceIds> ids{};

    bool Holds(const Key& key) const {
      return low == key.low && high == key.high && n_bytes == key.n_bytes;
    }
  };
  static_assert(sizeof(Slot) == 32);

  // `piece` has 1 to 16 bytes; `text_end` is the end of the text that contains it.
  static Key KeyOf(std::string_view piece, const char* text_end) {
    Key key = {.n_bytes = static_cast<std::uint32_t>(piece.size())};
    if (text_end - piece.data() >= static_cast<std::ptrdiff_t>(kPieceBytes)) {
      std::memcpy(&key.low, piece.data(), 8);
      std::memcpy(&key.high, piece.data() + 8, 8);
      const std::size_t n = piece.size();
      key.low &= n >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * n)) - 1;
      key.high &= n >= 16  ? ~std::uint64_t{0}
                  : n <= 8 ? 0
                           : (std::uint64_t{1} << (8 * (n - 8))) - 1;
    } else {
      std::array<char, kPieceBytes> bytes{};
      std::memcpy(bytes.data(), piece.data(), piece.size());
      std::memcpy(&key.low, bytes.data(), 8);
      std::memcpy(&key.high, bytes.data() + 8, 8);
    }
    return key;
  }

  Slot& Place(const Key& key) {
    const std::uint64_t mixed =
        (key.low ^ std::rotl(key.high * 0xc2b2ae3d27d4eb4f, 29)) * 0x9e3779b97f4a7c15;
    return slots_[mixed >> (64 - kBits)];
  }

 private:
  static constexpr unsigned kBits = 15;
  std::vector<Slot> slots_ = std::vector<Slot>(std::size_t{1} << kBits);
};
static_assert(std::endian::native == std::endian::little, "PieceCache::KeyOf masks the last bytes");

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(Vocabulary vocabulary, BpeMerger merger)
      : Tokenizer(std::move(vocabulary)), merger_(std::move(merger)) {
    const auto is_added = [](const Token& token) { return token.kind == Token::Kind::kAdded; };
    if (std::ranges::any_of(this->vocabulary().tokens, is_added)) {
      added_.emplace(this->vocabulary().tokens);
    }
  }

  void Encode(std::string_view text, std::vector<std::int32_t>& ids) const override {
    std::unique_ptr<PieceCache> cache = TakeCache();
    std::size_t begin = 0;
    while (added_) {
      const AddedTokens::Match match = added_->Next(text, begin);
      if (match.begin == match.end) break;
      EncodeBetween(*cache, text.substr(begin, match.begin - begin), ids);
      ids.push_back(match.id);
      begin = match.end;
    }
    EncodeBetween(*cache, text.substr(begin), ids);
    GiveBack(std::move(cache));
  }

 private:
  // The text between two added tokens is like a text of its own.
  void EncodeBetween(PieceCache& cache, std::string_view text,
                     std::vector<std::int32_t>& ids) const {
    if (text.empty()) return;
    if (vocabulary().add_prefix_space && !text.starts_with(' ')) {
      EncodeWith(cache, Str(" ", text), ids);
    } else {
      EncodeWith(cache, text, ids);
    }
  }

  // The cache's ids go through a small buffer, into which a whole slot is always copied: this needs
  // no test of their number.
  void EncodeWith(PieceCache& cache, std::string_view text, std::vector<std::int32_t>& ids) const {
    const char* const text_end = text.data() + text.size();
    std::array<std::int32_t, 1024> buffer;
    std::size_t n_buffered = 0;
    const auto flush = [&] {
      ids.insert(ids.end(), buffer.begin(),
                 buffer.begin() + static_cast<std::ptrdiff_t>(n_buffered));
      n_buffered = 0;
    };
    for (Gpt2Scanner scanner(text); !scanner.done();) {
      const std::string_view piece = scanner.Next();
      if (piece.size() > PieceCache::kPieceBytes) {
        flush();
        EncodePiece(piece, ids);
        continue;
      }
      const PieceCache::Key key = PieceCache::KeyOf(piece, text_end);
      PieceCache::Slot& slot = cache.Place(key);
      if (slot.Holds(key)) {
        std::memcpy(&buffer[n_buffered], slot.ids.data(), sizeof slot.ids);
        n_buffered += slot.n_ids;
        if (n_buffered > buffer.size() - PieceCache::kPieceIds) flush();
        continue;
      }
      flush();
      const std::size_t before = ids.size();
      EncodePiece(piece, ids);
      const std::size_t n_ids = ids.size() - before;
      if (n_ids > PieceCache::kPieceIds) continue;
      slot = {.low = key.low,
              .high = key.high,
              .n_bytes = static_cast<std::uint16_t>(key.n_bytes),
              .n_ids = static_cast<std::uint16_t>(n_ids)};
      std::copy(ids.end() - static_cast<std::ptrdiff_t>(n_ids), ids.end(), slot.ids.begin());
    }
    flush();
  }

  void EncodePiece(std::string_view piece, std::vector<std::int32_t>& ids) const {
    if (!merger_.every_token_is_merged() && piece.size() <= kTokenBytesMax) {
      if (const std::uint32_t id = merger_.Find(piece); id != PairTable::kNone) {
        ids.push_back(static_cast<std::int32_t>(id));
        return;
      }
    }
    merger_.Merge(piece, PairTable::kNone, ids);
  }

  std::unique_ptr<PieceCache> TakeCache() const {
    const std::lock_guard lock(mutex_);
    if (caches_.empty()) return std::make_unique<PieceCache>();
    std::unique_ptr<PieceCache> cache = std::move(caches_.back());
    caches_.pop_back();
    return cache;
  }

  void GiveBack(std::unique_ptr<PieceCache> cache) const {
    const std::lock_guard lock(mutex_);
    caches_.push_back(std::move(cache));
  }

  BpeMerger merger_;
  std::optional<AddedTokens> added_;  // absent if there are none
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<PieceCache>> caches_;  // the idle ones; guarded by mutex_
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> MakeBpeTokenizer(Vocabulary vocabulary) {
  if (vocabulary.pre_tokenizer != kGpt2Rule) {
    return Invalid(Str("the rule that cuts the text is \"", vocabulary.pre_tokenizer,
                       "\", but only \"", kGpt2Rule, "\" is supported"));
  }
  ASSIGN_OR_RETURN(BpeMerger merger, BpeMerger::Make(vocabulary.tokens));
  return std::unique_ptr<Tokenizer>(
      std::make_unique<BpeTokenizer>(std::move(vocabulary), std::move(merger)));
}

std::size_t LastGpt2Cut(std::string_view text, std::size_t begin) {
  const auto is_of_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  for (std::size_t i = text.size(); i-- > std::max<std::size_t>(begin, 1);) {
    if (text[i] == ' ' && is_of_word(text[i - 1])) return i;
  }
  return 0;
}

std::int64_t EmbeddingRows(std::size_t n_tokens) {
  return static_cast<std::int64_t>((n_tokens + 63) / 64 * 64);
}

Vocabulary RanksWithEndOfText(std::string name, std::vector<std::string> bytes_of_rank) {
  Vocabulary vocabulary = {
      .name = std::move(name), .pre_tokenizer = std::string(kGpt2Rule), .tokens = {}};
  vocabulary.tokens.reserve(bytes_of_rank.size() + 1);
  for (std::string& bytes : bytes_of_rank) {
    vocabulary.tokens.push_back({.bytes = std::move(bytes)});
  }
  vocabulary.eot_id = static_cast<std::int32_t>(vocabulary.tokens.size());
  vocabulary.bos_id = vocabulary.eot_id;
  vocabulary.tokens.push_back({.bytes = "<|endoftext|>", .kind = Token::Kind::kControl});
  vocabulary.n_rows = EmbeddingRows(vocabulary.tokens.size());
  return vocabulary;
}

}  // namespace longrun
