"""Writes model/data/tokenizer/unicode_ranges.h: the code points of the categories L* and N* and of the
property White_Space, as ranges.

    python3 tools/unicode_ranges.py > model/data/tokenizer/unicode_ranges.h

The version of Unicode is part of a tokenizer's identity, so the committed table is of 16.0.0, what the
regular expressions of tiktoken 0.14 know; `pip install unicodedata2==16.0.0` brings it, Python's own
module has another one.
"""
import sys

try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

from code_table import ranges, table

VERSION = "16.0.0"
# Unicode's PropList.txt; these 25 since version 6.3.
WHITE_SPACE = [*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
               0x205F, 0x3000]


def category_table(name, comment, members):
    entries = ranges(members)
    return table("CodeRange", name, f"{comment}: {len(members):,} code points in {len(entries)} ranges.", entries)


def main():
    if unicodedata.unidata_version != VERSION:
        sys.exit(f"this Python knows Unicode {unicodedata.unidata_version}, the table is of {VERSION}: "
                 f"pip install unicodedata2=={VERSION}")
    category = {code: unicodedata.category(chr(code))[0] for code in range(0x110000)}
    print(f"""// Written by tools/unicode_ranges.py from Unicode {VERSION}: do not edit.
#pragma once

#include <cstdint>

namespace longrun {{

struct CodeRange {{
  std::uint32_t first, last;  // both included
}};

// clang-format off
{category_table("kLetterRanges", "General category L*", [c for c in category if category[c] == "L"])}

{category_table("kNumberRanges", "General category N*", [c for c in category if category[c] == "N"])}

{category_table("kSpaceRanges", "White_Space", WHITE_SPACE)}
// clang-format on

}}  // namespace longrun""")


main()
