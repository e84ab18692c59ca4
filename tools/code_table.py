"""Sets of code points as C++ tables: what unicode_ranges.py and case_table.py write."""


def ranges(members):
    """Rising code points as entries {first, last}."""
    found = []
    for code in members:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return [f"{{0x{first:x}, 0x{last:x}}}" for first, last in found]


def table(kind, name, comment, entries):
    lines, line = [f"// {comment}", f"inline constexpr {kind} {name}[] = {{"], ""
    for entry in entries:
        if len(line) + len(entry) + 6 > 100:
            lines.append("    " + line.rstrip())
            line = ""
        line += entry + ", "
    return "\n".join([*lines, "    " + line.rstrip(), "};"])
