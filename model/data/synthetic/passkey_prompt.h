// The prompts in which a number is hidden between sentences that mean nothing. A newline separates
// the parts:
//
//   TASK  There is an important info hidden inside a lot of irrelevant text. ...
//   filler before the key
//   INFO  The pass key is 12345. Remember it. 12345 is the pass key.
//   filler after the key
//   QUEST What is the pass key? The pass key is
//
// Mohtashami and Jaggi 2023 (arXiv:2305.16300), epfml/landmark-attention: llama/run_test.py; Zhu et
// al. 2023 (arXiv:2309.10400), PoSE: src/eval_passkey.py; AcademyCityL/GALI: pred.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace longrun {

// The filler is a whole number of repetitions of five sentences, without a space between two
// repetitions (PoSE).
std::string PosePrompt(std::int64_t n_before, std::int64_t n_after, std::int64_t key);
// The repetitions for a context length in tokens: floor((L - 32 - 26 - 11) / 25), which counts the
// tokens of Llama's vocabulary. Negative if the length is too small.
std::int64_t PoseRepetitions(std::int64_t context_length);

// The filler is cut at a number of characters, and begins again after the key (Landmark, GALI).
std::string LandmarkPrompt(std::int64_t n_before, std::int64_t n_after, std::int64_t key);
// GALI's characters of filler for a context length in tokens: floor(3.75 L / 1024) * 1024.
std::int64_t GaliCharacters(std::int64_t context_length);

// The parts of such a prompt, for other fillers and for keys with leading zeros.
std::string PasskeyPrompt(std::string_view before, std::string_view after, std::string_view key);
std::string RepeatedFiller(std::int64_t n);    // PoSE's
std::string FillerCharacters(std::int64_t n);  // Landmark's
// The characters after which Landmark's filler repeats itself.
std::int64_t FillerPeriod();

// Whether the first number in the text is `key` (PoSE, Landmark).
bool FirstNumberIs(std::string_view text, std::int64_t key);

}  // namespace longrun
