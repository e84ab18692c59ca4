"""tools/gpu_timeline.py over a recording that is made here: which copies from the host began while a kernel ran."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import gpu_timeline  # noqa: E402

STEP_NS = 1000


def recording(begin_of_copy):
    """Steps of two kernels and two copies from the host; the copy of samples begins begin_of_copy after the step."""
    lines = []
    for step in range(gpu_timeline.STEPS):
        at = 10_000 + step * STEP_NS
        for kind, begin, end, name in (("kernel", 100, 800, "Forward<float>"),
                                       ("copy", begin_of_copy, begin_of_copy + 20, gpu_timeline.FROM_HOST),
                                       ("copy", 820, 830, gpu_timeline.FROM_HOST),
                                       ("kernel", 840, 900, "AdamWKernel<float>"),
                                       ("call", 905, 910, "cudaEventSynchronize_v3020")):
            lines.append(f"{kind}\t{at + begin}\t{at + end}\t{name}\n")
    return "".join(lines)


class TimelineTest(unittest.TestCase):
    def summary(self, begin_of_copy):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "recording.tsv")
            path.write_text(recording(begin_of_copy), encoding="utf-8")
            return gpu_timeline.summary(path)

    def test_a_copy_that_begins_while_a_kernel_runs_is_told_from_one_that_waits(self):
        for begin, beside in ((400, 1.0), (50, 0.0)):
            found = self.summary(begin)
            self.assertEqual((found["copies"], found["copies_beside"]), (2.0, beside))
            self.assertEqual(found["waits"], {gpu_timeline.OF_A_STEP: 1.0})


if __name__ == "__main__":
    unittest.main()
