"""The page of the extension experiment (tools/extend_context.py), from tables as `longrun table -o json` prints them:
the void experiment says so and shows no recall, and a good one has the table, the verdicts and the heat map."""
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import extend_context as tool  # noqa: E402

LENGTHS = [256, 1024]
PI = {"method": "pi", "factor": 4, "list": [1, 2]}


POSE = "a stage"
GALI = {"chunk": 64, "method": "gali"}


def tables(metric, values, **cell):
    """One table; values: [(extension, [value at 256, value at 1024])]."""
    rows = [{"stage": "pose" if extension == POSE else "base", "extension": "none" if extension == POSE else extension,
             "cells": [{metric: value, "status": "ok", "wilson95": [value / 2, min(1, value * 2)], **cell}
                       for value in row]} for extension, row in values]
    return [{"columns": [[n] for n in LENGTHS], "rows": rows}]


def page_of(recall_inside, of_stage=1, pi=False):
    perplexity = tool.numbers(tables("perplexity", [("none", [10, 14]), ("window", [10, 10.2]), (PI, [30, 31]),
                                                    ({"method": "dca"}, [10.2, 10.6]), (GALI, [9, 9.9]),
                                                    (POSE, [11, 12])]), "perplexity")
    recalls = [("none", [recall_inside, 0]), ("window", [recall_inside, 0.25]), (PI, [0.5, 0.5]),
               ({"method": "dca"}, [0.6, 0.75]), (GALI, [0.6, 0.75]), (POSE, [of_stage, 1])]
    recall = tool.numbers(tables("recall", recalls), "recall")
    recall["none"][1024]["like_window"] = True
    recall["dca"][1024]["like_window"] = False
    recall["pi (factor 4)"][1024]["like_window"] = pi
    by_depth = {0.5: recall, 1: recall}
    void = None
    try:
        tool.gate(recall, 256)
    except tool.Void as error:
        void = str(error)
    return tool.page(perplexity, recall, by_depth, 256, LENGTHS, void)


class ExtendContextTest(unittest.TestCase):
    def test_recall_below_nine_tenths_makes_the_experiment_void(self):
        page = page_of(0.89)
        self.assertIn("**This experiment is void.** The model finds 0.89 of the keys in texts of 256 tokens", page)
        self.assertNotIn("recall 1024", page)
        self.assertNotIn("Recall by depth", page)
        self.assertIn("| pi (factor 4) | 30 | 31 |", page)

    def test_recall_of_nine_tenths_is_enough(self):
        page = page_of(0.9)
        self.assertNotIn("void", page)
        self.assertIn("| none | 10 | 14 | 0.90 (0.45–1.00) | 0.00 (0.00–0.00) ~ |", page)

    def test_what_differs_from_the_window_has_no_mark(self):
        page = page_of(0.9)
        self.assertIn("| dca | 10.2 | 10.6 | 0.60 (0.30–1.00) | 0.75 (0.38–1.00) |", page)
        self.assertIn("| window | 10 | 10.2 | 0.90 (0.45–1.00) | 0.25 (0.12–0.50) |", page)

    def test_a_stage_is_a_row_of_its_own(self):
        page = page_of(0.9)
        self.assertIn("| pose, trained | 11 | 12 | 1.00 (0.50–1.00) | 1.00 (0.50–1.00) |", page)
        self.assertIn("pose, trained    ██   ██\n", page)

    def test_a_stage_that_does_not_retrieve_inside_its_train_length_shows_no_recall_beyond_it(self):
        page = page_of(0.9, of_stage=0.5)
        self.assertIn("| pose, trained | 11 | 12 | 0.50 (0.25–1.00) | – |", page)
        self.assertIn("pose, trained    ▓▓   –\n", page)
        self.assertIn("`pose, trained` finds only 0.50 of the keys in texts of 256 tokens", page)
        self.assertNotIn("**This experiment is void.**", page)
        self.assertNotIn("`pose, trained` finds", page_of(0.9))

    def test_what_was_not_compared_with_the_window_says_so(self):
        self.assertNotIn("?", page_of(0.9))
        self.assertIn("| pi (factor 4) | 30 | 31 | 0.50 (0.25–1.00) | 0.50 (0.25–1.00) ? |", page_of(0.9, pi=None))
        self.assertIn("`?` marks a recall that was", page_of(0.9, pi=None))

    def test_perplexities_are_judged_beside_those_of_the_same_method_at_the_train_length(self):
        page = page_of(0.9)
        self.assertIn("- none: 1.400, expected above 1.3: **holds**", page)
        self.assertIn("- window: 1.020 (1.020 of the plain model's), expected at most 1.05: **holds**", page)
        self.assertIn("- dca: 1.039 (1.060 of the plain model's), expected at most 1.05: **holds**", page)
        self.assertIn("- gali (chunk 64): 1.100 (0.990 of the plain model's), expected at most 1.05: **does not hold**",
                      page)
        self.assertNotIn("- pi", page)

    def test_heat_map_has_a_character_for_each_depth(self):
        self.assertEqual([tool.shade(share) for share in (0, 0.01, 0.25, 0.5, 0.75, 1)], ["·", "░", "▒", "▓", "█", "█"])
        page = page_of(0.9)
        self.assertIn("none             ██   ··\n", page)
        self.assertIn("pi (factor 4)    ▓▓   ▓▓\n", page)

    def test_unfinished_sweep_is_refused(self):
        with self.assertRaisesRegex(SystemExit, "recall under none at 256 is pending: wait"):
            tool.numbers(tables("recall", [("none", [0, 0])], status="pending"), "recall")


if __name__ == "__main__":
    unittest.main()
