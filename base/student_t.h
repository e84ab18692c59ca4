// Student's t distribution, with real degrees of freedom. With infinitely many, it is the normal
// distribution.
#pragma once

namespace longrun {

// The probability that |T| >= |t|. `df` > 0.
double StudentTwoSidedP(double t, double df);
// The t with StudentTwoSidedP(t, df) = 1 - level: half the width of a `level` interval, in standard
// errors. 0 < level < 1.
double StudentQuantile(double level, double df);
// Half of the 95 % interval of a mean with standard error `se`.
double HalfInterval95(double se, double df);

}  // namespace longrun
