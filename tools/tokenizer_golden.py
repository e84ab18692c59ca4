"""Writes tests/golden/tokenizer/gpt2_pieces.txt: texts, and where the regular expression of GPT-2 cuts
them, as the module `regex` says (pip install regex).

    python3 tools/tokenizer_golden.py > tests/golden/tokenizer/gpt2_pieces.txt

A line is the text in hexadecimal digits of its UTF-8 and the bytes of each piece.
"""
import random

import regex

RULE = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
# What the rule tells apart, and its neighbours: contractions and their beginnings, all white space,
# what looks like it (U+180E, U+200B, U+FEFF), marks, joiners,
# letters and numbers of each length in UTF-8.
CHARACTERS = list("'stredvml'SL19_.,!\"-<|>  \t\n\r\x0b\x0c\x00\x1c\x7f") + [
    "\x85", "\xa0", "\u1680", "\u2000", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000",
    "\u180e", "\u200b", "\ufeff", "\u0301", "\u200d", "\xe9", "\xb2", "\xbd", "\u0663", "\u2167", "\u00aa",
    "\u0416", "\u3042", "\u65e5", "\uac00", "\ufb01", "\U0001f642", "\U0001d7d8", "\U0001d400", "\U00020000",
    "\U0010ffff"]


def main():
    chance = random.Random(20260115)
    for _ in range(400):
        text = "".join(chance.choices(CHARACTERS, k=chance.randint(1, 24)))
        pieces = RULE.findall(text)
        assert "".join(pieces) == text
        print(text.encode().hex(), ",".join(str(len(piece.encode())) for piece in pieces))


main()
