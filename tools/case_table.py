"""Writes model/evaluation/case_table.h: how str.capitalize() maps letters, asked of this Python itself.

    python3.11 tools/case_table.py > model/evaluation/case_table.h

The committed table is of CPython 3.11 (Unicode 14.0.0). Later versions only add letters of new scripts.
"""
import sys
import unicodedata

from code_table import ranges, table

VERSION = "14.0.0"
CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def steps(pairs):
    """Pairs (code, mapped) as runs of one distance between neighbours (1 or 2) and one shift."""
    found = []
    for code, mapped in pairs:
        shift = mapped - code
        run = found[-1] if found else None
        if run and run["shift"] == shift and code - run["last"] in (run["step"] or (1, 2)):
            run["step"] = (code - run["last"],)
            run["last"] = code
        else:
            found.append({"first": code, "last": code, "step": None, "shift": shift})
    return [f"{{0x{r['first']:x}, 0x{r['last']:x}, {(r['step'] or (1,))[0]}, {r['shift']}}}" for r in found]


def literal(text):
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def main():
    if unicodedata.unidata_version != VERSION:
        sys.exit(f"this Python knows Unicode {unicodedata.unidata_version}, the table is of {VERSION}: run it "
                 "with Python 3.11")
    title = {code: chr(code).capitalize() for code in CODES}
    lower = {code: ("1" + chr(code)).capitalize()[1:] for code in CODES}
    one = lambda to: [(code, ord(text)) for code, text in to.items() if len(text) == 1 and ord(text) != code]
    several = lambda to: [f"{{0x{code:x}, {literal(text)}}}" for code, text in to.items() if len(text) > 1]
    # A capital sigma at the end of a word is a final one: behind a cased letter, with none ahead,
    # and what is case-ignorable passed over on both sides.
    final = lambda text: ("1" + text).capitalize().endswith("\u03c2")
    cased = [code for code in CODES if final(chr(code) + "\u03a3")]
    is_cased = set(cased)
    ignorable = [code for code in CODES if code not in is_cased and final("A" + chr(code) + "\u03a3")]
    print(f"""// Written by tools/case_table.py from CPython 3.11 (Unicode {VERSION}): do not edit.
#pragma once

#include <cstdint>
#include <string_view>

namespace longrun {{

// The characters first, first + step, ... last become those `shift` further on.
struct CaseShift {{
  std::uint32_t first, last, step;
  std::int32_t shift;
}};

// A character that becomes several, in UTF-8.
struct CaseText {{
  std::uint32_t code;
  std::string_view text;
}};

struct CaseRange {{
  std::uint32_t first, last;  // both included
}};

// clang-format off
{table("CaseShift", "kTitleShifts", "Title case, of the first character.", steps(one(title)))}

{table("CaseText", "kTitleTexts", "Title case of several characters.", several(title))}

{table("CaseShift", "kLowerShifts", "Lower case, of the others.", steps(one(lower)))}

{table("CaseText", "kLowerTexts", "Lower case of several characters.", several(lower))}

{table("CaseRange", "kCased", "Cased and not case-ignorable.", ranges(cased))}

{table("CaseRange", "kCaseIgnorable", "Case-ignorable.", ranges(ignorable))}
// clang-format on

}}  // namespace longrun""")


main()
