"""Samples of position schedules (PoSE, RandPos), in pure Python, written after dwzhu-pku/PoSE's train_pose.py
and the papers (arXiv:2309.10400, arXiv:2305.16843) without a look at our C++.

    python3 tools/oracle/samples_oracle.py

prints the cases of tests/model/position_schedule/schedule_test.cc: the first samples, and a digest of a
thousand. A sample's random numbers are those of the service: draw k of sample g from low to high is
low + sm64(key(seed, g, 4) ^ k) mod (high - low + 1).
"""
M = (1 << 64) - 1


def sm64(x):
    x = (x + 0x9E3779B97F4A7C15) & M
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & M
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & M
    return x ^ x >> 31


def draws(seed, g):
    key = sm64(sm64(sm64(seed) ^ g) ^ 4)
    k = 0
    low, high = yield
    while True:
        value = low + sm64(key ^ k) % (high - low + 1)
        k += 1
        low, high = yield value


def floyd(n, low, high, randint):
    chosen = []
    for j in range(high - n + 1, high + 1):
        t = randint(low, j)
        chosen.append(j if t in chosen else t)
    return sorted(chosen)


def pose(ids, length, target, chunks, content, randint):
    """The tokens and positions of a sample of `length` tokens, and the token behind them."""
    available = len(ids) - 1  # the last token can only be a target
    if chunks == 2:
        ends = [randint(1, (length + 1) // 2), length]
    else:
        ends = floyd(chunks - 1, 1, length - 1, randint) + [length]
    text, skip = [0], [0]
    for _ in range(chunks - 1):
        text.append(randint(text[-1], available - length))
    longest = min(target, available) if content == "aligned" else target
    for _ in range(chunks - 1):
        skip.append(randint(skip[-1], longest - length))
    text = {"random": text, "contiguous": [0] * chunks, "aligned": skip}[content]
    tokens, positions, begin = [], [], 0
    for end, v, u in zip(ends, text, skip):
        tokens += ids[begin + v:end + v]
        positions += range(begin + u, end + u)
        begin = end
    return tokens + [ids[length + text[-1]]], positions


def randpos(ids, length, target, randint):
    return ids[:length + 1], floyd(length, 0, target - 1, randint)


def sample(case, seed, g):
    method, length, available, target, chunks, content = case
    generator = draws(seed, g)
    next(generator)
    ids = list(range(available + 1))  # a token is its place in the text
    randint = lambda low, high: generator.send((low, high))
    if method == "randpos":
        return randpos(ids, length, target, randint)
    return pose(ids, length, target, chunks, content, randint)


CASES = [
    ("pose", 8, 40, 32, 2, "random"),
    ("pose", 8, 8, 32, 2, "contiguous"),
    ("pose", 8, 32, 32, 2, "aligned"),
    ("pose", 8, 20, 32, 2, "aligned"),
    ("pose", 9, 45, 64, 4, "random"),
    ("pose", 5, 25, 16, 5, "random"),
    ("pose", 2048, 10240, 131072, 2, "random"),
    ("randpos", 8, 8, 32, 0, ""),
    ("randpos", 2048, 2048, 16384, 0, ""),
]


def cpp(numbers):
    return "{" + ", ".join(str(n) for n in numbers) + "}"


if __name__ == "__main__":
    for case in CASES:
        method, length, available, target, chunks, content = case
        digest = 0
        for g in range(1000):
            places, positions = sample(case, 1337, g)
            for number in places + positions:
                digest = sm64(digest ^ number)
        print(f'    {{"{method}", {length}, {available}, {target}, {chunks}, "{content}", {digest:#x}u,')
        if length < 10:
            for g in (0, 1, 1000000):
                places, positions = sample(case, 1337, g)
                print(f"     {cpp(places)}, {cpp(positions)},")
        print("    },")
