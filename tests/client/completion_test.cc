// What can stand next on a command line: verbs, options, their values, and names that exist now.
#include "client/completion.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "client/command_line.h"

namespace longrun::client {
namespace {

using Names = std::vector<std::string>;

Names At(const Names& words) {
  Verbs verbs;
  std::string state;
  const auto app = MakeCommandLine(verbs, state);
  const LiveNames live = [](const std::string& kind) -> Names {
    if (kind == "sweeps") return {"quickstart", "quality"};
    if (kind == "runs") return {"0123456789ab"};
    if (kind == "labels") return {"suite=long"};
    if (kind == "datasets") return {"austen"};
    if (kind == "models") return {"pythia-70m"};
    if (kind == "metrics") return {"perplexity", "nll"};
    ADD_FAILURE() << kind;
    return {};
  };
  return Complete(*app, words, live);
}

bool Has(const Names& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

TEST(CompletionTest, VerbsByTheirBeginning) {
  EXPECT_EQ(At({"val"}), Names{"validate"});
  EXPECT_TRUE(Has(At({""}), "doctor"));
  EXPECT_EQ(At({"--state", "folder", "val"}), Names{"validate"});
  EXPECT_TRUE(At({"nothing-begins-so"}).empty());
}

TEST(CompletionTest, VerbsOfAVerb) { EXPECT_EQ(At({"data", "reg"}), Names{"register"}); }

TEST(CompletionTest, OptionsOfTheVerbAndThoseBeforeIt) {
  EXPECT_EQ(At({"gc", "--dr"}), Names{"--dry-run"});
  EXPECT_EQ(At({"gc", "--st"}), Names{"--state"});
}

TEST(CompletionTest, WhatAnOptionTakes) {
  EXPECT_EQ(At({"table", "quickstart", "-o", "c"}), Names{"csv"});
  EXPECT_EQ(At({"ls", "--status", "RUN"}), Names{"RUNNING"});
  EXPECT_EQ(At({"ls", "-l", ""}), Names{"suite=long"});
  EXPECT_EQ(At({"run", "--set", "train.optimizer.l"}), Names{"train.optimizer.lr="});
  EXPECT_EQ(At({"ls", "--state", ""}), Names{kCompleteFiles});
  EXPECT_EQ(At({"report", "quickstart", "-o", ""}), Names{kCompleteFiles});
  EXPECT_EQ(At({"table", "quickstart", "--where", "posi"}), Names{"position="});
  EXPECT_EQ(At({"table", "quickstart", "--rows", "context"}), Names{"context_length"});
}

TEST(CompletionTest, NamesThatExist) {
  EXPECT_EQ(At({"table", "qui"}), Names{"quickstart"});
  EXPECT_EQ(At({"get", ""}), (Names{"quickstart", "quality", "0123456789ab"}));
  EXPECT_EQ(At({"retry", "0"}), Names{"0123456789ab"});
  EXPECT_EQ(At({"label", "quickstart", "suite"}), Names{"suite=long"});
  EXPECT_EQ(At({"diff", "quickstart", "qua"}), Names{"quality"});
  EXPECT_EQ(At({"data", "register", ""}), Names{"austen"});
  EXPECT_EQ(At({"models", "rm", ""}), Names{"pythia-70m"});
  EXPECT_EQ(At({"table", "quickstart", "--metric", "n"}), Names{"nll"});
  EXPECT_EQ(At({"plot", "quickstart", "--metric", ""}), (Names{"perplexity", "nll"}));
  EXPECT_TRUE(At({"cancel", "quickstart", ""}).empty());            // it takes one
  EXPECT_EQ(At({"table", "quickstart", "qua"}), Names{"quality"});  // it takes several
}

TEST(CompletionTest, FilesAndWhatExplainKnows) {
  EXPECT_EQ(At({"run", ""}), Names{kCompleteFiles});
  EXPECT_EQ(At({"explain", "position.cab"}), (Names{"position.cable", "position.cable.variant"}));
  EXPECT_EQ(At({"completion", "z"}), Names{"zsh"});
}

}  // namespace
}  // namespace longrun::client
