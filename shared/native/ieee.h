/* What every compiled file begins with: how a function is exported, and logarithm and exponential in IEEE operations only,
   so that they give the same bits on every machine. Compiled without contraction and without any "fast" arithmetic
   (setup.py). */

#ifndef CROSSLOT_IEEE_H
#define CROSSLOT_IEEE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif
#define INLINED static inline __attribute__((always_inline))

enum { NO_MEMORY = -1 };

INLINED double floor_of(double x) {
  return __builtin_floor(x);
}

/* log(1 + x) for finite x >= 0 in IEEE operations only, to about 1 ulp.

   The polynomial of fdlibm's e_log.c (Sun Microsystems, 1993) on y = 1 + x, with the rounding of y corrected. The
   exponent is taken from the bits of y and nothing branches: a loop over many x becomes vector instructions. */
INLINED double log1p_of(double x) {
  double y = 1.0 + x;
  double correction = (x - (y - 1.0)) / y;
  int64_t bits;
  memcpy(&bits, &y, sizeof bits);
  double e = (double)(int32_t)((bits >> 52) - 1022);
  int64_t mantissa = (bits & 0x000FFFFFFFFFFFFF) | 0x3FE0000000000000;
  double m;
  memcpy(&m, &mantissa, sizeof m);
  int is_low = m < 0.7071067811865476; /* sqrt(1/2) */
  m = is_low ? m + m : m;
  e = is_low ? e - 1.0 : e;
  double f = m - 1.0;
  double s = f / (2.0 + f);
  double z = s * s;
  double p = 0.1531383769920937332 + z * 0.1479819860511658591;
  p = 0.2222219843214978396 + z * (0.1818357216161805012 + z * p);
  p = z * (0.6666666666666735130 + z * (0.3999999999940941908 + z * (0.2857142874366239149 + z * p)));
  return e * 0.6931471805599453 + (f - s * (f - p)) + correction;
}

/* exp(x) for x <= 0 in IEEE operations only, to about 1 ulp; 0 below -700.

   exp(x) = 2^k exp(r), |r| <= log(2) / 2, by the Taylor series to the 13th power (remainder below 5e-18). */
INLINED double exp_of(double x) {
  double held = x > -700.0 ? x : -700.0; /* exp(-700) is 1e-304 */
  double k = floor_of(held * 1.4426950408889634 + 0.5);
  /* log 2 in two parts: k times the first is exact */
  double r = (held - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
  double p = 1.0 / 479001600.0 + r * (1.0 / 6227020800.0);
  p = 1.0 / 3628800.0 + r * (1.0 / 39916800.0 + r * p);
  p = 1.0 / 40320.0 + r * (1.0 / 362880.0 + r * p);
  p = 1.0 / 720.0 + r * (1.0 / 5040.0 + r * p);
  p = 1.0 / 24.0 + r * (1.0 / 120.0 + r * p);
  p = 0.5 + r * (1.0 / 6.0 + r * p);
  p = 1.0 + (r + r * r * p);
  int64_t bits = (int64_t)((int32_t)k + 1023) << 52; /* 2^k, never below the smallest normal number */
  double power;
  memcpy(&power, &bits, sizeof power);
  return x >= -700.0 ? p * power : 0.0;
}

#endif
